/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * How an event leaves the kernel: through a ring buffer, or a perf buffer where the kernel has none
 * (before 5.8). The choice is made as the object is loaded, so the branch not taken costs nothing.
 *
 * Two ways: gadget_reserve_buf(), fill, gadget_submit_buf() or gadget_discard_buf(); or
 * gadget_output_buf() for an event that lies elsewhere already. A gadget that only does the latter
 * defines GADGET_NO_BUF_RESERVE and saves the memory that stands in for a reservation in the perf
 * case. An event is at most GADGET_MAX_EVENT_SIZE bytes.
 *
 * `map` is always the address of a tracer map, `&events`: its name also names the map that counts
 * the losses.
 */
#ifndef GADGET_BUFFER_H
#define GADGET_BUFFER_H

#ifndef __VMLINUX_H__
#include <linux/bpf.h>
#endif
#include <gadget/types.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#ifndef GADGET_MAX_EVENT_SIZE
#define GADGET_MAX_EVENT_SIZE 10240
#endif

/* Adds one to entry `index` of a per-CPU array of __u64; an index beyond the array does nothing. */
static __always_inline void gadget_count(void *counters, __u32 index)
{
	__u64 *count = bpf_map_lookup_elem(counters, &index);

	if (count)
		*count += 1;
}

static __always_inline int __gadget_output_buf(void *ctx, void *map, void *lost, void *buf,
					       __u64 size)
{
	int err;

	if (!bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_ringbuf_output))
		/* The reader of a perf buffer learns of losses from the kernel. */
		return bpf_perf_event_output(ctx, map, BPF_F_CURRENT_CPU, buf, size);
	err = bpf_ringbuf_output(map, buf, size, 0);
	if (err)
		gadget_count(lost, 0);
	return err;
}

#define gadget_output_buf(ctx, map, buf, size)                                                     \
	__gadget_output_buf(ctx, map, map##_lost_samples, buf, size)

#ifndef GADGET_NO_BUF_RESERVE

/* A program is not interrupted by another of its kind on the same CPU, so one event a CPU is
 * enough. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u8[GADGET_MAX_EVENT_SIZE]);
} gadget_heap SEC(".maps");

static __always_inline void *__gadget_reserve_buf(void *map, void *lost, __u64 size)
{
	__u32 zero = 0;
	void *buf;

	if (!bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_ringbuf_reserve))
		return bpf_map_lookup_elem(&gadget_heap, &zero);
	buf = bpf_ringbuf_reserve(map, size, 0);
	if (!buf)
		gadget_count(lost, 0);
	return buf;
}

/* Room for an event of `size` bytes (a constant), or NULL, which has been counted. Its bytes are
 * not zeroed. */
#define gadget_reserve_buf(map, size) __gadget_reserve_buf(map, map##_lost_samples, size)

/* Gives the room back: the event is not sent. */
static __always_inline void gadget_discard_buf(void *buf)
{
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_ringbuf_discard))
		bpf_ringbuf_discard(buf, 0);
}

/* Sends an event that was reserved with the same `map` and `size`. */
static __always_inline long gadget_submit_buf(void *ctx, void *map, void *buf, __u64 size)
{
	if (!bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_ringbuf_submit))
		return bpf_perf_event_output(ctx, map, BPF_F_CURRENT_CPU, buf, size);
	bpf_ringbuf_submit(buf, 0);
	return 0;
}

#endif /* GADGET_NO_BUF_RESERVE */

#endif
