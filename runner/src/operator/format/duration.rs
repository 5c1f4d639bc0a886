//! Durations, given in nanoseconds: `1.50µs`, `2m3.1s`.

use std::io::Write;

use crate::datasource::{Scalar, Slots};

use super::Formatter;

pub(super) fn formatter() -> Formatter {
    Formatter {
        name: "duration",
        tag: "type:gadget_duration",
        scalar: Scalar::Uint64,
        template: "duration",
        one_of: String::new(),
        render,
    }
}

const SECOND: u64 = 1_000_000_000;

fn render(raw: u64, slots: &mut Slots, slot: usize) {
    slots.set_text(slot, |out| {
        let _ = write(out, raw);
    });
}

fn write(out: &mut Vec<u8>, raw: u64) -> std::io::Result<()> {
    if raw < 1_000 {
        return write!(out, "{raw}ns");
    }
    if raw < 1_000_000 {
        return write!(out, "{:.2}µs", raw as f64 / 1e3);
    }
    if raw < SECOND {
        return write!(out, "{:.2}ms", raw as f64 / 1e6);
    }
    let (seconds, mut fraction) = (raw / SECOND, raw % SECOND);
    let (minutes, hours) = (seconds / 60 % 60, seconds / 3600);
    if hours > 0 {
        write!(out, "{hours}h")?;
    }
    if seconds >= 60 {
        write!(out, "{minutes}m")?;
    }
    write!(out, "{}", seconds % 60)?;
    if fraction > 0 {
        let mut digits = 9;
        while fraction % 10 == 0 {
            fraction /= 10;
            digits -= 1;
        }
        write!(out, ".{fraction:0digits$}")?;
    }
    write!(out, "s")
}

#[cfg(test)]
mod tests {
    use super::super::tests::rendered;
    use super::*;

    #[test]
    fn durations() {
        for (raw, text) in [
            (0, "0ns"),
            (999, "999ns"),
            (1_000, "1.00µs"),
            (1_234, "1.23µs"),
            (999_999, "1000.00µs"),
            (1_500_000, "1.50ms"),
            (999_990_000, "999.99ms"),
            (SECOND, "1s"),
            (1_500_000_000, "1.5s"),
            (1_000_000_001, "1.000000001s"),
            (123_100_000_000, "2m3.1s"),
            (60 * SECOND, "1m0s"),
            (3600 * SECOND, "1h0m0s"),
            (90_061 * SECOND, "25h1m1s"),
            (u64::MAX, "5124095h34m33.709551615s"),
        ] {
            assert_eq!(rendered(render, raw), text, "{raw}");
        }
    }
}
