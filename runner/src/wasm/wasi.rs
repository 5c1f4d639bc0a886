//! As much of WASI as language runtimes need to start: clocks, random numbers, printing to the log. There are no
//! files, no network, no arguments and no environment.
//!
//! Source of names, types and numbers: WASI, snapshot preview 1.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use wasmi::{Caller, ExternType, Linker, Module, Val, ValType};

use super::{
    host::Level,
    memory::{SLOW_FUEL, Span, enter, pay},
    state::State,
};

const MODULE: &str = "wasi_snapshot_preview1";

const SUCCESS: u32 = 0;
const BADF: u32 = 8;
const FAULT: u32 = 21;
const INVAL: u32 = 28;
const NOSYS: u32 = 52;

/// A descriptor that is a terminal or the like.
const CHARACTER_DEVICE: u8 = 2;
/// The right to write.
const RIGHT_WRITE: u64 = 1 << 6;

/// Longest wait that a guest gets. It is called between events: others wait for it.
const MAX_WAIT: Duration = Duration::from_millis(1);

/// Longest line that is logged, bytes.
const MAX_LINE: usize = 4096;

/// Random bytes in one call.
const MAX_RANDOM: usize = 64 << 10;

/// Vectors in one write.
const MAX_VECTORS: u32 = 1024;

type Result<T> = std::result::Result<T, wasmi::Error>;
type Call<'a> = Caller<'a, State>;

/// Defines what there is, and for all else that `module` wants of WASI a function that says there is no such thing.
pub(super) fn define(linker: &mut Linker<State>, module: &Module) -> Result<()> {
    linker.func_wrap(MODULE, "args_get", |_: u32, _: u32| SUCCESS)?;
    linker.func_wrap(MODULE, "args_sizes_get", no_strings)?;
    linker.func_wrap(MODULE, "environ_get", |_: u32, _: u32| SUCCESS)?;
    linker.func_wrap(MODULE, "environ_sizes_get", no_strings)?;
    linker.func_wrap(MODULE, "clock_time_get", clock_time)?;
    linker.func_wrap(MODULE, "random_get", random)?;
    linker.func_wrap(MODULE, "fd_write", write)?;
    linker.func_wrap(MODULE, "fd_fdstat_get", fdstat)?;
    linker.func_wrap(MODULE, "fd_prestat_get", |_: u32, _: u32| BADF)?;
    linker.func_wrap(MODULE, "poll_oneoff", poll)?;
    linker.func_wrap(MODULE, "sched_yield", || SUCCESS)?;
    linker.func_wrap(MODULE, "proc_exit", |code: i32| -> Result<()> { Err(wasmi::Error::i32_exit(code)) })?;
    let defined = [
        "args_get",
        "args_sizes_get",
        "environ_get",
        "environ_sizes_get",
        "clock_time_get",
        "random_get",
        "fd_write",
        "fd_fdstat_get",
        "fd_prestat_get",
        "poll_oneoff",
        "sched_yield",
        "proc_exit",
    ];
    let mut others: Vec<&str> = Vec::new();
    for import in module.imports().filter(|i| i.module() == MODULE && !defined.contains(&i.name())) {
        if let ExternType::Func(ty) = import.ty()
            && !others.contains(&import.name())
        {
            others.push(import.name());
            // Functions on descriptors see that none is open; anything else is not there at all.
            let answer = if import.name().starts_with("fd_") { BADF } else { NOSYS };
            let returns_number = ty.results() == [ValType::I32];
            linker.func_new(MODULE, import.name(), ty.clone(), move |_, _, results| {
                if returns_number {
                    results[0] = Val::I32(answer as i32);
                }
                Ok(())
            })?;
        }
    }
    Ok(())
}

fn put(caller: &mut Call<'_>, pointer: u32, bytes: &[u8]) -> Result<u32> {
    let inside = enter(caller, bytes.len())?;
    let room = Span::new(pointer, bytes.len() as u32);
    Ok(room.put(inside.memory, bytes).map_or(FAULT, |()| SUCCESS))
}

fn no_strings(mut caller: Call<'_>, count: u32, size: u32) -> Result<u32> {
    match put(&mut caller, count, &[0; 4])? {
        SUCCESS => put(&mut caller, size, &[0; 4]),
        error => Ok(error),
    }
}

fn clock_time(mut caller: Call<'_>, clock: u32, _precision: u64, target: u32) -> Result<u32> {
    let clock = match clock {
        0 => ClockId::CLOCK_REALTIME,
        1 => ClockId::CLOCK_MONOTONIC,
        _ => return Ok(INVAL),
    };
    let now = clock_gettime(clock).map_or(Duration::ZERO, Duration::from);
    put(&mut caller, target, &(now.as_nanos() as u64).to_le_bytes())
}

