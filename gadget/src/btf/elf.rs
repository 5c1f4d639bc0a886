//! Just enough ELF to read an eBPF object: sections and symbols of a little-endian 64-bit file.
//!
//! Source of the layout: the ELF-64 object file format (System V ABI, chapter 4).

use super::types::word;
use super::{Error, NAME};

const EM_BPF: u16 = 247;
const SHT_SYMTAB: u32 = 2;
const SHT_NOBITS: u32 = 8;
const SHT_REL: u32 = 9;
/// Bytes of a relocation without an addend: where, and by which symbol.
const REL: usize = 16;
const SHF_EXECINSTR: u64 = 4;
const SECTION_HEADER: usize = 64;
const SYMBOL: usize = 24;

/// An eBPF object file over borrowed bytes.
#[derive(Debug)]
pub struct Elf<'a> {
    sections: Vec<Section<'a>>,
    symbols: Vec<Symbol<'a>>,
    /// The symbol table and its names as they are stored: relocations count in it.
    table: (&'a [u8], &'a [u8]),
}

/// One section.
#[derive(Clone, Copy, Debug)]
pub struct Section<'a> {
    /// Its name, such as `.rodata` or `kprobe/do_unlinkat`.
    pub name: &'a str,
    /// Its bytes; empty for a section that has none in the file, such as `.bss`.
    pub data: &'a [u8],
    /// Whether it holds instructions.
    pub executable: bool,
    /// The index of the section that it holds relocations for, if that is what it holds.
    pub(crate) relocates: Option<usize>,
}

/// One symbol that is defined in a section.
#[derive(Clone, Copy, Debug)]
pub struct Symbol<'a> {
    /// Its name.
    pub name: &'a str,
    /// The index of its section.
    pub section: usize,
    /// Bytes from the start of the section.
    pub value: u64,
    /// Whether it is a function.
    pub function: bool,
    /// Whether it can be seen outside of the compilation unit.
    pub global: bool,
}

impl<'a> Elf<'a> {
    /// Reads the section headers and the symbol table.
    ///
    /// # Errors
    /// When the bytes are no 64-bit little-endian ELF for eBPF, or a part lies outside of them.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let format = |why: &str| Error::Format { what: "ELF object", why: why.to_owned() };
        let header = slice(bytes, 0, 64)?;
        if !header.starts_with(b"\x7fELF") {
            return Err(format("it does not start as an ELF file does"));
        }
        if header[4..6] != [2, 1] {
            return Err(format("it is not 64-bit and little-endian"));
        }
        match half(header, 18) {
            EM_BPF => {}
            machine => return Err(format(&format!("it is for machine {machine}, not for eBPF ({EM_BPF})"))),
        }
        if usize::from(half(header, 58)) != SECTION_HEADER {
            return Err(format("its section headers have an unknown size"));
        }
        let count = u64::from(half(header, 60));
        let table = slice(bytes, long(header, 40), count * SECTION_HEADER as u64)?;
        let raw = || table.chunks_exact(SECTION_HEADER);

        let mut sections = Vec::with_capacity(count as usize);
        for h in raw() {
            let nobits = word(h, 4) == SHT_NOBITS;
            let data = if nobits { &[][..] } else { slice(bytes, long(h, 24), long(h, 32))? };
            let relocates = (word(h, 4) == SHT_REL).then(|| word(h, 44) as usize);
            sections.push(Section { name: "", data, executable: long(h, 8) & SHF_EXECINSTR != 0, relocates });
        }
        let names = sections.get(usize::from(half(header, 62))).map_or(&[][..], |s| s.data);
        for (section, h) in sections.iter_mut().zip(raw()) {
            section.name = string(names, word(h, 0));
        }

