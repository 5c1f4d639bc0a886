//! Reading and writing fields of events.

use wasmi::Caller;

use super::{Functions, MODULE, Result, enter, number, status};
use crate::{
    datasource::{Kind, Scalar},
    wasm::{
        memory::{Inside, Span},
        state::State,
    },
};

type Call<'a> = Caller<'a, State>;

pub(super) fn define(linker: &mut Functions) -> Result<()> {
    linker.func_wrap(MODULE, "fieldGetScalar", get_scalar)?;
    linker.func_wrap(MODULE, "fieldGetBuffer", get_buffer)?;
    linker.func_wrap(MODULE, "fieldSet", set)?;
    Ok(())
}

/// Writes 1 to `error` if it went wrong, and leaves it alone otherwise.
fn get_scalar(mut caller: Call<'_>, field: u32, data: u32, kind: u32, error: u32) -> Result<u64> {
    let mut inside = enter(&mut caller, 0)?;
    if let Some(value) = scalar(&mut inside, field, data, kind) {
        return Ok(value);
    }
    // A pointer that leads nowhere is the guest's own loss.
    let _ = Span::new(error, 4).put(inside.memory, &1u32.to_le_bytes());
    Ok(0)
}

fn scalar(inside: &mut Inside<'_>, field: u32, data: u32, kind: u32) -> Option<u64> {
    let kind = Kind::from_number(kind)?;
    let size = kind.size()?;
    let mut number = [0; 8];
    let bytes = read(inside, field, data, true, &mut number)?;
    if bytes.len() != size {
        return None;
    }
    let mut wide = [0; 8];
    wide[..size].copy_from_slice(bytes);
    let bits = u64::from_le_bytes(wide);
    let unused = 64 - 8 * size;
    Some(match kind.scalar {
        Scalar::Bool => u64::from(bits != 0),
        Scalar::Int8 | Scalar::Int16 | Scalar::Int32 => (((bits << unused) as i64) >> unused) as u64,
        _ => bits,
    })
}

fn read<'a>(
    inside: &'a mut Inside<'_>,
    field: u32,
    data: u32,
    whole: bool,
    number: &'a mut [u8; 8],
) -> Option<&'a [u8]> {
    let state = &mut *inside.state;
    let (source, field) = state.objects.field(field)?;
    let (of, packet) = state.objects.packet(data)?;
    let ds = state.sources.get(source).filter(|_| of == source)?;
    packet.read(ds, field, whole, number)
}

/// Says how many bytes it wrote, or -1.
fn get_buffer(caller: Call<'_>, field: u32, data: u32, kind: u32, target: u64) -> Result<i32> {
    let target = Span(target);
    number(caller, target.len(), -1, |inside| {
        let kind = Kind::from_number(kind)?;
        if kind.size().is_some() {
            return None;
        }
        let Inside { memory, state } = inside;
        let mut number = [0; 8];
        let mut inside = Inside { memory: &mut [], state };
        let bytes = read(&mut inside, field, data, kind.scalar == Scalar::Bytes, &mut number)?;
        target.put(memory, bytes)?;
        i32::try_from(bytes.len()).ok()
    })
}

fn set(caller: Call<'_>, field: u32, data: u32, kind: u32, value: u64) -> Result<u32> {
    let kind = Kind::from_number(kind);
    let size = kind.and_then(Kind::size);
    let bytes = if size.is_some() { 8 } else { Span(value).len() };
    status(caller, bytes, |inside| {
        let scalar = kind?.scalar;
        let state = inside.state;
        let number = if scalar == Scalar::Bool { u64::from(value != 0) } else { value }.to_le_bytes();
        let value = match size {
            Some(size) => &number[..size],
            None if scalar == Scalar::Invalid => return None,
            None => Span(value).bytes(inside.memory)?,
        };
        let field = state.objects.field(field)?;
        state.objects.write(&state.sources, data, field, value).then_some(())
    })
}
