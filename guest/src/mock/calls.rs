//! The host's functions as the mock answers them: as strict as the real host is where guests could err.

use super::world::{
    ELEMENT, Object, Phase, Source, Subscription, Table, World, deliver, width, with, with_rest,
};
use crate::{Kind, Type, host, log::Level};
use std::{cell::RefCell, rc::Rc};

/// `BPF_MAP_TYPE_ARRAY_OF_MAPS` and `BPF_MAP_TYPE_HASH_OF_MAPS`.
const OF_MAPS: [u32; 2] = [12, 13];

/// Writes `bytes` to the front of `to`; fails if there is too little room.
fn put(bytes: &[u8], to: &mut [u8]) -> bool {
    to.get_mut(..bytes.len()).map(|to| to.copy_from_slice(bytes)).is_some()
}

pub(crate) fn log(level: u32, message: &str) {
    let level = match level {
        0 => Level::Error,
        1 => Level::Warn,
        2 => Level::Info,
        3 => Level::Debug,
        _ => Level::Trace,
    };
    with(|world| world.logs.push((level, message.to_owned())));
}

pub(crate) fn should_log(level: u32) -> bool {
    level <= Level::Debug as u32
}

pub(crate) fn new_data_source(name: &str, kind: u32) -> u32 {
    with(|world| {
        if world.sources.iter().any(|source| source.name == name) {
            return 0;
        }
        let kind = if kind == Type::Array as u32 { Type::Array } else { Type::Single };
        world.sources.push(Source::new(name, kind));
        let at = world.sources.len() - 1;
        world.add(Object::Source(at))
    })
}

pub(crate) fn get_data_source(name: &str) -> u32 {
    with(|world| {
        let found = world.sources.iter().position(|source| source.name == name && source.referenced);
        found.map_or(0, |at| world.add(Object::Source(at)))
    })
}

pub(crate) fn subscribe(source: u32, kind: u32, priority: i32, callback: u64) -> bool {
    with(|world| match world.source(source) {
        Some((_, source)) if kind != 2 || source.kind == Type::Array => {
            source.subscriptions.push(Subscription { priority, kind, callback });
            true
        }
        _ => false,
    })
}

pub(crate) fn get_field(source: u32, name: &str) -> u32 {
    with(|world| {
        let Some((at, source)) = world.source(source) else { return 0 };
        let found = source.fields.iter().position(|field| field.name == name);
        let found =
            found.or_else(|| source.fields.iter().position(|field| field.name.eq_ignore_ascii_case(name)));
        found.map_or(0, |field| world.add(Object::Field(at, field)))
    })
}

pub(crate) fn add_field(source: u32, name: &str, kind: u32) -> u32 {
    with(|world| {
        let Some((at, source)) = world.source(source) else { return 0 };
        let Some(kind) = Kind::from_number(kind) else { return 0 };
        if source.fields.iter().any(|field| field.name == name) {
            return 0;
        }
        source.add_field(name, kind, None, true);
        let field = source.fields.len() - 1;
        world.add(Object::Field(at, field))
    })
}

pub(crate) fn new_packet_single(source: u32) -> u32 {
    with(|world| match world.source(source) {
        Some((at, source)) if source.kind == Type::Single => {
            let payload = world.made(at);
            world.add(Object::Data(payload))
        }
        _ => 0,
    })
}

pub(crate) fn new_packet_array(source: u32) -> u32 {
    with(|world| match world.source(source) {
        Some((at, source)) if source.kind == Type::Array => world.add(Object::Array(at, Rc::default())),
        _ => 0,
    })
}

pub(crate) fn emit(source: u32, packet: u32) -> bool {
    let found = with(|world| {
        let (at, _) = world.source(source)?;
        let elements = match world.handles.get(&packet)? {
            Object::Data(payload) => Rc::new(RefCell::new(vec![Rc::clone(payload)])),
            Object::Array(of, elements) if *of == at => Rc::clone(elements),
            _ => return None,
        };
        Some((at, elements))
    });
    let Some((at, elements)) = found else { return false };
    release(packet);
    let packet = deliver(at, &elements);
    with(|world| world.sources[at].emitted.push(packet));
    true
}

pub(crate) fn release_packet(_source: u32, packet: u32) {
    release(packet);
}

pub(crate) fn unreference(source: u32) -> bool {
    with(|world| world.source(source).map(|(_, source)| source.referenced = false).is_some())
}

pub(crate) fn is_referenced(source: u32) -> u32 {
    with(|world| world.source(source).map_or(2, |(_, source)| source.referenced.into()))
}

