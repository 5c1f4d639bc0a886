//! Programs and libraries as files (ELF, 64 bits, this machine's byte order): which function is where, and which probes
//! their authors left in them.
//!
//! Sources: the System V ABI's chapters on object files, and the notes of SystemTap's `sys/sdt.h` ("stapsdt", version 3).

use std::{
    fs::File,
    io::{self, Error, ErrorKind},
    os::unix::fs::FileExt,
};

/// Most bytes of one table.
const MAX_TABLE: u64 = 64 << 20;

/// `PT_LOAD`: a part of the file that is mapped.
const LOAD: u32 = 1;
/// `SHT_SYMTAB` and `SHT_DYNSYM`.
const SYMBOLS: [u32; 2] = [2, 11];
/// `SHT_NOTE`.
const NOTES: u32 = 7;
/// `NT_GNU_BUILD_ID`, a note of `GNU`: which build a file is of.
const BUILD_ID: u32 = 3;
/// Where it is looked for: bytes of a section, and how many of them.
const MAX_NOTES: u64 = 64 << 10;
const MOST_NOTES: usize = 16;
/// Most bytes of such an identifier; linkers make 20, and at most 64 of what they are told.
const MAX_BUILD_ID: usize = 64;
/// `STT_FUNC`.
const FUNCTION: u8 = 2;

const HEADER: usize = 64;
const SECTION: usize = 64;
const SEGMENT: usize = 56;
const SYMBOL: usize = 24;

/// A program or library.
pub(crate) struct Elf {
    file: File,
    segments: Vec<Segment>,
    sections: Vec<Section>,
}

struct Segment {
    offset: u64,
    address: u64,
    size: u64,
}

struct Section {
    name: u32,
    kind: u32,
    address: u64,
    offset: u64,
    size: u64,
    link: u32,
}

/// The functions of a file, by address.
#[derive(Default)]
pub(crate) struct Functions {
    /// First byte, one past the last, where in `text` the name begins; sorted.
    list: Vec<(u64, u64, u32)>,
    text: Vec<u8>,
}

/// Where a probe that its author left is (a statically defined tracepoint).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Probe {
    /// The instruction, in bytes from the file's start.
    pub(crate) offset: u64,
    /// The counter that says whether anybody looks, in bytes from the file's start; 0 if there is none.
    pub(crate) counter: u64,
    /// Where its arguments are: see [`super::arguments`].
    pub(crate) arguments: String,
}

fn invalid(why: &str) -> Error {
    Error::new(ErrorKind::InvalidData, why)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).and_then(|b| b.try_into().ok()).map_or(0, u16::from_ne_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_ne_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_ne_bytes)
}

/// The text at `at`, up to its NUL.
fn text_at(bytes: &[u8], at: usize) -> &[u8] {
    let rest = bytes.get(at..).unwrap_or_default();
    rest.split(|&byte| byte == 0).next().unwrap_or_default()
}

fn read(file: &File, offset: u64, size: u64) -> io::Result<Vec<u8>> {
    // Before memory is asked for: what a file says of its length need not be so.
    let length = file.metadata()?.len();
    if size > MAX_TABLE || offset.checked_add(size).is_none_or(|end| end > length) {
        return Err(invalid("a table that is not in the file"));
    }
    let mut bytes = vec![0; usize::try_from(size).map_err(|_| invalid("too large"))?];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(bytes)
}

impl Elf {
    /// Reads where the parts of `file` are.
    pub(crate) fn open(file: File) -> io::Result<Self> {
        let head = read(&file, 0, HEADER as u64)?;
        let order = if cfg!(target_endian = "little") { 1 } else { 2 };
        if !head.starts_with(&[0x7f, b'E', b'L', b'F', 2, order]) {
            return Err(invalid("no program of this machine's kind"));
        }
        let table = |at: usize, counts: usize, size: usize| {
            let count = u16_at(&head, counts + 2);
            if count > 0 && usize::from(u16_at(&head, counts)) != size {
                return Err(invalid("tables of unknown entries"));
            }
            read(&file, u64_at(&head, at), u64::from(count) * size as u64)
        };
        let segments = table(32, 54, SEGMENT)?;
        let sections = table(40, 58, SECTION)?;
        let segments = segments.chunks_exact(SEGMENT).filter(|segment| u32_at(segment, 0) == LOAD);
        let segments = segments.map(|segment| Segment {
            offset: u64_at(segment, 8),
            address: u64_at(segment, 16),
            size: u64_at(segment, 32),
        });
        let sections = sections.chunks_exact(SECTION).map(|section| Section {
            name: u32_at(section, 0),
            kind: u32_at(section, 4),
            address: u64_at(section, 16),
            offset: u64_at(section, 24),
            size: u64_at(section, 32),
            link: u32_at(section, 40),
        });
        let (segments, sections) = (segments.collect(), sections.collect());
        let elf = Self { file, segments, sections };
        Ok(elf)
    }

    fn content(&self, section: &Section) -> io::Result<Vec<u8>> {
        read(&self.file, section.offset, section.size)
    }

