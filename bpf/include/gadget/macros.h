/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * Markers: variables whose names tell a runner what the object offers. Their values mean nothing;
 * the pointer variables beside them keep an event's type in the BTF, where the runner reads its
 * fields.
 */
#ifndef GADGET_MACROS_H
#define GADGET_MACROS_H

#include <gadget/types.h>
#include <bpf/bpf_helpers.h>

/* Events of `struct type`, sent through the map `map`, are the data source `name`. */
#define GADGET_TRACER(name, map, type)                                                             \
	const void *gadget_tracer_##name##___##map##___##type __attribute__((unused));             \
	const struct type *__gadget_tracer_type_##name __attribute__((unused));

/*
 * The buffer of a tracer, `size` bytes, and beside it the count of events that did not fit. A
 * kernel without ring buffers gets a perf event array instead: the runner swaps it before the load.
 */
#define GADGET_TRACER_MAP(name, size)                                                              \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_RINGBUF);                                                \
		__uint(max_entries, size);                                                         \
	} name SEC(".maps");                                                                       \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);                                           \
		__uint(max_entries, 1);                                                            \
		__type(key, __u32);                                                                \
		__type(value, __u64);                                                              \
	} name##_lost_samples SEC(".maps");                                                        \
	const void *gadget_map_tracer_##name __attribute__((unused));

#define __GADGET_NAME1(a, b) a##___##b
#define __GADGET_NAME2(a, b, c) a##___##b##___##c
#define __GADGET_NAME3(a, b, c, d) a##___##b##___##c##___##d
#define __GADGET_NAME_PICK(_1, _2, _3, name, ...) name

/* What the iterator programs (one to three names) write, in order, is an array of `struct type`:
 * data source `name`. */
#define GADGET_ITER(name, type, ...)                                                               \
	const void *__GADGET_NAME_PICK(__VA_ARGS__, __GADGET_NAME3, __GADGET_NAME2,                \
				       __GADGET_NAME1)(gadget_iter_##name##___##type, __VA_ARGS__) \
	    __attribute__((unused));                                                               \
	const struct type *unusedevent_##name##___##type __attribute__((unused));
#define GADGET_SNAPSHOTTER(name, type, ...) GADGET_ITER(name, type, __VA_ARGS__)

/* The iter/bpf_map_elem program `prog` walks the map `map`. */
#define GADGET_ITER_TARGET_MAP(prog, map)                                                          \
	const void *gadget_mapelem_iter_target_##prog##___##map __attribute__((unused));

/* The sk_skb or sk_msg program `prog` is attached to the socket map `map`. */
#define GADGET_SK_TARGET_MAP(prog, map)                                                            \
	const void *gadget_sk_prog_target_##prog##___##map __attribute__((unused));

/* Keys and values of the hash map `map` are, at each interval, the data source `name`. */
#define GADGET_MAPITER(name, map)                                                                  \
	const void *gadget_mapiter_##name##___##map __attribute__((unused));

/* The `const volatile` global `name` is a parameter that the user can set. */
#define GADGET_PARAM(name) const void *gadget_param_##name __attribute__((unused));

#endif
