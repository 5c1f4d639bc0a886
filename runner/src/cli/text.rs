//! Text from elsewhere in tables of ours: made harmless to the terminal, and as wide as its column.

use std::borrow::Cow;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Text from elsewhere must not steer the terminal.
pub(super) fn printable(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return text.into();
    }
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Leaves the middle out of what is wider than `width`: a name tells most at its ends.
pub(super) fn cut(text: &mut Cow<'_, str>, width: usize) {
    if columns(text) <= width {
        return;
    }
    let kept = width.saturating_sub(1);
    let take = |chars: &mut dyn Iterator<Item = char>, room: usize| {
        let mut left = room;
        let fits = |c: &char| match left.checked_sub(c.width().unwrap_or(0)) {
            Some(less) => {
                left = less;
                true
            }
            None => false,
        };
        chars.take_while(fits).collect::<String>()
    };
    let start = take(&mut text.chars(), kept / 2);
    let end = take(&mut text.chars().rev(), kept - kept / 2);
    *text = format!("{start}…{}", end.chars().rev().collect::<String>()).into();
}

/// Columns that a text takes on a terminal. Nearly all that is listed is ASCII, for which no table is needed.
pub(super) fn columns(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.width() }
}
