//! A guest's life: one value of the author's type, made when the host says so and called at each step.

use crate::{error::Result, subscription};
use std::cell::{Cell, RefCell};

/// What a guest does at each step of a run. Only [`init`](Self::init) has to be written.
///
/// An error ends the run, with its text in the host's log.
pub trait Guest: Sized + 'static {
    /// Before anything else: find and add fields, make data sources, set configuration, subscribe. The value is kept
    /// to the end of the run. A host may also do it only to see what the gadget has: parameters have no values yet.
    fn init() -> Result<Self>;

    /// Before the eBPF programs are attached. Parameters are there.
    fn pre_start(&mut self) -> Result {
        Ok(())
    }

    /// After the eBPF programs are attached. Maps are there.
    fn start(&mut self) -> Result {
        Ok(())
    }

    /// At the end, while events can still be emitted. The host waits for at most 42 seconds.
    fn stop(&mut self) -> Result {
        Ok(())
    }

    /// After everything has stopped.
    fn post_stop(&mut self) -> Result {
        Ok(())
    }
}

/// Steps after `init`.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub enum Step {
    PreStart,
    Start,
    Stop,
    PostStop,
}

trait Steps {
    fn step(&mut self, step: Step) -> Result;
}

impl<G: Guest> Steps for G {
    fn step(&mut self, step: Step) -> Result {
        match step {
            Step::PreStart => self.pre_start(),
            Step::Start => self.start(),
            Step::Stop => self.stop(),
            Step::PostStop => self.post_stop(),
        }
    }
}

thread_local! {
    static IGX: Cell<bool> = const { Cell::new(false) };
    static GUEST: RefCell<Option<Box<dyn Steps>>> = const { RefCell::new(None) };
}

/// Whether the host is `igx`, which lets guests do more than Inspektor Gadget's `ig`: discard events, and make packets
/// with all fields on data sources of eBPF programs. In `ig` such a packet ends the run when one of the program's fields
/// is set.
pub fn host_is_igx() -> bool {
    IGX.get()
}

/// What `igxHost` does, which only `igx` calls, and before `gadgetInit`.
#[doc(hidden)]
pub fn export_igx() {
    IGX.set(true);
}

pub(crate) fn init<G: Guest>() -> Result {
    let guest = G::init()?;
    GUEST.set(Some(Box::new(guest)));
    Ok(())
}

pub(crate) fn step(step: Step) -> Result {
    // Taken out: an event that the guest emits may come back to its callbacks, never to its steps.
    let Some(mut guest) = GUEST.take() else { return Ok(()) };
    let result = guest.step(step);
    GUEST.set(Some(guest));
    result
}

#[cfg(not(target_family = "wasm"))]
pub(crate) fn clear() {
    drop(GUEST.take());
    IGX.set(false);
}

/// What `gadgetInit` does.
#[doc(hidden)]
pub fn export_init<G: Guest>() -> i32 {
    std::panic::set_hook(Box::new(|panic| crate::error!("the guest ended itself: {panic}")));
    report(init::<G>())
}

/// What the other steps' functions do.
#[doc(hidden)]
pub fn export_step(what: Step) -> i32 {
    report(step(what))
}

/// What `dataSourceCallback` does. The data source is not used: some hosts pass a stale one. 1 if the event is to be
/// discarded.
#[doc(hidden)]
pub fn export_callback(id: u64, data: u32) -> i32 {
    match subscription::dispatch(id, data) {
        subscription::Verdict::Keep => 0,
        subscription::Verdict::Discard => 1,
    }
}

pub(crate) fn report(result: Result) -> i32 {
    match result {
        Ok(()) => 0,
        Err(error) => {
            crate::error!("{error}");
            1
        }
    }
}

/// Makes a type the guest of its module: exports the functions that the host calls. Once in a crate, of type `cdylib`.
///
/// Two exports have names that begin with `igx`; other hosts do not know them: `igxHost`, called before `gadgetInit`, and
/// `igxDataSourceCallback`, called in place of `dataSourceCallback`, whose result 1 discards the event.
///
/// On other targets than WebAssembly it only checks that the type is a [`Guest`](crate::Guest).
///
/// `export!(Guest, without post_stop)` leaves that step out. Other hosts cannot call it once their run was cancelled, and
/// say at the end of such a run that it failed.
#[macro_export]
macro_rules! export {
    ($guest:ty) => {
        $crate::export!($guest, without post_stop);
        const _: () = {
            #[cfg(target_family = "wasm")]
            #[unsafe(export_name = "gadgetPostStop")]
            extern "C" fn post_stop() -> i32 {
                $crate::life::export_step($crate::life::Step::PostStop)
            }
        };
    };
    ($guest:ty, without post_stop) => {
        const _: () = {
            const fn is_guest<G: $crate::Guest>() {}
            is_guest::<$guest>();

            #[cfg(target_family = "wasm")]
            #[global_allocator]
            static BLOCKS: $crate::alloc::Blocks = $crate::alloc::Blocks::new();

            #[cfg(target_family = "wasm")]
            #[unsafe(export_name = "gadgetAPIVersion")]
            extern "C" fn version() -> u64 {
                $crate::API_VERSION
            }

            #[cfg(target_family = "wasm")]
            #[unsafe(export_name = "igxHost")]
            extern "C" fn igx() {
                $crate::life::export_igx();
            }

            #[cfg(target_family = "wasm")]
            #[unsafe(export_name = "gadgetInit")]
            extern "C" fn init() -> i32 {
                $crate::life::export_init::<$guest>()
            }

            #[cfg(target_family = "wasm")]
            #[unsafe(export_name = "gadgetPreStart")]
            extern "C" fn pre_start() -> i32 {
                $crate::life::export_step($crate::life::Step::PreStart)
            }

            #[cfg(target_family = "wasm")]
            #[unsafe(export_name = "gadgetStart")]
            extern "C" fn start() -> i32 {
                $crate::life::export_step($crate::life::Step::Start)
            }

            #[cfg(target_family = "wasm")]
            #[unsafe(export_name = "gadgetStop")]
            extern "C" fn stop() -> i32 {
                $crate::life::export_step($crate::life::Step::Stop)
            }

            #[cfg(target_family = "wasm")]
            #[unsafe(export_name = "dataSourceCallback")]
            extern "C" fn callback(id: u64, _source: u32, data: u32) {
                $crate::life::export_callback(id, data);
            }

            #[cfg(target_family = "wasm")]
            #[unsafe(export_name = "igxDataSourceCallback")]
            extern "C" fn deciding_callback(id: u64, _source: u32, data: u32) -> i32 {
                $crate::life::export_callback(id, data)
            }
        };
    };
}
