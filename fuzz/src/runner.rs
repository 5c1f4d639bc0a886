//! The modules of the runner that are fuzzed, and nothing else of it: what speaks to registries, containers and people
//! would be most of the build, instrumented for nothing. It goes by the runner's name, so that targets read alike.
#![allow(dead_code, unused_imports, reason = "the rest of the runner uses it")]

#[path = "../../runner/src/datasource/mod.rs"]
pub mod datasource;
#[path = "../../runner/src/operator/mod.rs"]
pub mod operator;
#[path = "../../runner/src/wasm/mod.rs"]
pub mod wasm;
