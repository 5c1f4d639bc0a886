//! The main job: host names with their processes, on this host.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::{self, Igx, TlsServer};

fn is(event: &Value, name: &str, comm: &str) -> bool {
    event["name"] == name && event["proc"]["comm"] == comm
}

fn own_comm() -> String {
    std::fs::read_to_string("/proc/self/comm").unwrap().trim_end().to_owned()
}

#[test]
fn both_sides_of_a_handshake_are_shown_over_ipv4_and_ipv6() {
    let igx = Igx::new();
    for (address, name) in [("127.0.0.1", "four.e2e.example"), ("[::1]", "six.e2e.example")] {
        let mut run = igx.run(&["trace_sni", "--host", "--all", "-o", "json"]);
        let server = TlsServer::start(igx.home.path(), address);
        let client = support::handshake(address, server.port, name);
        let openssl = |pid: u64| move |e: &Value| is(e, name, "openssl") && e["proc"]["pid"] == pid;
        let events = run.events(&[&openssl(client), &openssl(server.process.pid())]);
        for event in events {
            assert_eq!(event["proc"]["pid"], event["proc"]["tid"]);
            assert_eq!(event["proc"]["creds"]["uid"], 0);
            assert_eq!(event["proc"]["creds"]["user"], "root");
            assert_eq!(event["proc"]["parent"]["pid"], std::process::id());
            assert_eq!(event["runtime"]["containerName"], "");
            assert_eq!(event["k8s"]["podName"], "");
            assert_ne!(event["netns_id"], 0);
        }
        run.stop();
    }
}

#[test]
fn curl_is_seen_by_its_own_name() {
    let igx = Igx::new();
    let server = TlsServer::start(igx.home.path(), "127.0.0.1");
    let mut run = igx.run(&["trace_sni", "--host", "-o", "json"]);
    let resolve = format!("curl.e2e.example:{}:127.0.0.1", server.port);
    let url = format!("https://curl.e2e.example:{}/", server.port);
    let mut curl = support::Process::start(Command::new("curl").args([
        "-sk",
        "--max-time",
        "10",
        "--resolve",
        &resolve,
        &url,
    ]));
    let event = run.event(|e| is(e, "curl.e2e.example", "curl"));
    assert_eq!(event["proc"]["pid"], curl.pid());
    let _ = curl.0.kill();
    run.stop();
}

#[test]
fn what_else_a_hello_tells_is_told_to_who_asks_for_it() {
    let igx = Igx::new();
    let server = TlsServer::start(igx.home.path(), "127.0.0.1");
    let to = format!("127.0.0.1:{}", server.port);
    let told = |args: &[&str]| {
        let mut run = igx.run(&[&["trace_sni", "--host", "-o", "json"], args].concat());
        let hello = ["s_client", "-connect", &to, "-servername", "told.e2e.example", "-alpn", "h2,http/1.1"];
        let client = Command::new("openssl").args(hello).stdin(Stdio::null()).output().unwrap();
        assert!(client.status.success());
        let event = run.event(|event| event["name"] == "told.e2e.example");
        run.stop();
        event
    };
    let event = told(&["--fields", "name,tls_version,alpn"]);
    assert_eq!((&event["alpn"], &event["tls_version"]), (&"h2".into(), &0x0304.into()));
    assert_eq!(told(&["--filter", "alpn==h2"])["alpn"], "h2");
    // It costs, and is left out otherwise.
    assert_eq!(told(&[])["alpn"], "");
}

