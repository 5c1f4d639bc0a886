//! Names of error numbers. They are those of the generic Linux table, which x86-64 and arm64 share
//! (`asm-generic/errno.h`). Of two names for a number, the one that upstream shows.

use std::io::Write;

use crate::datasource::{Scalar, Slot, Slots};

use super::Formatter;

pub(super) fn formatter() -> Formatter {
    Formatter {
        name: "errno",
        tag: "type:gadget_errno",
        scalar: Scalar::Uint32,
        template: "errorString",
        one_of: super::one_of(&NAMES, &ALIASES),
        render,
    }
}

fn render(raw: u64, slots: &mut Slots, slot: usize) {
    match usize::try_from(raw).ok().and_then(|number| NAMES.get(number)) {
        Some(&name) if raw == 0 || !name.is_empty() => slots.set(slot, Slot::Static(name)),
        _ => slots.set_text(slot, |out| {
            let _ = write!(out, "error#{raw}");
        }),
    }
}

/// Second names of numbers, which a filter may be told as well.
const ALIASES: [&str; 3] = ["EDEADLOCK", "EOPNOTSUPP", "EWOULDBLOCK"];

/// Indexed by number; the kernel skips 41 and 58.
#[rustfmt::skip]
const NAMES: [&str; 134] = [
    "", "EPERM", "ENOENT", "ESRCH", "EINTR", "EIO", "ENXIO", "E2BIG", "ENOEXEC", "EBADF",
    "ECHILD", "EAGAIN", "ENOMEM", "EACCES", "EFAULT", "ENOTBLK", "EBUSY", "EEXIST", "EXDEV", "ENODEV",
    "ENOTDIR", "EISDIR", "EINVAL", "ENFILE", "EMFILE", "ENOTTY", "ETXTBSY", "EFBIG", "ENOSPC", "ESPIPE",
    "EROFS", "EMLINK", "EPIPE", "EDOM", "ERANGE", "EDEADLK", "ENAMETOOLONG", "ENOLCK", "ENOSYS", "ENOTEMPTY",
    "ELOOP", "", "ENOMSG", "EIDRM", "ECHRNG", "EL2NSYNC", "EL3HLT", "EL3RST", "ELNRNG", "EUNATCH",
    "ENOCSI", "EL2HLT", "EBADE", "EBADR", "EXFULL", "ENOANO", "EBADRQC", "EBADSLT", "", "EBFONT",
    "ENOSTR", "ENODATA", "ETIME", "ENOSR", "ENONET", "ENOPKG", "EREMOTE", "ENOLINK", "EADV", "ESRMNT",
    "ECOMM", "EPROTO", "EMULTIHOP", "EDOTDOT", "EBADMSG", "EOVERFLOW", "ENOTUNIQ", "EBADFD", "EREMCHG", "ELIBACC",
    "ELIBBAD", "ELIBSCN", "ELIBMAX", "ELIBEXEC", "EILSEQ", "ERESTART", "ESTRPIPE", "EUSERS", "ENOTSOCK", "EDESTADDRREQ",
    "EMSGSIZE", "EPROTOTYPE", "ENOPROTOOPT", "EPROTONOSUPPORT", "ESOCKTNOSUPPORT", "ENOTSUP", "EPFNOSUPPORT", "EAFNOSUPPORT", "EADDRINUSE", "EADDRNOTAVAIL",
    "ENETDOWN", "ENETUNREACH", "ENETRESET", "ECONNABORTED", "ECONNRESET", "ENOBUFS", "EISCONN", "ENOTCONN", "ESHUTDOWN", "ETOOMANYREFS",
    "ETIMEDOUT", "ECONNREFUSED", "EHOSTDOWN", "EHOSTUNREACH", "EALREADY", "EINPROGRESS", "ESTALE", "EUCLEAN", "ENOTNAM", "ENAVAIL",
    "EISNAM", "EREMOTEIO", "EDQUOT", "ENOMEDIUM", "EMEDIUMTYPE", "ECANCELED", "ENOKEY", "EKEYEXPIRED", "EKEYREVOKED", "EKEYREJECTED",
    "EOWNERDEAD", "ENOTRECOVERABLE", "ERFKILL", "EHWPOISON",
];

#[cfg(test)]
mod tests {
    use super::super::tests::rendered;
    use super::*;

    #[test]
    fn names() {
        for (raw, name) in [
            (0, ""),
            (1, "EPERM"),
            (2, "ENOENT"),
            (11, "EAGAIN"),
            (41, "error#41"),
            (42, "ENOMSG"),
            (59, "EBFONT"),
            (95, "ENOTSUP"),
            (110, "ETIMEDOUT"),
            (133, "EHWPOISON"),
            (134, "error#134"),
            (u64::from(u32::MAX), "error#4294967295"),
        ] {
            assert_eq!(rendered(render, raw), name, "{raw}");
        }
    }

    #[test]
    fn the_table_agrees_with_libc() {
        for (number, name) in NAMES.iter().enumerate().skip(1).filter(|(_, name)| !name.is_empty()) {
            let errno = nix::errno::Errno::from_raw(number as i32);
            let known = if number == 95 { "ENOTSUP".to_owned() } else { format!("{errno:?}") };
            assert_eq!(&known, name, "{number}");
        }
    }
}
