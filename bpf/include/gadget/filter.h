/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * The filters that every gadget has: by process and by container. A gadget asks before it does the
 * work of making an event.
 */
#ifndef GADGET_FILTER_H
#define GADGET_FILTER_H

#include <gadget/types.h>
#include <gadget/macros.h>
#include <gadget/mntns_filter.h>

#define GADGET_ID_ANY ((__u32)-1)

const volatile gadget_pid targ_pid = 0; /* 0: any */
const volatile gadget_tid targ_tid = 0; /* 0: any */
const volatile gadget_uid targ_uid = GADGET_ID_ANY;
const volatile gadget_gid targ_gid = GADGET_ID_ANY;
const volatile gadget_comm targ_comm[TASK_COMM_LEN] = {}; /* empty: any */

GADGET_PARAM(targ_pid);
GADGET_PARAM(targ_tid);
GADGET_PARAM(targ_uid);
GADGET_PARAM(targ_gid);
GADGET_PARAM(targ_comm);

/* Whether the user asked for one process, thread, user, group or command. */
static __always_inline bool gadget_filters_by_process(void)
{
	return targ_pid || targ_tid || targ_uid != GADGET_ID_ANY || targ_gid != GADGET_ID_ANY ||
	       targ_comm[0];
}

static __always_inline bool gadget_should_discard_comm(const gadget_comm comm[TASK_COMM_LEN])
{
	if (!targ_comm[0])
		return false;
	/* Older kernels, such as 5.10, leave bytes of a longer name behind the end of task->comm.
	 */
	for (int i = 0; i < TASK_COMM_LEN; i++) {
		if (comm[i] != targ_comm[i])
			return true;
		if (!comm[i])
			break;
	}
	return false;
}

static __always_inline bool gadget_should_discard_process(gadget_pid pid, gadget_tid tid,
							  const gadget_comm comm[TASK_COMM_LEN],
							  gadget_uid uid, gadget_gid gid)
{
	return (targ_pid && pid != targ_pid) || (targ_tid && tid != targ_tid) ||
	       (targ_uid != GADGET_ID_ANY && uid != targ_uid) ||
	       (targ_gid != GADGET_ID_ANY && gid != targ_gid) || gadget_should_discard_comm(comm);
}

/* Whether an event of such a process is not wanted. */
static __always_inline bool gadget_should_discard_data(gadget_mntns_id mntns_id, gadget_pid pid,
						       gadget_tid tid,
						       const gadget_comm comm[TASK_COMM_LEN],
						       gadget_uid uid, gadget_gid gid)
{
	return gadget_should_discard_process(pid, tid, comm, uid, gid) ||
	       gadget_should_discard_mntns_id(mntns_id);
}

#ifndef GADGET_TYPE_NETWORKING
#include <gadget/mntns.h>

/* As above, for the running task, which a program that sees packets does not know. */
static __always_inline bool gadget_should_discard_data_current(void)
{
	__u64 pid_tgid = bpf_get_current_pid_tgid();
	__u64 uid_gid = bpf_get_current_uid_gid();
	gadget_mntns_id mntns_id = gadget_filter_by_mntns ? gadget_get_current_mntns_id() : 0;
	gadget_comm comm[TASK_COMM_LEN] = {};

	if (targ_comm[0])
		bpf_get_current_comm(comm, sizeof(comm));
	return gadget_should_discard_data(mntns_id, pid_tgid >> 32, (__u32)pid_tgid, comm,
					  (__u32)uid_gid, uid_gid >> 32);
}
#endif

#if defined(GADGET_TYPE_NETWORKING) || defined(GADGET_TYPE_TRACING)
#include <gadget/filter-sockets.h>
#endif

#endif