#[test]
fn sockets_that_were_open_before_the_run_have_their_owners() {
    let igx = Igx::new();
    for address in ["127.0.0.1", "[::1]"] {
        let server = TlsServer::start(igx.home.path(), address);
        let (client, _accepted) = support::connected(address);
        let mut run = igx.run(&["trace_sni", "--host", "--all", "-o", "json"]);
        // A silent client speaks up; and a server that has been listening is asked.
        support::send(&client, &support::client_hello("silent.e2e.example"));
        let pid = support::handshake(address, server.port, "listening.e2e.example");
        let events = run.events(&[
            &|e| e["name"] == "silent.e2e.example" && e["proc"]["pid"] == std::process::id(),
            &|e| e["name"] == "listening.e2e.example" && e["proc"]["pid"] == server.process.pid(),
            &|e| e["name"] == "listening.e2e.example" && e["proc"]["pid"] == pid,
        ]);
        // Who opened it is not known any more: any of the process' threads can use it, and the first one names it.
        assert_eq!(events[0]["proc"]["comm"], own_comm());
        run.stop();
    }
}

#[test]
fn process_filters_leave_others_out() {
    let igx = Igx::new();
    let server = TlsServer::start(igx.home.path(), "127.0.0.1");
    let pid = server.process.pid().to_string();
    let mut run = igx.run(&["trace_sni", "--host", "-o", "json", "--pid", &pid]);
    support::handshake("127.0.0.1", server.port, "first.e2e.example");
    support::handshake("127.0.0.1", server.port, "second.e2e.example");
    let first = run.event(|_| true);
    let second = run.event(|_| true);
    for (event, name) in [(first, "first.e2e.example"), (second, "second.e2e.example")] {
        assert_eq!(event["name"], name);
        assert_eq!(event["proc"]["pid"], server.process.pid());
    }
    run.stop();
}

#[test]
fn rules_filter_by_name() {
    let igx = Igx::new();
    let server = TlsServer::start(igx.home.path(), "127.0.0.1");
    let mut run = igx.run(&["trace_sni", "--host", "-o", "json", "-F", "name~^wanted,proc.comm==openssl"]);
    support::handshake("127.0.0.1", server.port, "other.e2e.example");
    support::handshake("127.0.0.1", server.port, "wanted.e2e.example");
    assert_eq!(run.event(|_| true)["name"], "wanted.e2e.example");
    run.stop();
}

#[test]
fn columns_read_like_the_readme() {
    let igx = Igx::new();
    let server = TlsServer::start(igx.home.path(), "127.0.0.1");
    // Other tests shake hands at the same time.
    let filter = ["-F", "name==columns.e2e.example"];
    let mut run = igx.run(&[&["trace_sni", "--host", "--comm", "openssl"][..], &filter].concat());
    let header = run.line();
    let titles: Vec<_> = header.split_whitespace().collect();
    assert_eq!(titles, ["RUNTIME.CONTAINERNAME", "COMM", "PID", "TID", "NAME"]);
    let pid = support::handshake("127.0.0.1", server.port, "columns.e2e.example").to_string();
    let line = run.line();
    let cells: Vec<_> = line.split_whitespace().collect();
    assert_eq!(cells, ["openssl", &pid, &pid, "columns.e2e.example"]);
    run.stop();
}

#[test]
fn a_hostile_name_cannot_reach_the_terminal_raw() {
    let igx = Igx::new();
    let mut run = igx.run(&["trace_sni", "--host", "--fields", "name"]);
    assert_eq!(run.line().trim_end(), "NAME");
    let (client, _server) = support::connected("127.0.0.1");
    support::send(&client, &support::client_hello("\x1b[2Jevil\n.example"));
    let line = run.line();
    assert!(line.starts_with(r"\\x1b[2Jevil\\x0a.example"), "{line:?}");
    run.stop();
}

