//! One eBPF instruction, and how it is written for people: as Inspektor Gadget's `image inspect` writes it.
//!
//! Source of the encoding: the kernel's Documentation/bpf/standardization/instruction-set.rst.

use std::fmt;

use super::helper;

/// Loads a 64-bit number, of which the second half is in the slot that follows.
const LOAD_IMM64: u8 = 0x18;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;

/// What register `src` of a 64-bit load says that its number stands for.
const MAP: u8 = 1;
const MAP_VALUE: u8 = 2;
const FUNCTION: u8 = 4;
/// What it says of a call: that the function is one of the program's own, or one of the kernel's by BTF id.
const OWN_FUNCTION: u8 = 1;
const KERNEL_FUNCTION: u8 = 2;

/// An instruction, with what the object says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction<'a> {
    pub(super) opcode: u8,
    pub(super) dst: u8,
    pub(super) src: u8,
    pub(super) offset: i16,
    pub(super) constant: i64,
    /// The map, section of variables or function that it refers to.
    pub(super) reference: Option<&'a str>,
    /// The line of source that starts with it.
    pub(super) line: Option<&'a str>,
    /// What it asks of the kernel's types.
    pub(super) relocation: Option<Relocation<'a>>,
}

/// What an instruction asks of the kernel's types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Relocation<'a> {
    pub(super) kind: u32,
    pub(super) type_kind: &'static str,
    pub(super) type_name: &'a str,
    pub(super) type_id: u32,
    pub(super) access: &'a str,
}

impl<'a> Instruction<'a> {
    /// Reads the instruction at the start of `bytes`; nothing if not a whole one is there.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let raw: [u8; 8] = bytes.get(..8)?.try_into().ok()?;
        let [opcode, registers, o0, o1, imm @ ..] = raw;
        let low = i32::from_le_bytes(imm);
        let constant = if opcode == LOAD_IMM64 {
            let high = bytes.get(12..16)?.try_into().ok().map(u32::from_le_bytes)?;
            (u64::from(high) << 32 | u64::from(low as u32)) as i64
        } else {
            i64::from(low)
        };
        Some(Self {
            opcode,
            dst: registers & 0xf,
            src: registers >> 4,
            offset: i16::from_le_bytes([o0, o1]),
            constant,
            reference: None,
            line: None,
            relocation: None,
        })
    }

    /// How many slots of 8 bytes it takes.
    pub(super) fn slots(&self) -> usize {
        if self.opcode == LOAD_IMM64 { 2 } else { 1 }
    }

    /// The number of the kernel's function that it calls.
    pub(super) fn helper(&self) -> Option<i64> {
        (self.opcode == CALL && self.src == 0).then_some(self.constant)
    }

    /// (register, map) if it loads a map.
    pub(super) fn map(&self) -> Option<(u8, &'a str)> {
        (self.opcode == LOAD_IMM64 && self.src == MAP).then_some((self.dst, self.reference?))
    }

    /// The function of the same object that it calls or takes the address of.
    pub(super) fn function(&self) -> Option<&'a str> {
        match (self.opcode, self.src) {
            (CALL, OWN_FUNCTION) | (LOAD_IMM64, FUNCTION) => self.reference,
            _ => None,
        }
    }

    /// Whether it calls a function of the same object, at `constant + 1` slots from here unless a name is known.
    pub(super) fn calls_own(&self) -> bool {
        self.opcode == CALL && self.src == OWN_FUNCTION
    }

    pub(super) fn refer_to_map(&mut self, name: &'a str) {
        if self.opcode == LOAD_IMM64 {
            (self.src, self.constant, self.reference) = (MAP, 0, Some(name));
        }
    }

    /// `at` is in bytes from the start of the section of variables.
    pub(super) fn refer_to_value(&mut self, section: &'a str, at: u32) {
        if self.opcode == LOAD_IMM64 {
            let constant = (u64::from(at) << 32) as i64;
            (self.src, self.constant, self.reference) = (MAP_VALUE, constant, Some(section));
        }
    }

    pub(super) fn refer_to_function(&mut self, name: &'a str) {
        match self.opcode {
            CALL => (self.src, self.constant, self.reference) = (OWN_FUNCTION, -1, Some(name)),
            LOAD_IMM64 => (self.src, self.constant, self.reference) = (FUNCTION, -1, Some(name)),
            _ => {}
        }
    }
}

impl fmt::Display for Instruction<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (dst, imm) = (Register(self.dst), self.constant);
        match (self.opcode, self.src) {
            (EXIT, _) => return f.write_str("Exit"),
            (LOAD_IMM64, MAP) => write!(f, "LoadMapPtr dst: {dst} fd: {}", imm as i32)?,
            (LOAD_IMM64, MAP_VALUE) => {
                write!(f, "LoadMapValue dst: {dst}, fd: {} off: {}", imm as i32, (imm as u64) >> 32)?;
            }
            (CALL, OWN_FUNCTION) => write!(f, "Call {imm}")?,
            (CALL, KERNEL_FUNCTION) => write!(f, "Call Kfunc({imm})")?,
            (CALL, _) => {
                f.write_str("Call ")?;
                helper::write(imm, f)?;
            }
            _ => match self.opcode & 7 {
                0..=3 => self.memory(f)?,
                4 | 7 => self.arithmetic(f)?,
                _ => self.jump(f)?,
            },
        }
        self.reference.map_or(Ok(()), |name| write!(f, " <{name}>"))
    }
}

