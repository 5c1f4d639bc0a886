//! Layouts of times, written as Go writes them: the layout shows how 2 January 2006, 15:04:05 in zone -07:00 would look.
//!
//! Source: the documentation of Go's `time` package. Days of the year are not supported and stay as they are.

use std::io::Write;

use super::zone::Civil;

/// A layout, cut into what is the same for all events of a second and the fraction between.
#[derive(Debug)]
pub(super) struct Layout {
    before: Vec<Item>,
    fraction: Option<Fraction>,
    after: Vec<Item>,
}

/// Fraction of a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fraction {
    separator: u8,
    digits: usize,
    /// Whether zeroes at the end are left out.
    trimmed: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Item {
    Literal(u8),
    Part(&'static str),
}

/// What a layout can contain. Where one begins like another, the longer comes first.
const PARTS: [&str; 26] = [
    "January", "Jan", "Monday", "Mon", "MST", "2006", "01", "02", "03", "04", "05", "06", "15", "_2", "1",
    "2", "3", "4", "5", "PM", "pm", "Z07:00", "Z0700", "-07:00", "-0700", "-07",
];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

impl Layout {
    /// Reads a layout. Anything is one: what is no part of a time stays as it is.
    pub(super) fn new(layout: &str) -> Self {
        let mut parsed = Self { before: Vec::new(), fraction: None, after: Vec::new() };
        let mut rest = layout.as_bytes();
        while let Some(&first) = rest.first() {
            if parsed.fraction.is_none()
                && let Some(fraction) = Fraction::at_start(rest)
            {
                parsed.fraction = Some(fraction);
                rest = &rest[1 + fraction.digits..];
                continue;
            }
            let items = if parsed.fraction.is_some() { &mut parsed.after } else { &mut parsed.before };
            match PARTS.iter().find(|part| rest.starts_with(part.as_bytes())) {
                Some(part) => {
                    items.push(Item::Part(part));
                    rest = &rest[part.len()..];
                }
                None => {
                    items.push(Item::Literal(first));
                    rest = &rest[1..];
                }
            }
        }
        parsed
    }

    pub(super) fn fraction(&self) -> Option<Fraction> {
        self.fraction
    }

    /// Writes what stands before the fraction.
    pub(super) fn write_before(&self, out: &mut Vec<u8>, time: &Civil) {
        self.before.iter().for_each(|item| item.write(out, time));
    }

    /// Writes what stands behind the fraction.
    pub(super) fn write_after(&self, out: &mut Vec<u8>, time: &Civil) {
        self.after.iter().for_each(|item| item.write(out, time));
    }
}

impl Fraction {
    /// A point or comma, and zeroes (all digits are shown) or nines (trimmed), at most nine.
    fn at_start(layout: &[u8]) -> Option<Self> {
        let (&separator, rest) = layout.split_first()?;
        let &digit = rest.first()?;
        if !matches!(separator, b'.' | b',') || !matches!(digit, b'0' | b'9') {
            return None;
        }
        let digits = rest.iter().take_while(|&&b| b == digit).count();
        let more = rest.get(digits).is_some_and(u8::is_ascii_digit);
        (digits <= 9 && !more).then_some(Self { separator, digits, trimmed: digit == b'9' })
    }

    /// Writes the fraction of `nanoseconds`, below one second.
    #[inline]
    pub(super) fn write(self, out: &mut Vec<u8>, nanoseconds: u32) {
        let mut text = [b'0'; 10];
        text[0] = self.separator;
        let mut rest = nanoseconds;
        for digit in text[1..].iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        let mut shown = &text[..=self.digits];
        if self.trimmed {
            while let [start @ .., b'0'] = shown {
                shown = start;
            }
            if shown.len() == 1 {
                return;
            }
        }
        out.extend_from_slice(shown);
    }
}

impl Item {
    fn write(&self, out: &mut Vec<u8>, t: &Civil) {
        let hour12 = (t.hour + 11) % 12 + 1;
        let month = MONTHS.get(t.month as usize).unwrap_or(&"");
        let day = DAYS.get(t.weekday as usize).unwrap_or(&"");
        // Writing to memory cannot fail.
        let _ = match self {
            Self::Literal(byte) => out.write_all(&[*byte]),
            Self::Part(part) => match *part {
                "January" => write!(out, "{month}"),
                "Jan" => write!(out, "{month:.3}"),
                "Monday" => write!(out, "{day}"),
                "Mon" => write!(out, "{day:.3}"),
                "2006" => write!(out, "{:04}", t.year),
                "06" => write!(out, "{:02}", t.year.rem_euclid(100)),
                "01" => write!(out, "{:02}", t.month + 1),
                "1" => write!(out, "{}", t.month + 1),
                "02" => write!(out, "{:02}", t.day),
                "_2" => write!(out, "{:2}", t.day),
                "2" => write!(out, "{}", t.day),
                "15" => write!(out, "{:02}", t.hour),
                "03" => write!(out, "{hour12:02}"),
                "3" => write!(out, "{hour12}"),
                "04" => write!(out, "{:02}", t.minute),
                "4" => write!(out, "{}", t.minute),
                "05" => write!(out, "{:02}", t.second),
                "5" => write!(out, "{}", t.second),
                "PM" => out.write_all(if t.hour < 12 { b"AM" } else { b"PM" }),
                "pm" => out.write_all(if t.hour < 12 { b"am" } else { b"pm" }),
                "MST" if t.offset == 0 => out.write_all(b"UTC"),
                zone if zone.starts_with('Z') && t.offset == 0 => out.write_all(b"Z"),
                zone => write_offset(out, t.offset, zone),
            },
        };
    }
}

/// Writes an offset as the part `zone` does; a zone's name, which is not known, as a short number.
fn write_offset(out: &mut Vec<u8>, offset: i32, zone: &str) -> std::io::Result<()> {
    let sign = if offset < 0 { '-' } else { '+' };
    let minutes = offset.unsigned_abs() / 60;
    write!(out, "{sign}{:02}", minutes / 60)?;
    match (zone, minutes % 60) {
        ("-07", _) | ("MST", 0) => Ok(()),
        ("Z07:00" | "-07:00", rest) => write!(out, ":{rest:02}"),
        (_, rest) => write!(out, "{rest:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(layout: &str, time: &Civil, nanoseconds: u32) -> String {
        let (layout, mut out) = (Layout::new(layout), Vec::new());
        layout.write_before(&mut out, time);
        if let Some(fraction) = layout.fraction() {
            fraction.write(&mut out, nanoseconds);
        }
        layout.write_after(&mut out, time);
        String::from_utf8(out).unwrap()
    }

    const TIME: Civil =
        Civil { year: 2026, month: 10, day: 3, weekday: 2, hour: 16, minute: 5, second: 9, offset: 19_800 };

    #[test]
    fn layouts() {
        for (layout, text) in [
            ("2006-01-02T15:04:05.000000000Z07:00", "2026-11-03T16:05:09.001230000+05:30"),
            ("2006-01-02T15:04:05Z07:00", "2026-11-03T16:05:09+05:30"),
            ("15:04:05.000", "16:05:09.001"),
            ("15:04:05,999999999", "16:05:09,00123"),
            ("15:04:05.9 MST", "16:05:09 +0530"),
            ("Mon Jan _2 3:4:5 pm 06 -0700", "Tue Nov  3 4:5:9 pm 26 +0530"),
            ("Monday, 2 January at 03 PM (-07)", "Tuesday, 3 November at 04 PM (+05)"),
            ("1/2 v1.25", "11/3 v11.39"),
            ("è", "è"),
            ("", ""),
        ] {
            assert_eq!(show(layout, &TIME, 1_230_000), text, "{layout}");
        }
    }

    #[test]
    fn zones() {
        for (offset, texts) in [
            (0, ["Z", "+00:00", "Z", "+0000", "UTC"]),
            (3600, ["+01:00", "+01:00", "+0100", "+0100", "+01"]),
            (-12_600, ["-03:30", "-03:30", "-0330", "-0330", "-0330"]),
        ] {
            for (layout, text) in ["Z07:00", "-07:00", "Z0700", "-0700", "MST"].into_iter().zip(texts) {
                assert_eq!(show(layout, &Civil { offset, ..TIME }, 0), text, "{layout}");
            }
        }
    }

    #[test]
    fn midnight_and_noon() {
        assert_eq!(show("3PM", &Civil { hour: 0, ..TIME }, 0), "12AM");
        assert_eq!(show("3PM", &Civil { hour: 12, ..TIME }, 0), "12PM");
    }

    proptest::proptest! {
        #[test]
        fn anything_is_a_layout(layout in ".{0,40}", nanoseconds in 0_u32..1_000_000_000) {
            show(&layout, &TIME, nanoseconds);
            show(&layout, &Civil::default(), nanoseconds);
        }
    }
}
