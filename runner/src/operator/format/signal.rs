//! Names of signals (signal(7); x86-64 and arm64 number them alike). Real-time signals have numbers only.

use std::io::Write;

use crate::datasource::{Scalar, Slot, Slots};

use super::Formatter;

pub(super) fn formatter() -> Formatter {
    Formatter {
        name: "signal",
        tag: "type:gadget_signal",
        scalar: Scalar::Uint32,
        template: "",
        one_of: super::one_of(&NAMES, &ALIASES),
        render,
    }
}

fn render(raw: u64, slots: &mut Slots, slot: usize) {
    match usize::try_from(raw).ok().and_then(|number| NAMES.get(number)) {
        Some(&name) if !name.is_empty() => slots.set(slot, Slot::Static(name)),
        _ => slots.set_text(slot, |out| {
            let _ = write!(out, "signal#{raw}");
        }),
    }
}

/// Second names of numbers.
const ALIASES: [&str; 4] = ["SIGCLD", "SIGIOT", "SIGPOLL", "SIGUNUSED"];

/// Indexed by number.
#[rustfmt::skip]
const NAMES: [&str; 32] = [
    "", "SIGHUP", "SIGINT", "SIGQUIT", "SIGILL", "SIGTRAP", "SIGABRT", "SIGBUS", "SIGFPE", "SIGKILL",
    "SIGUSR1", "SIGSEGV", "SIGUSR2", "SIGPIPE", "SIGALRM", "SIGTERM", "SIGSTKFLT", "SIGCHLD", "SIGCONT", "SIGSTOP",
    "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGURG", "SIGXCPU", "SIGXFSZ", "SIGVTALRM", "SIGPROF", "SIGWINCH", "SIGIO",
    "SIGPWR", "SIGSYS",
];

#[cfg(test)]
mod tests {
    use super::super::tests::rendered;
    use super::*;

    #[test]
    fn names() {
        for (raw, name) in [
            (0, "signal#0"),
            (9, "SIGKILL"),
            (10, "SIGUSR1"),
            (17, "SIGCHLD"),
            (31, "SIGSYS"),
            (34, "signal#34"),
            (u64::from(u32::MAX), "signal#4294967295"),
        ] {
            assert_eq!(rendered(render, raw), name, "{raw}");
        }
    }

    #[test]
    fn the_table_agrees_with_libc() {
        for (number, &name) in NAMES.iter().enumerate().skip(1) {
            let signal = nix::sys::signal::Signal::try_from(number as i32).unwrap();
            assert_eq!(signal.as_str(), name);
        }
    }
}
