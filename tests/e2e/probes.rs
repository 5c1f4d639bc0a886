//! Kinds of programs that not every kernel allows: probes at functions of the kernel.

use std::path::Path;

use crate::support::{connected, with_gadget};

/// Whether this kernel has the probes. A kernel chosen for testing must have them.
fn has_probes() -> bool {
    let has = Path::new("/sys/bus/event_source/devices/kprobe").exists();
    assert!(has || std::env::var_os("IGX_TEST_KERNEL").is_none(), "this kernel has no kprobes");
    if !has {
        eprintln!("left out: this kernel has no kprobes ('make test-kernels' has some that do)");
    }
    has
}

#[test]
fn each_kind_of_probe_sends_its_event() {
    if !has_probes() {
        return;
    }
    let igx = with_gadget("tests/gadgets/probes");
    let pid = std::process::id().to_string();
    let mut run = igx.run(&["probes", "--host", "-o", "json", "--pid", &pid]);
    let _connected = connected("127.0.0.1");
    let by = |kind: &'static str| move |e: &serde_json::Value| e["probe"] == kind;
    let events = run.events(&[&by("kprobe"), &by("kretprobe"), &by("fentry"), &by("fexit")]);
    for event in events {
        assert_eq!(event["proc"]["pid"], std::process::id());
    }
    run.stop();
}
