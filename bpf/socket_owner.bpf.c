// SPDX-License-Identifier: GPL-2.0
/*
 * Who owns the sockets of this machine: programs on the root of the cgroup2 hierarchy, which see
 * what every process does with its sockets, whatever its container.
 *
 * A local port is entered in gadget_sockets in the context of the process that takes it, before the
 * first packet:
 *
 *   TCP  when it is bound, when it listens, and before the SYN;
 *   UDP  when it is bound and when a datagram is sent to an address. A connected UDP socket gets
 * its port after the hook of connect() and sends without one: its owner is kept beside the socket
 * and entered with the first packet that leaves.
 *
 * A connection is also entered in igx_sockets, by both its ends: when it is made, and for one that
 * is accepted with the owner of its listener, which the kernel hands down to it.
 *
 * A socket made but never bound, connected or sent from has no port to enter, so its creation is
 * not watched. A key's last owner wins. The programs need Linux 5.10 (storage beside sockets in all
 * these hooks) and change no verdict.
 */
#include "socket_entry.h"

#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <bpf/bpf_endian.h>

#define PASS 1

/* What is kept beside a UDP socket. */
struct stamp {
	struct socket_owner owner;
	struct socket_key key; /* under which the owner was entered; its port is 0 before */
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct stamp);
} stamps SEC(".maps");

/* Who owns a listener, copied to each connection that it accepts. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, int);
	__type(value, struct socket_owner);
} listeners SEC(".maps");

/*
 * The kernel's own structure behind what the verifier calls a context or a bpf_sock. It is the same
 * address, but typed pointers allow the fields of the public API only: network namespace and flags
 * are not among them, and the port is not readable in every hook. Read back from the stack it is a
 * number, good for probing.
 */
static __always_inline struct sock *kernel_sock(void *typed)
{
	struct sock *sk = NULL;

	bpf_probe_read_kernel(&sk, sizeof(sk), &typed);
	return sk;
}

static __always_inline struct task_struct *current_task(void)
{
	return (struct task_struct *)bpf_get_current_task();
}

static __always_inline void enter_tcp(struct sock *sk, struct socket_owner *owner)
{
	struct socket_key key;

	if (!socket_key(sk, &key) || key.proto != IPPROTO_TCP)
		return;
	socket_owner(sk, current_task(), owner);
	enter(&key, owner, current_task());
}

/* Enters a UDP socket under its present port, if it has one, and leaves the port that it had
 * before. */
static __always_inline void enter_stamp(struct stamp *stamp, struct sock *sk)
{
	struct socket_key key;
	int has_port = socket_key(sk, &key);

	if (stamp->key.port && stamp->key.port != key.port) {
		mark_closed(&stamp->key, sk);
		stamp->key.port = 0;
	}
	if (has_port && enter(&key, &stamp->owner, task_of(stamp->owner.pid_tgid)))
		stamp->key = key;
	if (has_port) {
		struct socket_owner owner = stamp->owner;

		enter_connection(sk, &key, &owner, BPF_ANY);
	}
}

/* True if the calling thread is not who the stamp names, by its id or by the program that it now
 * runs. */
static __always_inline int is_other(const struct stamp *stamp, struct task_struct *task)
{
	char comm[16] = {};
	const __u64 *now = (const __u64 *)comm;
	const __u64 *then = (const __u64 *)stamp->owner.task;

	if (stamp->owner.pid_tgid != task_ids(task))
		return 1;
	BPF_CORE_READ_INTO(&comm, task, comm);
	return now[0] != then[0] || now[1] != then[1];
}

static __always_inline void stamp_udp(struct stamp *stamp, struct sock *sk)
{
	struct task_struct *task = current_task();

	if (!is_other(stamp, task) && stamp->key.port &&
	    stamp->key.port == BPF_CORE_READ(sk, __sk_common.skc_num))
		return;
	socket_owner(sk, task, &stamp->owner);
	enter_stamp(stamp, sk);
}

static __always_inline int on_bind(struct bpf_sock *ctx)
{
	struct sock *sk = kernel_sock(ctx);

	if (ctx->protocol == IPPROTO_UDP) {
		struct stamp *stamp =
		    bpf_sk_storage_get(&stamps, ctx, NULL, BPF_SK_STORAGE_GET_F_CREATE);
		if (stamp)
			stamp_udp(stamp, sk);
	} else {
		struct socket_owner owner;

		enter_tcp(sk, &owner);
	}
	return PASS;
}

SEC("cgroup/post_bind4")
int owner_bind4(struct bpf_sock *ctx)
{
	return on_bind(ctx);
}

SEC("cgroup/post_bind6")
int owner_bind6(struct bpf_sock *ctx)
{
	return on_bind(ctx);
}

