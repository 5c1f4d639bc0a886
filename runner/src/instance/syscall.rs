//! How system calls are called, as the kernel describes its own tracepoints.
//!
//! Source: the files `events/syscalls/sys_enter_*/format` of tracefs, whose lines name a C declaration, an offset and a
//! size. The call's own parameters follow the field `__syscall_nr`.

use crate::{
    ebpf::tracefs,
    wasm::{SyscallDeclaration, SyscallParam},
};

/// The declaration of the system call with this name, such as `openat`.
pub(super) fn declaration(name: &str) -> Option<SyscallDeclaration> {
    // Names come from guests, and become part of a path.
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return None;
    }
    let format = tracefs::read(&format!("events/syscalls/sys_enter_{name}/format"));
    format.map(|format| parse(&format)).map_err(|error| tracing::debug!("system call {name}: {error}")).ok()
}

fn parse(format: &str) -> SyscallDeclaration {
    let fields = format.lines().filter_map(|line| line.trim().strip_prefix("field:")?.split(';').next());
    let own = fields.skip_while(|field| !field.ends_with(" __syscall_nr")).skip(1);
    let params = own.filter_map(|field| {
        let name = field.rsplit([' ', '*']).next().filter(|name| !name.is_empty())?;
        Some(SyscallParam { name: name.to_owned(), is_pointer: field.contains('*') })
    });
    SyscallDeclaration { params: params.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_follow_the_number() {
        let format = "name: sys_enter_openat\nID: 628\nformat:\n\
            \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\n\
            \tfield:int __syscall_nr;\toffset:8;\tsize:4;\tsigned:1;\n\
            \tfield:int dfd;\toffset:16;\tsize:8;\tsigned:0;\n\
            \tfield:const char * filename;\toffset:24;\tsize:8;\tsigned:0;\n\
            \tfield:struct open_how *how;\toffset:32;\tsize:8;\tsigned:0;\n\n\
            print fmt: \"dfd: 0x%08lx\"\n";
        let found: Vec<_> = parse(format).params.into_iter().map(|p| (p.name, p.is_pointer)).collect();
        let expected = [("dfd", false), ("filename", true), ("how", true)];
        assert_eq!(found, expected.map(|(name, pointer)| (name.to_owned(), pointer)));
        assert!(parse("").params.is_empty());
    }

    #[test]
    fn this_kernel_describes_its_calls() {
        let Some(found) = declaration("openat") else {
            eprintln!("left out: this kernel has no tracepoints of system calls");
            return;
        };
        assert_eq!((found.params.len(), found.params[1].is_pointer), (4, true));
        assert!(declaration("../x").is_none() && declaration("").is_none());
    }
}
