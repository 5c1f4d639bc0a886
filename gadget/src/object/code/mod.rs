//! The instructions of an object's programs, for people to read: a listing with lines of source, and charts of which
//! program uses which map.
//!
//! Only [`Code::parse`] looks at instructions: running a gadget leaves that to the kernel, so a plain
//! [`Object`](super::Object) does without. All text is written into a bounded buffer, because a hostile object could
//! have each of a hundred thousand programs call the same large function.

mod chart;
mod helper;
mod instruction;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::{self, Write as _};

use super::{Error, program};
use crate::btf::{
    Btf, TypeKind,
    elf::{Elf, Symbol},
    ext::{self, Table},
};
pub use instruction::Instruction;
use instruction::Relocation;

/// The longest text, in bytes, that is written about one object. The largest gadgets have some 10 MB.
const MAX_TEXT: usize = 64 << 20;
/// Most functions that programs are linked with, counted for each program anew. Real gadgets have some ten.
const MAX_LINKS: usize = 1 << 16;

/// The code of an object. It borrows the object's bytes.
#[derive(Debug, Default)]
pub struct Code<'a> {
    functions: Vec<Function<'a>>,
    programs: Vec<LinkedProgram<'a>>,
}

#[derive(Debug)]
struct Function<'a> {
    name: &'a str,
    instructions: Vec<Instruction<'a>>,
}

/// A program with the functions that it calls.
#[derive(Debug)]
struct LinkedProgram<'a> {
    name: &'a str,
    section: &'a str,
    /// Indices: its own function, then those that it reaches.
    functions: Vec<usize>,
}

/// A program's text.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ProgramText<'a> {
    /// The section it is in, such as `kprobe/do_unlinkat`.
    pub section: &'a str,
    /// Its instructions, numbered, with the lines of source that they come from.
    pub source: String,
    /// The same without numbers, with lines as they were typed and with what is asked of the kernel's types.
    pub source_with_relocation: String,
}

impl<'a> Code<'a> {
    /// Reads the programs of an eBPF object file.
    ///
    /// # Errors
    /// When it is no eBPF object with BTF, or programs are linked with more functions than any real ones.
    pub fn parse(elf: &'a [u8]) -> Result<Self, Error> {
        let elf = Elf::parse(elf)?;
        let btf = elf.btf()?;
        let notes = Notes::read(&elf, &btf)?;
        let places = Places::of(&elf);
        let mut functions = Vec::new();
        for index in 0..elf.sections().len() {
            if elf.sections()[index].executable {
                section(&elf, index, &places, &notes, &mut functions);
            }
        }
        let mut by_name = HashMap::new();
        for (index, function) in functions.iter().enumerate() {
            by_name.entry(function.name).or_insert(index);
        }
        let calls: Vec<Vec<usize>> = functions.iter().map(|f| calls(f, &by_name)).collect();
        let mut left = MAX_LINKS;
        let mut programs = Vec::new();
        for symbol in elf.symbols().iter().filter(|s| program::is_entry(s, &elf)) {
            let Some(own) = by_name.get(symbol.name) else { continue };
            let functions = link(*own, &calls, &mut left)
                .ok_or(Error::Code { limit: MAX_LINKS, what: "calls between functions" })?;
            let section = elf.sections()[symbol.section].name;
            programs.push(LinkedProgram { name: symbol.name, section, functions });
        }
        programs.sort_by_key(|p| (p.name, p.section));
        Ok(Self { functions, programs })
    }

