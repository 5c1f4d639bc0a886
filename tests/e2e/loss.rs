//! What could not be shown is counted, and told at the end.

use std::{fs::File, net::Ipv4Addr};

use nix::sys::{
    signal::Signal,
    socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, sendto, socket},
    wait::{WaitPidFlag, WaitStatus, waitpid},
};
use serde_json::Value;

use crate::support::{Igx, client_hello, with_trace_files};

/// The number in the line `BEFORE N events: ...`, which is said once or not at all.
fn told(said: &[String], before: &str) -> u64 {
    let lines: Vec<_> = said.iter().filter_map(|line| line.strip_prefix(before)).collect();
    let [line] = lines[..] else { panic!("{before:?} is not said once: {said:#?}") };
    line.trim_start().split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn a_full_buffer_loses_events_and_each_is_counted() {
    // About three times what the ring buffer holds, which the runner makes 2 MB large.
    const OPENS: u64 = 30_000;
    let igx = with_trace_files();
    let path = igx.home.path().join("opened");
    File::create(&path).unwrap();
    let tid = nix::unistd::gettid().to_string();
    let run = igx.run(&["trace_files", "--host", "-o", "json", "--tid", &tid]);
    let stopped = run.pid();
    run.signal(Signal::SIGSTOP);
    assert_eq!(
        waitpid(stopped, Some(WaitPidFlag::WUNTRACED)).unwrap(),
        WaitStatus::Stopped(stopped, Signal::SIGSTOP)
    );
    for _ in 0..OPENS {
        File::open(&path).unwrap();
    }
    run.signal(Signal::SIGCONT);
    let (lines, said) = run.finish();
    for line in &lines {
        let event: Value = serde_json::from_str(line).unwrap();
        assert_eq!(event["fname"], path.to_str().unwrap());
    }
    let lost = told(&said, "lost");
    assert!(lost > 0 && !lines.is_empty(), "{} written, {lost} lost", lines.len());
    assert_eq!(lines.len() as u64 + lost, OPENS);
}

#[test]
fn a_run_without_loss_tells_of_none() {
    let igx = with_trace_files();
    let tid = nix::unistd::gettid().to_string();
    let run = igx.run(&["trace_files", "--host", "-o", "json", "--tid", &tid]);
    for _ in 0..100 {
        File::open("/etc/hostname").unwrap();
    }
    let (lines, said) = run.finish();
    assert_eq!(lines.len(), 100);
    assert!(!said.iter().any(|line| line.starts_with("lost") || line.contains("left out")), "{said:#?}");
    assert!(
        said.iter().any(|line| line.starts_with("100 events shown, 0 filtered out, 0 lost in ")),
        "{said:#?}"
    );
}

/// Sends a packet with a hello from one port to another of this host. No TCP socket has anything to do with it.
pub(crate) fn send_from_nobody(name: &str) {
    let mut tcp = Vec::new();
    for port in [1011u16, 1012] {
        tcp.extend(port.to_be_bytes());
    }
    tcp.extend([0, 0, 0, 1, 0, 0, 0, 1, 5 << 4, 0x10, 0xff, 0xff, 0, 0, 0, 0]);
    tcp.extend(client_hello(name));
    let mut packet = vec![0x45, 0];
    packet.extend(u16::try_from(20 + tcp.len()).unwrap().to_be_bytes());
    packet.extend([0, 0, 0, 0, 64, 6, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1]);
    packet.extend(tcp);
    let raw = socket(AddressFamily::Inet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Raw).unwrap();
    let to = SockaddrIn::from(std::net::SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0));
    let sent = sendto(std::os::fd::AsRawFd::as_raw_fd(&raw), &packet, &to, MsgFlags::empty()).unwrap();
    assert_eq!(sent, packet.len());
}

#[test]
fn what_nobody_owns_is_shown_unless_a_process_is_asked_for() {
    let igx = Igx::new();
    let mut run = igx.run(&["trace_sni", "--host", "-o", "json"]);
    send_from_nobody("nobody.e2e.example");
    let event = run.event(|e| e["name"] == "nobody.e2e.example");
    assert_eq!(event["proc"]["pid"], 0);
    assert_eq!(event["proc"]["comm"], "");
    run.stop();

    let pid = std::process::id().to_string();
    let mut run = igx.run(&["trace_sni", "--host", "-o", "json", "--pid", &pid]);
    send_from_nobody("nobody.e2e.example");
    // What follows on this host's loopback is seen after it.
    let (client, _server) = crate::support::connected("127.0.0.1");
    crate::support::send(&client, &client_hello("somebody.e2e.example"));
    run.event(|e| {
        assert_ne!(e["name"], "nobody.e2e.example");
        e["name"] == "somebody.e2e.example"
    });
    let (_, said) = run.finish();
    assert!(told(&said, "left out") >= 2, "{said:#?}");
    assert!(said.iter().any(|line| line.ends_with("nobody knows which process they belong to")), "{said:#?}");
}
