//! The crate as its users call it, on hellos of real clients (tests/corpus) and on what no client would send.

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
