/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* The look-up half of sockets-map.h, which includes it: from a packet or a struct sock to its
 * process. */
#ifndef GADGET_SOCKETS_LOOKUP_H
#define GADGET_SOCKETS_LOOKUP_H

#ifndef __VMLINUX_H__
#include <linux/bpf.h>
#include <stdbool.h>
#endif
#include <gadget/types.h>
#include <gadget/sockets-map.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>

/* Under names of our own: a vmlinux.h has no macros, and some UAPI headers have them as macros. */
enum {
	GADGET_AF_INET = 2,
	GADGET_AF_INET6 = 10,
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, GADGET_SOCKETS_MAX_ENTRIES);
	__type(key, struct gadget_socket_key);
	__type(value, struct gadget_socket_value);
} gadget_sockets SEC(".maps");

/*
 * The owner of the socket at this address, or NULL. An IPv4 packet may belong to a socket that is
 * open for both families. Changes `key`.
 */
static __always_inline struct gadget_socket_value *gadget_socket_find(struct gadget_socket_key *key)
{
	struct gadget_socket_value *value = bpf_map_lookup_elem(&gadget_sockets, key);
	struct gadget_socket_value *closed = value;

	if ((value && !value->deletion_timestamp) || key->family != GADGET_AF_INET)
		return value;
	/* An open socket for both families has the port rather than a closed one. */
	key->family = GADGET_AF_INET6;
	value = bpf_map_lookup_elem(&gadget_sockets, key);
	if (!value || value->ipv6only || (closed && value->deletion_timestamp))
		return closed;
	return value;
}

/* Fills `proc` from the owner; without one, it is left as it is. */
static __always_inline void
gadget_process_populate_from_socket(const struct gadget_socket_value *value,
				    struct gadget_process *proc)
{
	if (!value)
		return;
	__builtin_memcpy(proc->comm, value->task, sizeof(proc->comm));
	__builtin_memcpy(proc->parent.comm, value->ptask, sizeof(proc->parent.comm));
	proc->pid = value->pid_tgid >> 32;
	proc->tid = (__u32)value->pid_tgid;
	proc->mntns_id = value->mntns;
	proc->creds.uid = (__u32)value->uid_gid;
	proc->creds.gid = value->uid_gid >> 32;
	proc->parent.pid = value->ppid;
	if (bpf_core_field_exists(value->ptid))
		proc->parent.tid = value->ptid;
}

#ifdef GADGET_TYPE_NETWORKING

enum {
	GADGET_ETH_HLEN = 14,
	GADGET_ETH_P_IP = 0x0800,
	GADGET_ETH_P_IPV6 = 0x86DD,
	GADGET_PACKET_HOST = 0,
	GADGET_PACKET_OTHERHOST = 3,
	GADGET_PACKET_OUTGOING = 4,
	GADGET_IPPROTO_HOPOPTS = 0,
	GADGET_IPPROTO_TCP = 6,
	GADGET_IPPROTO_UDP = 17,
	GADGET_IPPROTO_ROUTING = 43,
	GADGET_IPPROTO_FRAGMENT = 44,
	GADGET_IPPROTO_AH = 51,
	GADGET_IPPROTO_DSTOPTS = 60,
	GADGET_IPV6_HLEN = 40,
	/* Those of RFC 8200, section 4.1: destination options may come twice. */
	GADGET_IPV6_MAX_EXT = 6,
};

/*
 * Steps over one IPv6 extension header at `*off`: `*proto` becomes what follows. 1: stepped; 0:
 * `*proto` is no extension header; negative: the packet ends within it, or it is a later fragment,
 * which has no ports.
 */