    /// The text of every program, sorted by name.
    ///
    /// # Errors
    /// When it is far longer than that of any real gadget.
    pub fn describe_programs(&self) -> Result<Vec<ProgramText<'a>>, Error> {
        let mut left = MAX_TEXT;
        let mut texts = Vec::new();
        for program in &self.programs {
            let source = write(&mut left, |out| self.listing(program, out))?;
            let source_with_relocation = write(&mut left, |out| self.relocated(program, out))?;
            texts.push(ProgramText { section: program.section, source, source_with_relocation });
        }
        Ok(texts)
    }

    fn instructions<'s>(
        &'s self,
        program: &'s LinkedProgram<'a>,
    ) -> impl Iterator<Item = &'s Instruction<'a>> {
        program.functions.iter().flat_map(|f| &self.functions[*f].instructions)
    }

    fn listing(&self, program: &LinkedProgram<'a>, out: &mut Bounded<'_>) -> fmt::Result {
        // As wide as the last number would be if every instruction took two slots.
        let last = self.instructions(program).count().saturating_mul(2);
        let width = last.saturating_sub(1).max(1).ilog10() as usize + 1;
        let mut number = 0;
        for function in program.functions.iter().map(|f| &self.functions[*f]) {
            writeln!(out, "{}:", function.name)?;
            for instruction in &function.instructions {
                if let Some(line) = instruction.line.map(str::trim).filter(|line| !line.is_empty()) {
                    writeln!(out, "\t{:width$}; {line}", " ")?;
                }
                writeln!(out, "\t{number:width$}: {instruction}")?;
                number += instruction.slots();
            }
        }
        Ok(())
    }

    fn relocated(&self, program: &LinkedProgram<'a>, out: &mut Bounded<'_>) -> fmt::Result {
        for instruction in self.instructions(program) {
            if let Some(line) = instruction.line {
                writeln!(out, "; {line}")?;
            }
            if let Some(relocation) = &instruction.relocation {
                writeln!(out, "; {relocation}")?;
            }
            writeln!(out, "{instruction}")?;
        }
        Ok(())
    }
}

/// What `.BTF.ext` says of instructions, by (section, bytes from its start).
struct Notes<'a> {
    lines: HashMap<(&'a str, u32), &'a str>,
    relocations: HashMap<(&'a str, u32), Relocation<'a>>,
}

impl<'a> Notes<'a> {
    fn read(elf: &Elf<'a>, btf: &Btf<'a>) -> Result<Self, Error> {
        let mut notes = Self { lines: HashMap::new(), relocations: HashMap::new() };
        let Some(ext) = elf.section(".BTF.ext").map(|s| s.data) else { return Ok(notes) };
        let word = |record: &[u8], at| crate::btf::word(record, at);
        for (section, record) in ext::records(ext, Table::Lines, 16)? {
            let key = (btf.string(section), word(record, 0));
            notes.lines.entry(key).or_insert_with(|| btf.string(word(record, 8)));
        }
        for (section, record) in ext::records(ext, Table::Relocations, 16)? {
            let type_id = word(record, 4);
            let Some(t) = btf.get(type_id) else { continue };
            let relocation = Relocation {
                kind: word(record, 12),
                type_kind: kind_name(t.kind),
                type_name: btf.name(t),
                type_id,
                access: btf.string(word(record, 8)),
            };
            notes.relocations.entry((btf.string(section), word(record, 0))).or_insert(relocation);
        }
        Ok(notes)
    }
}

fn kind_name(kind: TypeKind) -> &'static str {
    match kind {
        TypeKind::Void => "Void",
        TypeKind::Int => "Int",
        TypeKind::Ptr => "Pointer",
        TypeKind::Array => "Array",
        TypeKind::Struct => "Struct",
        TypeKind::Union => "Union",
        TypeKind::Enum | TypeKind::Enum64 => "Enum",
        TypeKind::Fwd => "Fwd",
        TypeKind::Typedef => "Typedef",
        TypeKind::Volatile => "Volatile",
        TypeKind::Const => "Const",
        TypeKind::Restrict => "Restrict",
        TypeKind::Func => "Func",
        TypeKind::FuncProto => "FuncProto",
        TypeKind::Var => "Var",
        TypeKind::Datasec => "Datasec",
        TypeKind::Float => "Float",
        TypeKind::DeclTag => "declTag",
        TypeKind::TypeTag => "TypeTag",
    }
}

/// What the symbols and relocations of an object say, by section: they are gone through once and not for each of its
/// sections, of which it may have many thousands.
struct Places<'a> {
    /// Where functions start, and their names.
    starts: HashMap<usize, BTreeMap<u64, &'a str>>,
    /// Which symbol is meant where.
    meant: HashMap<usize, HashMap<u64, Symbol<'a>>>,
    /// The functions of `.text`: those that are called across sections by their place are static ones in it.
    shared: BTreeMap<u64, &'a str>,
}

