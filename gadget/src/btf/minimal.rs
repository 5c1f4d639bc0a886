//! A small stand-in for the kernel's BTF that holds what one object's CO-RE relocations look at, and no more.
//!
//! libbpf spends most of a small gadget's load time on the kernel's BTF. Given this stand-in through its custom BTF
//! path it resolves each relocation to the same value, out of a few kilobytes. It is also the way to hand it types
//! that no kernel has: [`SyntheticStruct`], for the value of the map of sockets.

use super::elf::Elf;
use super::relocation::{Relocation, RelocationKind, essential_name, relocations};
use super::select::{Selection, passes};
use super::write::{Writer, assemble};
use super::{Btf, Error, SIGNED, TypeKind};

/// A struct that the kernel does not know and programs may relocate against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntheticStruct {
    /// Its name.
    pub name: String,
    /// Its size in bytes.
    pub size: u32,
    /// (name, type, offset in bytes).
    pub members: Vec<(String, MemberType, u32)>,
}

/// What a member of a [`SyntheticStruct`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // each name says it all
pub enum MemberType {
    U8,
    U32,
    U64,
    Char,
    /// An array of this many `char`.
    CharArray(u32),
}

/// What [`stand_in`] makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandIn {
    /// Raw BTF, for libbpf's custom BTF path.
    pub btf: Vec<u8>,
    /// Names of types that relocations start from and that are in neither the kernel's BTF nor the extra structs.
    /// Such a type may be in a kernel module's BTF, which libbpf searches only without a custom path.
    pub missing: Vec<String>,
}

/// BTF in which each CO-RE relocation of `object_elf` resolves as it does with the whole `kernel_btf`, and which
/// also has the structs `extra` and, whole, the kernel's enumerations named in `extra_enums`.
///
/// # Errors
/// When one of the inputs cannot be read.
pub fn minimal(
    object_elf: &[u8],
    kernel_btf: &[u8],
    extra: &[SyntheticStruct],
    extra_enums: &[&str],
) -> Result<Vec<u8>, Error> {
    Ok(stand_in(object_elf, kernel_btf, extra, extra_enums)?.btf)
}

/// Like [`minimal`], and says which types it did not find.
///
/// An object that asks for the kernel's type ids gets all of the kernel's types, because only there the ids are true.
///
/// # Errors
/// When one of the inputs cannot be read.
pub fn stand_in(
    object_elf: &[u8],
    kernel_btf: &[u8],
    extra: &[SyntheticStruct],
    extra_enums: &[&str],
) -> Result<StandIn, Error> {
    let elf = Elf::parse(object_elf)?;
    let local = elf.btf()?;
    let relocations = object_relocations(&elf)?;
    let kernel = Btf::parse(kernel_btf)?;
    let selection = Selection::new(&kernel, &local, &relocations, extra_enums);
    let mut missing: Vec<String> = selection.missing.iter().cloned().collect();
    missing.retain(|name| extra.iter().all(|s| s.name != *name));

    let btf = if relocations.iter().any(|r| r.kind == RelocationKind::TypeIdTarget) {
        let (types, strings) = kernel.parts();
        let mut added = Writer::after(kernel.len() as u32, strings.len() as u32);
        extra.iter().for_each(|s| s.write(&mut added));
        let (more_types, more_strings) = added.parts();
        assemble(&[types, more_types], &[strings, more_strings])
    } else {
        let mut out = Writer::default();
        selection.write(&mut out);
        extra.iter().for_each(|s| s.write(&mut out));
        out.finish()
    };
    Ok(StandIn { btf, missing })
}

/// Which optional fields of `struct gadget_socket_value` an object asks about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketFields {
    /// The working directory.
    pub cwd: bool,
    /// The path of the executable.
    pub exepath: bool,
}

/// Whether an object relocates against `struct gadget_socket_value`, which only [`socket_value`] provides, and
/// against which of its optional fields.
///
/// # Errors
/// When the object cannot be read.
pub fn needs_socket_value(object_elf: &[u8]) -> Result<Option<SocketFields>, Error> {
    let elf = Elf::parse(object_elf)?;
    let local = elf.btf()?;
    let mut found = None;
    for relocation in object_relocations(&elf)? {
        let root = local.get(relocation.type_id).map_or("", |t| essential_name(local.name(t)));
        if root == SOCKET_VALUE && relocation.kind != RelocationKind::TypeIdLocal {
            let fields: &mut SocketFields = found.get_or_insert_default();
            fields.cwd |= passes(&local, relocation, "cwd");
            fields.exepath |= passes(&local, relocation, "exepath");
        }
    }
    Ok(found)
}

const SOCKET_VALUE: &str = "gadget_socket_value";

/// `struct gadget_socket_value`, the value of the map of sockets, with room for `cwd` and `exepath` bytes of the
/// optional paths; a path of 0 bytes is absent. Its size is 96 and those two.
pub fn socket_value(cwd: u32, exepath: u32) -> SyntheticStruct {
    use MemberType::{Char, CharArray, U32, U64};
    let fixed = [
        ("mntns", U64, 0),
        ("pid_tgid", U64, 8),
        ("uid_gid", U64, 16),
        ("task", CharArray(16), 24),
        ("ptask", CharArray(16), 40),
        ("sock", U64, 56),
        ("deletion_timestamp", U64, 64),
        ("ppid", U32, 72),
        ("ptid", U32, 76),
        ("ipv6only", Char, 80),
        ("igx_cgroup", U64, 88),
    ];
    let mut members: Vec<_> = fixed.map(|(name, kind, offset)| (name.to_owned(), kind, offset)).into();
    let mut size = 96u32;
    for (name, length) in [("cwd", cwd), ("exepath", exepath)] {
        if length > 0 {
            members.push((name.to_owned(), CharArray(length), size));
            size = size.saturating_add(length);
        }
    }
    SyntheticStruct { name: SOCKET_VALUE.to_owned(), size, members }
}

impl SyntheticStruct {
    fn write(&self, out: &mut Writer) {
        let mut members = Vec::new();
        for (name, kind, offset) in &self.members {
            let id = match kind {
                MemberType::U8 => out.int("unsigned char", 1, 0),
                MemberType::U32 => out.int("unsigned int", 4, 0),
                MemberType::U64 => out.int("unsigned long long", 8, 0),
                MemberType::Char => out.int("char", 1, SIGNED),
                MemberType::CharArray(length) => {
                    let (element, index) = (out.int("char", 1, SIGNED), out.int("unsigned int", 4, 0));
                    out.array(element, index, *length)
                }
            };
            members.push((name.as_str(), id, offset.saturating_mul(8)));
        }
        out.composite(&self.name, TypeKind::Struct, self.size, false, &members);
    }
}

fn object_relocations(elf: &Elf<'_>) -> Result<Vec<Relocation>, Error> {
    elf.section(".BTF.ext").map_or(Ok(Vec::new()), |s| relocations(s.data))
}

#[cfg(test)]
pub(crate) mod tests;
