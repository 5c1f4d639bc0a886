/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How a socket and a task become an entry of the map gadget_sockets; shared by the programs that
 * watch sockets and by those that look for older ones.
 */
#ifndef IGX_SOCKET_ENTRY_H
#define IGX_SOCKET_ENTRY_H

#include <linux/types.h>
#include <linux/bpf.h>
#include <linux/in.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>

#include "kernel.h"
#include "cgroup.h"
#ifdef WITH_PATHS
#include "path.h"
#endif

#define AF_INET 2
#define AF_INET6 10

#define SOCKETS_MAX_ENTRIES 16384
#define CONNECTIONS_MAX_ENTRIES 8192

/* The key as gadget/sockets-map.h has it. */
struct socket_key {
	__u32 netns;
	__u16 family;
	__u8 proto;
	__u8 pad1;
	__u16 port;
	__u16 pad2;
};

/*
 * The fields that every value begins with, at the offsets of gadget/sockets-map.h. What may follow
 * are the paths cwd and exepath, in this order: in objects that are built WITH_PATHS.
 */
struct socket_owner {
	__u64 mntns;
	__u64 pid_tgid;
	__u64 uid_gid;
	char task[16];
	char ptask[16];
	__u64 sock;
	__u64 deletion_timestamp;
	__u32 ppid;
	__u32 ptid;
	__u8 ipv6only;
	__u8 pad[7];
	__u64 cgroup; /* igx_cgroup of gadget/igx-cgroup.h */
};

_Static_assert(sizeof(struct socket_key) == 12, "gadgets look keys of 12 bytes up");
_Static_assert(sizeof(struct socket_owner) == 96, "the optional fields begin at 96");

/*
 * The runner makes this map, with values of the size that it wants. It is preallocated, although
 * few entries are used: kernels before 6.1 refuse or warn about other maps in the tracing gadgets
 * that share it.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, SOCKETS_MAX_ENTRIES);
	__uint(key_size, sizeof(struct socket_key));
	__uint(value_size, sizeof(struct socket_owner));
} gadget_sockets SEC(".maps");

/* A connection by both its ends, as gadget/igx-sockets.h has it. */
struct connection_key {
	__u32 netns;
	__u16 local_port;
	__u16 remote_port;
	__u32 proto;
	__u32 local[4];
	__u32 remote[4];
};

#define CONNECTION 2 /* in ipv6only: IGX_CONNECTION */

_Static_assert(sizeof(struct connection_key) == 44, "gadgets look keys of 44 bytes up");

/* Recent connections: the runner makes this map as well. One that nobody asks for gives way. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, CONNECTIONS_MAX_ENTRIES);
	__uint(key_size, sizeof(struct connection_key));
	__uint(value_size, sizeof(struct socket_owner));
} igx_sockets SEC(".maps");

/* A listener by its own end, the address as in connection_key. */
struct listener_key {
	struct socket_key socket;
	__u32 local[4];
};

/*
 * The listeners that are older than the run. Of a port that several have, each on an address of its
 * own, gadget_sockets knows the last one only. Nothing is removed: who listens later is known by
 * what is kept beside the socket, and asked for first.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, SOCKETS_MAX_ENTRIES);
	__type(key, struct listener_key);
	__type(value, struct socket_owner);
} older_listeners SEC(".maps");

#ifdef WITH_PATHS
/* A value of the map's full size, all zero, to begin new entries with. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct socket_owner));
} blank_entry SEC(".maps");
#endif

/* The runner sets these before it loads the programs. */
struct socket_settings {
	__u64 grace;   /* how long the entry of a closed socket stays, in nanoseconds */
	__u64 cwd;     /* bytes for the working directory, or 0 */
	__u64 exepath; /* bytes for the path of the program, or 0 */
};
const volatile struct socket_settings settings = {
    .grace = 5000000000,
};

/* Sockets that found no room in the map. */
__u64 lost_entries;

/* Returns 0 for a socket that the map has no place for: another protocol, or no port yet. */
static __always_inline int socket_key(struct sock *sk, struct socket_key *key)
{
	__builtin_memset(key, 0, sizeof(*key));
	key->family = BPF_CORE_READ(sk, __sk_common.skc_family);
	if (key->family != AF_INET && key->family != AF_INET6)
		return 0;
	/* MPTCP is TCP to whoever sees its packets. */
	__u32 proto = BPF_CORE_READ_BITFIELD_PROBED(sk, sk_protocol);
	if (proto == IPPROTO_MPTCP)
		proto = IPPROTO_TCP;
	if (proto != IPPROTO_TCP && proto != IPPROTO_UDP)
		return 0;
	key->proto = proto;
	key->port = BPF_CORE_READ(sk, __sk_common.skc_num);
	key->netns = BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
	return key->port != 0;
}

static __always_inline __u64 task_ids(struct task_struct *task)
{
	return (__u64)BPF_CORE_READ(task, tgid) << 32 | (__u32)BPF_CORE_READ(task, pid);
}

static __always_inline void socket_owner(struct sock *sk, struct task_struct *task,
					 struct socket_owner *owner)
{
	struct task_struct *parent = BPF_CORE_READ(task, real_parent);
	const struct cred *cred = BPF_CORE_READ(task, cred);

