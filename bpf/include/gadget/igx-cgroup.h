/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * Which container a socket belongs to, by the control group of the process that owns it.
 *
 * A mount namespace does not always tell: a process of a container may make one of its own, and one
 * from outside may enter the container's. The runner igx keeps the control group beside each owner
 * and says which groups are containers. Other runners do neither, and everything is as if only
 * mount namespaces were asked.
 */
#ifndef GADGET_IGX_CGROUP_H
#define GADGET_IGX_CGROUP_H

#include <gadget/mntns_filter.h>
#include <gadget/sockets-map.h>
#include <bpf/bpf_core_read.h>

/*
 * A control group: the inode of its folder and, in the highest 16 bits, the number of its hierarchy
 * as in /proc/PID/cgroup, which is 0 for version 2. 0: not known.
 */
typedef __u64 igx_cgroup_id;

/* What igx adds to gadget_socket_value: that of the container, as far as it is one's, else the
 * owner's own. */
struct gadget_socket_value___igx {
	igx_cgroup_id igx_cgroup;
} __attribute__((preserve_access_index));

/* All containers, and whether each is shown (1) or not (0). One entry, because the runner that
 * fills it makes its own. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, igx_cgroup_id);
	__type(value, __u32);
} igx_containers SEC(".maps");

static __always_inline igx_cgroup_id igx_socket_cgroup(const struct gadget_socket_value *value)
{
	const struct gadget_socket_value___igx *own = (const void *)value;

	return value && bpf_core_field_exists(own->igx_cgroup) ? own->igx_cgroup : 0;
}

/* Whether an event of a socket's owner is not wanted, by container: the control group says it, and
 * where that is no container's, the mount namespace. */
static __always_inline bool igx_should_discard_owner(const struct gadget_socket_value *value)
{
	igx_cgroup_id cgroup;
	__u32 *shown;

	if (!gadget_filter_by_mntns)
		return false;
	cgroup = igx_socket_cgroup(value);
	shown = cgroup ? bpf_map_lookup_elem(&igx_containers, &cgroup) : NULL;
	return shown ? !*shown : gadget_should_discard_mntns_id(value->mntns);
}

#endif