fn random(mut caller: Call<'_>, pointer: u32, length: u32) -> Result<u32> {
    let length = length as usize;
    let mut bytes = vec![0; length.min(MAX_RANDOM)];
    if length > MAX_RANDOM || fill_random(&mut bytes).is_none() {
        return Ok(INVAL);
    }
    put(&mut caller, pointer, &bytes)
}

fn fill_random(bytes: &mut [u8]) -> Option<()> {
    use std::io::Read;

    std::fs::File::open("/dev/urandom").ok()?.read_exact(bytes).ok()
}

/// What is printed is logged, line by line.
fn write(mut caller: Call<'_>, fd: u32, vectors: u32, count: u32, target: u32) -> Result<u32> {
    if !matches!(fd, 1 | 2) {
        return Ok(BADF);
    }
    if count > MAX_VECTORS {
        return Ok(INVAL);
    }
    let mut written = 0u32;
    for at in 0..count {
        let inside = enter(&mut caller, MAX_LINE)?;
        let place = Span::new(vectors.saturating_add(at * 8), 8);
        let Some(vector) = place.bytes(inside.memory).and_then(|v| <[u8; 8]>::try_from(v).ok()) else {
            return Ok(FAULT);
        };
        // A pointer and a length: together, and little-endian, what a span is.
        let Some(bytes) = Span(u64::from_le_bytes(vector)).bytes(inside.memory) else { return Ok(FAULT) };
        written = written.saturating_add(bytes.len() as u32);
        print(inside.state, bytes);
    }
    put(&mut caller, target, &written.to_le_bytes())
}

fn print(state: &mut State, bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(4 * MAX_LINE)];
    for piece in bytes.split_inclusive(|b| *b == b'\n') {
        let room = MAX_LINE.saturating_sub(state.line.len());
        state.line.extend_from_slice(&piece[..piece.len().min(room)]);
        if piece.ends_with(b"\n") {
            flush(state);
        }
    }
}

/// Logs what was printed without a line end.
pub(super) fn flush(state: &mut State) {
    let text = String::from_utf8_lossy(&state.line).trim_end().to_owned();
    state.line.clear();
    if !text.is_empty() {
        state.host.log(Level::Debug, &text);
    }
}

fn fdstat(mut caller: Call<'_>, fd: u32, target: u32) -> Result<u32> {
    if fd > 2 {
        return Ok(BADF);
    }
    let mut stat = [0; 24];
    stat[0] = CHARACTER_DEVICE;
    if fd > 0 {
        stat[8..16].copy_from_slice(&RIGHT_WRITE.to_le_bytes());
    }
    put(&mut caller, target, &stat)
}

/// Answers only clocks: they have rung, after a short rest.
fn poll(mut caller: Call<'_>, subscriptions: u32, events: u32, count: u32, target: u32) -> Result<u32> {
    const SUBSCRIPTION: u32 = 48;
    const EVENT: u32 = 32;
    const CLOCK: u8 = 0;
    if count == 0 || count > MAX_VECTORS {
        return Ok(INVAL);
    }
    let mut rung = 0;
    let mut wait = MAX_WAIT;
    for at in 0..count {
        let inside = enter(&mut caller, SUBSCRIPTION as usize)?;
        let place = Span::new(subscriptions.saturating_add(at * SUBSCRIPTION), SUBSCRIPTION);
        let Some(bytes) = place.bytes(inside.memory) else { return Ok(FAULT) };
        let user_data: [u8; 8] = bytes[..8].try_into().unwrap_or_default();
        if bytes[8] != CLOCK {
            continue;
        }
        let absolute = bytes[40] & 1 != 0;
        let timeout = u64::from_le_bytes(bytes[24..32].try_into().unwrap_or_default());
        if !absolute {
            wait = wait.min(Duration::from_nanos(timeout));
        }
        let mut event = [0; EVENT as usize];
        event[..8].copy_from_slice(&user_data);
        let place = events.saturating_add(rung * EVENT);
        if put(&mut caller, place, &event)? != SUCCESS {
            return Ok(FAULT);
        }
        rung += 1;
    }
    pay(&mut caller, SLOW_FUEL)?;
    std::thread::sleep(wait);
    if rung == 0 { Ok(NOSYS) } else { put(&mut caller, target, &rung.to_le_bytes()) }
}
