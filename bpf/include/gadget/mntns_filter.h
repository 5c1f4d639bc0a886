/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * The container filter: a container is known in the kernel by its mount namespace. The runner keeps
 * those of the containers that the user asked for in a map, which it puts in the place of the one
 * declared here.
 */
#ifndef GADGET_MNTNS_FILTER_H
#define GADGET_MNTNS_FILTER_H

#include <gadget/types.h>
#ifndef __VMLINUX_H__
#include <linux/bpf.h>
#include <stdbool.h>
#endif
#include <bpf/bpf_helpers.h>

#define GADGET_MNTNS_FILTER_MAX_ENTRIES 1024

/* Set by the runner if only some containers are to be shown. */
const volatile bool gadget_filter_by_mntns = false;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, GADGET_MNTNS_FILTER_MAX_ENTRIES);
	__type(key, gadget_mntns_id);
	__type(value, __u32);
} gadget_mntns_filter_map SEC(".maps");

/* Whether an event of this mount namespace is not wanted. */
static __always_inline bool gadget_should_discard_mntns_id(gadget_mntns_id mntns_id)
{
	return gadget_filter_by_mntns && !bpf_map_lookup_elem(&gadget_mntns_filter_map, &mntns_id);
}

#endif
