//! Why bytes gave no hello.

use thiserror::Error;

/// Why bytes gave no hello. Only [`NeedMore`](Error::NeedMore) can change when more bytes come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Error {
    /// The bytes are the beginning of something that can still be a hello.
    #[error("the hello goes on: at least {bytes} bytes are still to come")]
    NeedMore {
        /// How many bytes are missing at the least.
        bytes: usize,
    },
    /// A length that does not agree with what is around it, or a value that the protocol forbids there.
    #[error("the hello is malformed: {0}")]
    Malformed(&'static str),
    /// Something else: other data, another handshake message, a packet that carries no hello.
    #[error("no hello begins here")]
    NotAHello,
    /// It does not decrypt with the keys that an observer can know.
    #[error("the packet is encrypted with keys that only its endpoints have")]
    Encrypted,
    /// The hello says that it is longer than what is kept of a flow.
    #[error("the hello is longer than the 16384 bytes that are kept of a flow")]
    TooLarge,
}
