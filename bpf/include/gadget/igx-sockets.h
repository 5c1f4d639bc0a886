/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * Whose connection a packet belongs to, by both its ends.
 *
 * The map gadget_sockets knows local ports only: processes that share one (SO_REUSEPORT) look the
 * same there, and a packet that the host forwards for somebody else looks like that of a process
 * with the same port. The runner igx also fills this map, with recent connections by both
 * addresses. Other runners leave it empty, and everything is as if only gadget_sockets was asked.
 *
 * For packets: define GADGET_TYPE_NETWORKING, and include gadget/sockets-map.h before.
 */
#ifndef GADGET_IGX_SOCKETS_H
#define GADGET_IGX_SOCKETS_H

#include <gadget/sockets-map.h>

/* 44 bytes. An IPv4 address is written as IPv6 does it, ::ffff:a.b.c.d; ports are in host order. */
struct igx_socket_key {
	__u32 netns;
	__u16 local_port;
	__u16 remote_port;
	__u32 proto;
	__u32 local[4];
	__u32 remote[4];
};

enum {
	IGX_IPV4_MAPPED = 0xffff, /* in network byte order, before the address */
	/* What stands in `ipv6only` of this map's values, to tell them from those of the other. */
	IGX_CONNECTION = 2,
};

/* How an owner was found. */
enum igx_socket_source {
	IGX_SOURCE_UNKNOWN = 0,
	IGX_SOURCE_PORT = 1,
	IGX_SOURCE_CONNECTION = 2,
};

/* One entry, because the runner that fills it makes its own. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1);
	__type(key, struct igx_socket_key);
	__type(value, struct gadget_socket_value);
} igx_sockets SEC(".maps");

/*
 * Inode of the host's network namespace if the map is filled; otherwise 0. Set by igx once all that
 * fills it is attached, which is while this program is being loaded.
 */
volatile __u32 igx_sockets_host = 0;

static __always_inline enum igx_socket_source
igx_socket_source(const struct gadget_socket_value *value)
{
	if (!value)
		return IGX_SOURCE_UNKNOWN;
	return value->ipv6only == IGX_CONNECTION ? IGX_SOURCE_CONNECTION : IGX_SOURCE_PORT;
}

/* The addresses of a packet whose IP header is at `l3`. */
static __always_inline bool igx_load_addresses(struct __sk_buff *skb, __u32 l3, bool is_v4,
					       struct igx_socket_key *exact, bool outgoing)
{
	__u32 *source = outgoing ? exact->local : exact->remote;
	__u32 *destination = outgoing ? exact->remote : exact->local;

	if (is_v4) {
		source[2] = destination[2] = bpf_htonl(IGX_IPV4_MAPPED);
		return !bpf_skb_load_bytes(skb, l3 + 12, source + 3, 4) &&
		       !bpf_skb_load_bytes(skb, l3 + 16, destination + 3, 4);
	}
	return !bpf_skb_load_bytes(skb, l3 + 8, source, 16) &&
	       !bpf_skb_load_bytes(skb, l3 + 24, destination, 16);
}

/*
 * The owner of a packet of the socket `key`, whose IP header is at `l3` and whose ports, source
 * first, are `ports`. By both ends if they are known, else by the local port: but not for TCP in
 * the host's namespace, where the map knows every connection, and one that it does not know is
 * somebody else's that is forwarded. Changes `key`.
 */
static __always_inline struct gadget_socket_value *igx_socket_find(struct __sk_buff *skb,
								   struct gadget_socket_key *key,
								   __u32 l3, __u32 ports,
								   bool outgoing)
{
	struct igx_socket_key exact = {
	    .netns = key->netns,
	    .local_port = key->port,
	    .remote_port = outgoing ? ports : ports >> 16,
	    .proto = key->proto,
	};
	struct gadget_socket_value *value;

	if (!igx_sockets_host)
		return gadget_socket_find(key);
	if (igx_load_addresses(skb, l3, key->family == GADGET_AF_INET, &exact, outgoing)) {
		value = bpf_map_lookup_elem(&igx_sockets, &exact);
		if (value)
			return value;
	}
	if (key->proto == GADGET_IPPROTO_TCP && key->netns == igx_sockets_host)
		return NULL;
	return gadget_socket_find(key);
}

#endif
