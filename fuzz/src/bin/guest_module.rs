//! A module that anybody wrote: it is refused or run within its fences, and its host lives on.
//!
//! The seed subscribes to `events`, reads a text of each and adds another, so that inputs begin with a module that lives.
//!
//! Seeds: fuzz/seeds/guest_module/*.wasm
#![no_main]

#[path = "../guest.rs"]
mod guest;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|module: &[u8]| guest::live(module));
