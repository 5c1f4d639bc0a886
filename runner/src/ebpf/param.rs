//! Parameters of a gadget's programs: text from the command line becomes the bytes of a `const volatile` variable.

use gadget::object::ParamType;

use super::Error;

/// Encodes `value` for a variable of `kind` and `size` bytes. `key` is the flag's name, for the error.
pub fn encode(key: &str, kind: &ParamType, size: usize, value: &str) -> Result<Vec<u8>, Error> {
    let fail = |reason: String| Error::Param { key: key.to_owned(), value: value.to_owned(), reason };
    let mut bytes = match kind {
        ParamType::Bool => match value {
            "true" | "1" | "t" | "T" | "TRUE" | "True" => vec![1],
            "false" | "0" | "f" | "F" | "FALSE" | "False" => vec![0],
            _ => return Err(fail("expected true or false".into())),
        },
        ParamType::Int { size, signed: true } => {
            let number: i64 = value.parse().map_err(|_| fail("expected a number".into()))?;
            let bits = u32::from(*size) * 8;
            if bits < 64 && (number < -(1 << (bits - 1)) || number >= 1 << (bits - 1)) {
                return Err(fail(format!("does not fit in {bits} bits")));
            }
            number.to_ne_bytes()[..usize::from(*size)].to_vec()
        }
        ParamType::Int { size, signed: false } => {
            let number: u64 = value.parse().map_err(|_| fail("expected a number, 0 or more".into()))?;
            let bits = u32::from(*size) * 8;
            if bits < 64 && number >= 1 << bits {
                return Err(fail(format!("does not fit in {bits} bits")));
            }
            number.to_ne_bytes()[..usize::from(*size)].to_vec()
        }
        ParamType::Float => {
            let number: f64 = value.parse().map_err(|_| fail("expected a number".into()))?;
            if size == 4 { (number as f32).to_ne_bytes().to_vec() } else { number.to_ne_bytes().to_vec() }
        }
        ParamType::String { max } => {
            let max = *max as usize;
            if value.len() > max {
                return Err(fail(format!("longer than {max} bytes")));
            }
            value.as_bytes().to_vec()
        }
        // struct gadget_l3endpoint_t: 16 bytes of address, then the IP version.
        ParamType::Ip => {
            let mut bytes = vec![0; 16];
            match value.parse().map_err(|_| fail("expected an IP address".into()))? {
                std::net::IpAddr::V4(v4) => {
                    bytes[..4].copy_from_slice(&v4.octets());
                    bytes.push(4);
                }
                std::net::IpAddr::V6(v6) => {
                    bytes.copy_from_slice(&v6.octets());
                    bytes.push(6);
                }
            }
            bytes
        }
        ParamType::Unknown => {
            return Err(fail("the gadget's parameter has a type that has no text form".into()));
        }
    };
    if bytes.len() > size {
        return Err(fail(format!("does not fit in {size} bytes")));
    }
    bytes.resize(size, 0);
    Ok(bytes)
}

/// Says the default that the object carries as the text that [`encode`] would take.
pub fn decode(kind: &ParamType, bytes: &[u8]) -> String {
    let unsigned = || {
        let mut raw = [0; 8];
        let len = bytes.len().min(8);
        raw[..len].copy_from_slice(&bytes[..len]);
        u64::from_ne_bytes(raw)
    };
    match kind {
        ParamType::Bool => (bytes.first() == Some(&1)).to_string(),
        ParamType::Int { signed: false, .. } => unsigned().to_string(),
        ParamType::Int { size, signed: true } => {
            let unused = 64 - u32::from(*size).clamp(1, 8) * 8;
            (((unsigned() << unused) as i64) >> unused).to_string()
        }
        ParamType::String { .. } => {
            let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
            String::from_utf8_lossy(&bytes[..end]).into_owned()
        }
        ParamType::Float | ParamType::Ip | ParamType::Unknown => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_to_their_size() {
        let u16_ = ParamType::Int { size: 2, signed: false };
        assert_eq!(encode("port", &u16_, 2, "443").unwrap(), 443u16.to_ne_bytes());
        assert!(encode("port", &u16_, 2, "65536").is_err());
        assert!(encode("port", &u16_, 2, "-1").is_err());
        let i32_ = ParamType::Int { size: 4, signed: true };
        assert_eq!(encode("x", &i32_, 4, "-1").unwrap(), (-1i32).to_ne_bytes());
        assert_eq!(decode(&i32_, &(-1i32).to_ne_bytes()), "-1");
        assert_eq!(decode(&ParamType::Int { size: 4, signed: false }, &u32::MAX.to_ne_bytes()), "4294967295");
    }

    #[test]
    fn text_is_padded_and_bounded() {
        let comm = ParamType::String { max: 16 };
        assert_eq!(encode("comm", &comm, 16, "wget").unwrap(), b"wget\0\0\0\0\0\0\0\0\0\0\0\0");
        let error = encode("comm", &comm, 16, "a-name-of-17-byte").unwrap_err();
        insta::assert_snapshot!(error, @r#"invalid value "a-name-of-17-byte" for --comm: longer than 16 bytes"#);
    }

    #[test]
    fn addresses_carry_their_version() {
        let bytes = encode("ip", &ParamType::Ip, 32, "127.0.0.1").unwrap();
        assert_eq!((&bytes[..4], bytes[16], bytes.len()), (&[127, 0, 0, 1][..], 4, 32));
        assert_eq!(encode("ip", &ParamType::Ip, 32, "::1").unwrap()[15..17], [1, 6]);
        assert!(encode("ip", &ParamType::Ip, 32, "localhost").is_err());
    }
}
