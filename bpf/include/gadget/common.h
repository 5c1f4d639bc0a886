/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Who is running: the process part of an event, from the current task. */
#ifndef GADGET_COMMON_H
#define GADGET_COMMON_H

#include <gadget/types.h>
#include <gadget/mntns.h>

/* Fills all of `proc`. For programs that run in the context of the task they tell of. */
static __always_inline void gadget_process_populate(struct gadget_process *proc)
{
	struct task_struct___gadget *task = (void *)bpf_get_current_task();
	struct task_struct___gadget *parent = BPF_CORE_READ(task, real_parent);
	__u64 pid_tgid = bpf_get_current_pid_tgid();
	__u64 uid_gid = bpf_get_current_uid_gid();

	bpf_get_current_comm(proc->comm, sizeof(proc->comm));
	proc->pid = pid_tgid >> 32;
	proc->tid = (__u32)pid_tgid;
	proc->mntns_id = gadget_get_current_mntns_id();
	proc->creds.uid = (__u32)uid_gid;
	proc->creds.gid = uid_gid >> 32;
	bpf_core_read_str(proc->parent.comm, sizeof(proc->parent.comm), &parent->comm);
	proc->parent.pid = BPF_CORE_READ(parent, tgid);
	proc->parent.tid = BPF_CORE_READ(parent, pid);
}

#endif
