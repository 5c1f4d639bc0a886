//! Loads the gadget's program with nothing but libbpf, as tests and benches need it. What a runner otherwise
//! supplies is made here: a BTF of the few types that the object relocates against, and a small owner map.

use std::{
    fs::File,
    io::{self, Write as _},
    mem::MaybeUninit,
    os::fd::AsRawFd as _,
    path::PathBuf,
};

use libbpf_rs::{OpenObject, ProgramType, Result, skel::SkelBuilder as _};
use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::skeleton::{OpenTraceSniSkel, TraceSniSkelBuilder};

/// Bytes of a `gadget_sockets` value without optional fields.
pub const SOCKET_VALUE_SIZE: u32 = 88;

/// Entries of the owner map that [`open`] makes: a real one has 16384.
pub const SOCKETS: u32 = 64;

/// Opens the object: set the parameters in `maps.rodata_data`, then call `load()`. `btf` is read then, and must
/// live until it returns.
///
/// # Errors
/// Where libbpf rejects the object.
pub fn open<'obj>(
    btf: &MinimalBtf,
    storage: &'obj mut MaybeUninit<OpenObject>,
) -> Result<OpenTraceSniSkel<'obj>> {
    let mut builder = TraceSniSkelBuilder::default();
    builder.obj_builder.btf_custom_path(btf.path())?;
    let mut skel = builder.open(storage)?;
    skel.progs.ig_trace_sni.set_prog_type(ProgramType::SocketFilter);
    skel.maps.gadget_sockets.set_value_size(SOCKET_VALUE_SIZE)?;
    skel.maps.gadget_sockets.set_max_entries(SOCKETS)?;
    Ok(skel)
}

/// A BTF of `struct gadget_socket_value` and `enum bpf_func_id` in a file without a name: for objects that relocate
/// against nothing else, it spares reading the kernel's.
#[derive(Debug)]
pub struct MinimalBtf(File);

impl MinimalBtf {
    /// Writes the file.
    ///
    /// # Errors
    /// Where the kernel grants no memory file.
    pub fn new() -> io::Result<Self> {
        let mut file = File::from(memfd_create(c"trace_sni-btf", MFdFlags::MFD_CLOEXEC)?);
        file.write_all(&minimal_btf())?;
        Ok(Self(file))
    }

    /// Where libbpf finds it, as long as `self` lives.
    pub fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.0.as_raw_fd()).into()
    }
}

// Kinds and encodings of <linux/btf.h>.
const INT: u32 = 1;
const ARRAY: u32 = 3;
const STRUCT: u32 = 4;
const ENUM: u32 = 6;
const SIGNED: u32 = 1 << 24;

// The order in which minimal_btf() writes them; type 0 is void.
const U64: u32 = 1;
const U32: u32 = 2;
const CHAR: u32 = 3;
const COMM: u32 = 4;

/// Name, type and byte offset of each fixed member of `struct gadget_socket_value`.
const MEMBERS: [(&str, u32, u32); 10] = [
    ("mntns", U64, 0),
    ("pid_tgid", U64, 8),
    ("uid_gid", U64, 16),
    ("task", COMM, 24),
    ("ptask", COMM, 40),
    ("sock", U64, 56),
    ("deletion_timestamp", U64, 64),
    ("ppid", U32, 72),
    ("ptid", U32, 76),
    ("ipv6only", CHAR, 80),
];

/// The helpers whose presence a gadget without kernel types asks for, with their numbers in <linux/bpf.h>.
const HELPERS: [(&str, u32); 5] = [
    ("BPF_FUNC_probe_read_kernel_str", 115),
    ("BPF_FUNC_ringbuf_output", 130),
    ("BPF_FUNC_ringbuf_reserve", 131),
    ("BPF_FUNC_ringbuf_submit", 132),
    ("BPF_FUNC_ringbuf_discard", 133),
];

/// The format is that of the kernel's Documentation/bpf/btf.rst.
fn minimal_btf() -> Vec<u8> {
    let mut strings = vec![0u8];
    let mut types = Vec::new();
    let mut name = |text: &str| {
        let offset = strings.len() as u32;
        strings.extend_from_slice(text.as_bytes());
        strings.push(0);
        offset
    };
    let mut put = |words: &[u32]| types.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
    put(&[name("unsigned long long"), INT << 24, 8, 64]);
    put(&[name("unsigned int"), INT << 24, 4, 32]);
    put(&[name("char"), INT << 24, 1, SIGNED | 8]);
    put(&[0, ARRAY << 24, 0, CHAR, U32, 16]);
    put(&[name("gadget_socket_value"), STRUCT << 24 | MEMBERS.len() as u32, SOCKET_VALUE_SIZE]);
    for (member, kind, offset) in MEMBERS {
        put(&[name(member), kind, offset * 8]);
    }
    put(&[name("bpf_func_id"), ENUM << 24 | HELPERS.len() as u32, 4]);
    for (helper, number) in HELPERS {
        put(&[name(helper), number]);
    }

    const HEADER_LEN: u32 = 24;
    let (types_len, strings_len) = (types.len() as u32, strings.len() as u32);
    let mut btf = Vec::new();
    btf.extend(0xeb9fu16.to_ne_bytes());
    btf.extend([1, 0]); // version, flags
    for word in [HEADER_LEN, 0, types_len, types_len, strings_len] {
        btf.extend(word.to_ne_bytes());
    }
    btf.extend(types);
    btf.extend(strings);
    btf
}