pub(crate) fn array_new(array: u32) -> u32 {
    with(|world| {
        let Some((source, _)) = world.elements(array) else { return 0 };
        let payload = world.made(source);
        world.add(Object::Data(payload))
    })
}

pub(crate) fn array_append(array: u32, data: u32) -> bool {
    let append = |world: &mut World| {
        let payload = world.payload(data)?;
        world.elements(array)?.1.borrow_mut().push(payload);
        world.handles.remove(&data);
        Some(())
    };
    with(append).is_some()
}

pub(crate) fn array_release(_array: u32, data: u32) {
    release(data);
}

pub(crate) fn array_len(array: u32) -> u32 {
    with(|world| world.elements(array).map_or(0, |(_, elements)| elements.borrow().len() as u32))
}

pub(crate) fn array_get(array: u32, index: u32) -> u32 {
    match index < array_len(array) {
        true => ELEMENT | index << 16 | array,
        false => 0,
    }
}

pub(crate) fn get_scalar(field: u32, data: u32, kind: u32) -> Option<u64> {
    with(|world| {
        let (at, _) = world.field(field)?;
        let payload = world.payload(data)?;
        let payload = payload.borrow();
        let bytes = payload.get(at)?;
        if Kind::from_number(kind).and_then(width) != Some(bytes.len()) {
            return None;
        }
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        Some(u64::from_le_bytes(word))
    })
}

pub(crate) fn get_buffer(field: u32, data: u32, kind: u32, to: &mut [u8]) -> Option<usize> {
    with(|world| {
        let (at, _) = world.field(field)?;
        let payload = world.payload(data)?;
        let payload = payload.borrow();
        let bytes = payload.get(at)?;
        let taken = kind == Kind::String.number() || kind == Kind::Bytes.number();
        (taken && put(bytes, to)).then_some(bytes.len())
    })
}

pub(crate) fn set_scalar(field: u32, data: u32, kind: u32, value: u64) -> bool {
    let set = |world: &mut World| {
        let (at, _) = world.field(field)?;
        let payload = world.payload(data)?;
        let mut payload = payload.borrow_mut();
        let bytes = payload.get_mut(at)?;
        let width = width(Kind::from_number(kind)?).filter(|width| *width == bytes.len())?;
        bytes.copy_from_slice(&value.to_le_bytes()[..width]);
        Some(())
    };
    with(set).is_some()
}

pub(crate) fn set_buffer(field: u32, data: u32, kind: u32, value: &[u8]) -> bool {
    let set = |world: &mut World| {
        let (at, field) = world.field(field)?;
        let (len, scalar) = (field.len, width(field.kind).is_some());
        let payload = world.payload(data)?;
        let mut payload = payload.borrow_mut();
        let bytes = payload.get_mut(at)?;
        let text = kind == Kind::String.number();
        if scalar || !(text || kind == Kind::Bytes.number()) {
            return None;
        }
        match len {
            None => *bytes = value.to_vec(),
            Some(len) if bytes.len() != len => return None,
            Some(len) if text => {
                *bytes = value[..value.len().min(len)].to_vec();
                bytes.resize(len, 0);
            }
            Some(len) if len == value.len() => *bytes = value.to_vec(),
            Some(_) => return None,
        }
        Some(())
    };
    with(set).is_some()
}

pub(crate) fn add_tag(field: u32, tag: &str) -> bool {
    with(|world| world.field(field).map(|(_, field)| field.tags.push(tag.to_owned())).is_some())
}

pub(crate) fn param(key: &str, to: &mut [u8]) -> bool {
    with(|world| {
        let value = world.params.get(key).filter(|_| world.phase >= Phase::Prepared);
        value.is_some_and(|value| put(value.as_bytes(), to))
    })
}

pub(crate) fn set_config(key: &str, value: &str, kind: u32) -> bool {
    with(|world| world.config.insert(key.to_owned(), value.to_owned()));
    kind == Kind::String.number()
}

pub(crate) fn new_map(name: &str, kind: u32, key: u32, value: u32, max: u32) -> u32 {
    with(|world| {
        world.maps.push(Table {
            name: name.to_owned(),
            key: key as usize,
            value: value as usize,
            max: max as usize,
            of_maps: OF_MAPS.contains(&kind),
            of_guest: true,
            ..Table::default()
        });
        let at = world.maps.len() - 1;
        world.add(Object::Map(at))
    })
}

