//! Drives the real program, in this machine's kernel, with one packet at a time (`BPF_PROG_TEST_RUN`), and reads
//! what it sends. Needs root.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod corpus;
mod datagrams;
mod filters;
mod flood;
mod frame;
mod gather;
mod hello;
mod hostile;
mod limits;
mod reference;
mod sightings;
mod tap;
