/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * The mount namespace of the running task. The kernel's structs are declared here in the little
 * that is needed, under names of their own (CO-RE drops what follows `___`), so that this works
 * with and without a vmlinux.h.
 */
#ifndef GADGET_MNTNS_H
#define GADGET_MNTNS_H

#include <gadget/types.h>
#ifndef __VMLINUX_H__
#include <linux/bpf.h>
#endif
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

struct ns_common___gadget {
	unsigned int inum;
} __attribute__((preserve_access_index));

struct mnt_namespace___gadget {
	struct ns_common___gadget ns;
} __attribute__((preserve_access_index));

struct nsproxy___gadget {
	struct mnt_namespace___gadget *mnt_ns;
} __attribute__((preserve_access_index));

struct task_struct___gadget {
	struct nsproxy___gadget *nsproxy;
	struct task_struct___gadget *real_parent;
	int pid;
	int tgid;
	char comm[TASK_COMM_LEN];
} __attribute__((preserve_access_index));

static __always_inline gadget_mntns_id gadget_get_current_mntns_id(void)
{
	struct task_struct___gadget *task = (void *)bpf_get_current_task();

	return BPF_CORE_READ(task, nsproxy, mnt_ns, ns.inum);
}

#endif
