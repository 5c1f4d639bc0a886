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
    nix::unistd::getpgid(None).unwrap();
    let by = |kind: &'static str| move |e: &serde_json::Value| e["probe"] == kind;
    let of_kernel = [by("kprobe"), by("kretprobe"), by("fentry"), by("fexit")];
    let of_library = [by("uprobe"), by("uretprobe")];
    let all: Vec<&dyn Fn(&serde_json::Value) -> bool> =
        of_kernel.iter().chain(&of_library).map(|by| by as &dyn Fn(&serde_json::Value) -> bool).collect();
    for event in run.events(&all) {
        assert_eq!(event["proc"]["pid"], std::process::id());
    }
    run.stop();
}

#[test]
fn traffic_of_an_interface_is_seen_both_ways() {
    let igx = with_gadget("tests/gadgets/traffic");
    let mut run = igx.run(&["traffic", "--iface", "lo", "-o", "json"]);
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.send_to(&[0; 321], socket.local_addr().unwrap()).unwrap();
    // Ethernet, IPv4 and UDP come before what was sent.
    let way = |way: &'static str| {
        move |e: &serde_json::Value| e["direction"] == way && e["len"] == 14 + 20 + 8 + 321
    };
    for event in run.events(&[&way("ingress"), &way("egress")]) {
        assert_eq!(event["ifindex"], 1);
        assert_ne!(event["netns_id"], 0);
    }
    run.stop();
    let error = igx.fails(&["run", "traffic", "--iface", "nosuch", "--verify-image=false"]);
    assert!(error.contains("interface nosuch"), "{error}");
}
