//! Names of system calls of this machine's architecture.
//!
//! The tables hold a number and a name per line. They come out of the kernel's user API headers: the `__NR_` macros of
//! `asm/unistd_64.h` for x86-64 and of `asm-generic/unistd.h` for arm64, in upper case after `SYS_`.

use std::sync::LazyLock;

use crate::datasource::{Scalar, Slot, Slots};

use super::Formatter;

#[cfg(target_arch = "x86_64")]
const TABLE: &str = include_str!("syscall/x86_64.tbl");
#[cfg(target_arch = "aarch64")]
const TABLE: &str = include_str!("syscall/aarch64.tbl");
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const TABLE: &str = "";

/// Indexed by number; empty where there is no call.
static NAMES: LazyLock<Vec<&'static str>> = LazyLock::new(|| index(TABLE));

fn index(table: &'static str) -> Vec<&'static str> {
    let mut names = Vec::new();
    for (number, name) in table.lines().filter_map(|line| line.split_once(' ')) {
        let Ok(number) = number.parse::<u16>() else { continue };
        let number = usize::from(number);
        if names.len() <= number {
            names.resize(number + 1, "");
        }
        names[number] = name;
    }
    names
}

pub(super) fn formatter() -> Formatter {
    Formatter {
        name: "syscall",
        tag: "type:gadget_syscall",
        scalar: Scalar::Uint64,
        template: "syscall",
        one_of: String::new(),
        render,
    }
}

/// The name of a system call of this machine, such as `OPENAT`.
pub fn syscall_name(number: u64) -> Option<&'static str> {
    full_name(number)?.strip_prefix(PREFIX)
}

/// The number of the system call with this name, such as `OPENAT`.
pub fn syscall_number(name: &str) -> Option<u32> {
    let found = NAMES.iter().position(|known| known.strip_prefix(PREFIX) == Some(name))?;
    u32::try_from(found).ok()
}

const PREFIX: &str = "SYS_";

fn full_name(number: u64) -> Option<&'static str> {
    usize::try_from(number).ok().and_then(|number| NAMES.get(number)).copied().filter(|name| !name.is_empty())
}

fn render(raw: u64, slots: &mut Slots, slot: usize) {
    slots.set(slot, Slot::Static(full_name(raw).unwrap_or("SYS_UNKNOWN")));
}

#[cfg(test)]
mod tests {
    use super::super::tests::rendered;
    use super::*;

    #[test]
    fn names() {
        for (raw, name) in [
            (libc::SYS_read, "SYS_READ"),
            (libc::SYS_openat, "SYS_OPENAT"),
            (libc::SYS_execve, "SYS_EXECVE"),
            (libc::SYS_clone3, "SYS_CLONE3"),
            (libc::SYS_mmap, "SYS_MMAP"),
            (100_000, "SYS_UNKNOWN"),
            (-1, "SYS_UNKNOWN"),
        ] {
            assert_eq!(rendered(render, raw as u64), name, "{raw}");
        }
    }

    #[test]
    fn both_tables_are_whole() {
        for (table, calls, read, futex) in [
            (include_str!("syscall/x86_64.tbl"), 362, 0, 202),
            (include_str!("syscall/aarch64.tbl"), 306, 63, 98),
        ] {
            let names = index(table);
            assert_eq!(names.iter().filter(|name| name.starts_with("SYS_")).count(), calls);
            assert_eq!((names[read], names[futex]), ("SYS_READ", "SYS_FUTEX"));
        }
    }
}
