//! Which of the kernel's types, and which of their members, an object's relocations look at.
//!
//! This follows libbpf's matching rules (relo_core.c) only as far as needed to keep what they will look at: keeping
//! more than that is harmless, keeping less would change what a relocation resolves to.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::relocation::{Relocation, RelocationKind, essential_name};
use super::write::Writer;
use super::{Btf, CHAIN, Type, TypeKind};

/// How many steps an access path, or nested anonymous structs, may have: libbpf's own limit.
const STEPS: usize = 64;

/// How much of a type is kept. A later one includes those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Extent {
    /// Not even the type.
    #[default]
    Nothing,
    /// Kind, name and size; members only as far as they are marked; pointers to nothing in particular.
    Shape,
    /// Pointers keep what they point to, and functions their parameters.
    Pointees,
    /// Every member too.
    Whole,
}

#[derive(Debug, Default)]
struct Kept {
    extent: Extent,
    members: BTreeSet<u16>,
}

/// One step of a field's access path.
#[derive(Debug, PartialEq, Eq)]
enum Step<'a> {
    Member(&'a str),
    Element,
}

/// A choice out of the kernel's types.
pub(super) struct Selection<'k, 'a> {
    kernel: &'k Btf<'a>,
    kept: BTreeMap<u32, Kept>,
    /// Names that relocations start from and the kernel does not have.
    pub(super) missing: BTreeSet<String>,
}

impl<'k, 'a> Selection<'k, 'a> {
    /// Chooses what `relocations` of an object with BTF `local` look at, and the enumerations named `enums`.
    pub(super) fn new(
        kernel: &'k Btf<'a>,
        local: &Btf<'_>,
        relocations: &[Relocation],
        enums: &[&str],
    ) -> Self {
        let mut selection = Self { kernel, kept: BTreeMap::new(), missing: BTreeSet::new() };
        let mut wanted: HashMap<&str, Vec<(TypeKind, Relocation)>> = HashMap::new();
        let mut kinds = [false; 20];
        for relocation in relocations.iter().filter(|r| r.kind != RelocationKind::TypeIdLocal) {
            let Some(root) = local.get(relocation.type_id) else { continue };
            let name = essential_name(local.name(root));
            if !name.is_empty() {
                wanted.entry(name).or_default().push((family(root.kind), *relocation));
                kinds[family(root.kind) as usize] = true;
            }
        }
        kinds[TypeKind::Enum as usize] |= !enums.is_empty();
        let mut missing: HashSet<&str> = wanted.keys().copied().collect();
        // One pass over all names, and only over those of kinds that are asked for: this is what takes time.
        for candidate in kernel.types().filter(|t| kinds[family(t.kind) as usize] && t.name_off != 0) {
            let name = kernel.name(candidate);
            if candidate.is_enum() && enums.contains(&name) {
                selection.keep(candidate.id, Extent::Shape);
            }
            let name = essential_name(name);
            for (kind, relocation) in wanted.get(name).into_iter().flatten() {
                if *kind == family(candidate.kind) {
                    missing.remove(name);
                    selection.candidate(candidate, local, *relocation);
                }
            }
        }
        selection.missing = missing.into_iter().map(str::to_owned).collect();
        selection
    }

    fn candidate(&mut self, candidate: Type<'a>, local: &Btf<'_>, relocation: Relocation) {
        match relocation.kind {
            RelocationKind::Field => {
                self.keep(candidate.id, Extent::Shape);
                self.path(candidate.id, &steps(local, relocation));
            }
            RelocationKind::TypeMatches => self.keep(candidate.id, Extent::Whole),
            _ => self.keep(candidate.id, Extent::Pointees),
        }
    }

    /// Keeps a type and what its extent calls for.
    fn keep(&mut self, id: u32, extent: Extent) {
        let mut work = vec![(id, extent)];
        while let Some((id, extent)) = work.pop() {
            let Some(t) = self.kernel.get(id).filter(|t| t.kind != TypeKind::Void) else { continue };
            let kept = self.kept.entry(id).or_default();
            if kept.extent >= extent {
                continue;
            }
            kept.extent = extent;
            if let Some((element, index, _)) = t.array() {
                work.extend([(element, extent), (index, Extent::Shape)]);
            } else if t.is_modifier() {
                work.push((t.size_or_type, extent));
            } else if t.is_composite() && extent == Extent::Whole {
                work.extend(t.raw_members().map(|m| (m.type_id, Extent::Whole)));
            } else if t.kind == TypeKind::Ptr && extent > Extent::Shape {
                // What lies behind a pointer is compared by kind and name only.
                work.push((t.size_or_type, Extent::Pointees));
            } else if let Some(target) = t.target().filter(|_| t.kind != TypeKind::Ptr) {
                work.push((target, extent));
                work.extend(t.params().map(|p| (p.type_id, extent)));
            }
        }
    }

