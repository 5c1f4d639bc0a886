//! Messages, parameters, settings, and what the kernel calls things.

use wasmi::Caller;

use super::{Functions, MODULE, Result, number, status};
use crate::{
    datasource::Scalar,
    wasm::{
        host::{Level, SyscallDeclaration},
        memory::{MAX_NAME, SLOW_FUEL, Span, enter, pay},
        state::{MAX_CONFIG, State},
    },
};

type Call<'a> = Caller<'a, State>;

/// Longest message that is passed on, bytes.
const MAX_MESSAGE: usize = 4096;

/// Longest value of a setting, bytes.
const MAX_VALUE: usize = 4096;

/// Bytes of a name in a declaration, with the NUL behind it.
const NAME: usize = 32;

/// Parameters in a declaration.
const PARAMS: usize = 6;

/// A declaration: a name, a count and three bytes of padding, and for each parameter a name and 32 bits of flags.
const DECLARATION: usize = NAME + 4 + PARAMS * (NAME + 4);

pub(super) fn define(linker: &mut Functions) -> Result<()> {
    linker.func_wrap(MODULE, "gadgetLog", log)?;
    linker.func_wrap(MODULE, "gadgetShouldLog", should_log)?;
    linker.func_wrap(MODULE, "getParamValue", param)?;
    linker.func_wrap(MODULE, "setConfig", set_config)?;
    linker.func_wrap(MODULE, "getSyscallName", syscall_name)?;
    linker.func_wrap(MODULE, "getSyscallID", syscall_number)?;
    linker.func_wrap(MODULE, "getSyscallDeclaration", syscall_declaration)?;
    linker.func_wrap(MODULE, "kallsymsSymbolExists", symbol_exists)?;
    linker.func_wrap(MODULE, "shouldDiscardMntnsID", discards)?;
    Ok(())
}

fn log(mut caller: Call<'_>, level: u32, message: u64) -> Result<()> {
    let inside = enter(&mut caller, MAX_MESSAGE)?;
    let (Some(level), Some(bytes)) = (Level::from_number(level), Span(message).bytes(inside.memory)) else {
        return Ok(());
    };
    if inside.state.host.logs(level) {
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_MESSAGE)]);
        inside.state.host.log(level, &text);
    }
    Ok(())
}

fn should_log(caller: Call<'_>, level: u32) -> Result<u32> {
    number(caller, 0, 0, |inside| Some(u32::from(inside.state.host.logs(Level::from_number(level)?))))
}

fn param(caller: Call<'_>, key: u64, target: u64) -> Result<u32> {
    status(caller, MAX_NAME + Span(target).len(), |inside| {
        let key = Span(key).name(inside.memory)?;
        let value = inside.state.host.param(key)?;
        Span(target).put(inside.memory, value.as_bytes())
    })
}

fn set_config(caller: Call<'_>, key: u64, value: u64, kind: u32) -> Result<u32> {
    status(caller, MAX_NAME + MAX_VALUE, |inside| {
        if kind != Scalar::String as u32 {
            return None;
        }
        let key = Span(key).name(inside.memory)?;
        let value = Span(value).bytes(inside.memory).filter(|v| v.len() <= MAX_VALUE)?;
        let value = std::str::from_utf8(value).ok()?;
        let config = &mut inside.state.config;
        if config.len() >= MAX_CONFIG && !config.contains_key(key) {
            return None;
        }
        config.insert(key.to_owned(), value.to_owned());
        Some(())
    })
}

fn syscall_name(caller: Call<'_>, number: u32, target: u64) -> Result<u32> {
    status(caller, MAX_NAME, |inside| {
        let name = inside.state.host.syscall_name(number as u16)?;
        Span(target).put(inside.memory, name.as_bytes())
    })
}

/// -1 for a name that no system call has.
fn syscall_number(caller: Call<'_>, name: u64) -> Result<i32> {
    number(caller, MAX_NAME, -1, |inside| {
        let found = inside.state.host.syscall_number(Span(name).name(inside.memory)?)?;
        i32::try_from(found).ok()
    })
}

fn syscall_declaration(mut caller: Call<'_>, name: u64, target: u64) -> Result<u32> {
    pay(&mut caller, SLOW_FUEL)?;
    status(caller, DECLARATION, |inside| {
        let name = Span(name).name(inside.memory)?;
        let found = inside.state.host.syscall_declaration(name)?;
        Span(target).put(inside.memory, &declaration(name, &found))
    })
}

fn declaration(name: &str, found: &SyscallDeclaration) -> [u8; DECLARATION] {
    let mut bytes = [0; DECLARATION];
    let put = |bytes: &mut [u8], name: &str| {
        let len = name.len().min(NAME - 1);
        bytes[..len].copy_from_slice(&name.as_bytes()[..len]);
    };
    put(&mut bytes, name);
    bytes[NAME] = found.params.len().min(PARAMS) as u8;
    for (param, place) in found.params.iter().zip(bytes[NAME + 4..].chunks_exact_mut(NAME + 4)) {
        put(place, &param.name);
        place[NAME] = u8::from(param.is_pointer);
    }
    bytes
}

fn symbol_exists(mut caller: Call<'_>, name: u64) -> Result<u32> {
    pay(&mut caller, SLOW_FUEL)?;
    number(caller, MAX_NAME, 0, |inside| {
        let name = Span(name).name(inside.memory)?;
        Some(u32::from(inside.state.host.symbol_exists(name)))
    })
}

fn discards(caller: Call<'_>, mntns: u64) -> Result<u32> {
    number(caller, 0, 0, |inside| Some(u32::from(inside.state.host.discards(mntns))))
}