	__builtin_memset(owner, 0, sizeof(*owner));
	owner->mntns = BPF_CORE_READ(task, nsproxy, mnt_ns, ns.inum);
	owner->pid_tgid = task_ids(task);
	owner->uid_gid = (__u64)BPF_CORE_READ(cred, gid.val) << 32 | BPF_CORE_READ(cred, uid.val);
	BPF_CORE_READ_INTO(&owner->task, task, comm);
	BPF_CORE_READ_INTO(&owner->ptask, parent, comm);
	owner->ppid = BPF_CORE_READ(parent, tgid);
	owner->ptid = BPF_CORE_READ(parent, pid);
	owner->sock = (__u64)sk;
	owner->cgroup = task_cgroup(task);
	if (BPF_CORE_READ(sk, __sk_common.skc_family) == AF_INET6)
		owner->ipv6only = BPF_CORE_READ_BITFIELD_PROBED(sk, __sk_common.skc_ipv6only);
}

#ifdef WITH_PATHS
/* Fills the paths of an entry. Without a task, who is entered is known, but not running. */
static __always_inline void enter_paths(struct socket_owner *entry, struct task_struct *task,
					int is_same)
{
	char *cwd = (char *)(entry + 1);
	char *exepath = cwd + settings.cwd;

	if (task) {
		struct fs_struct *fs = BPF_CORE_READ(task, fs);
		struct file *file = BPF_CORE_READ(task, mm, exe_file);

		if (settings.cwd)
			copy_path(&fs->pwd, cwd, settings.cwd);
		if (settings.exepath)
			copy_path(&file->f_path, exepath, settings.exepath);
	} else if (!is_same) {
		if (settings.cwd)
			cwd[0] = 0;
		if (settings.exepath)
			exepath[0] = 0;
	}
}

/*
 * The calling task, if it is this one: a packet may leave while anybody runs.
 */
static __always_inline struct task_struct *task_of(__u64 ids)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();

	return task_ids(task) == ids ? task : NULL;
}
#else
static __always_inline struct task_struct *task_of(__u64 ids)
{
	return NULL;
}
#endif

/*
 * Enters the owner, over whoever had the key before. `task` is the owner's, if it can be asked for
 * its paths. Returns 0 if the map is full.
 */
static __always_inline int enter(const struct socket_key *key, const struct socket_owner *owner,
				 struct task_struct *task)
{
#ifdef WITH_PATHS
	/*
	 * Larger values do not fit on the stack, and one buffer a CPU could be taken by a packet
	 * that interrupts its user: fill the entry in place.
	 */
	struct socket_owner *entry = bpf_map_lookup_elem(&gadget_sockets, key);

	if (!entry) {
		__u32 first = 0;
		void *blank = bpf_map_lookup_elem(&blank_entry, &first);

		if (blank)
			bpf_map_update_elem(&gadget_sockets, key, blank, BPF_NOEXIST);
		entry = bpf_map_lookup_elem(&gadget_sockets, key);
	}
	if (entry) {
		int is_same = entry->pid_tgid == owner->pid_tgid;

		__builtin_memcpy(entry, owner, sizeof(*owner));
		enter_paths(entry, task, is_same);
		return 1;
	}
#else
	if (!bpf_map_update_elem(&gadget_sockets, key, owner, BPF_ANY))
		return 1;
#endif
	__sync_fetch_and_add(&lost_entries, 1);
	return 0;
}

/* The socket's own address, as connection_key has it. */
static __always_inline void local_address(struct sock *sk, __u16 family, __u32 local[4])
{
	if (family == AF_INET6) {
		bpf_core_read(local, 16, &sk->__sk_common.skc_v6_rcv_saddr);
	} else {
		local[2] = bpf_htonl(0xffff);
		local[3] = BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr);
	}
}

/*
 * Enters a connected socket by both its ends; `flags` as for bpf_map_update_elem(). Changes the
 * owner. Where values have paths, connections are not kept.
 */
static __always_inline void enter_connection(struct sock *sk, const struct socket_key *key,
					     struct socket_owner *owner, __u64 flags)
{
	struct connection_key exact = {
	    .netns = key->netns,
	    .local_port = key->port,
	    .remote_port = bpf_ntohs(BPF_CORE_READ(sk, __sk_common.skc_dport)),
	    .proto = key->proto,
	};

#ifdef WITH_PATHS
	return;
#endif
	if (!exact.remote_port)
		return;
	local_address(sk, key->family, exact.local);
	if (key->family == AF_INET6) {
		BPF_CORE_READ_INTO(&exact.remote, sk, __sk_common.skc_v6_daddr);
	} else {
		exact.remote[2] = bpf_htonl(0xffff);
		exact.remote[3] = BPF_CORE_READ(sk, __sk_common.skc_daddr);
	}
	owner->ipv6only = CONNECTION;
	bpf_map_update_elem(&igx_sockets, &exact, owner, flags);
}

/* Marks the entry as that of a closed socket, if it is this socket's. */
static __always_inline void mark_closed(const struct socket_key *key, struct sock *sk)
{
	struct socket_owner *entry = bpf_map_lookup_elem(&gadget_sockets, key);

	if (entry && entry->sock == (__u64)sk && !entry->deletion_timestamp)
		entry->deletion_timestamp = bpf_ktime_get_boot_ns();
}

#endif