    /// Keeps the members on an access path that starts at type `id`.
    fn path(&mut self, mut id: u32, steps: &[Step<'_>]) {
        for step in steps {
            let Some(t) = self.kernel.resolve(id) else { return };
            let next = match step {
                Step::Element => t.array().map(|(element, _, _)| element),
                Step::Member(name) => self.member(t, name),
            };
            let Some(next) = next else { return };
            id = next;
        }
    }

    /// Keeps the member called `name`, be it inside of anonymous structs. Gives its type.
    fn member(&mut self, of: Type<'a>, name: &str) -> Option<u32> {
        let mut route = Vec::new();
        let id = find(self.kernel, of, name, &mut route, &mut HashSet::new())?;
        for (composite, index) in route {
            let t = self.kernel.get(composite)?;
            let member = t.raw_members().nth(usize::from(index))?;
            self.keep(composite, Extent::Shape);
            self.keep(member.type_id, Extent::Shape);
            let last = (t.raw_members().len() - 1) as u16;
            let empty = |t: Type<'_>| t.array().is_some_and(|(_, _, length)| length == 0);
            let flexible = self.kernel.resolve(member.type_id).is_some_and(empty);
            let mut kept = vec![index];
            if flexible && index != last {
                // An empty array counts as a flexible one where it is the last member, so it must not become that.
                let member = t.raw_members().nth(usize::from(last))?;
                self.keep(member.type_id, Extent::Shape);
                kept.push(last);
            }
            self.kept.entry(composite).or_default().members.extend(kept);
        }
        Some(id)
    }

    /// Writes the chosen types; members that are not chosen are left out, and so is what nothing refers to.
    pub(super) fn write(&self, out: &mut Writer) {
        let first = out.next_id();
        let ids: HashMap<u32, u32> = self.kept.keys().zip(first..).map(|(old, new)| (*old, new)).collect();
        let id = |old: u32| ids.get(&old).copied().unwrap_or(0);
        for (old, kept) in &self.kept {
            let Some(t) = self.kernel.get(*old) else { continue };
            let text = |offset| self.kernel.string(offset);
            let mut tail = Vec::new();
            let mut size_or_type = t.target().map_or(t.size_or_type, id);
            let mut count = 0;
            if let Some((element, index, length)) = t.array() {
                (tail, size_or_type) = (vec![id(element), id(index), length], 0);
            } else if t.is_composite() {
                let whole = kept.extent == Extent::Whole;
                for (_, m) in
                    (0..=u16::MAX).zip(t.raw_members()).filter(|(i, _)| whole || kept.members.contains(i))
                {
                    tail.extend([out.string(text(m.name_off)), id(m.type_id), m.offset_word]);
                    count += 1;
                }
            } else if t.is_enum() {
                for (name, value) in t.raw_enumerators() {
                    tail.extend([out.string(text(name)), value as u32]);
                    if t.kind == TypeKind::Enum64 {
                        tail.push((value >> 32) as u32);
                    }
                    count += 1;
                }
            } else if t.kind == TypeKind::FuncProto {
                for p in t.params() {
                    tail.extend([out.string(text(p.name_off)), id(p.type_id)]);
                    count += 1;
                }
            } else if t.kind != TypeKind::Datasec {
                // A section's variables are never asked for, and their words would need a count.
                tail.extend(t.words());
            }
            out.put(self.kernel.name(t), t.kind, t.flag, count, size_or_type, &tail);
        }
    }
}

/// libbpf takes enumerations of both widths for the same kind.
fn family(kind: TypeKind) -> TypeKind {
    if kind == TypeKind::Enum64 { TypeKind::Enum } else { kind }
}

/// Looks for the member called `name` through anonymous members; `route` gets (struct, index of member) from the
/// outside in. Gives the member's type.
pub(super) fn find(
    btf: &Btf<'_>,
    of: Type<'_>,
    name: &str,
    route: &mut Vec<(u32, u16)>,
    seen: &mut HashSet<u32>,
) -> Option<u32> {
    if route.len() >= STEPS || !seen.insert(of.id) {
        return None;
    }
    for (index, member) in (0..=u16::MAX).zip(of.raw_members()) {
        route.push((of.id, index));
        if member.name_off == 0 {
            let inner = btf.resolve(member.type_id).and_then(|t| find(btf, t, name, route, seen));
            if inner.is_some() {
                return inner;
            }
        } else if btf.string(member.name_off) == name {
            return Some(member.type_id);
        }
        route.pop();
    }
    None
}

/// The names of the fields that a relocation passes; the first index of an access string, which counts whole structs,
/// and anonymous members leave no step. A string that does not fit the type gives the steps that do.
fn steps<'l>(local: &Btf<'l>, relocation: Relocation) -> Vec<Step<'l>> {
    let mut steps = Vec::new();
    let mut id = relocation.type_id;
    for index in local.string(relocation.access).split(':').skip(1).take(STEPS.min(CHAIN)) {
        let (Some(t), Ok(index)) = (local.resolve(id), index.parse::<u32>()) else { break };
        if let Some((element, _, _)) = t.array() {
            steps.push(Step::Element);
            id = element;
        } else {
            let Some(member) = local.members(t).nth(index as usize) else { break };
            if !member.name.is_empty() {
                steps.push(Step::Member(member.name));
            }
            id = member.type_id;
        }
    }
    steps
}

/// Whether a field relocation passes a member of this name.
pub(super) fn passes(local: &Btf<'_>, relocation: Relocation, name: &str) -> bool {
    relocation.kind == RelocationKind::Field && steps(local, relocation).contains(&Step::Member(name))
}
