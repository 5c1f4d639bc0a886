//! Structs turned into fields: what a user sees of an event, flattened depth-first.

use super::{Error, Kind, Scalar};
use crate::btf::{BOOL, Btf, CHAIN, CHAR, Member, SIGNED, Type, TypeKind};

/// How deep structs may nest. Those of real gadgets stay under six.
const DEPTH: usize = 32;
/// How much memory in bytes, roughly, the fields of an object may take. Nesting multiplies, so a small hostile object
/// could ask for billions of fields; those of real gadgets take some tens of kilobytes.
pub(super) const BUDGET: usize = 4 << 20;

/// Type names that stand for a set of field annotations.
const TEMPLATES: [(&str, &str); 12] = [
    ("gadget_comm", "comm"),
    ("gadget_pcomm", "pcomm"),
    ("gadget_uid", "uid"),
    ("gadget_gid", "gid"),
    ("gadget_pid", "pid"),
    ("gadget_ppid", "ppid"),
    ("gadget_tid", "tid"),
    ("gadget_ptid", "ptid"),
    ("gadget_timestamp", "timestamp"),
    ("gadget_mntns_id", "mntns_id"),
    ("gadget_netns_id", "netns_id"),
    ("gadget_user_stack", "user_stack"),
];

/// Structs of the public headers whose members are known by their short names.
const CONTAINERS: [&str; 3] = ["gadget_process", "gadget_creds", "gadget_parent"];

/// A field of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StructField {
    /// The member's name.
    pub name: String,
    /// The names of the members on the way to it, joined with dots.
    pub full_name: String,
    /// The index of the struct field it lies in.
    pub parent: Option<usize>,
    /// What it holds.
    pub kind: Kind,
    /// Bytes from the start of the event.
    pub offset: u32,
    /// Its size in bytes.
    pub size: u32,
    /// `type:` with each name of its type from the outermost in, then `name:` with its own, then `src:ebpf`.
    pub tags: Vec<String>,
    /// Templates of annotations that its type names stand for.
    pub templates: Vec<&'static str>,
    /// The names of its values, if its type is an enumeration.
    pub enumeration: Option<Enumeration>,
    /// Whether it is one of the public headers' structs, whose members matter and not the struct as such.
    pub hidden_container: bool,
    /// The short name that its column goes by.
    pub alias: Option<String>,
}

/// The names of an enumeration's values, as the object knows them; a kernel may know better.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enumeration {
    /// The type's name.
    pub name: String,
    /// Whether the values are flags that can be set together: then the name ends in `_set`.
    pub bitfield: bool,
    /// Bytes of a value.
    pub size: u8,
    /// Whether values can be negative.
    pub signed: bool,
    /// (name, value) in the order of the definition.
    pub values: Vec<(String, i64)>,
}

/// The fields of struct `of`, which are paid for out of `budget`.
pub(super) fn fields<'a>(btf: &Btf<'a>, of: Type<'a>, budget: &mut usize) -> Result<Vec<StructField>, Error> {
    let mut flatten = Flatten { btf, name: btf.name(of), fields: Vec::new(), budget };
    flatten.composite(
        of,
        &At {
            offset: 0,
            prefix: String::new(),
            parent: None,
            alias: CONTAINERS.contains(&btf.name(of)),
            depth: 0,
        },
    )?;
    Ok(flatten.fields)
}

struct Flatten<'a, 'b> {
    btf: &'b Btf<'a>,
    name: &'a str,
    fields: Vec<StructField>,
    budget: &'b mut usize,
}

/// Where in the event a struct lies.
struct At {
    offset: u32,
    prefix: String,
    parent: Option<usize>,
    alias: bool,
    depth: usize,
}

