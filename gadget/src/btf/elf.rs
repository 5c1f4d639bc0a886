//! Just enough ELF to read an eBPF object: sections and symbols of a little-endian 64-bit file.
//!
//! Source of the layout: the ELF-64 object file format (System V ABI, chapter 4).

use super::types::word;
use super::{Error, NAME};

const EM_BPF: u16 = 247;
const SHT_SYMTAB: u32 = 2;
const SHT_NOBITS: u32 = 8;
const SHF_EXECINSTR: u64 = 4;
const SECTION_HEADER: usize = 64;
const SYMBOL: usize = 24;

/// An eBPF object file over borrowed bytes.
#[derive(Debug)]
pub struct Elf<'a> {
    sections: Vec<Section<'a>>,
    symbols: Vec<Symbol<'a>>,
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
            sections.push(Section { name: "", data, executable: long(h, 8) & SHF_EXECINSTR != 0 });
        }
        let names = sections.get(usize::from(half(header, 62))).map_or(&[][..], |s| s.data);
        for (section, h) in sections.iter_mut().zip(raw()) {
            section.name = string(names, word(h, 0));
        }

        let mut symbols = Vec::new();
        if let Some((index, h)) = raw().enumerate().find(|(_, h)| word(h, 4) == SHT_SYMTAB) {
            let names = sections.get(word(h, 40) as usize).map_or(&[][..], |s| s.data);
            symbols = sections[index].data.chunks_exact(SYMBOL).map(|s| symbol(s, names)).collect();
            symbols.retain(|s| s.section != 0 && s.section < sections.len());
        }
        Ok(Self { sections, symbols })
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