/* An address given to connect() or sendmsg(). TCP is entered later, when its port is known. */
static __always_inline int on_address(struct bpf_sock_addr *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	struct stamp *stamp;

	if (!sk || ctx->protocol != IPPROTO_UDP)
		return PASS;
	stamp = bpf_sk_storage_get(&stamps, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (stamp)
		stamp_udp(stamp, kernel_sock(sk));
	return PASS;
}

SEC("cgroup/connect4")
int owner_connect4(struct bpf_sock_addr *ctx)
{
	return on_address(ctx);
}

SEC("cgroup/connect6")
int owner_connect6(struct bpf_sock_addr *ctx)
{
	return on_address(ctx);
}

SEC("cgroup/sendmsg4")
int owner_sendmsg4(struct bpf_sock_addr *ctx)
{
	return on_address(ctx);
}

SEC("cgroup/sendmsg6")
int owner_sendmsg6(struct bpf_sock_addr *ctx)
{
	return on_address(ctx);
}

/* The owner of the listener that an accepted connection is of, where that is older than these
 * programs: it listens on the connection's address or on all. */
static __always_inline struct socket_owner *older_listener(struct sock *sk,
							   const struct socket_key *key)
{
	struct listener_key listener = {.socket = *key};
	struct socket_owner *owner;

	local_address(sk, key->family, listener.local);
	owner = bpf_map_lookup_elem(&older_listeners, &listener);
	if (owner)
		return owner;
	listener.local[3] = 0;
	if (key->family == AF_INET6)
		listener.local[0] = listener.local[1] = listener.local[2] = 0;
	owner = bpf_map_lookup_elem(&older_listeners, &listener);
	return owner ? owner : bpf_map_lookup_elem(&gadget_sockets, key);
}

/* Enters an accepted connection. Whoever runs now is anybody: the packet that made it came in. */
static __always_inline void enter_accepted(struct bpf_sock *typed, struct sock *sk)
{
	struct socket_owner *heir = bpf_sk_storage_get(&listeners, typed, NULL, 0);
	struct socket_owner owner;
	struct socket_key key;

	if (!socket_key(sk, &key))
		return;
	if (!heir)
		heir = older_listener(sk, &key);
	if (!heir)
		return;
	__builtin_memcpy(&owner, heir, sizeof(owner));
	enter_connection(sk, &key, &owner, BPF_ANY);
}

/* The first two run in the context of the process: before the SYN, and in listen(), which may
 * choose the port itself. */
SEC("sockops")
int owner_tcp(struct bpf_sock_ops *ctx)
{
	struct socket_owner owner;
	struct socket_owner *listener;
	struct socket_key key;
	struct bpf_sock *sk;

	if (ctx->op != BPF_SOCK_OPS_TCP_CONNECT_CB && ctx->op != BPF_SOCK_OPS_TCP_LISTEN_CB &&
	    ctx->op != BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB)
		return PASS;
	sk = ctx->sk;
	if (!sk)
		return PASS;
	if (ctx->op == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB) {
		enter_accepted(sk, kernel_sock(sk));
		return PASS;
	}
	enter_tcp(kernel_sock(sk), &owner);
	if (ctx->op == BPF_SOCK_OPS_TCP_LISTEN_CB) {
		listener = bpf_sk_storage_get(&listeners, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
		if (listener)
			__builtin_memcpy(listener, &owner, sizeof(owner));
	} else if (socket_key(kernel_sock(sk), &key)) {
		enter_connection(kernel_sock(sk), &key, &owner, BPF_ANY);
	}
	return PASS;
}

/* Every packet passes here. TCP, told by its IP header alone, leaves at once; UDP after one look at
 * its stamp. */
SEC("cgroup_skb/egress")
int owner_egress(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;
	struct bpf_sock *sk;
	struct stamp *stamp;

	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = data;
		if ((void *)(ip + 1) <= end && ip->protocol == IPPROTO_TCP)
			return PASS;
	} else {
		struct ipv6hdr *ip = data;
		if ((void *)(ip + 1) <= end && ip->nexthdr == IPPROTO_TCP)
			return PASS;
	}
	sk = skb->sk;
	if (!sk)
		return PASS;
	stamp = bpf_sk_storage_get(&stamps, sk, NULL, 0);
	if (stamp && stamp->key.port != sk->src_port)
		enter_stamp(stamp, kernel_sock(sk));
	return PASS;
}

SEC("cgroup/sock_release")
int owner_release(struct bpf_sock *ctx)
{
	struct sock *sk = kernel_sock(ctx);
	struct socket_key key;

	if (socket_key(sk, &key))
		mark_closed(&key, sk);
	return PASS;
}

char _license[] SEC("license") = "GPL";