impl<'a> Flatten<'a, '_> {
    fn composite(&mut self, of: Type<'a>, at: &At) -> Result<(), Error> {
        if at.depth > DEPTH {
            return Err(self.too_large(format!("more than {DEPTH} levels of structs")));
        }
        let btf = self.btf;
        for member in btf.members(of) {
            if !member.name.starts_with("__") && member.bitfield_size == 0 {
                self.member(member, at)?;
            }
        }
        Ok(())
    }

    fn member(&mut self, member: Member<'a>, at: &At) -> Result<(), Error> {
        let btf = self.btf;
        let (Some(offset), Some(t), Some(size)) = (
            at.offset.checked_add(member.bit_offset / 8),
            btf.get(member.type_id),
            btf.size_of(member.type_id),
        ) else {
            return Ok(());
        };
        let full_name = format!("{}{}", at.prefix, member.name);
        if t.is_composite() && member.name.is_empty() {
            // C makes the members of an anonymous struct members of the one around it.
            let inner = At { offset, prefix: at.prefix.clone(), depth: at.depth + 1, ..*at };
            return self.composite(t, &inner);
        }
        let Some(walk) = walk(btf, t) else { return Ok(()) };
        let container = t.is_composite() && CONTAINERS.contains(&btf.name(t));
        let enumeration = btf.resolve(t.id).filter(|e| e.is_enum() && !through_typedef(btf, t));
        let text: usize = walk.names.iter().map(|n| n.len() + 32).sum();
        let values: usize = enumeration.map_or(0, |e| btf.enumerators(e).map(|v| v.name.len() + 32).sum());
        match self.budget.checked_sub(256 + 3 * full_name.len() + text + values) {
            Some(left) => *self.budget = left,
            None => {
                return Err(self.too_large("more fields, with those before it, than are accepted".to_owned()));
            }
        }
        let mut tags: Vec<String> = walk.names.iter().map(|n| format!("type:{n}")).collect();
        tags.push(format!("name:{}", member.name));
        tags.push("src:ebpf".to_owned());
        let index = self.fields.len();
        self.fields.push(StructField {
            name: member.name.to_owned(),
            full_name: full_name.clone(),
            parent: at.parent,
            kind: walk.kind,
            offset,
            size,
            tags,
            templates: walk.names.iter().filter_map(|n| template(n)).collect(),
            enumeration: enumeration.and_then(|e| enumeration_of(btf, e)),
            hidden_container: container,
            alias: at.alias.then(|| member.name.to_owned()),
        });
        if !t.is_composite() {
            return Ok(());
        }
        let prefix = format!("{full_name}.");
        self.composite(t, &At { offset, prefix, parent: Some(index), alias: container, depth: at.depth + 1 })
    }

    fn too_large(&self, why: String) -> Error {
        Error::Struct { name: self.name.to_owned(), why }
    }
}

struct Walk<'a> {
    /// The names of the types met, from the outermost in.
    names: Vec<&'a str>,
    kind: Kind,
}

/// Follows a member's type to its base; nothing for types that are no fields: pointers, functions, integers wider
/// than 64 bits, and structs behind a typedef or within an array.
fn walk<'a>(btf: &Btf<'a>, start: Type<'a>) -> Option<Walk<'a>> {
    let mut names = Vec::new();
    let mut arrays = 0;
    let mut t = start;
    for _ in 0..CHAIN {
        if t.kind != TypeKind::TypeTag && !btf.name(t).is_empty() {
            names.push(btf.name(t));
        }
        if let Some((element, _, _)) = t.array() {
            arrays += 1;
            t = btf.get(element)?;
        } else if t.is_modifier() {
            t = btf.get(t.size_or_type)?;
        } else {
            let scalar =
                if t.is_composite() { (t.id == start.id).then_some(Scalar::Bytes)? } else { scalar(t)? };
            let kind = match arrays {
                0 => Kind { scalar, array: false },
                1 if scalar == Scalar::Int8 && names.contains(&"char") => {
                    Kind { scalar: Scalar::CString, array: false }
                }
                1 => Kind { scalar, array: true },
                _ => Kind { scalar: Scalar::Invalid, array: false },
            };
            return Some(Walk { names, kind });
        }
    }
    None
}

fn scalar(t: Type<'_>) -> Option<Scalar> {
    let integer = |signed: bool| {
        Some(match (t.size_or_type, signed) {
            (1, true) => Scalar::Int8,
            (2, true) => Scalar::Int16,
            (4, true) => Scalar::Int32,
            (8, true) => Scalar::Int64,
            (1, false) => Scalar::Uint8,
            (2, false) => Scalar::Uint16,
            (4, false) => Scalar::Uint32,
            (8, false) => Scalar::Uint64,
            _ => return None,
        })
    };
    match t.kind {
        TypeKind::Int => match t.int()?.0 {
            e if e & BOOL != 0 => Some(Scalar::Bool),
            e if e & CHAR != 0 => Some(Scalar::Uint8),
            e => integer(e & SIGNED != 0),
        },
        TypeKind::Enum | TypeKind::Enum64 => integer(t.flag),
        TypeKind::Float => match t.size_or_type {
            4 => Some(Scalar::Float32),
            8 => Some(Scalar::Float64),
            _ => None,
        },
        _ => None,
    }
}

fn template(type_name: &str) -> Option<&'static str> {
    TEMPLATES.iter().find(|(name, _)| *name == type_name).map(|(_, template)| *template)
}

/// Whether a typedef stands before the base type. Such an enumeration is a plain number to the user: the typedef
/// has taken it over.
fn through_typedef<'a>(btf: &Btf<'a>, mut t: Type<'a>) -> bool {
    for _ in 0..CHAIN {
        match t.kind {
            TypeKind::Typedef => return true,
            _ if t.is_modifier() => match btf.get(t.size_or_type) {
                Some(next) => t = next,
                None => return false,
            },
            _ => return false,
        }
    }
    false
}

fn enumeration_of(btf: &Btf<'_>, t: Type<'_>) -> Option<Enumeration> {
    let name = btf.name(t);
    Some(Enumeration {
        name: name.to_owned(),
        bitfield: name.ends_with("_set"),
        size: u8::try_from(t.size_or_type).ok()?,
        signed: t.flag,
        values: btf.enumerators(t).map(|e| (e.name.to_owned(), e.value)).collect(),
    })
}
