//! From an expression's text to tokens.

use super::Fault;

/// One token and the byte where it starts.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub(super) at: usize,
    pub(super) kind: TokenKind,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum TokenKind {
    Integer(i128),
    Float(f64),
    Text(String),
    /// A name that is no operator.
    Name(String),
    /// An operator, bracket or keyword.
    Sign(&'static str),
    End,
}

/// Signs; where one begins like another, the longer comes first.
const SIGNS: [&str; 33] = [
    "**", "..", "?.", "??", "==", "!=", "<=", ">=", "&&", "||", "+", "-", "*", "/", "%", "^", "!", "<", ">",
    "?", ":", ",", ".", "(", ")", "[", "]", "{", "}", "|", "#", ";", "=",
];

/// Words that are operators. They may still be part of a field's name, behind a dot.
const WORDS: [&str; 11] =
    ["and", "or", "not", "in", "matches", "contains", "startsWith", "endsWith", "let", "if", "else"];

/// All tokens of an expression; the last one is its end.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, Fault> {
    let mut lexer = Lexer { text, at: 0 };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_blank()?;
        let at = lexer.at;
        let kind = lexer.next()?;
        let end = kind == TokenKind::End;
        tokens.push(Token { at, kind });
        if end {
            return Ok(tokens);
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn skip_blank(&mut self) -> Result<(), Fault> {
        loop {
            let rest = self.rest();
            self.at += rest.len() - rest.trim_start().len();
            let rest = self.rest();
            if rest.starts_with("//") {
                self.at += rest.find('\n').unwrap_or(rest.len());
            } else if rest.starts_with("/*") {
                let end = rest.find("*/").ok_or_else(|| Fault::new(self.at, "the comment does not end"))?;
                self.at += end + 2;
            } else {
                return Ok(());
            }
        }
    }

    fn next(&mut self) -> Result<TokenKind, Fault> {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return Ok(TokenKind::End) };
        let number = rest.strip_prefix('.').unwrap_or(rest);
        if number.starts_with(|c: char| c.is_ascii_digit()) {
            return self.number();
        }
        match first {
            '"' | '\'' => return self.text(first),
            '`' => return self.raw_text(),
            _ if first.is_alphabetic() || matches!(first, '_' | '$') => return Ok(self.name()),
            _ => {}
        }
        match SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            Some(sign) => {
                self.at += sign.len();
                Ok(TokenKind::Sign(sign))
            }
            None => Err(Fault::new(self.at, format!("{first:?} means nothing here"))),
        }
    }

    fn name(&mut self) -> TokenKind {
        let rest = self.rest();
        let end = rest.find(|c: char| !c.is_alphanumeric() && !matches!(c, '_' | '$')).unwrap_or(rest.len());
        let (name, _) = rest.split_at(end);
        self.at += end;
        match WORDS.iter().find(|word| **word == name) {
            Some(word) => TokenKind::Sign(word),
            None => TokenKind::Name(name.to_owned()),
        }
    }

    fn number(&mut self) -> Result<TokenKind, Fault> {
        let rest = self.rest();
        let radix = match rest.get(..2) {
            Some("0x" | "0X") => Some(16),
            Some("0o" | "0O") => Some(8),
            Some("0b" | "0B") => Some(2),
            _ => None,
        };
        let alphanumeric = |c: char| c.is_alphanumeric() || c == '_';
        let mut end = rest.find(|c| !alphanumeric(c)).unwrap_or(rest.len());
        if radix.is_none() {
            // A dot belongs to it unless another follows, which makes a range.
            let tail = &rest[end..];
            if tail.starts_with('.') && !tail.starts_with("..") {
                end += 1;
                end += rest[end..].find(|c| !alphanumeric(c)).unwrap_or(rest.len() - end);
            }
            if rest[..end].ends_with(['e', 'E']) && rest[end..].starts_with(['+', '-']) {
                end += 1;
                end += rest[end..].find(|c| !alphanumeric(c)).unwrap_or(rest.len() - end);
            }
        }
        let written = &rest[..end];
        let digits = written.replace('_', "");
        let wrong = || Fault::new(self.at, format!("{written:?} is no number"));
        let kind = match radix {
            Some(radix) => {
                let digits = digits.get(2..).unwrap_or_default();
                TokenKind::Integer(i128::from(u64::from_str_radix(digits, radix).map_err(|_| wrong())?))
            }
            None if digits.contains(['.', 'e', 'E']) => {
                TokenKind::Float(digits.parse().map_err(|_| wrong())?)
            }
            None => TokenKind::Integer(i128::from(digits.parse::<u64>().map_err(|_| wrong())?)),
        };
        self.at += end;
        Ok(kind)
    }

    /// Text between backticks, as it is; two of them are one of its.
    fn raw_text(&mut self) -> Result<TokenKind, Fault> {
        let mut text = String::new();
        let mut chars = self.rest().char_indices().skip(1).peekable();
        while let Some((at, c)) = chars.next() {
            if c == '`' && chars.next_if(|(_, next)| *next == '`').is_none() {
                self.at += at + 1;
                return Ok(TokenKind::Text(text));
            }
            text.push(c);
        }
        Err(Fault::new(self.at, "the text does not end: a ` is missing"))
    }

    /// Text between quotes, with escapes.
    fn text(&mut self, quote: char) -> Result<TokenKind, Fault> {
        let mut text = String::new();
        let mut chars = self.rest().char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => {
                    let wrong = || Fault::new(self.at + at, "this is no escape; write \\\\ for a backslash");
                    text.push(escaped(&mut chars).ok_or_else(wrong)?);
                }
                '\n' => break,
                c if c == quote => {
                    self.at += at + 1;
                    return Ok(TokenKind::Text(text));
                }
                c => text.push(c),
            }
        }
        Err(Fault::new(self.at, format!("the text does not end: a {quote} is missing")))
    }
}

