//! What tells programs at USDT probes where their arguments are.
//!
//! `bpf_usdt_arg` of libbpf's `bpf/usdt.bpf.h` looks a specification up in a map of the gadget's; the number of it
//! comes with each event, as the cookie of what attached the program (Linux 5.15). libbpf fills that map for what it
//! attaches itself, to files of this mount namespace; here files are those of containers. The layout is that header's,
//! of which there are two: since libbpf 1.7 an argument may have an index register.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use libbpf_rs::{MapCore, MapFlags, MapHandle};

use crate::{
    ebpf::{Error, LoadedGadget},
    symbol::{Argument, MAX_ARGUMENTS, Place, arguments},
};

/// The map's name.
const MAP: &str = "__bpf_usdt_specs";

/// A number that no specification has.
const NOWHERE: u64 = i32::MAX as u64;

/// Bytes behind the arguments: the author's cookie, and how many arguments there are, padded.
const TAIL: usize = 16;

/// `__BPF_USDT_ARG_*`, and one that is none: asking for such an argument is an error then.
const CONSTANT: u8 = 0;
const REGISTER: u8 = 1;
const MEMORY: u8 = 2;
const INDEXED: u8 = 3;
const UNKNOWN: u8 = u8::MAX;

/// How an argument is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    Plain,
    Indexed,
}

/// The specifications of a gadget.
pub(super) struct Specifications {
    map: MapHandle,
    layout: Layout,
    /// Their numbers, by what probes' notes say.
    known: Mutex<HashMap<String, u32>>,
}

impl Specifications {
    /// Those of `gadget`, if it asks for arguments.
    pub(super) fn of(gadget: &LoadedGadget) -> Result<Option<Self>, Error> {
        let Some(map) = gadget.map(MAP)? else { return Ok(None) };
        let layouts = [Layout::Plain, Layout::Indexed];
        let found = layouts.into_iter().find(|layout| layout.size() == map.value_size() as usize);
        let Some(layout) = found else {
            tracing::warn!("the gadget's map {MAP} is of an unknown layout: USDT probes have no arguments");
            return Ok(None);
        };
        Ok(Some(Self { map, layout, known: Mutex::default() }))
    }

    /// The number of the specification that `text`, from a probe's note, is.
    pub(super) fn number(&self, text: &str) -> u64 {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = known.get(text) {
            return (*number).into();
        }
        let number = known.len() as u32;
        let added =
            self.map.update(&number.to_ne_bytes(), &self.layout.write(&arguments(text)), MapFlags::ANY);
        match added {
            Ok(()) => {
                known.insert(text.to_owned(), number);
                number.into()
            }
            Err(error) => {
                tracing::warn!("a USDT probe has no arguments: the gadget's map {MAP}: {error}");
                NOWHERE
            }
        }
    }
}

impl Layout {
    /// Bytes of an argument.
    fn argument(self) -> usize {
        match self {
            Self::Plain => 16,
            Self::Indexed => 24,
        }
    }

    /// Bytes of a specification.
    fn size(self) -> usize {
        MAX_ARGUMENTS * self.argument() + TAIL
    }

    /// A specification.
    fn write(self, arguments: &[Argument]) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.size());
        for argument in arguments.iter().take(MAX_ARGUMENTS) {
            self.write_argument(argument, &mut out);
        }
        out.resize(MAX_ARGUMENTS * self.argument() + 8, 0);
        out.extend((arguments.len().min(MAX_ARGUMENTS) as u16).to_ne_bytes());
        out.resize(self.size(), 0);
        out
    }

    fn write_argument(self, argument: &Argument, out: &mut Vec<u8>) {
        let (kind, value, register, index) = match argument.place {
            Place::Constant(value) => (CONSTANT, value, 0, (0, 0)),
            Place::Register(register) => (REGISTER, 0, register, (0, 0)),
            Place::Memory { base, index: None, offset } => (MEMORY, offset, base, (0, 0)),
            Place::Memory { base, index: Some(index), offset } if self == Self::Indexed => {
                (INDEXED, offset, base, index)
            }
            Place::Memory { .. } | Place::Unknown => (UNKNOWN, 0, 0, (0, 0)),
        };
        let from = out.len();
        out.extend(value.to_ne_bytes());
        match self {
            Self::Plain => out.extend(u32::from(kind).to_ne_bytes()),
            Self::Indexed => {
                let (register, shift) = index;
                out.extend([kind, 0]);
                // 12 bits and 4.
                out.extend((register | u16::from(shift) << 12).to_ne_bytes());
                out.extend([0; 2]);
            }
        }
        out.extend(register.to_ne_bytes());
        out.extend([u8::from(argument.signed), 64 - 8 * argument.size.min(8)]);
        out.resize(from + self.argument(), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specifications_are_laid_out_as_the_header_has_them() {
        let place = Place::Memory { base: 32, index: Some((80, 3)), offset: -96 };
        let arguments = [
            Argument { size: 4, signed: true, place: Place::Memory { base: 32, index: None, offset: -20 } },
            Argument { size: 1, signed: false, place },
        ];
        let plain = Layout::Plain.write(&arguments);
        assert_eq!(plain.len(), 208);
        assert_eq!(plain[..16], [&(-20_i64).to_ne_bytes()[..], &[2, 0, 0, 0, 32, 0, 1, 32]].concat());
        assert_eq!(plain[16..32], [0, 0, 0, 0, 0, 0, 0, 0, 255, 0, 0, 0, 0, 0, 0, 56]);
        assert_eq!(plain[200..], [2, 0, 0, 0, 0, 0, 0, 0]);
        let indexed = Layout::Indexed.write(&arguments);
        assert_eq!(indexed.len(), 304);
        assert_eq!(indexed[8..24], [2, 0, 0, 0, 0, 0, 32, 0, 1, 32, 0, 0, 0, 0, 0, 0]);
        let index = (80_u16 | 3 << 12).to_ne_bytes();
        assert_eq!(indexed[24..32], (-96_i64).to_ne_bytes());
        assert_eq!(indexed[32..48], [3, 0, index[0], index[1], 0, 0, 32, 0, 0, 56, 0, 0, 0, 0, 0, 0]);
        assert_eq!(indexed[296..298], [2, 0]);
    }
}