        let mut symbols = Vec::new();
        let mut table = (&[][..], &[][..]);
        if let Some((index, h)) = raw().enumerate().find(|(_, h)| word(h, 4) == SHT_SYMTAB) {
            let names = sections.get(word(h, 40) as usize).map_or(&[][..], |s| s.data);
            table = (sections[index].data, names);
            symbols = table.0.chunks_exact(SYMBOL).map(|s| symbol(s, names)).collect();
            symbols.retain(|s| s.section != 0 && s.section < sections.len());
        }
        Ok(Self { sections, symbols, table })
    }

    /// Every section, in the order of the file; the first is the format's empty one.
    pub fn sections(&self) -> &[Section<'a>] {
        &self.sections
    }

    /// The first section of this name.
    pub fn section(&self, name: &str) -> Option<&Section<'a>> {
        self.sections.iter().find(|s| s.name == name)
    }

    /// Every symbol that is defined in a section.
    pub fn symbols(&self) -> &[Symbol<'a>] {
        &self.symbols
    }

    /// (index of a section, bytes from its start, the symbol meant there) of every relocation. A symbol that is defined
    /// nowhere has section 0.
    pub(crate) fn relocations(&self) -> impl Iterator<Item = (usize, u64, Symbol<'a>)> + '_ {
        let tables = self.sections.iter().filter_map(|table| Some((table.relocates?, table.data)));
        let entries = tables.flat_map(|(section, data)| data.chunks_exact(REL).map(move |e| (section, e)));
        entries.filter_map(|(section, entry)| {
            let at = (long(entry, 8) >> 32) as usize * SYMBOL;
            Some((section, long(entry, 0), symbol(self.table.0.get(at..at + SYMBOL)?, self.table.1)))
        })
    }

    /// Indexes the object's own BTF.
    ///
    /// # Errors
    /// When there is no section `.BTF`, or it is not BTF.
    pub fn btf(&self) -> Result<super::Btf<'a>, Error> {
        super::Btf::parse(self.section(".BTF").ok_or(Error::NoSection(".BTF"))?.data)
    }
}

fn symbol<'a>(bytes: &'a [u8], names: &'a [u8]) -> Symbol<'a> {
    const FUNCTION: u8 = 2;
    Symbol {
        name: string(names, word(bytes, 0)),
        section: usize::from(half(bytes, 6)),
        value: long(bytes, 8),
        function: bytes[4] & 0xf == FUNCTION,
        global: bytes[4] >> 4 != 0,
    }
}

fn slice(bytes: &[u8], offset: u64, length: u64) -> Result<&[u8], Error> {
    let end = offset.saturating_add(length);
    bytes.get(offset as usize..end as usize).ok_or(Error::Truncated {
        what: "ELF object",
        need: end,
        have: bytes.len() as u64,
    })
}

/// The zero-terminated string at `offset`; empty if there is none, or it is too long, or not UTF-8.
fn string(names: &[u8], offset: u32) -> &str {
    let rest = names.get(offset as usize..).unwrap_or_default();
    let end = rest.iter().take(NAME).position(|b| *b == 0).unwrap_or(0);
    str::from_utf8(&rest[..end]).unwrap_or_default()
}

fn half(bytes: &[u8], at: usize) -> u16 {
    match bytes.get(at..at + 2) {
        Some(&[a, b]) => u16::from_le_bytes([a, b]),
        _ => 0,
    }
}