#[test]
fn a_name_that_is_no_plain_one_is_marked_and_the_same_however_it_comes() {
    let igx = Igx::new();
    let own = std::process::id().to_string();
    let mut run = igx.run(&["trace_sni", "--host", "-o", "json", "--pid", &own]);
    let long = "l".repeat(300);
    for (name, shown, status) in [
        ("plain.odd.example", "plain.odd.example", "ok"),
        ("sp ace.odd.example", r"sp\x20ace.odd.example", "escaped"),
        ("a\0b.odd.example", r"a\x00b.odd.example", "escaped"),
        ("192.0.2.77", "192.0.2.77", "ip"),
        ("2001:db8::77", "2001:db8::77", "ip"),
        (&long, &long[..255], "truncated"),
    ] {
        for parts in [1, 2] {
            let hello = support::client_hello(name);
            let (client, _server) = support::connected("127.0.0.1");
            client.set_nodelay(true).unwrap();
            hello.chunks(hello.len().div_ceil(parts)).for_each(|part| support::send(&client, part));
            let event = run.event(|_| true);
            assert_eq!((&event["name"], &event["name_status"]), (&shown.into(), &status.into()), "{parts}");
            assert_eq!(event["segments"], parts);
            assert_eq!(event["ech"], if parts == 1 { "unread" } else { "none" });
        }
    }
    assert_eq!(run.stop(), Vec::<String>::new());
}

#[test]
fn a_run_ends_by_itself_after_its_timeout() {
    let igx = Igx::new();
    let started = std::time::Instant::now();
    igx.ok(&["run", "trace_sni", "--host", "--timeout", "1"]);
    assert!(started.elapsed().as_millis() >= 1000);
}

#[test]
fn without_containers_the_next_step_is_said() {
    let igx = Igx::new();
    let silent = igx.home.path().join("docker.sock");
    std::fs::write(&silent, "").unwrap();
    let silent = silent.to_str().unwrap();
    // Only of a runtime that is silent: other tests have containers in the others.
    let flags = ["--runtimes", "docker", "--docker-socketpath", silent];
    let output = igx.output(&[&["run", "trace_sni", "-t", "1"][..], &flags].concat());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("no containers found: add --host to see this host's processes"), "{said}");
}

#[test]
fn a_connection_is_one_line_of_the_client() {
    let igx = Igx::new();
    let server = TlsServer::start(igx.home.path(), "127.0.0.1");
    let mut run = igx.run(&["trace_sni", "--host", "-o", "json", "-F", "name~once.e2e.example"]);
    for name in ["first.once.e2e.example", "second.once.e2e.example"] {
        let client = support::handshake("127.0.0.1", server.port, name);
        let event = run.event(|_| true);
        assert_eq!((&event["name"], &event["proc"]["pid"]), (&name.into(), &client.into()));
        assert_eq!(event["direction"], "egress");
    }
    run.stop();
}

#[test]
fn a_hello_that_is_split_tells_all_of_its_fields() {
    let igx = Igx::new();
    let mut run = igx.run(&["trace_sni", "--host", "-o", "json"]);
    let (client, _server) = support::connected("127.0.0.1");
    client.set_nodelay(true).unwrap();
    let hello = support::client_hello("split.e2e.example");
    for part in hello.chunks(20) {
        support::send(&client, part);
    }
    let event = run.event(|e| e["name"] == "split.e2e.example");
    assert_eq!(event["proc"]["pid"], std::process::id());
    assert_eq!(event["dst"]["port"], client.peer_addr().unwrap().port());
    assert_eq!((&event["transport"], &event["name_status"]), (&"tcp".into(), &"ok".into()));
    assert_eq!(event["tls_version"], 0x303);
    assert!(event["segments"].as_u64().unwrap() > 1, "{event}");
    assert!(event.get("hello").is_none(), "the bytes are for the guest");
    run.stop();
}

#[test]
fn a_thousand_connections_whose_hellos_are_split_at_once_are_all_found() {
    const CONNECTIONS: usize = 1_000;
    let own = std::process::id().to_string();
    // Two descriptors each; the usual limit is less, and sometimes the most that may be had.
    let raise =
        |limit| Command::new("prlimit").args(["--pid", &own, limit]).stderr(Stdio::null()).status().unwrap();
    assert!(raise("--nofile=8192:").success() || raise("--nofile=8192").success());
    let igx = Igx::new();
    let mut run =
        igx.run(&["trace_sni", "--host", "-o", "json", "--pid", &own, "-F", "name~at-once.example"]);
    let ends: Vec<_> = (0..CONNECTIONS).map(|_| support::connected("127.0.0.1")).collect();
    let names: Vec<_> = (0..CONNECTIONS).map(|number| format!("n{number:04}.at-once.example")).collect();
    let hellos: Vec<_> = names.iter().map(|name| support::client_hello(name)).collect();
    for part in [0..30, 30..60, 60..usize::MAX] {
        for ((client, _), hello) in ends.iter().zip(&hellos) {
            support::send(client, &hello[part.start..part.end.min(hello.len())]);
        }
    }
    let found: std::collections::BTreeSet<_> =
        (0..CONNECTIONS).map(|_| run.event(|_| true)["name"].as_str().unwrap().to_owned()).collect();
    assert!(names.iter().all(|name| found.contains(name)), "{} of {CONNECTIONS}", found.len());
    assert_eq!(run.stop(), Vec::<String>::new());
}

