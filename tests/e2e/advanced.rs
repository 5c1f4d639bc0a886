//! Flags for who wants to know more: what programs print, fields from the environment, paths of who owns a socket.

use std::{
    fs,
    net::UdpSocket,
    process::{Command, Stdio},
};

use super::support::{Igx, Running};

/// Prints a line with an escape sequence for each program that is started.
const PROGRAM: &str = r#"
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <gadget/types.h>
#include <gadget/macros.h>
#include <gadget/buffer.h>
#include <gadget/filter.h>
#include <gadget/common.h>

struct event {
	struct gadget_process proc;
};

GADGET_TRACER_MAP(events, 64 * 1024);
GADGET_TRACER(start, events, event);

SEC("raw_tracepoint/sched_process_exec")
int on_exec(void *ctx)
{
	struct event *event;
	char red[] = "\x1b[31m";

	if (gadget_should_discard_data_current())
		return 0;
	event = gadget_reserve_buf(&events, sizeof(*event));
	if (!event)
		return 0;
	gadget_process_populate(&event->proc);
	bpf_printk("igx test: %s%s", red, event->proc.comm);
	gadget_submit_buf(ctx, &events, event, sizeof(*event));
	return 0;
}

char _license[] SEC("license") = "GPL";
"#;

fn built(program: &str, metadata: &str) -> Igx {
    let igx = Igx::new();
    let folder = igx.home.path().join("speaker");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("program.bpf.c"), program).unwrap();
    fs::write(folder.join("gadget.yaml"), format!("name: speaker\n{metadata}")).unwrap();
    igx.ok(&["image", "build", folder.to_str().unwrap(), "-t", "speaker"]);
    igx
}

/// What `true` prints when it is started under the gadget, with these flags before `run`.
fn said(igx: &Igx, before: &[&str], flags: &[&str]) -> Vec<String> {
    let store = igx.store();
    let mut command = Command::new(super::support::binary());
    command.args(before).args(["-v", "--store"]).arg(store);
    command.args(["run", "speaker", "--host", "--verify-image=false", "--output=none"]).args(flags);
    let mut running = Running::start(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
    running.wait_for_said("running...");
    assert!(Command::new("true").status().unwrap().success());
    let (_, said) = running.finish();
    said.into_iter().filter(|line| line.contains("igx test: ") && line.contains("true")).collect()
}

#[test]
fn what_programs_print_is_shown_while_they_run_if_asked_for() {
    let igx = built(PROGRAM, "");
    let lines = said(&igx, &[], &["--trace-pipe"]);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with("true-"), "{lines:?}");
    assert!(lines[0].ends_with(r": bpf_trace_printk: igx test: \x1b[31mtrue"), "{lines:?}");
    assert_eq!(said(&igx, &[], &["--trace-pipe=false"]), [""; 0]);
    let lines = said(&igx, &["--as", "ig"], &["--trace-pipe"]);
    assert!(lines[0].contains(" level=info msg=\" ") && lines[0].ends_with("[31mtrue\""), "{lines:?}");
}

#[test]
fn fields_show_variables_of_the_environment_that_are_allowed() {
    let igx = built(
        PROGRAM,
        "datasources: {start: {annotations: {env.fields.zone: IGX_TEST_ZONE, env.fields.rack: IGX_TEST_RACK}}}",
    );
    let arguments = ["-v", "run", "speaker", "--host", "--verify-image=false", "--output=json"];
    let allowed = "--env-vars=IGX_TEST_ZONE, IGX_TEST_RACK";
    let mut command = igx.command(&arguments);
    command.arg(allowed).env("IGX_TEST_ZONE", "z\"9").env_remove("IGX_TEST_RACK");
    let mut running = Running::start(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
    running.wait_for_said("running...");
    assert!(Command::new("true").status().unwrap().success());
    let event = running.event(|event| event["proc"]["comm"] == "true");
    assert_eq!((&event["zone"], &event["rack"]), (&"z\"9".into(), &"".into()));
    running.stop();

    let refused = igx.command(&arguments).arg("--env-vars=IGX_TEST_RACK").env("IGX_TEST_ZONE", "z9").output();
    let refused = refused.unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!((refused.status.code(), refused.stdout.len()), (Some(1), 0), "{said}");
    assert!(said.contains("allow that with --env-vars IGX_TEST_ZONE"), "{said}");
    // What can be chosen from is told in any case.
    assert!(igx.ok(&["run", "speaker", "--verify-image=false", "--help"]).contains("* zone "));
}

/// Shows the paths of who sends a datagram to port 9.
const PATHS: &str = r#"
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/udp.h>
#define GADGET_TYPE_NETWORKING
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include <gadget/types.h>
#include <gadget/macros.h>
#include <gadget/buffer.h>
#include <gadget/sockets-map.h>

struct event {
	gadget_netns_id netns_id;
	char cwd[64];
	char exepath[64];
};

GADGET_TRACER_MAP(events, 64 * 1024);
GADGET_TRACER(sent, events, event);

SEC("socket1")
int on_packet(struct __sk_buff *skb)
{
	struct gadget_socket_value *value;
	struct event *event;
	struct udphdr udp;

	if (skb->pkt_type != 4 || bpf_skb_load_bytes(skb, ETH_HLEN + sizeof(struct iphdr), &udp, sizeof(udp)))
		return 0;
	if (udp.dest != bpf_htons(9))
		return 0;
	value = gadget_socket_lookup(skb);
	event = gadget_reserve_buf(&events, sizeof(*event));
	if (!event)
		return 0;
	__builtin_memset(event, 0, sizeof(*event));
	event->netns_id = skb->cb[0];
	if (value && bpf_core_field_exists(value->cwd))
		bpf_probe_read_kernel_str(event->cwd, sizeof(event->cwd), value->cwd);
	if (value && bpf_core_field_exists(value->exepath))
		bpf_probe_read_kernel_str(event->exepath, sizeof(event->exepath), value->exepath);
	gadget_submit_buf(skb, &events, event, sizeof(*event));
	return 0;
}

char _license[] SEC("license") = "GPL";
"#;

#[test]
fn a_gadget_sees_the_paths_of_who_owns_a_socket_as_far_as_there_is_room() {
    let igx = built(PATHS, "");
    let exe = fs::read_link("/proc/self/exe").unwrap().to_string_lossy().into_owned();
    let here = std::env::current_dir().unwrap().to_string_lossy().into_owned();
    let cut = |path: &str, bytes: usize| path[..path.len().min(bytes - 1)].to_owned();
    for (flags, cwd, exepath) in [
        (&[][..], cut(&here, 64), cut(&exe, 64)),
        (&["--socket-enricher-fields=cwd=4"], cut(&here, 4), String::new()),
        (&["--socket-enricher-fields="], String::new(), String::new()),
    ] {
        let mut arguments = vec!["speaker", "--host", "--verify-image=false", "--output=json"];
        arguments.extend(flags);
        let mut running = igx.run(&arguments);
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.send_to(b"x", "127.0.0.1:9").unwrap();
        let event = running.event(|_| true);
        assert_eq!((&event["cwd"], &event["exepath"]), (&cwd.into(), &exepath.into()), "{flags:?}");
        running.stop();
    }
    assert!(
        igx.ok(&["run", "speaker", "--verify-image=false", "--help"]).contains("--socket-enricher-fields")
    );
}
