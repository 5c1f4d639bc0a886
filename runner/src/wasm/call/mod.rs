//! The functions of module `ig`, one file a subject. All answer wrong arguments in one way: functions that return a
//! handle with 0, the others with 1 (what differs says so).

mod field;
mod machine;
mod map;
mod packet;
mod source;

use wasmi::{Caller, Linker};

use super::{
    memory::{Inside, enter},
    state::State,
};

/// The module that the functions are in.
const MODULE: &str = "ig";

type Result<T> = std::result::Result<T, wasmi::Error>;
type Functions = Linker<State>;

/// Defines all functions.
pub(super) fn define(linker: &mut Functions) -> Result<()> {
    source::define(linker)?;
    packet::define(linker)?;
    field::define(linker)?;
    map::define(linker)?;
    machine::define(linker)
}

/// Runs a function that says 0 if it went well and 1 if not; `bytes` is what it copies.
fn status(
    mut caller: Caller<'_, State>,
    bytes: usize,
    run: impl FnOnce(Inside<'_>) -> Option<()>,
) -> Result<u32> {
    Ok(u32::from(run(enter(&mut caller, bytes)?).is_none()))
}

/// Runs a function that returns a number, or else `wrong`.
fn number<T>(
    mut caller: Caller<'_, State>,
    bytes: usize,
    wrong: T,
    run: impl FnOnce(Inside<'_>) -> Option<T>,
) -> Result<T> {
    Ok(run(enter(&mut caller, bytes)?).unwrap_or(wrong))
}