static __always_inline int gadget_ipv6_step(struct __sk_buff *skb, __u32 *off, __u8 *proto)
{
	struct {
		__u8 next;
		__u8 len;
		__u16 frag_off;
	} ext;
	__u8 kind = *proto;

	if (kind != GADGET_IPPROTO_HOPOPTS && kind != GADGET_IPPROTO_ROUTING &&
	    kind != GADGET_IPPROTO_DSTOPTS && kind != GADGET_IPPROTO_FRAGMENT &&
	    kind != GADGET_IPPROTO_AH)
		return 0;
	if (bpf_skb_load_bytes(skb, *off, &ext, sizeof(ext)))
		return -1;
	*proto = ext.next;
	if (kind == GADGET_IPPROTO_FRAGMENT) {
		*off += 8;
		return ext.frag_off & bpf_htons(0xfff8) ? -1 : 1;
	}
	*off += kind == GADGET_IPPROTO_AH ? (ext.len + 2) * 4 : (ext.len + 1) * 8;
	return 1;
}

/* The owner of the local end: the destination if the packet comes in, the source if it goes out. */
static __always_inline struct gadget_socket_value *
gadget_socket_lookup_with_direction(struct __sk_buff *skb, bool is_ingress)
{
	struct gadget_socket_key key = {.netns = skb->cb[0]};
	__u32 off = GADGET_ETH_HLEN;
	__u16 ports[2];

	if (skb->protocol == bpf_htons(GADGET_ETH_P_IP)) {
		__u8 ip[10];

		if (bpf_skb_load_bytes(skb, off, ip, sizeof(ip)))
			return NULL;
		if ((ip[6] & 0x1f) | ip[7])
			return NULL; /* a later fragment */
		key.family = GADGET_AF_INET;
		key.proto = ip[9];
		off += (ip[0] & 0x0f) * 4;
	} else if (skb->protocol == bpf_htons(GADGET_ETH_P_IPV6)) {
		if (bpf_skb_load_bytes(skb, off + 6, &key.proto, 1))
			return NULL;
		key.family = GADGET_AF_INET6;
		off += GADGET_IPV6_HLEN;
		for (int i = 0; i < GADGET_IPV6_MAX_EXT; i++) {
			int step = gadget_ipv6_step(skb, &off, &key.proto);

			if (step < 0)
				return NULL;
			if (!step)
				break;
		}
	} else {
		return NULL;
	}
	if (key.proto != GADGET_IPPROTO_TCP && key.proto != GADGET_IPPROTO_UDP)
		return NULL;
	if (bpf_skb_load_bytes(skb, off, ports, sizeof(ports)))
		return NULL;
	key.port = bpf_ntohs(is_ingress ? ports[1] : ports[0]);
	return gadget_socket_find(&key);
}

/* The owner of the packet's socket, for socket filters. skb->cb[0] is the network namespace, set by
 * the runner. */
static __always_inline struct gadget_socket_value *gadget_socket_lookup(struct __sk_buff *skb)
{
	/* For another host: neither end is here, and an equal port number would name the wrong
	 * process. */
	if (skb->pkt_type == GADGET_PACKET_OTHERHOST)
		return NULL;
	return gadget_socket_lookup_with_direction(skb, skb->pkt_type != GADGET_PACKET_OUTGOING);
}

#endif /* GADGET_TYPE_NETWORKING */

#ifdef GADGET_TYPE_TRACING

/* Only what is needed; CO-RE drops what follows `___`. */
struct sock_common___gadget {
	__u16 skc_family;
} __attribute__((preserve_access_index));

struct sock___gadget {
	struct sock_common___gadget __sk_common;
	__u16 sk_protocol;
} __attribute__((preserve_access_index));

struct inet_sock___gadget {
	__u16 inet_sport;
} __attribute__((preserve_access_index));

/* The owner of `sk`, which lives in the network namespace `netns`, or NULL. */
static __always_inline struct gadget_socket_value *gadget_socket_lookup(const void *sk, __u32 netns)
{
	const struct sock___gadget *sock = sk;
	const struct inet_sock___gadget *inet = sk;
	struct gadget_socket_key key = {
	    .netns = netns,
	    .family = BPF_CORE_READ(sock, __sk_common.skc_family),
	    /* A bit field before 5.6. */
	    .proto = BPF_CORE_READ_BITFIELD_PROBED(sock, sk_protocol),
	    .port = bpf_ntohs(BPF_CORE_READ(inet, inet_sport)),
	};

	return gadget_socket_find(&key);
}

#endif /* GADGET_TYPE_TRACING */

#endif
