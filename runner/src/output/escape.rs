//! Text from outside, made harmless: for JSON strings and for terminals.

use unicode_width::UnicodeWidthChar as _;

use super::append;

/// Whether all of `bytes` are ASCII letters, digits and signs that need no escape anywhere. Written without an
/// early exit, so that it compiles to vector instructions: most texts are clean.
#[inline]
pub(super) fn is_plain(bytes: &[u8]) -> bool {
    bytes.iter().fold(true, |plain, &b| plain & matches!(b, b' '..=b'~') & (b != b'"') & (b != b'\\'))
}

/// Appends `bytes` as a JSON string, quoted. Escapes what JSON demands and, as JSON is read on terminals too, whatever
/// does not show as itself; a byte that is not UTF-8 becomes U+FFFD.
#[inline]
pub(super) fn json(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    if is_plain(bytes) {
        append::short(bytes, out);
    } else {
        json_slow(bytes, out);
    }
    out.push(b'"');
}

#[cold]
fn json_slow(bytes: &[u8], out: &mut Vec<u8>) {
    for chunk in bytes.utf8_chunks() {
        let valid = chunk.valid();
        let mut copied = 0;
        for (at, c) in valid.char_indices() {
            if is_printable(c) && !matches!(c, '"' | '\\') {
                continue;
            }
            out.extend_from_slice(&valid.as_bytes()[copied..at]);
            copied = at + c.len_utf8();
            match c {
                '"' => out.extend_from_slice(b"\\\""),
                '\\' => out.extend_from_slice(b"\\\\"),
                '\n' => out.extend_from_slice(b"\\n"),
                '\r' => out.extend_from_slice(b"\\r"),
                '\t' => out.extend_from_slice(b"\\t"),
                // Above U+FFFF two of them: JSON counts in UTF-16.
                _ => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        numeric(b'u', u32::from(*unit), 4, out);
                    }
                }
            }
        }
        out.extend_from_slice(&valid.as_bytes()[copied..]);
        for _ in chunk.invalid() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
}

/// Appends text of several lines: line ends, tabs, quotes and backslashes stay, what else a terminal would act on is
/// escaped.
pub(super) fn text_lines(bytes: &[u8], out: &mut Vec<u8>) {
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\n' | '\t' | '"' | '\\' => out.push(c as u8),
                _ => {
                    terminal_char(c, out);
                }
            }
        }
        for &b in chunk.invalid() {
            numeric(b'x', u32::from(b), 2, out);
        }
    }
}

/// Appends `bytes` with every character that a terminal would act on, or not show, written as an escape: control
/// characters, those that reverse the direction of text, unassigned ones, bytes that are not UTF-8. Quotes and
/// backslashes are escaped as well, so that an escape can be told from text. Returns how many terminal columns
/// were written.
pub(super) fn terminal(bytes: &[u8], out: &mut Vec<u8>) -> usize {
    if is_plain(bytes) {
        append::short(bytes, out);
        return bytes.len();
    }
    let start = out.len();
    let mut raw_bytes = 0;
    let mut raw_columns = 0;
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if terminal_char(c, out) {
                raw_bytes += c.len_utf8();
                raw_columns += c.width().unwrap_or(0);
            }
        }
        for &b in chunk.invalid() {
            numeric(b'x', u32::from(b), 2, out);
        }
    }
    // Escapes are ASCII: a column each byte.
    out.len() - start - raw_bytes + raw_columns
}

/// Appends a character as it is, and says `true`, or as an escape.
fn terminal_char(c: char, out: &mut Vec<u8>) -> bool {
    let short = match c {
        '"' => b"\\\"",
        '\\' => b"\\\\",
        '\x07' => b"\\a",
        '\x08' => b"\\b",
        '\x0c' => b"\\f",
        '\n' => b"\\n",
        '\r' => b"\\r",
        '\t' => b"\\t",
        '\x0b' => b"\\v",
        _ if is_printable(c) => {
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            return true;
        }
        _ => {
            code_point(c, out);
            return false;
        }
    };
    out.extend_from_slice(short);
    false
}

/// Appends `\x1b`, `\u202e` or `\U000e0001`.
pub(super) fn code_point(c: char, out: &mut Vec<u8>) {
    match u32::from(c) {
        v if v < 0x80 => numeric(b'x', v, 2, out),
        v if v < 0x1_0000 => numeric(b'u', v, 4, out),
        v => numeric(b'U', v, 8, out),
    }
}

fn numeric(letter: u8, v: u32, digits: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&[b'\\', letter]);
    for digit in (0..digits).rev() {
        let nibble = (v >> (4 * digit)) as u8 & 15;
        out.push(if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 });
    }
}

/// Whether a character shows as itself: a letter, mark, number, sign, or the space. The standard library knows,
/// and tells through its debug escapes; behind another character, combining marks are not escaped there.
pub(super) fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return matches!(c, ' '..='~');
    }
    let mut pair = [b'a', 0, 0, 0, 0];
    let len = 1 + c.encode_utf8(&mut pair[1..]).len();
    std::str::from_utf8(&pair[..len]).is_ok_and(|pair| pair.escape_debug().nth(2).is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn as_json(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        json(bytes, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn as_terminal(bytes: &[u8]) -> (String, usize) {
        let mut out = Vec::new();
        let columns = terminal(bytes, &mut out);
        (String::from_utf8(out).unwrap(), columns)
    }

    #[test]
    fn json_escapes() {
        insta::assert_snapshot!(as_json(b"plain"), @r#""plain""#);
        assert_eq!(as_json(b"q\"b\\n\nr\rt\t<&>"), "\"q\\\"b\\\\n\\nr\\rt\\t<&>\"");
        assert_eq!(as_json(b"\x00\x1f\x1b"), r#""\u0000\u001f\u001b""#);
        insta::assert_snapshot!(as_json("ünï\u{2028}\u{2029}字".as_bytes()), @r#""ünï\u2028\u2029字""#);
        insta::assert_snapshot!(as_json("\x7f\u{9b}m\u{202e}\u{e0001}".as_bytes()), @r#""\u007f\u009bm\u202e\udb40\udc01""#);
        insta::assert_snapshot!(as_json(b"a\xe2\x82z\xff"), @r#""a\ufffd\ufffdz\ufffd""#);
    }

    #[test]
    fn terminals_get_nothing_that_they_act_on() {
        insta::assert_snapshot!(as_terminal(b"\x1b[31mred\x1b]0;title\x07").0, @r"\x1b[31mred\x1b]0;title\a");
        insta::assert_snapshot!(as_terminal("\u{9b}31m \u{202e}evil\u{2066}".as_bytes()).0, @r"\u009b31m \u202eevil\u2066");
        insta::assert_snapshot!(as_terminal(b"q\"b\\ \n\r\t\x0b\x0c\x08\x7f\xff").0, @r#"q\"b\\ \n\r\t\v\f\b\x7f\xff"#);
        insta::assert_snapshot!(as_terminal("\u{a0}\u{ad}\u{200b}\u{e0001}\u{e000}".as_bytes()).0, @r"\u00a0\u00ad\u200b\U000e0001\ue000");
    }

    #[test]
    fn printable_text_is_kept_and_measured_in_columns() {
        assert_eq!(as_terminal("ünï".as_bytes()), ("ünï".to_owned(), 3));
        assert_eq!(as_terminal("字字".as_bytes()), ("字字".to_owned(), 4));
        assert_eq!(as_terminal("e\u{301}".as_bytes()), ("e\u{301}".to_owned(), 1));
        assert_eq!(as_terminal("字\n".as_bytes()), ("字\\n".to_owned(), 4));
    }
}
