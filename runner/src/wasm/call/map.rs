//! Maps of the gadget's programs, maps of the guest's own, and readers of perf buffers.

use wasmi::Caller;

use super::{Functions, MODULE, Result, number, status};
use crate::wasm::{
    host::{MapId, NewMap, PerfRead},
    memory::{Inside, MAX_NAME, SLOW_FUEL, Span, pay},
    objects::Object,
    state::State,
};

type Call<'a> = Caller<'a, State>;

/// Largest map that a guest may make: bytes of all its elements.
const MAX_MAP: u64 = 16 << 20;

/// What a system call is reckoned at, in copied bytes.
const SYSCALL: usize = 16 << 10;

pub(super) fn define(linker: &mut Functions) -> Result<()> {
    linker.func_wrap(MODULE, "newMap", new)?;
    linker.func_wrap(MODULE, "getMap", get)?;
    linker.func_wrap(MODULE, "mapLookup", lookup)?;
    linker.func_wrap(MODULE, "mapUpdate", update)?;
    linker.func_wrap(MODULE, "mapDelete", delete)?;
    linker.func_wrap(MODULE, "mapRelease", release)?;
    linker.func_wrap(MODULE, "newPerfReader", new_reader)?;
    linker
        .func_wrap(MODULE, "perfReaderPause", |caller: Call<'_>, reader: u32| pause(caller, reader, true))?;
    linker.func_wrap(MODULE, "perfReaderResume", |caller: Call<'_>, reader: u32| {
        pause(caller, reader, false)
    })?;
    linker.func_wrap(MODULE, "perfReaderRead", read)?;
    linker.func_wrap(MODULE, "perfReaderClose", close)?;
    Ok(())
}

fn new(
    mut caller: Call<'_>,
    name: u64,
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max: u32,
) -> Result<u32> {
    pay(&mut caller, SLOW_FUEL)?;
    number(caller, SYSCALL, 0, |inside| {
        let name = Span(name).name(inside.memory)?;
        let element = u64::from(key_size) + u64::from(value_size);
        if element.checked_mul(u64::from(max))? > MAX_MAP {
            return None;
        }
        let map = NewMap { name, map_type, key_size, value_size, max_entries: max };
        let id = inside.state.host.new_map(&map)?;
        Some(keep(inside.state, id, true))
    })
}

fn get(caller: Call<'_>, name: u64) -> Result<u32> {
    number(caller, MAX_NAME, 0, |inside| {
        let name = Span(name).name(inside.memory)?;
        let id = inside.state.host.open_map(name)?;
        Some(keep(inside.state, id, false))
    })
}

/// A handle for a map, which is closed if there are too many handles.
fn keep(state: &mut State, id: MapId, own: bool) -> u32 {
    let handle = state.objects.add(Object::Map(id, own));
    if handle == 0 {
        state.host.close_map(id);
    }
    handle
}

/// The map and the key, if the key has the map's length.
fn key<'a>(inside: &'a Inside<'_>, handle: u32, key: u64) -> Option<(MapId, usize, &'a [u8])> {
    let map = inside.state.objects.map(handle)?;
    let (key_size, value_size) = inside.state.host.map_sizes(map)?;
    let key = Span(key).bytes(inside.memory).filter(|key| key.len() == key_size)?;
    Some((map, value_size, key))
}

/// The value of a map of maps is a handle. Where there is no value, upstream says that it went well and writes nothing,
/// which is what its guests are used to; those that know this host get an error.
fn lookup(caller: Call<'_>, handle: u32, of: u64, target: u64) -> Result<u32> {
    status(caller, SYSCALL + Span(target).len(), |inside| {
        let (map, _, key) = key(&inside, handle, of)?;
        let key = key.to_vec();
        let state = inside.state;
        let mut value = Vec::new();
        if state.host.holds_maps(map) {
            let inner = state.host.lookup_map(map, &key)?;
            let inner = keep(state, inner, false);
            if inner == 0 {
                return None;
            }
            value.extend_from_slice(&inner.to_le_bytes());
        } else if !state.host.lookup(map, &key, &mut value) {
            return (!state.knows_host).then_some(());
        }
        Span(target).put(inside.memory, &value)
    })
}

fn update(caller: Call<'_>, handle: u32, of: u64, value: u64, flags: u64) -> Result<u32> {
    status(caller, SYSCALL + Span(value).len(), |inside| {
        let (map, value_size, key) = key(&inside, handle, of)?;
        let key = key.to_vec();
        let value = Span(value).bytes(inside.memory)?;
        let state = inside.state;
        let done = if state.host.holds_maps(map) {
            let inner = u32::from_le_bytes(value.try_into().ok()?);
            let inner = state.objects.map(inner)?;
            state.host.update_map(map, &key, inner, flags)
        } else {
            value.len() == value_size && state.host.update(map, &key, value, flags)
        };
        done.then_some(())
    })
}

fn delete(caller: Call<'_>, handle: u32, of: u64) -> Result<u32> {
    status(caller, SYSCALL, |inside| {
        let (map, _, key) = key(&inside, handle, of)?;
        let key = key.to_vec();
        inside.state.host.delete(map, &key).then_some(())
    })
}

/// Only for maps that the guest made; those of the gadget's programs are let go of with `releaseHandle`.
fn release(caller: Call<'_>, handle: u32) -> Result<u32> {
    status(caller, SYSCALL, |inside| {
        let Object::Map(id, true) = *inside.state.objects.get(handle)? else { return None };
        inside.state.objects.remove(handle)?;
        inside.state.host.close_map(id);
        Some(())
    })
}

fn new_reader(mut caller: Call<'_>, map: u32, size: u32, overwritable: u32) -> Result<u32> {
    pay(&mut caller, SLOW_FUEL)?;
    number(caller, SYSCALL, 0, |inside| {
        let state = inside.state;
        let map = state.objects.map(map)?;
        let id = state.host.new_perf_reader(map, size, overwritable != 0)?;
        let handle = state.objects.add(Object::Reader(id));
        if handle == 0 {
            state.host.close_perf_reader(id);
        }
        Some(handle)
    })
}

fn pause(caller: Call<'_>, reader: u32, paused: bool) -> Result<u32> {
    status(caller, SYSCALL, |inside| {
        let reader = inside.state.objects.reader(reader)?;
        inside.state.host.pause_perf_reader(reader, paused).then_some(())
    })
}

/// 2 says that there is nothing to read now.
fn read(caller: Call<'_>, reader: u32, target: u64) -> Result<u32> {
    number(caller, SYSCALL + Span(target).len(), 1, |inside| {
        let reader = inside.state.objects.reader(reader)?;
        let mut record = Vec::new();
        match inside.state.host.read_perf(reader, &mut record) {
            PerfRead::Record => Span(target).put(inside.memory, &record).map(|()| 0),
            PerfRead::Nothing => Some(2),
            PerfRead::Failed => None,
        }
    })
}

fn close(caller: Call<'_>, handle: u32) -> Result<u32> {
    status(caller, SYSCALL, |inside| {
        let reader = inside.state.objects.reader(handle)?;
        inside.state.objects.remove(handle)?;
        inside.state.host.close_perf_reader(reader).then_some(())
    })
}