/// The character that an escape stands for, as in Go.
fn escaped(chars: &mut impl Iterator<Item = (usize, char)>) -> Option<char> {
    let (_, kind) = chars.next()?;
    let mut number = |first: Option<char>, count: usize, radix: u32| {
        let mut value = first.map_or(Some(0), |c| c.to_digit(radix))?;
        for _ in 0..count {
            value = value.checked_mul(radix)?.checked_add(chars.next()?.1.to_digit(radix)?)?;
        }
        char::from_u32(value)
    };
    Some(match kind {
        'a' => '\x07',
        'b' => '\x08',
        'f' => '\x0c',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\x0b',
        '\\' | '"' | '\'' | '`' => kind,
        'x' => number(None, 2, 16)?,
        'u' => number(None, 4, 16)?,
        'U' => number(None, 8, 16)?,
        '0'..='3' => number(Some(kind), 2, 8)?,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::{TokenKind::*, *};

    fn kinds(text: &str) -> Vec<TokenKind> {
        let mut kinds: Vec<_> = tokens(text).unwrap().into_iter().map(|token| token.kind).collect();
        assert_eq!(kinds.pop(), Some(End));
        kinds
    }

    fn name(name: &str) -> TokenKind {
        Name(name.to_owned())
    }

    #[test]
    fn numbers() {
        for (text, wanted) in [
            ("0", Integer(0)),
            ("1_000", Integer(1000)),
            ("0x1F", Integer(31)),
            ("0o17", Integer(15)),
            ("0b101", Integer(5)),
            ("18446744073709551615", Integer(i128::from(u64::MAX))),
            ("1.5", Float(1.5)),
            (".5", Float(0.5)),
            ("1e3", Float(1000.0)),
            ("2.5E-1", Float(0.25)),
        ] {
            assert_eq!(kinds(text), [wanted], "{text}");
        }
        assert_eq!(kinds("1..3"), [Integer(1), Sign(".."), Integer(3)]);
        for wrong in ["1a", "0x", "0b2", "1.2.3x", "1e", "99999999999999999999"] {
            assert!(tokens(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn texts() {
        for (text, wanted) in [
            (r#""a b""#, "a b"),
            (r"'a\'b'", "a'b"),
            (r#""\n\t\x41\u00e9\101\\""#, "\n\tAéA\\"),
            (r"`\d+`", "\\d+"),
            ("`a``b`", "a`b"),
        ] {
            assert_eq!(kinds(text), [Text(wanted.to_owned())], "{text}");
        }
        for wrong in ["\"a", "'a", "`a", "\"\\q\"", "\"\\u12\"", "\"a\nb\""] {
            assert!(tokens(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_and_signs() {
        assert_eq!(
            kinds("proc.pid not in [1]"),
            [name("proc"), Sign("."), name("pid"), Sign("not"), Sign("in"), Sign("["), Integer(1), Sign("]")]
        );
        assert_eq!(kinds("a?.b ?? c"), [name("a"), Sign("?."), name("b"), Sign("??"), name("c")]);
        assert_eq!(kinds("notin x2 $env"), [name("notin"), name("x2"), name("$env")]);
        assert_eq!(kinds("a // b\n/* c */ d"), [name("a"), name("d")]);
    }

    #[test]
    fn what_means_nothing_is_told_with_its_place() {
        let fault = tokens("a & b").unwrap_err();
        assert_eq!((fault.at, fault.problem.as_str()), (2, "'&' means nothing here"));
        assert_eq!(tokens("a /* b").unwrap_err().at, 2);
    }
}
