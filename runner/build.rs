//! Compiles the runner's own eBPF programs.

fn main() {}
