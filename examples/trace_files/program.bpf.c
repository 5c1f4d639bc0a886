// SPDX-License-Identifier: GPL-2.0
/*
 * Shows which files are opened, and which programs are started: two data sources, one from a
 * tracepoint and one from a raw tracepoint.
 */
#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <gadget/types.h>
#include <gadget/macros.h>
#include <gadget/buffer.h>
#include <gadget/filter.h>
#include <gadget/common.h>

#define NAME_MAX_LEN 128

enum open_by_raw {
	openat = 0,
	openat2 = 1,
};

struct open_event {
	gadget_timestamp timestamp_raw;
	struct gadget_process proc;
	gadget_file_flags flags_raw;
	enum open_by_raw by_raw;
	char fname[NAME_MAX_LEN];
};

struct start_event {
	gadget_timestamp timestamp_raw;
	struct gadget_process proc;
};

const volatile bool creating = false;
GADGET_PARAM(creating);

GADGET_TRACER_MAP(opens, 256 * 1024);
GADGET_TRACER_MAP(starts, 64 * 1024);
GADGET_TRACER(open, opens, open_event);
GADGET_TRACER(start, starts, start_event);

/* What the kernel hands to syscalls/sys_enter_*: include/trace/events/syscalls.h. */
struct sys_enter {
	__u64 common;
	__s64 nr;
	__u64 args[6];
};

/* struct open_how, include/uapi/linux/openat2.h. */
struct open_how_head {
	__u64 flags;
};

#define O_CREAT 0100

static __always_inline int on_open(void *ctx, const char *name, __u32 flags, enum open_by_raw by)
{
	struct open_event *event;

	if (creating && !(flags & O_CREAT))
		return 0;
	if (gadget_should_discard_data_current())
		return 0;
	event = gadget_reserve_buf(&opens, sizeof(*event));
	if (!event)
		return 0;
	event->timestamp_raw = bpf_ktime_get_boot_ns();
	gadget_process_populate(&event->proc);
	event->flags_raw = flags;
	event->by_raw = by;
	if (bpf_probe_read_user_str(event->fname, sizeof(event->fname), name) < 0)
		event->fname[0] = 0;
	gadget_submit_buf(ctx, &opens, event, sizeof(*event));
	return 0;
}

SEC("tracepoint/syscalls/sys_enter_openat")
int ig_open_e(struct sys_enter *ctx)
{
	return on_open(ctx, (const char *)ctx->args[1], ctx->args[2], openat);
}

SEC("tracepoint/syscalls/sys_enter_openat2")
int ig_open2_e(struct sys_enter *ctx)
{
	struct open_how_head how = {};

	bpf_probe_read_user(&how, sizeof(how), (void *)ctx->args[2]);
	return on_open(ctx, (const char *)ctx->args[1], how.flags, openat2);
}

SEC("raw_tracepoint/sched_process_exec")
int ig_start(void *ctx)
{
	struct start_event *event;

	if (gadget_should_discard_data_current())
		return 0;
	event = gadget_reserve_buf(&starts, sizeof(*event));
	if (!event)
		return 0;
	event->timestamp_raw = bpf_ktime_get_boot_ns();
	gadget_process_populate(&event->proc);
	gadget_submit_buf(ctx, &starts, event, sizeof(*event));
	return 0;
}

char _license[] SEC("license") = "GPL";
