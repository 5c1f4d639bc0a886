/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The parts of kernel structures that our own programs read. Only the names and types matter: CO-RE
 * finds the offsets in the BTF of the kernel that loads the program, so what is not read is not
 * declared.
 */
#ifndef IGX_KERNEL_H
#define IGX_KERNEL_H

#include <linux/types.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct ns_common {
	unsigned int inum;
};

struct mnt_namespace {
	struct ns_common ns;
};

struct net {
	struct ns_common ns;
};

struct nsproxy {
	struct mnt_namespace *mnt_ns;
};

typedef struct {
	__u32 val;
} kuid_t;

typedef struct {
	__u32 val;
} kgid_t;

struct cred {
	kuid_t uid;
	kgid_t gid;
};

struct kernfs_node {
	__u64 id;
};

struct cgroup_root {
	int hierarchy_id;
};

struct cgroup;

struct cgroup_subsys_state {
	struct cgroup *cgroup;
	struct cgroup_subsys_state *parent;
};

struct cgroup {
	struct cgroup_subsys_state self;
	struct kernfs_node *kn;
	struct cgroup_root *root;
};

struct css_set {
	struct cgroup *dfl_cgrp; /* that of version 2 */
	struct cgroup_subsys_state *subsys[1];
};

enum cgroup_subsys_id___igx {
	memory_cgrp_id___igx = 1,
	pids_cgrp_id___igx = 2,
};

struct qstr {
	__u32 len;
	const unsigned char *name;
};

struct dentry {
	struct dentry *d_parent;
	struct qstr d_name;
};

struct vfsmount {
	struct dentry *mnt_root;
};

struct mount {
	struct mount *mnt_parent;
	struct dentry *mnt_mountpoint;
	struct vfsmount mnt;
};

struct path {
	struct vfsmount *mnt;
	struct dentry *dentry;
};

struct fs_struct {
	struct path pwd;
};

struct file;

struct mm_struct {
	struct file *exe_file;
};

struct task_struct {
	int pid;  /* what user space calls the thread */
	int tgid; /* what user space calls the process */
	struct task_struct *real_parent;
	const struct cred *cred;
	char comm[16];
	struct nsproxy *nsproxy;
	struct css_set *cgroups;
	struct fs_struct *fs;
	struct mm_struct *mm; /* NULL for the kernel's own */
};

typedef struct {
	struct net *net;
} possible_net_t;

struct in6_addr___core {
	__u32 words[4]; /* in_u.u6_addr32 */
};

struct sock_common {
	__u16 skc_num;   /* local port, host byte order */
	__u16 skc_dport; /* remote port, network byte order; 0: not connected */
	__u32 skc_daddr;
	__u32 skc_rcv_saddr;
	struct in6_addr___core skc_v6_daddr;
	struct in6_addr___core skc_v6_rcv_saddr;
	unsigned short skc_family;
	volatile unsigned char skc_state;
	unsigned char skc_ipv6only : 1;
	possible_net_t skc_net;
};

struct sock {
	struct sock_common __sk_common;
	__u16 sk_protocol; /* a bit-field before 5.6: read it as one */
};

struct inode {
	unsigned short i_mode;
};

struct file {
	struct path f_path;
	struct inode *f_inode;
	void *private_data;
};

struct socket {
	struct file *file;
	struct sock *sk;
};

struct bpf_iter__task_file {
	struct task_struct *task;
	struct file *file;
};

struct bpf_iter__bpf_map_elem {
	struct bpf_map *map;
	void *key;
	void *value;
};

#pragma clang attribute pop

#endif
