// SPDX-License-Identifier: GPL-2.0
/*
 * A gadget for tests of guests: it sends each file that the process `pid` opens, with the name
 * behind the event if it begins with "/etc/"; and it keeps a number for each processor, and
 * recordings in a map of perf buffers.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <gadget/types.h>
#include <gadget/macros.h>
#include <gadget/buffer.h>

#define NAME_MAX_LEN 64

struct event {
	gadget_pid pid;
	__u32 length;
};

GADGET_TRACER_MAP(events, 256 * 1024);
GADGET_TRACER(open, events, event);

const volatile __u32 pid = 0;
GADGET_PARAM(pid);

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	/* clang-format off */
	__array(values, struct {
		__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
		__uint(key_size, sizeof(__u32));
		__uint(value_size, sizeof(__u32));
	});
	/* clang-format on */
} recorders SEC(".maps");

/* What the kernel hands to syscalls/sys_enter_*: include/trace/events/syscalls.h. */
struct sys_enter {
	__u64 common;
	__s64 nr;
	__u64 args[6];
};

SEC("tracepoint/syscalls/sys_enter_openat")
int ig_open_e(struct sys_enter *ctx)
{
	struct {
		struct event event;
		char name[NAME_MAX_LEN];
	} all = {};
	static const char wanted[] = "/etc/";
	__u64 size = sizeof(all.event);
	__u32 zero = 0, *count;
	void *recorder;
	long len;

	all.event.pid = bpf_get_current_pid_tgid() >> 32;
	if (all.event.pid != pid)
		return 0;
	len = bpf_probe_read_user_str(all.name, sizeof(all.name), (void *)ctx->args[1]);
	all.event.length = len;
	for (int i = 0; i < sizeof(wanted) - 1; i++)
		if (all.name[i] != wanted[i])
			goto send;
	size = sizeof(all);
send:
	gadget_output_buf(ctx, &events, &all, size);
	count = bpf_map_lookup_elem(&counts, &zero);
	if (count)
		*count += 1;
	recorder = bpf_map_lookup_elem(&recorders, &zero);
	if (recorder)
		bpf_perf_event_output(ctx, recorder, BPF_F_CURRENT_CPU, &all.event,
				      sizeof(all.event));
	return 0;
}

char _license[] SEC("license") = "GPL";