pub(crate) fn get_map(name: &str) -> u32 {
    with(|world| {
        let found = world.maps.iter().position(|map| map.name == name && !map.of_guest);
        found.filter(|_| world.phase == Phase::Started).map_or(0, |at| world.add(Object::Map(at)))
    })
}

pub(crate) fn map_lookup(map: u32, key: &[u8], to: &mut [u8]) -> bool {
    let look = |world: &mut World| {
        let table = world.map(map)?;
        // As the real host does it.
        let Some(mut value) = table.entries.get(key).cloned() else { return Some(()) };
        if table.of_maps {
            let at = u32::from_le_bytes(value.as_slice().try_into().ok()?);
            value = world.add(Object::Map(at as usize)).to_le_bytes().to_vec();
        }
        put(&value, to).then_some(())
    };
    with(look).is_some()
}

pub(crate) fn map_update(map: u32, key: &[u8], value: &[u8], flags: u64) -> bool {
    let update = |world: &mut World| {
        let mut value = value.to_vec();
        if world.map(map)?.of_maps {
            let inner = u32::from_le_bytes(value.as_slice().try_into().ok()?);
            let Object::Map(at) = world.handles.get(&inner)? else { return None };
            value = u32::try_from(*at).ok()?.to_le_bytes().to_vec();
        }
        let table = world.map(map)?;
        let there = table.entries.contains_key(key);
        let room = there || table.entries.len() < table.max;
        let wanted = match flags {
            0 => true,
            1 => !there,
            _ => there,
        };
        if !(room && wanted && key.len() == table.key && value.len() == table.value) {
            return None;
        }
        table.entries.insert(key.to_vec(), value);
        Some(())
    };
    with(update).is_some()
}

pub(crate) fn map_delete(map: u32, key: &[u8]) -> bool {
    with(|world| world.map(map).is_some_and(|table| table.entries.remove(key).is_some()))
}

pub(crate) fn map_release(map: u32) {
    release(map);
}

pub(crate) fn release(handle: u32) {
    with_rest(|world| {
        if world.handles.remove(&handle).is_none() {
            world.logs.push((Level::Warn, format!("handle {handle} not found")));
        }
    });
}

pub(crate) fn syscall_name(number: u32, to: &mut [u8]) -> bool {
    let name = with(|world| world.syscalls.iter().find(|call| call.0 == number).map(|call| call.1.clone()));
    name.is_some_and(|name| put(name.as_bytes(), to))
}

pub(crate) fn syscall_id(name: &str) -> i32 {
    with(|world| world.syscalls.iter().find(|call| call.1 == name).map_or(-1, |call| call.0 as i32))
}

pub(crate) fn syscall_declaration(name: &str, to: &mut [u8]) -> bool {
    let params = with(|world| world.syscalls.iter().find(|call| call.1 == name).map(|call| call.2.clone()));
    params.is_some_and(|params| {
        let mut bytes = [0; host::DECLARATION];
        put(name.as_bytes(), &mut bytes[..32]);
        bytes[32] = params.len() as u8;
        for ((name, pointer), room) in params.iter().zip(bytes[36..].chunks_exact_mut(36)) {
            put(name.as_bytes(), &mut room[..32]);
            room[32] = (*pointer).into();
        }
        put(&bytes, to)
    })
}

pub(crate) fn new_perf_reader(map: u32, _size: u32, _overwritable: bool) -> u32 {
    with(|world| match world.handles.get(&map) {
        Some(Object::Map(at)) => world.add(Object::Perf(*at)),
        _ => 0,
    })
}

fn is_perf(reader: u32) -> bool {
    with(|world| matches!(world.handles.get(&reader), Some(Object::Perf(_))))
}

pub(crate) fn perf_pause(reader: u32) -> bool {
    is_perf(reader)
}

pub(crate) fn perf_resume(reader: u32) -> bool {
    is_perf(reader)
}

pub(crate) fn perf_close(reader: u32) {
    release(reader);
}

pub(crate) fn perf_read(reader: u32, to: &mut [u8]) -> u32 {
    with(|world| {
        let Some(Object::Perf(at)) = world.handles.get(&reader) else { return 1 };
        match world.maps[*at].records.pop_front() {
            None => host::PERF_DEADLINE,
            Some(record) if put(&record, to) => 0,
            Some(_) => 1,
        }
    })
}

pub(crate) fn symbol_exists(name: &str) -> bool {
    with(|world| world.symbols.contains(name))
}

pub(crate) fn should_discard_mntns(id: u64) -> bool {
    with(|world| world.discarded_mntns.contains(&id))
}