impl Instruction<'_> {
    fn memory(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (dst, src) = (Register(self.dst), Register(self.src));
        let Self { offset, constant, .. } = self;
        let class = ["Ld", "LdX", "St", "StX"][usize::from(self.opcode & 3)];
        let size = ["W", "H", "B", "DW"][usize::from(self.opcode >> 3 & 3)];
        match self.opcode >> 5 {
            0 => write!(f, "{class}Imm{size} dst: {dst} imm: {constant}"),
            1 => write!(f, "{class}Abs{size} imm: {constant}"),
            2 => write!(f, "{class}Ind{size} dst: {dst} src: {src} imm: {constant}"),
            mode @ (3 | 4) => {
                let mode = if mode == 3 { "Mem" } else { "MemSX" };
                write!(f, "{class}{mode}{size} dst: {dst} src: {src} off: {offset} imm: {constant}")
            }
            6 => {
                let operation = match constant {
                    0x00 => "Add",
                    0x01 => "FetchAdd",
                    0x40 => "Or",
                    0x41 => "FetchOr",
                    0x50 => "And",
                    0x51 => "FetchAnd",
                    0xa0 => "Xor",
                    0xa1 => "FetchXor",
                    0xe1 => "Xchg",
                    0xf1 => "CmpXchg",
                    _ => "Unknown",
                };
                write!(f, "{class}Atomic{operation}{size} dst: {dst} src: {src} off: {offset}")
            }
            _ => self.unknown(f),
        }
    }

    fn arithmetic(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [&str; 13] =
            ["Add", "Sub", "Mul", "Div", "Or", "And", "LSh", "RSh", "Neg", "Mod", "Xor", "Mov", "ArSh"];
        const SWAP: u8 = 0xd;
        let (dst, wide) = (Register(self.dst), self.opcode & 7 == 7);
        let by_register = self.opcode & 8 != 0;
        let operation = match (self.opcode >> 4, self.offset) {
            // Its width is in the constant, which is not shown: the space is where it would be.
            (SWAP, _) => {
                let name = if wide { "BSwap" } else { ["SwapLE", "SwapBE"][usize::from(by_register)] };
                return write!(f, "{name} dst: {dst} ");
            }
            (3, 1) => "SDiv",
            (9, 1) => "SMod",
            (0xb, 8) => "MovSX8",
            (0xb, 16) => "MovSX16",
            (0xb, 32) => "MovSX32",
            (number, _) => match NAMES.get(usize::from(number)) {
                Some(name) => name,
                None => return self.unknown(f),
            },
        };
        let width = if wide { "" } else { "32" };
        if by_register {
            write!(f, "{operation}{width}Reg dst: {dst} src: {}", Register(self.src))
        } else {
            write!(f, "{operation}{width}Imm dst: {dst} imm: {}", self.constant)
        }
    }

    fn jump(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [&str; 14] = [
            "Ja", "JEq", "JGT", "JGE", "JSet", "JNE", "JSGT", "JSGE", "Call", "Exit", "JLT", "JLE", "JSLT",
            "JSLE",
        ];
        let (dst, offset, narrow) = (Register(self.dst), self.offset, self.opcode & 7 == 6);
        match (NAMES.get(usize::from(self.opcode >> 4)), self.opcode & 8 != 0) {
            (Some(&"Ja"), _) if narrow => write!(f, "Ja32 imm: {}", self.constant),
            (Some(&"Ja"), _) => write!(f, "Ja off: {offset}"),
            (None | Some(&("Call" | "Exit")), _) => self.unknown(f),
            (Some(name), by_register) => {
                let width = if narrow { "32" } else { "" };
                if by_register {
                    write!(f, "{name}{width}Reg dst: {dst} off: {offset} src: {}", Register(self.src))
                } else {
                    write!(f, "{name}{width}Imm dst: {dst} off: {offset} imm: {}", self.constant)
                }
            }
        }
    }

    fn unknown(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OpCode({:#x})", self.opcode)
    }
}

struct Register(u8);

impl fmt::Display for Register {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            10 => f.write_str("rfp"),
            number => write!(f, "r{number}"),
        }
    }
}

impl fmt::Display for Relocation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const KINDS: [&str; 13] = [
            "byte_off",
            "byte_sz",
            "field_exists",
            "signed",
            "lshift_u64",
            "rshift_u64",
            "local_type_id",
            "target_type_id",
            "type_exists",
            "type_size",
            "enumval_exists",
            "enumval_value",
            "type_matches",
        ];
        let kind = KINDS.get(self.kind as usize).unwrap_or(&"unknown");
        write!(f, "CORERelocation({kind}, {}", self.type_kind)?;
        if !self.type_name.is_empty() {
            write!(f, ":{:?}", self.type_name)?;
        }
        write!(f, "[{}], local_id={})", self.access, self.type_id)
    }
}
