//! The way from a packet to the network namespace that it is seen in, through the structs of this machine's kernel.
//!
//! Kernels since 6.2 let a program walk it. It is found in the kernel's types once per kernel build and kept on disk,
//! since to read all types would delay each start.

use gadget::btf::{Btf, Type, TypeKind};

use crate::ebpf::KernelBtf;

/// Bytes that are kept; all zero where there is no way.
const BYTES: usize = 10;

/// `skb->dev->nd_net.net->ns.inum`: what to call, and where to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetnsPath {
    /// Number, in the kernel's BTF, of the function that gives a program the `struct sk_buff` of its context.
    pub(super) bpf_cast_to_kern_ctx: u32,
    /// Offset of `dev` in `struct sk_buff`, in bytes.
    pub(super) dev: i16,
    /// Offset of the pointer to `struct net` in `struct net_device`.
    pub(super) net: i16,
    /// Offset of the namespace's inode in `struct net`.
    pub(super) inum: i16,
}

impl NetnsPath {
    /// The way on this machine; `None` where its kernel lets no program walk it, or does not tell its types.
    pub fn find(kernel: &KernelBtf) -> Option<Self> {
        let is_whole = |bytes: &[u8]| bytes.len() == BYTES;
        let find = |types: &Btf<'_>| Self::of(types).map_or([0; BYTES], Self::to_bytes).to_vec();
        let kept = kernel.fact("netns of sk_buff", is_whole, find);
        Self::from_bytes(&kept.inspect_err(|error| tracing::debug!("{error}")).ok()?)
    }

    fn of(types: &Btf<'_>) -> Option<Self> {
        let structure = |name| types.find(TypeKind::Struct, name);
        // Offset in bytes, and type.
        let member = |of: Type<'_>, name| {
            let found = types.find_member(of, name)?;
            Some((found.bit_offset / 8, types.resolve(found.type_id)?))
        };
        let (dev, _) = member(structure("sk_buff")?, "dev")?;
        let (nd_net, possible) = member(structure("net_device")?, "nd_net")?;
        let (net, _) = member(possible, "net")?;
        let (ns, common) = member(structure("net")?, "ns")?;
        let (inum, _) = member(common, "inum")?;
        let offset = |bytes: u32| i16::try_from(bytes).ok();
        Some(Self {
            bpf_cast_to_kern_ctx: types.find(TypeKind::Func, "bpf_cast_to_kern_ctx")?.id,
            dev: offset(dev)?,
            net: offset(nd_net + net)?,
            inum: offset(ns + inum)?,
        })
    }

    fn to_bytes(self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        bytes[..4].copy_from_slice(&self.bpf_cast_to_kern_ctx.to_ne_bytes());
        for (at, offset) in [(4, self.dev), (6, self.net), (8, self.inum)] {
            bytes[at..at + 2].copy_from_slice(&offset.to_ne_bytes());
        }
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; BYTES] = bytes.try_into().ok()?;
        let offset = |at| i16::from_ne_bytes([bytes[at], bytes[at + 1]]);
        let function = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        (function != 0).then(|| Self {
            bpf_cast_to_kern_ctx: function,
            dev: offset(4),
            net: offset(6),
            inum: offset(8),
        })
    }
}

#[cfg(test)]
mod tests {
    use gadget::btf::write::Writer;

    use super::*;

    /// Types of a kernel, with the function or without.
    fn kernel(has_function: bool) -> Vec<u8> {
        let mut w = Writer::default();
        let int = w.int("unsigned int", 4, 0);
        let common =
            w.composite("ns_common", TypeKind::Struct, 24, false, &[("ops", int, 0), ("inum", int, 128)]);
        let net =
            w.composite("net", TypeKind::Struct, 64, false, &[("passive", int, 0), ("ns", common, 256)]);
        let pointer = w.reference("", TypeKind::Ptr, net);
        let possible = w.composite("", TypeKind::Struct, 8, false, &[("net", pointer, 0)]);
        let possible = w.reference("possible_net_t", TypeKind::Typedef, possible);
        let device = w.composite("net_device", TypeKind::Struct, 512, false, &[("nd_net", possible, 2048)]);
        let device = w.reference("", TypeKind::Ptr, device);
        let inner = w.composite("", TypeKind::Struct, 16, false, &[("next", int, 0), ("dev", device, 64)]);
        let outer = w.composite("", TypeKind::Union, 16, false, &[("", inner, 0)]);
        w.composite("sk_buff", TypeKind::Struct, 40, false, &[("end", int, 0), ("", outer, 128)]);
        if has_function {
            w.reference("bpf_cast_to_kern_ctx", TypeKind::Func, int);
        }
        w.finish()
    }

    #[test]
    fn the_way_leads_through_anonymous_structs_and_typedefs() {
        let bytes = kernel(true);
        let types = Btf::parse(&bytes).unwrap();
        let path = NetnsPath::of(&types).unwrap();
        let function = types.len() as u32;
        assert_eq!(path, NetnsPath { bpf_cast_to_kern_ctx: function, dev: 24, net: 256, inum: 48 });
        assert_eq!(NetnsPath::from_bytes(&path.to_bytes()), Some(path));
    }

    #[test]
    fn older_kernels_have_none() {
        let bytes = kernel(false);
        assert_eq!(NetnsPath::of(&Btf::parse(&bytes).unwrap()), None);
        assert_eq!(NetnsPath::from_bytes(&[0; BYTES]), None);
    }
}
