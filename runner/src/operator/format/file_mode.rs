//! Permissions of a file: `-rw-r--r--`.
//!
//! The number is read as Go's `fs.FileMode`, whose type bits lie at the top of 32 bits, because upstream does so: the
//! type bits of stat(2) are not shown, the nine permission bits are.

use crate::datasource::{Scalar, Slots};

use super::Formatter;

pub(super) fn formatter() -> Formatter {
    Formatter {
        name: "file_mode",
        tag: "type:gadget_file_mode",
        scalar: Scalar::Uint32,
        template: "",
        one_of: String::new(),
        render,
    }
}

/// Letters of the type bits, from bit 31 down.
const TYPES: &[u8] = b"dalTLDpSugct?";
const PERMISSIONS: &[u8] = b"rwxrwxrwx";

fn render(raw: u64, slots: &mut Slots, slot: usize) {
    slots.set_text(slot, |out| {
        let start = out.len();
        out.extend(
            TYPES.iter().enumerate().filter(|(i, _)| raw >> (31 - i) & 1 == 1).map(|(_, &letter)| letter),
        );
        if out.len() == start {
            out.push(b'-');
        }
        let letter = |(i, &letter): (usize, &u8)| if raw >> (8 - i) & 1 == 1 { letter } else { b'-' };
        out.extend(PERMISSIONS.iter().enumerate().map(letter));
    });
}

#[cfg(test)]
mod tests {
    use super::super::tests::rendered;
    use super::*;

    #[test]
    fn modes() {
        for (raw, text) in [
            (0, "----------"),
            (0o644, "-rw-r--r--"),
            (0o777, "-rwxrwxrwx"),
            (0o100644, "-rw-r--r--"),
            (1 << 31 | 0o755, "drwxr-xr-x"),
            (1 << 27 | 1 << 20, "Lt---------"),
            (1 << 19, "?---------"),
        ] {
            assert_eq!(rendered(render, raw), text, "{raw:o}");
        }
    }
}
