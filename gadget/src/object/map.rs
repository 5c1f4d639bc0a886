//! The maps that an object defines: variables of section `.maps`, whose anonymous struct types encode each number as
//! a pointer to an array of that length (libbpf's `__uint` and `__type`).

use crate::btf::{Btf, TypeKind};

/// `BPF_MAP_TYPE_HASH`.
pub const MAP_TYPE_HASH: u32 = 1;
/// `BPF_MAP_TYPE_PERF_EVENT_ARRAY`.
pub const MAP_TYPE_PERF_EVENT_ARRAY: u32 = 4;
/// `BPF_MAP_TYPE_RINGBUF`.
pub const MAP_TYPE_RINGBUF: u32 = 27;

/// A map's definition. A number that the object does not state is 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Map {
    /// Its name.
    pub name: String,
    /// Its type, one of the kernel's `enum bpf_map_type`.
    pub map_type: u32,
    /// Size of a key in bytes.
    pub key_size: u32,
    /// Size of a value in bytes.
    pub value_size: u32,
    /// How many elements fit; for ring buffers, bytes.
    pub max_entries: u32,
    /// The id of the key's type in the object's BTF; 0 if only the size is known.
    pub(super) key: u32,
    /// The same of the value.
    pub(super) value: u32,
}

pub(super) fn maps(btf: &Btf<'_>) -> Vec<Map> {
    let Some(section) = btf.find(TypeKind::Datasec, ".maps") else { return Vec::new() };
    section
        .variables()
        .filter_map(|entry| {
            let variable = btf.get(entry.type_id).filter(|t| t.kind == TypeKind::Var)?;
            let definition = btf.resolve(variable.size_or_type).filter(|t| t.kind == TypeKind::Struct)?;
            let mut map = Map { name: btf.name(variable).to_owned(), ..Map::default() };
            for member in btf.members(definition) {
                let target = pointee(btf, member.type_id);
                let number = target.and_then(|id| btf.resolve(id)?.array()).map(|(_, _, length)| length);
                match (member.name, number, target) {
                    ("type", Some(n), _) => map.map_type = n,
                    ("key_size", Some(n), _) => map.key_size = n,
                    ("value_size", Some(n), _) => map.value_size = n,
                    ("max_entries", Some(n), _) => map.max_entries = n,
                    ("key", _, Some(id)) => {
                        map.key = id;
                        map.key_size = btf.size_of(id).unwrap_or(0);
                    }
                    ("value", _, Some(id)) => {
                        map.value = id;
                        map.value_size = btf.size_of(id).unwrap_or(0);
                    }
                    _ => {}
                }
            }
            Some(map)
        })
        .collect()
}

fn pointee(btf: &Btf<'_>, id: u32) -> Option<u32> {
    btf.resolve(id).filter(|t| t.kind == TypeKind::Ptr).map(|t| t.size_or_type)
}
