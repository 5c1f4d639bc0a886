//! End-to-end tests: they act as a user would, with the real binary, the real kernel, real sockets and a real
//! container runtime. They need root.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod advanced;
mod as_ig;
mod author;
mod bad_input;
mod build;
mod builder;
mod commands;
mod corpus;
mod docker;
mod filters;
mod guests;
mod guests_peer;
#[path = "../packets/hello.rs"]
mod hello;
mod help;
mod help_commands;
mod identity;
mod inspect_peer;
mod journey;
mod loss;
mod many;
mod output;
mod peers;
mod probes;
mod publish;
mod recall;
mod recall_cases;
mod recall_peers;
mod recall_ways;
mod registry;
mod rootless;
mod runtimes;
mod second_gadget;
mod settings;
mod signature;
mod sni;
mod starts;
mod store;
mod support;
mod torture;
mod trust;
mod usdt;
