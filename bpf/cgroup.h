/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The control group by which a task's container is known: the nearest one, from the task's own up,
 * that the runner has entered as a container's. Asked in the hierarchy of version 2, and then in
 * one of version 1, where older runtimes put containers.
 */
#ifndef IGX_CGROUP_H
#define IGX_CGROUP_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#include "kernel.h"

#define CONTAINERS_MAX_ENTRIES 8192
/* A container's own groups, and what is made within it. */
#define CGROUP_MAX_DEPTH 10
#define HIERARCHY_SHIFT 48

/* As gadget/igx-cgroup.h has it; the runner makes it. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, CONTAINERS_MAX_ENTRIES);
	__uint(key_size, sizeof(__u64));
	__uint(value_size, sizeof(__u32));
} igx_containers SEC(".maps");

static __always_inline __u64 cgroup_id(struct cgroup *cgroup)
{
	__u64 hierarchy = BPF_CORE_READ(cgroup, root, hierarchy_id);

	return BPF_CORE_READ(cgroup, kn, id) | hierarchy << HIERARCHY_SHIFT;
}

/* 0: none of them is a container's. */
static __always_inline __u64 container_above(struct cgroup *cgroup)
{
	for (int i = 0; i < CGROUP_MAX_DEPTH && cgroup; i++) {
		__u64 id = cgroup_id(cgroup);

		if (bpf_map_lookup_elem(&igx_containers, &id))
			return id;
		/* The part `self` comes first in every group. */
		cgroup = (struct cgroup *)BPF_CORE_READ(cgroup, self.parent);
	}
	return 0;
}

/* The group of one controller; whichever hierarchy that is in. */
static __always_inline struct cgroup *controlled(struct css_set *set, __u32 controller)
{
	struct cgroup_subsys_state *state = NULL;
	void *states = (void *)set + bpf_core_field_offset(set->subsys);

	bpf_probe_read_kernel(&state, sizeof(state), states + controller * sizeof(state));
	return state ? BPF_CORE_READ(state, cgroup) : NULL;
}

static __always_inline __u64 task_cgroup(struct task_struct *task)
{
	struct css_set *set = BPF_CORE_READ(task, cgroups);
	struct cgroup *own = BPF_CORE_READ(set, dfl_cgrp);
	__u64 found = container_above(own);

	if (found)
		return found;
	if (bpf_core_enum_value_exists(enum cgroup_subsys_id___igx, memory_cgrp_id___igx))
		found = container_above(controlled(
		    set, bpf_core_enum_value(enum cgroup_subsys_id___igx, memory_cgrp_id___igx)));
	else if (bpf_core_enum_value_exists(enum cgroup_subsys_id___igx, pids_cgrp_id___igx))
		found = container_above(controlled(
		    set, bpf_core_enum_value(enum cgroup_subsys_id___igx, pids_cgrp_id___igx)));
	return found ? found : cgroup_id(own);
}

#endif
