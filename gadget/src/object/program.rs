//! The programs of an object: functions that the kernel runs, each in a section that says where it attaches.

use crate::btf::elf::{Elf, Symbol};

/// An entry program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The function's name.
    pub name: String,
    /// The section it is in, such as `kprobe/do_unlinkat`: its type and where it attaches.
    pub section: String,
}

/// (entry programs in the order of the file, packet filters to be replaced).
pub(super) fn programs(elf: &Elf<'_>) -> (Vec<Program>, Vec<String>) {
    let mut found = Vec::new();
    let mut filters = Vec::new();
    for symbol in elf.symbols().iter().filter(|s| s.function) {
        let section = elf.sections()[symbol.section];
        if let Some(name) = symbol.name.strip_prefix("gadget_pf_") {
            filters.push(name.to_owned());
        }
        if is_entry(symbol, elf) {
            let program = Program { name: symbol.name.to_owned(), section: section.name.to_owned() };
            found.push((symbol.section, symbol.value, program));
        }
    }
    found.sort_by_key(|(section, value, _)| (*section, *value));
    (found.into_iter().map(|(_, _, program)| program).collect(), filters)
}

/// Whether a symbol is an entry program. Functions in `.text` are called by programs; they are none themselves.
pub(super) fn is_entry(symbol: &Symbol<'_>, elf: &Elf<'_>) -> bool {
    let section = elf.sections()[symbol.section];
    symbol.function && section.executable && section.name != ".text" && symbol.global
}
