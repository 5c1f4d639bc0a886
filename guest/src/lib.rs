//! Guests of eBPF gadgets, in safe Rust.
//!
//! A gadget's image may carry a WebAssembly module, the *guest*, which sees every event before it is shown: it fills
//! fields, adds fields, makes data sources of its own, reads the gadget's maps. This crate is what such a module is
//! written in. The same module runs under `igx` and under Inspektor Gadget's `ig`.
//!
//! ```
//! use gadget_guest::{DataSource, Guest, Result};
//!
//! struct Shout;
//!
//! impl Guest for Shout {
//!     fn init() -> Result<Self> {
//!         let opens = DataSource::get("open")?;
//!         let name = opens.field::<String>("fname")?;
//!         let loud = opens.add_field::<String>("loud")?;
//!         opens.subscribe(0, move |event| loud.set(event, &name.get(event)?.to_uppercase()))?;
//!         Ok(Self)
//!     }
//! }
//!
//! gadget_guest::export!(Shout);
//!
//! // A test: no kernel, no WebAssembly, only a mock of the host.
//! use gadget_guest::{Kind, mock::Host};
//! let host = Host::new();
//! let opens = host.data_source("open").field("fname", Kind::CString).build();
//! host.run::<Shout>()?;
//! let event = host.emit(opens, &[("fname", "/etc/passwd".into())]).expect("not discarded");
//! assert_eq!(event["loud"], "/ETC/PASSWD".into());
//! # Ok::<_, gadget_guest::Error>(())
//! ```
//!
//! The crate of a guest has `crate-type = ["cdylib"]` and is built with
//! `cargo build --release --target wasm32-wasip1`.

#[cfg(any(target_family = "wasm", test))]
#[doc(hidden)]
pub mod alloc;
mod data;
mod datasource;
mod error;
mod field;
mod host;
mod kernel;
#[doc(hidden)]
pub mod life;
pub mod log;
mod map;
#[cfg(not(target_family = "wasm"))]
pub mod mock;
mod param;
mod perf;
mod subscription;
mod text;
mod value;
#[doc(hidden)]
pub mod wire;

pub use data::{Array, AsData, Data, Event, Packet, PacketArray};
pub use datasource::{DataSource, Type};
pub use error::{Error, Result};
pub use field::Field;
pub use host::API_VERSION;
pub use kernel::{Syscall, SyscallParam, should_discard_mntns, symbol_exists};
pub use life::{Guest, host_is_igx};
pub use map::{Map, MapType, Update};
pub use param::{param, set_config};
pub use perf::PerfReader;
pub use value::{Kind, Value};
pub use wire::Wire;
