//! The crate as its users call it, on hellos of real clients (tests/corpus) and on what no client would send.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod dtls;
mod flood;
#[path = "../../tests/packets/hello.rs"]
mod hello;
mod hostile;
mod names;
mod oracle;
mod quic;
mod reference;
mod split;
mod support;
