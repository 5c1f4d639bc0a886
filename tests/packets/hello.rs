//! ClientHellos made to measure.

/// Builds a TCP payload: one record with a ClientHello.
#[derive(Debug, Clone)]
pub(crate) struct Hello {
    pub(crate) session_id: Vec<u8>,
    pub(crate) ciphers: Vec<u8>,
    pub(crate) extensions: Vec<(u16, Vec<u8>)>,
}

impl Default for Hello {
    fn default() -> Self {
        Self { session_id: vec![7; 32], ciphers: vec![0x13, 1, 0x13, 2], extensions: Vec::new() }
    }
}

/// The data of a server_name extension.
pub(crate) fn server_name(name: &[u8]) -> Vec<u8> {
    let len = name.len() as u16;
    let mut data = (len + 3).to_be_bytes().to_vec();
    data.push(0);
    data.extend(len.to_be_bytes());
    data.extend(name);
    data
}

impl Hello {
    /// A hello that asks for `name`, between two other extensions.
    pub(crate) fn named(name: &[u8]) -> Self {
        Self::default()
            .with(0x000a, vec![0, 2, 0, 0x1d])
            .with(0, server_name(name))
            .with(0x002b, vec![2, 3, 4])
    }

    pub(crate) fn with(mut self, kind: u16, data: Vec<u8>) -> Self {
        self.extensions.push((kind, data));
        self
    }

    /// The handshake message, with its header.
    pub(crate) fn message(&self) -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend([0xab; 32]);
        body.push(self.session_id.len() as u8);
        body.extend(&self.session_id);
        body.extend((self.ciphers.len() as u16).to_be_bytes());
        body.extend(&self.ciphers);
        body.extend([1, 0]);
        let mut extensions = Vec::new();
        for (kind, data) in &self.extensions {
            extensions.extend(kind.to_be_bytes());
            extensions.extend((data.len() as u16).to_be_bytes());
            extensions.extend(data);
        }
        body.extend((extensions.len() as u16).to_be_bytes());
        body.extend(extensions);
        let mut message = (body.len() as u32).to_be_bytes().to_vec();
        message[0] = 1;
        message.extend(body);
        message
    }

    /// The whole as one record.
    pub(crate) fn record(&self) -> Vec<u8> {
        record(&self.message())
    }
}

pub(crate) fn record(fragment: &[u8]) -> Vec<u8> {
    let mut record = vec![0x16, 3, 1];
    record.extend((fragment.len() as u16).to_be_bytes());
    record.extend(fragment);
    record
}
