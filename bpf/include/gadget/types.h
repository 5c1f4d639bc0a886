/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * Types that carry a meaning. A runner reads them by name out of the object's BTF and gives each
 * field its columns and formatters, so names and layouts are part of the gadget ABI: do not change
 * them.
 *
 * Include a vmlinux.h first, or nothing: without one, these headers take the kernel's UAPI ones.
 */
#ifndef GADGET_TYPES_H
#define GADGET_TYPES_H

#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

#ifndef TASK_COMM_LEN
#define TASK_COMM_LEN 16
#endif

typedef __u64 gadget_mntns_id;
typedef __u32 gadget_netns_id;
typedef __u64 gadget_timestamp; /* ns since boot */

typedef __u32 gadget_pid; /* what user space calls a process id: the kernel's tgid */
typedef __u32 gadget_tid;
typedef __u32 gadget_ppid;
typedef __u32 gadget_ptid;
typedef __u32 gadget_uid;
typedef __u32 gadget_gid;
typedef char gadget_comm;
typedef char gadget_pcomm;

typedef __u32 gadget_signal;
typedef __u32 gadget_errno;
typedef __u64 gadget_syscall;
typedef __u32 gadget_file_mode;
typedef __u32 gadget_file_flags;
typedef __u32 gadget_kernel_stack;
typedef __u64 gadget_bytes;
typedef __u64 gadget_duration; /* ns */

typedef __u32 gadget_counter__u32;
typedef __u64 gadget_counter__u64;
typedef __u32 gadget_gauge__u32;
typedef __u64 gadget_gauge__u64;
typedef __u32 gadget_histogram_slot__u32;
typedef __u64 gadget_histogram_slot__u64;

/* Network byte order; an IPv4 address fills the first four bytes. */
union gadget_ip_addr_t {
	__u8 v6[16];
	unsigned __int128 v6_raw;
	__u32 v4;
};

struct gadget_l3endpoint_t {
	union gadget_ip_addr_t addr_raw;
	__u8 version; /* 4 or 6 */
};

struct gadget_l4endpoint_t {
	union gadget_ip_addr_t addr_raw;
	__u16 port;      /* host byte order */
	__u16 proto_raw; /* IPPROTO_* */
	__u8 version;    /* 4 or 6 */
};

struct gadget_creds {
	gadget_uid uid;
	gadget_gid gid;
};

struct gadget_parent {
	gadget_pcomm comm[TASK_COMM_LEN];
	gadget_ppid pid;
	gadget_ptid tid;
};

struct gadget_process {
	gadget_comm comm[TASK_COMM_LEN];
	gadget_pid pid;
	gadget_tid tid;
	gadget_mntns_id mntns_id;
	struct gadget_creds creds;
	struct gadget_parent parent;
};

#endif
