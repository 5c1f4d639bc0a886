// SPDX-License-Identifier: GPL-2.0
/*
 * Shows which files are opened. The guest beside it says in words how, from the fields of each
 * event.
 */
#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include <gadget/types.h>
#include <gadget/macros.h>
#include <gadget/buffer.h>
#include <gadget/filter.h>
#include <gadget/common.h>

#define NAME_MAX_LEN 128

struct open_event {
	gadget_timestamp timestamp_raw;
	struct gadget_process proc;
	gadget_file_flags flags_raw;
	char fname[NAME_MAX_LEN];
};

GADGET_TRACER_MAP(opens, 256 * 1024);
GADGET_TRACER(open, opens, open_event);

/* What the kernel hands to syscalls/sys_enter_*: include/trace/events/syscalls.h. */
struct sys_enter {
	__u64 common;
	__s64 nr;
	__u64 args[6];
};

SEC("tracepoint/syscalls/sys_enter_openat")
int ig_open_e(struct sys_enter *ctx)
{
	struct open_event *event;

	if (gadget_should_discard_data_current())
		return 0;
	event = gadget_reserve_buf(&opens, sizeof(*event));
	if (!event)
		return 0;
	event->timestamp_raw = bpf_ktime_get_boot_ns();
	gadget_process_populate(&event->proc);
	event->flags_raw = ctx->args[2];
	if (bpf_probe_read_user_str(event->fname, sizeof(event->fname), (void *)ctx->args[1]) < 0)
		event->fname[0] = 0;
	gadget_submit_buf(ctx, &opens, event, sizeof(*event));
	return 0;
}

char _license[] SEC("license") = "GPL";
