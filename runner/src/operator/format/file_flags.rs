//! Flags of open(2): `O_WRONLY|O_CREAT|O_CLOEXEC`.

use crate::datasource::{Scalar, Slots};

use super::Formatter;

pub(super) fn formatter() -> Formatter {
    Formatter {
        name: "file_flags",
        tag: "type:gadget_file_flags",
        scalar: Scalar::Uint32,
        template: "",
        one_of: String::new(),
        render,
    }
}

/// The two lowest bits. The fourth asks for a descriptor that can neither read nor write.
const ACCESS: [&str; 4] = ["O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE"];

/// `asm-generic/fcntl.h`. Four flags have other values on arm64 (`arch/arm64/include/uapi/asm/fcntl.h`).
#[rustfmt::skip]
const FLAGS: [(u64, &str); 14] = [
    (0o100, "O_CREAT"), (0o200, "O_EXCL"), (0o400, "O_NOCTTY"), (0o1000, "O_TRUNC"), (0o2000, "O_APPEND"),
    (0o4000, "O_NONBLOCK"), (0o10000, "O_DSYNC"), (0o20000, "O_FASYNC"),
    (DIRECT, "O_DIRECT"), (LARGEFILE, "O_LARGEFILE"), (DIRECTORY, "O_DIRECTORY"), (NOFOLLOW, "O_NOFOLLOW"),
    (0o1000000, "O_NOATIME"), (0o2000000, "O_CLOEXEC"),
];

#[cfg(not(target_arch = "aarch64"))]
const DIRECT: u64 = 0o40000;
#[cfg(not(target_arch = "aarch64"))]
const LARGEFILE: u64 = 0o100000;
#[cfg(not(target_arch = "aarch64"))]
const DIRECTORY: u64 = 0o200000;
#[cfg(not(target_arch = "aarch64"))]
const NOFOLLOW: u64 = 0o400000;
#[cfg(target_arch = "aarch64")]
const DIRECT: u64 = 0o200000;
#[cfg(target_arch = "aarch64")]
const LARGEFILE: u64 = 0o400000;
#[cfg(target_arch = "aarch64")]
const DIRECTORY: u64 = 0o40000;
#[cfg(target_arch = "aarch64")]
const NOFOLLOW: u64 = 0o100000;

fn render(raw: u64, slots: &mut Slots, slot: usize) {
    slots.set_text(slot, |out| {
        out.extend_from_slice(ACCESS[(raw & 3) as usize].as_bytes());
        for (_, name) in FLAGS.iter().filter(|(flag, _)| raw & flag != 0) {
            out.push(b'|');
            out.extend_from_slice(name.as_bytes());
        }
    });
}

#[cfg(test)]
mod tests {
    use super::super::tests::rendered;
    use super::*;

    #[test]
    fn flags() {
        for (raw, text) in [
            (0, "O_RDONLY"),
            (524_288, "O_RDONLY|O_CLOEXEC"),
            (0o1101, "O_WRONLY|O_CREAT|O_TRUNC"),
            (0o2, "O_RDWR"),
            (0o3, "O_ACCMODE"),
            (DIRECTORY | NOFOLLOW, "O_RDONLY|O_DIRECTORY|O_NOFOLLOW"),
            (DIRECT | LARGEFILE | 0o1000000, "O_RDONLY|O_DIRECT|O_LARGEFILE|O_NOATIME"),
            (0o36600, "O_RDONLY|O_EXCL|O_NOCTTY|O_APPEND|O_NONBLOCK|O_DSYNC|O_FASYNC"),
            (0xf000_0000, "O_RDONLY"),
        ] {
            assert_eq!(rendered(render, raw), text, "{raw:o}");
        }
    }

    #[test]
    fn values_are_this_machines() {
        assert_eq!(DIRECT, libc::O_DIRECT as u64);
        assert_eq!(DIRECTORY, libc::O_DIRECTORY as u64);
        assert_eq!(NOFOLLOW, libc::O_NOFOLLOW as u64);
    }
}
