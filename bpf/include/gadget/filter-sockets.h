/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* The half of filter.h, which includes it, that filters by the owner of a socket. */
#ifndef GADGET_FILTER_SOCKETS_H
#define GADGET_FILTER_SOCKETS_H

#include <gadget/filter.h>
#include <gadget/buffer.h>
#include <gadget/sockets-map.h>
#include <gadget/igx-cgroup.h>

/* Events dropped because a filter was set and the socket's owner not known. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} gadget_unowned SEC(".maps");

/* Inode of the host's network namespace, set by igx; 0: not known. No `gadget_var_`: ig fails for
 * such a variable that it has no value for. */
const volatile __u32 igx_host_netns = 0;

/* Whether an event of the process behind a socket is not wanted. No owner matches no filter. */
static __always_inline bool
gadget_should_discard_data_by_skb(const struct gadget_socket_value *value)
{
	gadget_comm comm[TASK_COMM_LEN];

	if (!value)
		return gadget_filters_by_process() || gadget_filter_by_mntns;
	__builtin_memcpy(comm, value->task, sizeof(comm));
	return gadget_should_discard_process(value->pid_tgid >> 32, (__u32)value->pid_tgid, comm,
					     (__u32)value->uid_gid, value->uid_gid >> 32) ||
	       igx_should_discard_owner(value);
}

/*
 * As above, but an event without an owner passes the container filter if its network namespace is
 * not the host's: the runner attaches programs to no other namespaces than those of the containers
 * that are wanted. What is dropped for want of an owner is counted.
 */
static __always_inline bool
gadget_should_discard_data_by_netns(const struct gadget_socket_value *value, gadget_netns_id netns)
{
	bool discard = gadget_should_discard_data_by_skb(value);

	if (value || !discard)
		return discard;
	if (!gadget_filters_by_process() && igx_host_netns && netns != igx_host_netns)
		return false;
	gadget_count(&gadget_unowned, 0);
	return true;
}

#endif
