//! Sizes with decimal units: `1.2 kB`.

use std::io::Write;

use crate::datasource::{Scalar, Slots};

use super::Formatter;

pub(super) fn formatter() -> Formatter {
    Formatter {
        name: "bytes",
        tag: "type:gadget_bytes",
        scalar: Scalar::Uint64,
        template: "bytes",
        one_of: String::new(),
        render,
    }
}

const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];

fn render(raw: u64, slots: &mut Slots, slot: usize) {
    let (mut unit, mut size) = (0, 1_u64);
    // The last unit is reached before `size` times 1000 overflows.
    while unit + 1 < UNITS.len() && raw / size >= 1000 {
        size *= 1000;
        unit += 1;
    }
    let tenths = (raw as f64 / size as f64 * 10.0 + 0.5).floor();
    slots.set_text(slot, |out| {
        let unit = UNITS[unit];
        let _ = match size > 1 && tenths < 100.0 {
            true => write!(out, "{:.1} {unit}", tenths / 10.0),
            false => write!(out, "{:.0} {unit}", tenths / 10.0),
        };
    });
}

#[cfg(test)]
mod tests {
    use super::super::tests::rendered;
    use super::*;

    #[test]
    fn sizes() {
        for (raw, text) in [
            (0, "0 B"),
            (9, "9 B"),
            (82, "82 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (1234, "1.2 kB"),
            (9_940, "9.9 kB"),
            (9_960, "10 kB"),
            (82_854_982, "83 MB"),
            (999_999, "1000 kB"),
            (1_000_000_000, "1.0 GB"),
            (u64::MAX, "18 EB"),
        ] {
            assert_eq!(rendered(render, raw), text, "{raw}");
        }
    }
}
