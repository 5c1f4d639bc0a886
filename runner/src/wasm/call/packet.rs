//! Events of a guest's own, and batches of them.

use wasmi::Caller;

use super::{Functions, MODULE, Result, number, status};
use crate::{
    datasource::{Packet, SourceKind},
    wasm::{
        objects::{Object, Payload},
        state::{MAX_EMITTED, State},
    },
};

type Call<'a> = Caller<'a, State>;

pub(super) fn define(linker: &mut Functions) -> Result<()> {
    linker.func_wrap(MODULE, "dataSourceNewPacketSingle", new_single)?;
    linker.func_wrap(MODULE, "dataSourceNewPacketArray", new_array)?;
    linker.func_wrap(MODULE, "dataSourceEmitAndRelease", emit)?;
    linker.func_wrap(MODULE, "dataSourceRelease", release)?;
    linker.func_wrap(MODULE, "dataArrayNew", new_element)?;
    linker.func_wrap(MODULE, "dataArrayAppend", append)?;
    linker.func_wrap(MODULE, "dataArrayRelease", release_element)?;
    linker.func_wrap(MODULE, "dataArrayLen", len)?;
    linker.func_wrap(MODULE, "dataArrayGet", get)?;
    Ok(())
}

/// Memory that an event costs is paid for like copied bytes.
const PACKET_BYTES: usize = 4096;

fn new_single(caller: Call<'_>, handle: u32) -> Result<u32> {
    number(caller, PACKET_BYTES, 0, |inside| {
        let source = inside.state.objects.source(handle)?;
        let ds = inside.state.sources.get(source).filter(|ds| ds.kind == SourceKind::Single)?;
        let packet = Packet::new(ds);
        Some(inside.state.objects.add(Object::Packet(source, Payload::Single(packet))))
    })
}

fn new_array(caller: Call<'_>, handle: u32) -> Result<u32> {
    number(caller, 0, 0, |inside| {
        let source = inside.state.objects.source(handle)?;
        inside.state.sources.get(source).filter(|ds| ds.kind == SourceKind::Array)?;
        Some(inside.state.objects.add(Object::Packet(source, Payload::Array(Vec::new()))))
    })
}

/// The events are taken once the guest returns: nobody is called while it runs, itself neither.
fn emit(caller: Call<'_>, source: u32, packet: u32) -> Result<u32> {
    status(caller, 0, |inside| {
        let state = inside.state;
        let source = state.objects.source(source)?;
        if !matches!(state.objects.get(packet)?, Object::Packet(of, _) if *of == source)
            || state.emitted.len() >= MAX_EMITTED
        {
            return None;
        }
        let Object::Packet(_, payload) = state.objects.remove(packet)? else { return None };
        if !state.objects.hold(payload.size()) {
            return None;
        }
        state.emitted.push_back((source, payload));
        Some(())
    })
}

/// Lets go of an event of the guest's own. What is passing is not its to let go of.
fn release(caller: Call<'_>, source: u32, packet: u32) -> Result<u32> {
    status(caller, 0, |inside| {
        let state = inside.state;
        let source = state.objects.source(source)?;
        match state.objects.get(packet)? {
            Object::Packet(of, _) if *of == source => state.objects.remove(packet).map(drop),
            _ => None,
        }
    })
}

fn new_element(caller: Call<'_>, array: u32) -> Result<u32> {
    number(caller, PACKET_BYTES, 0, |inside| {
        let source = inside.state.objects.array(array)?.0;
        let packet = Packet::new(inside.state.sources.get(source)?);
        Some(inside.state.objects.add(Object::Element(source, packet)))
    })
}

fn append(caller: Call<'_>, array: u32, element: u32) -> Result<u32> {
    status(caller, 0, |inside| inside.state.objects.append(array, element))
}

fn release_element(caller: Call<'_>, array: u32, element: u32) -> Result<u32> {
    status(caller, 0, |inside| {
        let objects = &mut inside.state.objects;
        objects.array(array)?;
        if !matches!(objects.get(element)?, Object::Element(..) | Object::Member { .. }) {
            return None;
        }
        objects.remove(element).map(drop)
    })
}

fn len(caller: Call<'_>, array: u32) -> Result<u32> {
    number(caller, 0, 0, |inside| u32::try_from(inside.state.objects.array(array)?.1.len()).ok())
}

fn get(caller: Call<'_>, array: u32, index: u32) -> Result<u32> {
    number(caller, 0, 0, |inside| inside.state.objects.element(array, index))
}
