//! What is right: the walk to the name in a handshake message, by plain offsets and with none of the crate's
//! code.

/// The host name in a whole ClientHello, from its handshake type on. Nothing where any length on the way does
/// not agree with another one, or where there is none.
pub(crate) fn name(message: &[u8], dtls: bool) -> Option<Vec<u8>> {
    let number = |at: usize, len: usize| -> Option<usize> {
        let bytes = message.get(at..at + len)?;
        Some(bytes.iter().fold(0, |sum, byte| sum * 256 + usize::from(*byte)))
    };
    let end = 4 + number(1, 3)?;
    if number(0, 1)? != 1 || end > message.len() {
        return None;
    }
    let mut at = 4 + 2 + 32;
    at += 1 + number(at, 1)?;
    if dtls {
        at += 1 + number(at, 1)?;
    }
    at += 2 + number(at, 2)?;
    at += 1 + number(at, 1)?;
    if at + 2 + number(at, 2)? != end {
        return None;
    }
    at += 2;
    let mut found = None;
    while at < end {
        let len = number(at + 2, 2)?;
        let data = at + 4;
        if data + len > end {
            return None;
        }
        if number(at, 2)? == 0 && found.is_none() {
            found = Some(host_name(&message[data..data + len])?);
        }
        at = data + len;
    }
    found.flatten()
}

fn host_name(data: &[u8]) -> Option<Option<Vec<u8>>> {
    let half = |at: usize| Some(usize::from(*data.get(at)?) << 8 | usize::from(*data.get(at + 1)?));
    if half(0)? != data.len() - 2 || data.len() == 2 {
        return None;
    }
    let mut at = 2;
    let mut found = None;
    while at < data.len() {
        let len = half(at + 1)?;
        let name = data.get(at + 3..at + 3 + len)?;
        if data[at] == 0 {
            if name.is_empty() || found.is_some() {
                return None;
            }
            found = Some(name.to_vec());
        }
        at += 3 + len;
    }
    Some(found)
}