    /// Where in the file the byte is that a process sees at `address`, if nothing is moved.
    fn offset_of(&self, address: u64) -> Option<u64> {
        self.segments.iter().find_map(|segment| {
            let within = address.checked_sub(segment.address).filter(|within| *within < segment.size)?;
            segment.offset.checked_add(within)
        })
    }

    /// The address of the byte at `offset` of the file, if nothing is moved.
    pub(crate) fn address_of(&self, offset: u64) -> Option<u64> {
        self.segments.iter().find_map(|segment| {
            let within = offset.checked_sub(segment.offset).filter(|within| *within < segment.size)?;
            segment.address.checked_add(within)
        })
    }

    /// Calls `each` with address, size and name of every function, until it gives something. What was stripped off a
    /// program is missing; what a library offers never is.
    fn find<T>(&self, mut each: impl FnMut(u64, u64, &[u8]) -> Option<T>) -> io::Result<Option<T>> {
        for section in self.sections.iter().filter(|section| SYMBOLS.contains(&section.kind)) {
            let Some(strings) = self.sections.get(section.link as usize) else { continue };
            let (symbols, strings) = (self.content(section)?, self.content(strings)?);
            for symbol in symbols.chunks_exact(SYMBOL) {
                let defined = u16_at(symbol, 6) != 0;
                if symbol.get(4).is_none_or(|info| info & 0xf != FUNCTION) || !defined {
                    continue;
                }
                let name = text_at(&strings, u32_at(symbol, 0) as usize);
                if let Some(found) = each(u64_at(symbol, 8), u64_at(symbol, 16), name) {
                    return Ok(Some(found));
                }
            }
        }
        Ok(None)
    }

    /// Where the function `name` begins, in bytes from the file's start.
    pub(crate) fn function(&self, name: &str) -> io::Result<Option<u64>> {
        let found = self.find(|address, _, found| (found == name.as_bytes()).then_some(address))?;
        Ok(found.and_then(|address| self.offset_of(address)))
    }

    /// All functions.
    pub(crate) fn functions(&self) -> io::Result<Functions> {
        let mut functions = Functions { list: Vec::new(), text: Vec::new() };
        self.find(|address, size, name| {
            let at = u32::try_from(functions.text.len()).ok()?;
            functions.list.push((address, address.saturating_add(size), at));
            functions.text.extend_from_slice(name);
            functions.text.push(0);
            None::<()>
        })?;
        // Of several names at one place, the one that was there first: programs list their own before those they offer.
        functions.list.sort_by_key(|&(address, ..)| address);
        functions.list.dedup_by_key(|&mut (address, ..)| address);
        Ok(functions)
    }

    /// Whether only those functions are named that others may call.
    pub(super) fn is_stripped(&self) -> bool {
        !self.sections.iter().any(|section| section.kind == SYMBOLS[0])
    }

    /// What tells this build of the program from all others, if it says so.
    pub(super) fn build_id(&self) -> io::Result<Option<Vec<u8>>> {
        let small = |section: &&Section| section.kind == NOTES && section.size <= MAX_NOTES;
        for section in self.sections.iter().filter(small).take(MOST_NOTES) {
            let bytes = self.content(section)?;
            let found = notes(&bytes).find(|note| note.kind == BUILD_ID && note.owner == b"GNU\0");
            let id = found.map(|note| note.content).filter(|id| (1..=MAX_BUILD_ID).contains(&id.len()));
            if let Some(id) = id {
                return Ok(Some(id.to_vec()));
            }
        }
        Ok(None)
    }

    fn section_named(&self, name: &str) -> io::Result<Option<&Section>> {
        let mut head = [0; HEADER];
        self.file.read_exact_at(&mut head, 0)?;
        let Some(strings) = self.sections.get(usize::from(u16_at(&head, 62))) else { return Ok(None) };
        let strings = self.content(strings)?;
        let is = |section: &&Section| text_at(&strings, section.name as usize) == name.as_bytes();
        Ok(self.sections.iter().find(is))
    }

    /// Every place of the probe `name` of `provider`.
    pub(crate) fn probes(&self, provider: &str, name: &str) -> io::Result<Vec<Probe>> {
        let Some(section) = self.section_named(".note.stapsdt")? else { return Ok(Vec::new()) };
        let base = self.section_named(".stapsdt.base")?.map(|section| section.address);
        let bytes = self.content(section)?;
        let mut found = Vec::new();
        for Note { owner, kind, content: note } in notes(&bytes) {
            if kind == 3 && text_at(owner, 0) == b"stapsdt" {
                let its_provider = text_at(note, 24);
                let its_name = text_at(note, 25 + its_provider.len());
                if its_provider == provider.as_bytes() && its_name == name.as_bytes() {
                    let arguments = text_at(note, 26 + its_provider.len() + its_name.len());
                    // Who links a program moves its parts; how far is told by a section that was moved with them.
                    let moved = base.map_or(0, |base| base.wrapping_sub(u64_at(note, 8)));
                    let place = |address: u64| self.offset_of(address.wrapping_add(moved));
                    let counter = Some(u64_at(note, 16)).filter(|&counter| counter != 0);
                    found.extend(place(u64_at(note, 0)).map(|offset| Probe {
                        offset,
                        counter: counter.and_then(place).unwrap_or(0),
                        arguments: String::from_utf8_lossy(arguments).into_owned(),
                    }));
                }
            }
        }
        Ok(found)
    }
}

