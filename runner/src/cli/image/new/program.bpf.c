// SPDX-License-Identifier: GPL-2.0
/* Shows which programs are started, and by whom. */
#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <gadget/types.h>
#include <gadget/macros.h>
#include <gadget/buffer.h>
#include <gadget/filter.h>
#include <gadget/common.h>

#define PATH_LEN 256

/* What users see: a field a member. gadget.yaml describes them. */
struct event {
	gadget_timestamp timestamp_raw;
	struct gadget_process proc;
	char path[PATH_LEN];
};

/* Through `events`, events go to the user as the data source `exec`. */
GADGET_TRACER_MAP(events, 256 * 1024);
GADGET_TRACER(exec, events, event);

/* What the kernel hands over: /sys/kernel/tracing/events/sched/sched_process_exec/format */
struct exec_context {
	__u64 common;
	/* Where the path is: its length, and its offset from here. */
	__u16 path_offset;
	__u16 path_length;
};

SEC("tracepoint/sched/sched_process_exec")
int on_exec(struct exec_context *ctx)
{
	struct event *event;

	/* What the user filters out is not worth the work of making an event. */
	if (gadget_should_discard_data_current())
		return 0;
	event = gadget_reserve_buf(&events, sizeof(*event));
	if (!event)
		return 0;
	event->timestamp_raw = bpf_ktime_get_boot_ns();
	gadget_process_populate(&event->proc);
	if (bpf_probe_read_kernel_str(event->path, sizeof(event->path),
				      (void *)ctx + ctx->path_offset) < 0)
		event->path[0] = 0;
	gadget_submit_buf(ctx, &events, event, sizeof(*event));
	return 0;
}

char _license[] SEC("license") = "GPL";