fn long(bytes: &[u8], at: usize) -> u64 {
    u64::from(word(bytes, at)) | u64::from(word(bytes, at + 4)) << 32
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An object file. `sections` are (name, bytes, executable) and get the indices from 1; `symbols` are (name,
    /// section, value, function).
    pub(crate) fn elf(sections: &[(&str, &[u8], bool)], symbols: &[(&str, u16, u64, bool)]) -> Vec<u8> {
        let mut names = vec![0u8];
        let mut name = |text: &str| {
            let at = names.len() as u32;
            names.extend_from_slice(text.as_bytes());
            names.push(0);
            at
        };
        let mut symtab = vec![0u8; SYMBOL];
        for (text, section, value, function) in symbols {
            symtab.extend(name(text).to_le_bytes());
            symtab.extend([1 << 4 | if *function { 2 } else { 1 }, 0]);
            symtab.extend(section.to_le_bytes());
            symtab.extend(value.to_le_bytes());
            symtab.extend(0u64.to_le_bytes());
        }
        // (name, type, flags, link, bytes)
        let mut all: Vec<(u32, u32, u64, u32, Vec<u8>)> = vec![(0, 0, 0, 0, Vec::new())];
        for (text, data, executable) in sections {
            let kind = if text.starts_with(".bss") { SHT_NOBITS } else { 1 };
            all.push((name(text), kind, if *executable { SHF_EXECINSTR } else { 0 }, 0, data.to_vec()));
        }
        let strtab = all.len() as u32 + 1;
        all.push((name(".symtab"), SHT_SYMTAB, 0, strtab, symtab));
        let own = name(".strtab");
        all.push((own, 3, 0, 0, names));

        let mut body = Vec::new();
        let mut headers = Vec::new();
        for (name, kind, flags, link, data) in &all {
            headers.extend([*name, *kind].iter().flat_map(|w| w.to_le_bytes()));
            headers.extend(
                [*flags, 0, 64 + body.len() as u64, data.len() as u64].iter().flat_map(|w| w.to_le_bytes()),
            );
            headers.extend([*link, 0].iter().flat_map(|w| w.to_le_bytes()));
            headers.extend([0u8; 16]);
            body.extend_from_slice(data);
        }
        let mut out = b"\x7fELF\x02\x01\x01".to_vec();
        out.resize(16, 0);
        out.extend([1u16, EM_BPF].iter().flat_map(|w| w.to_le_bytes()));
        out.extend(1u32.to_le_bytes());
        out.extend([0, 0, 64 + body.len() as u64].iter().flat_map(|w| w.to_le_bytes()));
        out.extend(0u32.to_le_bytes());
        out.extend([64u16, 0, 0, 64, all.len() as u16, strtab as u16].iter().flat_map(|w| w.to_le_bytes()));
        out.extend(body);
        out.extend(headers);
        out
    }

    #[test]
    fn sections_and_symbols_are_read() {
        let bytes = elf(
            &[(".rodata", &[1, 2, 3], false), (".bss", &[], false), ("xdp", &[0; 8], true)],
            &[("v", 1, 2, false), ("prog", 3, 0, true)],
        );
        let elf = Elf::parse(&bytes).unwrap();
        assert_eq!(elf.section(".rodata").unwrap().data, [1, 2, 3]);
        assert!(elf.section(".bss").unwrap().data.is_empty());
        assert!(elf.section("xdp").unwrap().executable && !elf.section(".rodata").unwrap().executable);
        let symbols: Vec<_> =
            elf.symbols().iter().map(|s| (s.name, s.section, s.value, s.function)).collect();
        assert_eq!(symbols, [("v", 1, 2, false), ("prog", 3, 0, true)]);
        assert!(elf.section("absent").is_none());
        assert_eq!(elf.btf().unwrap_err(), Error::NoSection(".BTF"));
    }

    #[test]
    fn every_truncation_is_an_error() {
        let good = elf(&[(".rodata", &[1, 2, 3], false)], &[("v", 1, 0, false)]);
        for length in 0..good.len() {
            assert!(Elf::parse(&good[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn other_files_are_refused() {
        let mut bytes = elf(&[], &[]);
        bytes[18] = 62;
        insta::assert_snapshot!(Elf::parse(&bytes).unwrap_err(), @"ELF object is not what was expected: it is for machine 62, not for eBPF (247)");
        bytes[4] = 1;
        insta::assert_snapshot!(Elf::parse(&bytes).unwrap_err(), @"ELF object is not what was expected: it is not 64-bit and little-endian");
        bytes[0] = b'#';
        insta::assert_snapshot!(Elf::parse(&bytes).unwrap_err(), @"ELF object is not what was expected: it does not start as an ELF file does");
    }
}
