//! Bytes of the host as text. It is done for nearly every field of every event, and interpreted: what the standard
//! library does for any text costs a thousand instructions for a file's name, this a hundred.
#![allow(unsafe_code, reason = "what was seen to be ASCII is not checked again to be UTF-8")]

use std::borrow::Cow;

const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);

/// The text before the first NUL; what is not UTF-8 in it is replaced by U+FFFD.
pub(crate) fn until_nul(bytes: &[u8]) -> Cow<'_, str> {
    let (plain, rest) = bytes.split_at(plain(bytes));
    match rest.first() {
        // SAFETY: `plain` counts bytes of ASCII only, which are UTF-8.
        None | Some(0) => Cow::Borrowed(unsafe { str::from_utf8_unchecked(plain) }),
        Some(_) => {
            let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
            String::from_utf8_lossy(&bytes[..end])
        }
    }
}

/// How many bytes at the start are ASCII and not NUL.
fn plain(bytes: &[u8]) -> usize {
    let odd = |word: &[u8; 8]| {
        // A byte that is 0 or at least 0x80 sets a high bit here; one behind a 0 may as well, which ends it there too.
        let word = u64::from_le_bytes(*word);
        (word.wrapping_sub(ONES) | word) & HIGHS != 0
    };
    let words = bytes.as_chunks().0;
    let mut len = 8 * words.iter().position(odd).unwrap_or(words.len());
    while bytes.get(len).is_some_and(|byte| (1..0x80).contains(byte)) {
        len += 1;
    }
    len
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says the same, byte by byte.
    fn slow(bytes: &[u8]) -> String {
        String::from_utf8_lossy(bytes.split(|byte| *byte == 0).next().unwrap()).into_owned()
    }

    #[test]
    fn any_byte_at_any_place() {
        for len in 0..20 {
            let text = vec![b'a'; len];
            assert_eq!(until_nul(&text), slow(&text));
            for at in 0..len {
                for byte in 0..=255 {
                    let mut text = text.clone();
                    text[at] = byte;
                    assert_eq!(until_nul(&text), slow(&text), "{byte:#x} at {at} of {len}");
                }
            }
        }
    }

    #[test]
    fn texts_of_all_kinds() {
        for text in
            ["", "\0", "kühl", "1234567é", "12345678\0é", "日本語のファイル\0rest", "abcdefgh\u{1}\u{7f}"]
        {
            assert_eq!(until_nul(text.as_bytes()), slow(text.as_bytes()));
        }
        assert_eq!(until_nul(b"ab\xff\0c"), "ab\u{fffd}");
    }
}
