//! Host names that clients ask for in the clear, out of bytes as a tap sees them.
//!
//! One parser for everybody who looks at such bytes: the WebAssembly guest of `trace_sni`, its tests and its
//! fuzzers. It owns no socket, no clock and no thread, so that all of them run the same code: bytes and the
//! time go in, hellos come out. What it keeps between calls is bounded, whatever comes in.
//!
//! From the bottom up:
//!
//! - [`hello`]: a ClientHello (RFC 8446, section 4.1.2) and what it asks for; [`ja4`]: its fingerprint;
//! - [`record`]: the TLS records that a hello lies in, also behind plaintext; [`dtls`]: the same over
//!   datagrams;
//! - [`quic`]: QUIC's Initial packets, their keys and their frames;
//! - [`stream`]: bytes that come by offset in any order; [`flows`]: bounded room for many such streams;
//! - [`gatherer`]: all of it behind one face.
//!
//! ```
//! # use std::time::Duration;
//! use sni::{Flow, Gatherer, Outcome, Segment};
//!
//! # fn show(_: &str, _: &str) {}
//! # let (payload, sequence) = (&[][..], 1);
//! let mut gatherer = Gatherer::new();
//! let flow = Flow {
//!     namespace: 4026531840,
//!     source: "10.0.0.2:50124".parse()?,
//!     destination: "192.0.2.7:443".parse()?,
//! };
//! let segment = Segment { sequence, syn: false, payload };
//! if let Outcome::Hello(found) = gatherer.tcp(flow, segment, Duration::from_secs(12)) {
//!     show(&found.hello.server_name().text(), found.hello.name_status().as_str());
//! }
//! # Ok::<_, std::net::AddrParseError>(())
//! ```
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod dtls;
mod error;
pub mod flows;
pub mod gatherer;
pub mod hello;
pub mod ja4;
pub mod name;
pub mod quic;
mod reader;
pub mod record;
pub mod stream;

pub use error::Error;
pub use flows::Flow;
pub use gatherer::{Counters, Found, Gatherer, Outcome, Reason, Segment};
pub use hello::{ClientHello, Ech, Transport};
pub use name::{NameStatus, ServerName};
