//! The contract between a gadget's ELF object and whoever runs it: tracers, parameters, and structs turned into
//! fields.
//!
//! A gadget says what it offers by defining global variables with telling names (markers); their types, and those
//! of the structs they mention, are in the object's BTF. [`Object::parse`] reads all of it at once, without
//! loading anything. Objects come out of images that nobody has vetted, so a marker of the wrong shape is none,
//! and what a marker with the right shape says must hold.
//!
//! Source of the conventions: Inspektor Gadget's public eBPF headers (include/gadget/macros.h and types.h).

mod code;
mod describe;
mod map;
mod marker;
mod program;
mod structure;
mod variable;

pub use code::{Code, Instruction, ProgramText};
pub use describe::{DescribedMap, DescribedVariable};
pub use map::{MAP_TYPE_HASH, MAP_TYPE_PERF_EVENT_ARRAY, MAP_TYPE_RINGBUF, Map};
pub use marker::{Iter, MapIter, MapTarget, Tracer};
pub use program::Program;
pub use structure::{Enumeration, StructField};
pub use variable::{Param, ParamType, Variable, WellKnown, well_known};

use crate::btf::{self, elf::Elf};

/// What kind of value a field holds. The numbers are those of the gRPC API (`api.Kind`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
#[allow(missing_docs)] // each name says it all
pub enum Scalar {
    Invalid = 0,
    Bool = 1,
    Int8 = 2,
    Int16 = 3,
    Int32 = 4,
    Int64 = 5,
    Uint8 = 6,
    Uint16 = 7,
    Uint32 = 8,
    Uint64 = 9,
    Float32 = 10,
    Float64 = 11,
    String = 12,
    CString = 13,
    Bytes = 14,
}

/// A scalar, or an array of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Kind {
    /// What each element is.
    pub scalar: Scalar,
    /// Whether the field is an array of `scalar`.
    pub array: bool,
}

impl Scalar {
    /// The kind with this number.
    pub fn from_number(number: u32) -> Option<Self> {
        use Scalar::*;
        const ALL: [Scalar; 15] = [
            Invalid, Bool, Int8, Int16, Int32, Int64, Uint8, Uint16, Uint32, Uint64, Float32, Float64,
            String, CString, Bytes,
        ];
        ALL.get(number as usize).copied()
    }
}

impl Kind {
    /// What is added to the number of an array's elements.
    const ARRAY: u32 = 0x1000_0000;

    /// The kind with this number of the gRPC API: arrays of numbers have a bit for that.
    pub fn from_number(number: u32) -> Option<Self> {
        let array = number & Self::ARRAY != 0;
        Some(Self { scalar: Scalar::from_number(number & !Self::ARRAY)?, array })
    }

    /// Whether values have an order: numbers, text, and true or false.
    pub fn is_comparable(self) -> bool {
        !self.array && !matches!(self.scalar, Scalar::Bytes | Scalar::Invalid)
    }

    /// Bytes of a value, for kinds that have but one size.
    pub fn size(self) -> Option<usize> {
        use Scalar::*;
        match self.scalar {
            _ if self.array => None,
            Bool | Int8 | Uint8 => Some(1),
            Int16 | Uint16 => Some(2),
            Int32 | Uint32 | Float32 => Some(4),
            Int64 | Uint64 | Float64 => Some(8),
            Invalid | String | CString | Bytes => None,
        }
    }
}

/// Why an object is no gadget that can be run.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// Its ELF or BTF cannot be read.
    #[error(transparent)]
    Btf(#[from] btf::Error),
    /// A marker has the right shape and says what does not hold.
    #[error("marker {marker}: {why}; correct the gadget's source and build it again")]
    Marker {
        /// The variable's name.
        marker: String,
        /// What is wrong with what it says.
        why: String,
    },
    /// Its code would take more room to show than that of any real gadget.
    #[error(
        "its programs have more than {limit} {what}, which is too much to show; look at it with llvm-objdump"
    )]
    Code {
        /// The most that is shown.
        limit: usize,
        /// Of what.
        what: &'static str,
    },
    /// A struct cannot be turned into fields.
    #[error("struct {name} has {why}; make it smaller and build the gadget again")]
    Struct {
        /// The struct's name.
        name: String,
        /// What is too large about it.
        why: String,
    },
}

/// What a gadget's object offers and needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Object {
    /// Streams of events, each through a ring or perf buffer.
    pub tracers: Vec<Tracer>,
    /// Lists that are made by running kernel iterators.
    pub iters: Vec<Iter>,
    /// Lists that are made by reading a map.
    pub map_iters: Vec<MapIter>,
    /// Iterator programs that walk a map's elements.
    pub iter_targets: Vec<MapTarget>,
    /// Socket programs that attach to a map of sockets.
    pub sk_targets: Vec<MapTarget>,
    /// Ring buffer maps that may be turned into perf buffers on kernels without ring buffers.
    pub tracer_maps: Vec<String>,
    /// Variables that a user may set.
    pub params: Vec<Param>,
    /// Every global variable, parameters included.
    pub variables: Vec<Variable>,
    /// The entry programs, in the order of the file.
    pub programs: Vec<Program>,
    /// Names of functions that a compiled packet filter replaces, without `gadget_pf_`.
    pub packet_filters: Vec<String>,
    /// The maps that the object defines.
    pub maps: Vec<Map>,
    /// The licence that it declares to the kernel; empty if it declares none.
    pub license: String,
}

impl Object {
    /// Reads an eBPF object file.
    ///
    /// # Errors
    /// When it is no eBPF object with BTF, when a marker names what the object does not have, or when a struct
    /// has too many fields.
    pub fn parse(elf: &[u8]) -> Result<Self, Error> {
        let elf = Elf::parse(elf)?;
        let btf = elf.btf()?;
        let maps = map::maps(&btf);
        let variables = variable::variables(&btf, &elf);
        let (programs, packet_filters) = program::programs(&elf);
        let license = elf.section("license").map(|s| s.data.split(|b| *b == 0).next().unwrap_or_default());
        let mut object = Self {
            programs,
            packet_filters,
            maps,
            variables,
            license: String::from_utf8_lossy(license.unwrap_or_default()).into_owned(),
            ..Self::default()
        };
        marker::read(&btf, &elf, &mut object)?;
        Ok(object)
    }

    /// The map of this name.
    pub fn map(&self, name: &str) -> Option<&Map> {
        self.maps.iter().find(|m| m.name == name)
    }

    /// The global variable of this name.
    pub fn variable(&self, name: &str) -> Option<&Variable> {
        self.variables.iter().find(|v| v.name == name)
    }
}

#[cfg(test)]
mod tests;
