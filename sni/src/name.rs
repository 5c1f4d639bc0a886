//! The server name of a hello, and how it is shown.
//!
//! A name comes from outside and can be anything: terminal escapes, an address, 60 kB. It is never dropped
//! for that; it is shown harmless, and marked.

use alloc::string::String;
use core::{fmt::Write as _, net::IpAddr};

/// The longest name that is shown, in bytes. A name in DNS has at most 253 (RFC 1035, section 3.1).
pub const MAX_SHOWN: usize = 255;

/// What is to be said of the name that a hello asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NameStatus {
    /// Shown as it was sent.
    Ok,
    /// Bytes of it are shown escaped.
    Escaped,
    /// An IP address, which RFC 6066, section 3, does not permit as a name.
    Ip,
    /// Longer than [`MAX_SHOWN`]: its beginning is shown, escaped where needed.
    Truncated,
    /// The hello asked for no name.
    None,
}

impl NameStatus {
    /// The word that users see.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Escaped => "escaped",
            Self::Ip => "ip",
            Self::Truncated => "truncated",
            Self::None => "none",
        }
    }
}

/// The bytes that a hello gave as the host's name, as they were sent; empty if it gave none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ServerName<'a>(pub &'a [u8]);

impl<'a> ServerName<'a> {
    /// What is to be said of it.
    #[must_use]
    pub fn status(self) -> NameStatus {
        if self.0.is_empty() {
            NameStatus::None
        } else if self.0.len() > MAX_SHOWN {
            NameStatus::Truncated
        } else if !self.0.iter().all(|byte| is_shown(*byte)) {
            NameStatus::Escaped
        } else if self.is_address() {
            NameStatus::Ip
        } else {
            NameStatus::Ok
        }
    }

    /// The name as it is shown: of at most the first [`MAX_SHOWN`] bytes, each that is no visible ASCII
    /// character, and the backslash, as `\xNN`.
    #[must_use]
    pub fn text(self) -> String {
        let mut text = String::with_capacity(self.0.len().min(MAX_SHOWN));
        self.write(&mut text);
        text
    }

    /// Appends [`text`](Self::text) to `out`.
    pub fn write(self, out: &mut String) {
        for &byte in self.0.iter().take(MAX_SHOWN) {
            if is_shown(byte) {
                out.push(char::from(byte));
            } else {
                // A String takes all that is written to it.
                let _ = write!(out, "\\x{byte:02x}");
            }
        }
    }

    /// The bytes as they were sent.
    #[must_use]
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    fn is_address(self) -> bool {
        let Ok(text) = core::str::from_utf8(self.0) else { return false };
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        bare.parse::<IpAddr>().is_ok()
    }
}

fn is_shown(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b'\\'
}

#[cfg(test)]
mod tests {
    use super::{NameStatus, ServerName};

    #[test]
    fn names_are_shown_harmless_and_marked() {
        let cases: [(&[u8], &str, NameStatus); 9] = [
            (b"", "", NameStatus::None),
            (b"example.org", "example.org", NameStatus::Ok),
            (b"_a-1.EXAMPLE.org.", "_a-1.EXAMPLE.org.", NameStatus::Ok),
            (b"\x1b[2J.org", "\\x1b[2J.org", NameStatus::Escaped),
            (b"two words", "two\\x20words", NameStatus::Escaped),
            (b"m\xc3\xbcll.de\0", "m\\xc3\\xbcll.de\\x00", NameStatus::Escaped),
            (b"a\\x1b", "a\\x5cx1b", NameStatus::Escaped),
            (b"192.0.2.1", "192.0.2.1", NameStatus::Ip),
            (b"[2001:db8::1]", "[2001:db8::1]", NameStatus::Ip),
        ];
        for (bytes, text, status) in cases {
            assert_eq!((ServerName(bytes).text().as_str(), ServerName(bytes).status()), (text, status));
        }
    }

    #[test]
    fn a_long_name_is_cut() {
        assert_eq!(ServerName(&[b'a'; 255]).status(), NameStatus::Ok);
        let long = ServerName(&[b'a'; 256]);
        assert_eq!((long.status(), long.text().len()), (NameStatus::Truncated, 255));
        assert_eq!(ServerName(&[7; 60_000]).text().len(), 255 * 4);
    }
}
