// SPDX-License-Identifier: GPL-2.0
/*
 * Lists all threads: what an iterator program writes is a list, made whenever it is read.
 */
#include <vmlinux.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <gadget/types.h>
#include <gadget/macros.h>
#include <gadget/mntns_filter.h>

struct task {
	gadget_comm comm[TASK_COMM_LEN];
	gadget_pid pid;
	gadget_tid tid;
	gadget_uid uid;
	gadget_gid gid;
	gadget_mntns_id mntns_id;
};

GADGET_ITER(tasks, task, list_tasks);

SEC("iter/task")
int list_tasks(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct task entry = {};

	if (!task)
		return 0;
	entry.mntns_id = BPF_CORE_READ(task, nsproxy, mnt_ns, ns.inum);
	if (gadget_should_discard_mntns_id(entry.mntns_id))
		return 0;
	BPF_CORE_READ_STR_INTO(&entry.comm, task, comm);
	entry.pid = BPF_CORE_READ(task, tgid);
	entry.tid = BPF_CORE_READ(task, pid);
	entry.uid = BPF_CORE_READ(task, cred, uid.val);
	entry.gid = BPF_CORE_READ(task, cred, gid.val);
	bpf_seq_write(ctx->meta->seq, &entry, sizeof(entry));
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
