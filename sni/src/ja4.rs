//! JA4, the fingerprint of a TLS client (FoxIO's published method, whose TLS client part is under the BSD
//! licence; the rest of that family is not, and is not here).
//!
//! `a_b_c`: what can be read at a glance; a hash of the cipher suites, sorted; a hash of the extensions,
//! sorted, with the signature algorithms as sent. Clients that shuffle their extensions therefore keep their
//! fingerprint. GREASE values count nowhere.

use alloc::{string::String, vec::Vec};
use core::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use crate::{ClientHello, Transport, hello::is_grease};

const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;

/// The fingerprint, such as `t13d1516h2_8daaf6152771_02713d6af862`.
#[must_use]
pub fn fingerprint(hello: &ClientHello) -> String {
    let mut ciphers = without_grease(hello.cipher_suites());
    let mut extensions = without_grease(hello.extensions().map(|(kind, _)| kind));
    let algorithms = without_grease(hello.signature_algorithms());
    let name = if extensions.contains(&SERVER_NAME) { 'd' } else { 'i' };
    let (first, last) = alpn(hello.alpn());
    let transport = match hello.transport() {
        Transport::Tcp => 't',
        Transport::Quic => 'q',
        Transport::Dtls => 'd',
    };
    let version = version(hello.version());
    let (cipher_count, extension_count) = (ciphers.len().min(99), extensions.len().min(99));

    ciphers.sort_unstable();
    extensions.retain(|kind| *kind != SERVER_NAME && *kind != ALPN);
    extensions.sort_unstable();
    let mut described = list(&extensions);
    if !algorithms.is_empty() {
        described.push('_');
        described.push_str(&list(&algorithms));
    }
    let mut out = String::with_capacity(36);
    // A String takes all that is written to it.
    let _ = write!(out, "{transport}{version}{name}{cipher_count:02}{extension_count:02}{first}{last}_");
    hash(&list(&ciphers), &mut out);
    out.push('_');
    hash(if extensions.is_empty() { "" } else { &described }, &mut out);
    out
}

fn without_grease(values: impl Iterator<Item = u16>) -> Vec<u16> {
    values.filter(|value| !is_grease(*value)).collect()
}

fn version(version: u16) -> &'static str {
    match version {
        0x0304 => "13",
        0x0303 => "12",
        0x0302 => "11",
        0x0301 => "10",
        0x0300 => "s3",
        0x0002 => "s2",
        0xfeff => "d1",
        0xfefd => "d2",
        0xfefc => "d3",
        _ => "00",
    }
}

/// First and last character of the protocol, or, where one of them is no letter or digit, of its bytes in
/// hexadecimal.
fn alpn(protocol: Option<&[u8]>) -> (char, char) {
    let Some((&first, &last)) = protocol.and_then(|bytes| bytes.first().zip(bytes.last())) else {
        return ('0', '0');
    };
    if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
        return (char::from(first), char::from(last));
    }
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
    (digit(first >> 4), digit(last & 0xf))
}

fn list(values: &[u16]) -> String {
    let mut text = String::with_capacity(values.len() * 5);
    for (at, value) in values.iter().enumerate() {
        let comma = if at == 0 { "" } else { "," };
        let _ = write!(text, "{comma}{value:04x}");
    }
    text
}

/// Appends the first twelve hexadecimal digits of the text's SHA-256; of nothing, twelve zeros.
fn hash(text: &str, out: &mut String) {
    let digest = Sha256::digest(text.as_bytes());
    for byte in digest.iter().take(6) {
        let shown = if text.is_empty() { 0 } else { *byte };
        let _ = write!(out, "{shown:02x}");
    }
}

#[cfg(test)]
mod tests {
    use super::{alpn, hash, list};
    use alloc::string::String;

    fn hashed(text: &str) -> String {
        let mut out = String::new();
        hash(text, &mut out);
        out
    }

    /// The hashes of FoxIO's published example `t13d1516h2_8daaf6152771_d8a2da3f94cd`, from the lists it was
    /// made of.
    #[test]
    fn published_hashes() {
        let ciphers = "002f,0035,009c,009d,1301,1302,1303,c013,c014,c02b,c02c,c02f,c030,cca8,cca9";
        assert_eq!(hashed(ciphers), "8daaf6152771");
        let extensions =
            [0x5, 0xa, 0xb, 0xd, 0x12, 0x17, 0x1b, 0x23, 0x2b, 0x2d, 0x33, 0x44cd, 0xfe0d, 0xff01];
        let algorithms = [0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601];
        assert_eq!(hashed(&alloc::format!("{}_{}", list(&extensions), list(&algorithms))), "d8a2da3f94cd");
        assert_eq!(hashed(""), "000000000000");
    }

    #[test]
    fn protocols_that_are_no_text_show_their_bytes() {
        let cases = [
            (None, ('0', '0')),
            (Some(&b"h2"[..]), ('h', '2')),
            (Some(&b"http/1.1"[..]), ('h', '1')),
            (Some(&b"x"[..]), ('x', 'x')),
            (Some(&[0xab][..]), ('a', 'b')),
            (Some(&[0xab, 0xcd][..]), ('a', 'd')),
            (Some(&[0x30, 0xab][..]), ('3', 'b')),
        ];
        for (protocol, shown) in cases {
            assert_eq!(alpn(protocol), shown);
        }
    }
}
