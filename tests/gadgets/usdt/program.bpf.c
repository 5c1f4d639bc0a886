// SPDX-License-Identifier: GPL-2.0
/*
 * Tells of a USDT probe, with its arguments: that of the end-to-end tests' own program.
 */
#include <vmlinux.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/usdt.bpf.h>
#include <gadget/types.h>
#include <gadget/macros.h>
#include <gadget/buffer.h>
#include <gadget/filter.h>
#include <gadget/common.h>

struct event {
	gadget_timestamp timestamp_raw;
	struct gadget_process proc;
	__s64 arguments;
	__s64 number;
	__s64 constant;
	__s64 element;
};

GADGET_TRACER_MAP(events, 64 * 1024);
GADGET_TRACER(told, events, event);

SEC("usdt//run/igx-test-usdt:igx_test:told")
int ig_told(struct pt_regs *ctx)
{
	struct event *event;
	long argument;

	if (gadget_should_discard_data_current())
		return 0;
	event = gadget_reserve_buf(&events, sizeof(*event));
	if (!event)
		return 0;
	event->timestamp_raw = bpf_ktime_get_boot_ns();
	gadget_process_populate(&event->proc);
	event->arguments = bpf_usdt_arg_cnt(ctx);
	bpf_usdt_arg(ctx, 0, &argument);
	event->number = argument;
	bpf_usdt_arg(ctx, 1, &argument);
	event->constant = argument;
	bpf_usdt_arg(ctx, 2, &argument);
	event->element = argument;
	gadget_submit_buf(ctx, &events, event, sizeof(*event));
	return 0;
}

char _license[] SEC("license") = "GPL";