impl<'a> Places<'a> {
    fn of(elf: &Elf<'a>) -> Self {
        let mut starts: HashMap<usize, BTreeMap<u64, &str>> = HashMap::new();
        for symbol in elf.symbols().iter().filter(|s| s.function) {
            starts.entry(symbol.section).or_default().entry(symbol.value).or_insert(symbol.name);
        }
        let mut meant: HashMap<usize, HashMap<_, _>> = HashMap::new();
        for (section, at, symbol) in elf.relocations() {
            meant.entry(section).or_default().insert(at, symbol);
        }
        let text = elf.sections().iter().position(|s| s.name == ".text");
        let shared = text.and_then(|text| starts.get(&text)).cloned().unwrap_or_default();
        Self { starts, meant, shared }
    }
}

/// The functions of one section.
fn section<'a>(
    elf: &Elf<'a>,
    index: usize,
    places: &Places<'a>,
    notes: &Notes<'a>,
    functions: &mut Vec<Function<'a>>,
) {
    let section = elf.sections()[index];
    let Some(local) = places.starts.get(&index) else { return };
    let meant = places.meant.get(&index);

    let ends = local.keys().skip(1).copied().chain([section.data.len() as u64]);
    for ((&start, &name), end) in local.iter().zip(ends) {
        let mut at = start;
        let mut instructions = Vec::new();
        while at < end {
            let bytes = section.data.get(at as usize..end.min(section.data.len() as u64) as usize);
            let Some(mut instruction) = bytes.and_then(Instruction::read) else { break };
            let key = (section.name, at as u32);
            instruction.line = notes.lines.get(&key).copied();
            instruction.relocation = notes.relocations.get(&key).copied();
            let slots = |from: u64| {
                let target =
                    (from as i64).checked_add(instruction.constant.checked_add(1)?.checked_mul(8)?)?;
                u64::try_from(target).ok()
            };
            match meant.and_then(|meant| meant.get(&at)) {
                Some(symbol) if symbol.section == 0 => instruction.reference = Some(symbol.name),
                Some(symbol) => {
                    let Some(target) = elf.sections().get(symbol.section) else { break };
                    if target.executable {
                        let by_place =
                            || if symbol.section == index { local } else { &places.shared }.get(&slots(0)?);
                        let name =
                            if symbol.name.is_empty() { by_place().copied() } else { Some(symbol.name) };
                        if let Some(name) = name {
                            instruction.refer_to_function(name);
                        }
                    } else if target.name == ".maps" {
                        instruction.refer_to_map(symbol.name);
                    } else {
                        // The section itself is meant by a symbol without a name: then the place is in the number.
                        let place = if symbol.name.is_empty() {
                            instruction.constant as u32
                        } else {
                            symbol.value as u32
                        };
                        instruction.refer_to_value(target.name, place);
                    }
                }
                None if instruction.calls_own() => {
                    if let Some(name) = slots(at).and_then(|target| local.get(&target)) {
                        instruction.refer_to_function(name);
                    }
                }
                None => {}
            }
            at += instruction.slots() as u64 * 8;
            instructions.push(instruction);
        }
        functions.push(Function { name, instructions });
    }
}

/// The functions that one calls, sorted by name.
fn calls(function: &Function<'_>, by_name: &HashMap<&str, usize>) -> Vec<usize> {
    let mut names: Vec<_> = function.instructions.iter().filter_map(Instruction::function).collect();
    names.sort_unstable();
    names.dedup();
    names.iter().filter_map(|name| by_name.get(name).copied()).collect()
}

/// A program's function and, breadth first, those that it reaches; nothing if `left` does not suffice.
fn link(own: usize, calls: &[Vec<usize>], left: &mut usize) -> Option<Vec<usize>> {
    let mut linked = vec![own];
    let mut seen = HashSet::from([own]);
    let mut at = 0;
    while let Some(function) = linked.get(at).copied() {
        for called in &calls[function] {
            if seen.insert(*called) {
                *left = left.checked_sub(1)?;
                linked.push(*called);
            }
        }
        at += 1;
    }
    Some(linked)
}

/// Text that may not grow past what is left.
struct Bounded<'a> {
    text: String,
    left: &'a mut usize,
}

impl fmt::Write for Bounded<'_> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        *self.left = self.left.checked_sub(s.len()).ok_or(fmt::Error)?;
        self.text.push_str(s);
        Ok(())
    }
}

fn write(left: &mut usize, text: impl FnOnce(&mut Bounded<'_>) -> fmt::Result) -> Result<String, Error> {
    let mut out = Bounded { text: String::new(), left };
    text(&mut out).map_err(|fmt::Error| Error::Code { limit: MAX_TEXT, what: "bytes of text" })?;
    Ok(out.text)
}
