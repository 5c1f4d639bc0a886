//! Counts which host names the programs on this machine ask for, for ten seconds.
//!
//! Run it as root: `sudo -E cargo run --package runner --example library`.

use std::{collections::BTreeMap, time::Duration};

use runner::stream::{Error, Settings, Stream};

/// What is wanted of an event of trace_sni: fields that are not named here are left out.
#[derive(serde::Deserialize)]
struct Asked {
    name: String,
    proc: Process,
}

#[derive(serde::Deserialize)]
struct Process {
    comm: String,
}

fn main() -> Result<(), Error> {
    let settings = Settings { host: true, timeout: Some(Duration::from_secs(10)), ..Settings::default() };
    let mut counts: BTreeMap<(String, String), u64> = BTreeMap::new();
    for event in Stream::<Asked>::run("trace_sni", settings)? {
        let Asked { name, proc } = event?;
        *counts.entry((proc.comm, name)).or_default() += 1;
    }
    for ((comm, name), count) in counts {
        println!("{count:>6} {comm:<16} {name}");
    }
    Ok(())
}
