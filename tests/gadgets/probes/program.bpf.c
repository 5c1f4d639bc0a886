// SPDX-License-Identifier: GPL-2.0
/*
 * Tells of each connect(2) over IPv4 by every kind of probe: one event from each. The function is
 * called through a pointer, so no compiler puts it into another one. Of each getpgid(3), too, by
 * the probes in a library.
 */
#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include <gadget/types.h>
#include <gadget/macros.h>
#include <gadget/buffer.h>
#include <gadget/filter.h>
#include <gadget/common.h>

enum probe_raw {
	kprobe = 0,
	kretprobe = 1,
	fentry = 2,
	fexit = 3,
	uprobe = 4,
	uretprobe = 5,
};

struct event {
	gadget_timestamp timestamp_raw;
	struct gadget_process proc;
	enum probe_raw probe_raw;
};

GADGET_TRACER_MAP(events, 64 * 1024);
GADGET_TRACER(probes, events, event);

static __always_inline int report(void *ctx, enum probe_raw probe)
{
	struct event *event;

	if (gadget_should_discard_data_current())
		return 0;
	event = gadget_reserve_buf(&events, sizeof(*event));
	if (!event)
		return 0;
	event->timestamp_raw = bpf_ktime_get_boot_ns();
	gadget_process_populate(&event->proc);
	event->probe_raw = probe;
	gadget_submit_buf(ctx, &events, event, sizeof(*event));
	return 0;
}

SEC("kprobe/tcp_v4_connect")
int ig_kprobe(void *ctx)
{
	return report(ctx, kprobe);
}

SEC("kretprobe/tcp_v4_connect")
int ig_kretprobe(void *ctx)
{
	return report(ctx, kretprobe);
}

SEC("fentry/tcp_v4_connect")
int ig_fentry(void *ctx)
{
	return report(ctx, fentry);
}

SEC("fexit/tcp_v4_connect")
int ig_fexit(void *ctx)
{
	return report(ctx, fexit);
}

SEC("uprobe/libc:getpgid")
int ig_uprobe(void *ctx)
{
	return report(ctx, uprobe);
}

SEC("uretprobe/libc:getpgid")
int ig_uretprobe(void *ctx)
{
	return report(ctx, uretprobe);
}

char _license[] SEC("license") = "GPL";