/// Datagrams of a corpus file: `c` or `s` (who sent it), a length of two bytes, the bytes.
fn datagrams(file: &str) -> Vec<(u8, Vec<u8>)> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/corpus/quic/");
    let bytes = std::fs::read(format!("{path}{file}")).unwrap();
    let mut rest = &bytes[..];
    let mut datagrams = Vec::new();
    while let [who, high, low, behind @ ..] = rest {
        let (datagram, next) = behind.split_at(usize::from(u16::from_be_bytes([*high, *low])));
        datagrams.push((*who, datagram.to_vec()));
        rest = next;
    }
    datagrams
}

#[test]
fn names_in_quic_are_shown_with_their_process() {
    let igx = Igx::new();
    let mut run = igx.run(&["trace_sni", "--host", "-o", "json"]);
    for (file, name) in [
        ("aioquic-v2.bin", "aioquic-v2.example"),
        ("browser-chrome.bin", "browser-chrome.example"),
        ("quic-go-0.bin", "quic-go-0.example"),
    ] {
        let server = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let client = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect(server.local_addr().unwrap()).unwrap();
        for (_, datagram) in datagrams(file).iter().filter(|(who, _)| *who == b'c') {
            client.send(datagram).unwrap();
        }
        let event = run.event(|e| e["name"] == name);
        assert_eq!(event["transport"], "quic");
        assert_eq!(event["proc"]["pid"], std::process::id());
        assert_eq!(event["dst"]["port"], server.local_addr().unwrap().port());
        assert_eq!(event["tls_version"], 0x304);
    }
    run.stop();
}

#[test]
fn a_quic_connection_that_is_told_to_retry_is_one_line() {
    let igx = Igx::new();
    let mut run = igx.run(&["trace_sni", "--host", "-o", "json", "-F", "name~retry.example"]);
    for file in ["aioquic-retry.bin", "aioquic-big-retry.bin"] {
        let server = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let client = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        for (who, datagram) in datagrams(file) {
            let (from, to) = if who == b'c' { (&client, &server) } else { (&server, &client) };
            from.send_to(&datagram, to.local_addr().unwrap()).unwrap();
        }
    }
    let found = [run.event(|_| true), run.event(|_| true)];
    assert_eq!(found.map(|e| e["name"].clone()), ["aioquic-retry.example", "aioquic-big-retry.example"]);
    assert_eq!(run.stop(), Vec::<String>::new());
}

#[test]
fn names_in_dtls_are_shown_with_their_process() {
    let igx = Igx::new();
    let mut run = igx.run(&["trace_sni", "--host", "-o", "json"]);
    let server = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let mut command = Command::new("openssl");
    command.args([
        "s_client",
        "-dtls1_2",
        "-servername",
        "dtls.e2e.example",
        "-connect",
        &address.to_string(),
    ]);
    let mut client = support::Process::start(&mut command);
    let event = run.event(|e| is(e, "dtls.e2e.example", "openssl"));
    assert_eq!((&event["proc"]["pid"], &event["transport"]), (&client.pid().into(), &"dtls".into()));
    assert_eq!((&event["dst"]["port"], &event["tls_version"]), (&address.port().into(), &0xfefd.into()));
    let _ = client.0.kill();
    run.stop();
}
