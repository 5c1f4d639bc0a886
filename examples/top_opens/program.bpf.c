// SPDX-License-Identifier: GPL-2.0
/*
 * Counts how many files each process opens: a map that is read, and emptied, at intervals.
 */
#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <gadget/types.h>
#include <gadget/macros.h>
#include <gadget/filter.h>
#include <gadget/common.h>

#define MAX_PROCESSES 10240

struct by {
	struct gadget_process proc;
};

struct count {
	__u64 opens;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_PROCESSES);
	__type(key, struct by);
	__type(value, struct count);
} counts SEC(".maps");

GADGET_MAPITER(opens, counts);

SEC("tracepoint/syscalls/sys_enter_openat")
int count_open(void *ctx)
{
	static const struct count none;
	struct count *count;
	struct by by = {};

	if (gadget_should_discard_data_current())
		return 0;
	gadget_process_populate(&by.proc);
	bpf_map_update_elem(&counts, &by, &none, BPF_NOEXIST);
	count = bpf_map_lookup_elem(&counts, &by);
	if (count)
		__sync_fetch_and_add(&count->opens, 1);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
