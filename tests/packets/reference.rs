//! What is right: the same question answered with slices, in the order of the RFCs and with none of the program's
//! code or tricks.

/// Takes from the front of what is there, or fails.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(len)?;
        self.0 = tail;
        Some(head)
    }

    fn number(&mut self, len: usize) -> Option<usize> {
        Some(self.take(len)?.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
    }

    /// A vector with its length, of `width` bytes, in front.
    fn vector(&mut self, width: usize) -> Option<&'a [u8]> {
        let len = self.number(width)?;
        self.take(len)
    }
}

/// The name in a TCP payload, if the record that begins it holds a ClientHello, and all of it up to the end of the
/// name is in this payload.
pub(crate) fn name(payload: &[u8]) -> Option<Vec<u8>> {
    let mut record = Reader(payload);
    if record.number(1)? != 0x16 || record.number(1)? != 3 {
        return None;
    }
    record.take(1)?;
    let record_len = record.number(2)?;
    if !(4..=16384).contains(&record_len) {
        return None;
    }
    let mut handshake = Reader(&record.0[..record.0.len().min(record_len)]);
    if handshake.number(1)? != 1 {
        return None;
    }
    let hello_len = handshake.number(3)?;
    let there = handshake.0.len().min(hello_len);
    let mut hello = Reader(&handshake.0[..there]);
    hello.take(2 + 32)?;
    hello.vector(1)?; // session id
    hello.vector(2)?; // cipher suites
    hello.vector(1)?; // compression methods
    let extensions_len = hello.number(2)?;
    let consumed = there - hello.0.len();
    if consumed + extensions_len != hello_len {
        return None;
    }
    let mut missing = extensions_len;
    for _ in 0..64 {
        let kind = hello.number(2)?;
        let len = hello.number(2)?;
        missing = missing.checked_sub(4 + len)?;
        if kind == 0 {
            // Its bytes need not all be here for its lengths to lie, but a name needs them all.
            return server_name(hello.take(len)?);
        }
        hello.take(len)?;
    }
    None
}

fn server_name(data: &[u8]) -> Option<Vec<u8>> {
    let mut data = Reader(data);
    let mut list = Reader(data.vector(2)?);
    if !data.0.is_empty() || list.number(1)? != 0 {
        return None;
    }
    let name = list.vector(2)?;
    // Of a longer one, a byte more than is shown.
    (list.0.is_empty() && !name.is_empty()).then(|| name[..name.len().min(256)].to_vec())
}
