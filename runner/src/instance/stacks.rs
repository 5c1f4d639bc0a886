//! The stacks that the kernel keeps for a gadget, and the names of what is on them.

use std::{io::Write as _, sync::Arc};

use libbpf_rs::{MapCore, MapFlags, MapHandle};

use crate::{
    ebpf::{self, LoadedGadget},
    operator::stack::{Stacks, UserStack},
    symbol::{KernelSymbols, Processes, Symbolizers},
};

/// Bytes of an entry of a stack that is told by build identifiers (`struct bpf_stack_build_id` of linux/bpf.h):
/// status, identifier, offset or address.
const BUILD_ID_ENTRY: usize = 32;

/// The status of an entry with an identifier and an offset, and of one with an address.
const VALID: u32 = 1;
const ADDRESS: u32 = 2;

/// The maps of stacks that upstream's headers define.
pub(super) struct StackMaps {
    kernel: Option<MapHandle>,
    user: Option<MapHandle>,
    build_ids: Option<MapHandle>,
}

/// The stacks of one data source.
pub(super) struct Kept {
    maps: Arc<StackMaps>,
    kernel: Option<KernelSymbols>,
    processes: Processes,
    /// The user stack at hand.
    user: Option<UserStack>,
    entries: Vec<u8>,
}

impl StackMaps {
    /// Those that the gadget has.
    pub(super) fn of(gadget: &LoadedGadget) -> Result<Self, ebpf::Error> {
        Ok(Self {
            kernel: gadget.map("ig_kstack")?,
            user: gadget.map("ig_ustack")?,
            build_ids: gadget.map("ig_build_id")?,
        })
    }
}

impl Kept {
    pub(super) fn new(maps: Arc<StackMaps>, symbolizers: &Symbolizers) -> Self {
        let processes = Processes::new(symbolizers.clone());
        Self { maps, kernel: None, processes, user: None, entries: Vec::new() }
    }
}

/// The entries of the stack `id`; none if the kernel does not have it any more.
fn entries(map: Option<&MapHandle>, id: u32) -> Vec<u8> {
    let found = map.and_then(|map| map.lookup(&id.to_ne_bytes(), MapFlags::ANY).ok().flatten());
    found.unwrap_or_default()
}

/// The addresses of a stack: the rest of an entry is zero.
fn addresses(entries: &[u8]) -> impl Iterator<Item = u64> + '_ {
    let number = |bytes: &[u8]| bytes.try_into().ok().map(u64::from_ne_bytes);
    entries.chunks_exact(8).filter_map(number).take_while(|&address| address != 0)
}

impl Stacks for Kept {
    fn kernel(&mut self, id: u32, out: &mut Vec<u8>) {
        let entries = entries(self.maps.kernel.as_ref(), id);
        for address in addresses(&entries) {
            let symbols = self.kernel.get_or_insert_with(KernelSymbols::load);
            out.extend_from_slice(symbols.at(address).unwrap_or("[unknown]").as_bytes());
            out.extend_from_slice(b"; ");
        }
    }

    fn take(&mut self, stack: UserStack) {
        self.entries = entries(self.maps.user.as_ref(), stack.id);
        self.user = Some(stack);
    }

    fn addresses(&mut self, out: &mut Vec<u8>) {
        for address in addresses(&self.entries) {
            // Writing to memory does not fail.
            let _ = write!(out, "{address:#018x}; ");
        }
    }

    fn symbols(&mut self, out: &mut Vec<u8>) {
        if let Some(stack) = self.user {
            self.processes.names(stack.process, stack.program, addresses(&self.entries), out);
        }
    }

    fn build_ids(&mut self, stack: UserStack, out: &mut Vec<u8>) {
        write_places(&entries(self.maps.build_ids.as_ref(), stack.id), out);
    }
}

/// Appends what the entries of a stack say, until they are empty.
fn write_places(entries: &[u8], out: &mut Vec<u8>) {
    for entry in entries.chunks_exact(BUILD_ID_ENTRY) {
        let (status, rest) = entry.split_at(4);
        let (id, place) = rest.split_at(20);
        let place = place.try_into().map_or(0, u64::from_ne_bytes);
        // Writing to memory does not fail.
        let _ = match status.try_into().map_or(0, u32::from_ne_bytes) {
            VALID => {
                id.iter().for_each(|byte| drop(write!(out, "{byte:02x}")));
                write!(out, " +{place:x}; ")
            }
            ADDRESS => write!(out, "{place:x}; "),
            _ => return,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_written_as_upstream_does() {
        let entry = |status: u32, id: u8, place: u64| {
            let mut bytes = status.to_ne_bytes().to_vec();
            bytes.extend([id; 20]);
            bytes.extend(place.to_ne_bytes());
            bytes
        };
        let entries = [entry(1, 0xab, 0x72e4), entry(2, 0, 0x5572_026c_ab70), entry(0, 0, 0), entry(1, 1, 1)];
        let mut out = Vec::new();
        write_places(&entries.concat(), &mut out);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, format!("{} +72e4; 5572026cab70; ", "ab".repeat(20)));
    }

    #[test]
    fn a_stack_ends_with_a_zero() {
        let stack: Vec<u8> = [5_u64, 6, 0, 7].iter().flat_map(|n| n.to_ne_bytes()).collect();
        assert_eq!(addresses(&stack).collect::<Vec<_>>(), [5, 6]);
    }
}