/// A note in a file.
struct Note<'a> {
    owner: &'a [u8],
    kind: u32,
    content: &'a [u8],
}

/// The notes of a section, until one is not whole.
fn notes(bytes: &[u8]) -> impl Iterator<Item = Note<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let padded = |size: u32| (size as usize).saturating_add((size as usize).wrapping_neg() % 4);
        let (owner, size, kind) = (u32_at(rest, 0), u32_at(rest, 4), u32_at(rest, 8));
        let from = 12_usize.saturating_add(padded(owner));
        let content = rest.get(from..from.saturating_add(size as usize))?;
        let owner = rest.get(12..12_usize.saturating_add(owner as usize))?;
        rest = rest.get(from.saturating_add(padded(size))..).unwrap_or_default();
        Some(Note { owner, kind, content })
    })
}

impl Functions {
    /// The name of the function that `address` is in.
    pub(crate) fn at(&self, address: u64) -> Option<&[u8]> {
        let after = self.list.partition_point(|&(first, ..)| first <= address);
        let &(first, end, name) = self.list.get(after.checked_sub(1)?)?;
        // One written in assembler need not say how long it is.
        (address < end || first == end).then(|| text_at(&self.text, name as usize))
    }

    /// Bytes of memory that they take.
    pub(crate) fn size(&self) -> usize {
        self.text.len() + self.list.len() * size_of::<(u64, u64, u32)>()
    }
}

#[cfg(test)]
#[allow(unsafe_code, reason = "a function whose name is the same in the file, and a probe at it")]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    /// A function to be found in the program of this test.
    #[unsafe(no_mangle)]
    #[inline(never)]
    extern "C" fn igx_test_of_names(number: u64) -> u64 {
        std::hint::black_box(number).wrapping_mul(3)
    }

    #[test]
    fn functions_are_found_by_name_and_by_address() {
        assert_eq!(igx_test_of_names(2), 6);
        let elf = Elf::open(File::open("/proc/self/exe").unwrap()).unwrap();
        let offset = elf.function("igx_test_of_names").unwrap().unwrap();
        let functions = elf.functions().unwrap();
        let address = elf.address_of(offset).unwrap();
        assert_eq!(elf.offset_of(address), Some(offset));
        assert_eq!(functions.at(address), Some(&b"igx_test_of_names"[..]));
        assert_eq!(functions.at(address + 1), Some(&b"igx_test_of_names"[..]));
        assert_eq!(functions.at(0), None);
        assert_eq!(elf.function("nosuch_function").unwrap(), None);
        assert!(functions.size() > 1000);
    }

    #[test]
    fn what_is_no_program_is_refused() {
        let mut file = tempfile::tempfile().unwrap();
        assert!(Elf::open(file.try_clone().unwrap()).is_err());
        file.write_all(&[b'x'; 100]).unwrap();
        assert!(Elf::open(file).is_err());
        assert!(Elf::open(File::open("/proc/self/maps").unwrap()).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// A program of which some bytes are others never panics, nor takes more memory than it is long.
        #[test]
        fn damaged_programs_have_no_names_or_others(
            changes in prop::collection::vec((0_usize..20_000, any::<u8>()), 1..40),
            headers in prop::collection::vec((0_usize..64, any::<u8>()), 0..3),
        ) {
            let mut bytes = std::fs::read("/bin/true").unwrap();
            for (at, byte) in changes.into_iter().chain(headers) {
                if let Some(found) = bytes.get_mut(at) {
                    *found = byte;
                }
            }
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&bytes).unwrap();
            if let Ok(elf) = Elf::open(file) {
                let _ = elf.function("main");
                let _ = elf.functions().map(|functions| functions.at(0x1000).map(<[u8]>::to_vec));
                let _ = elf.probes("libc", "setjmp");
            }
        }
    }

    // What a compiler makes of a probe: a note without a name in the program, here at the function above.
    std::arch::global_asm!(
        r#".pushsection .note.stapsdt,"","note""#,
        ".balign 4",
        ".4byte 992f-991f, 994f-993f, 3",
        r#"991: .asciz "stapsdt""#,
        "992: .balign 4",
        "993: .8byte igx_test_of_names",
        ".8byte 0",
        ".8byte 0",
        r#".asciz "igx""#,
        r#".asciz "names""#,
        r#".asciz "8@$7""#,
        "994: .balign 4",
        ".popsection",
    );

    #[test]
    fn probes_are_found_by_provider_and_name() {
        let elf = Elf::open(File::open("/proc/self/exe").unwrap()).unwrap();
        let offset = elf.function("igx_test_of_names").unwrap().unwrap();
        assert_eq!(
            elf.probes("igx", "names").unwrap(),
            [Probe { offset, counter: 0, arguments: "8@$7".to_owned() }]
        );
        assert_eq!(elf.probes("igx", "name").unwrap(), []);
        assert_eq!(elf.probes("ig", "names").unwrap(), []);
    }
}
