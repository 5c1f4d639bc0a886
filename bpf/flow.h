/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * Where the pieces of split hellos wait for each other. A flow is one direction of a connection as
 * one network namespace sees it. Tables are of fixed size, less than 16 MiB together: a flow has a
 * small buffer, and is lent a large one if its hello turns out to need it.
 *
 * There is no timer: places of flows that are too old are taken back by those that come after, and
 * by packets that find nothing else to do. One source address can hold three quarters of the places
 * at most, so that a flood of half hellos leaves room for others.
 *
 * Two CPUs that get packets of one flow at the same time may undo each other's work, as nothing
 * here is locked (socket filters cannot): every offset is bounded all the same, and what gets lost
 * is one hello, which is counted when its time is up.
 */
#ifndef FLOW_H
#define FLOW_H

#include <gadget/buffer.h>

#include "event.h"
#include "packet.h"

enum {
	SMALL_SIZE = 2048, /* a post-quantum hello has about 1,800 bytes */
	LARGE_SIZE = 16384,
	/* So many bytes are copied at once, and a buffer has room for so many behind its end. */
	SMALL_PIECE = 512,
	LARGE_PIECE = 1024,
	FLOWS = 3584,
	LARGE_BUFFERS = 128,
	ISLANDS = 16, /* pieces behind a gap */
	PROBES = 16,  /* places looked at for a free one */
	SHARES = 4096,
	SHARE_FLOWS = FLOWS / 4 * 3,
	SHARE_LARGE_BUFFERS = LARGE_BUFFERS / 4 * 3,
};

#define FLOW_LIFETIME 5000000000ULL /* ns */

struct flow_key {
	__u32 src[4];
	__u32 dst[4];
	__u32 ports;
	__u32 netns;
	__u8 version;
	__u8 outgoing;
	__u16 pad;
};

/* Offsets of bytes that are there, the last one excluded; `end` is 0 where there is no island. */
struct island {
	__u32 start;
	__u32 end;
};

/* All offsets are from `base`. */
struct flow {
	struct flow_key key;
	__u32 base;    /* sequence number of the first byte */
	__u64 born;    /* ns since boot; 0: the place is free */
	__u32 there;   /* so many bytes are there without a gap */
	__u32 limit;   /* where the hello ends, as far as is known: nothing behind it is kept */
	__u32 record;  /* header of the record to look at next */
	__u32 message; /* bytes of the handshake message before that record */
	__u32 hello;   /* length of the message with its header, 0: not known yet */
	__u32 header;  /* as much of the message's header as was found before that record */
	__u32 large;   /* the buffer that was lent, counted from 1; 0: none */
	__u32 share;
	__u32 segments;
	__u32 missing; /* a piece came before one that it follows */
	/* Scratch. What is read from memory is any value to the verifier: where paths meet, they
	 * are then one state. */
	__u64 bytes;
	struct island island;
	struct island islands[ISLANDS];
};

struct small_buffer {
	struct event event;
	__u8 data[SMALL_SIZE + SMALL_PIECE];
};

struct large_buffer {
	struct event event;
	__u8 data[LARGE_SIZE + LARGE_PIECE];
	__u32 flow; /* that it is lent to, counted from 1 */
};

/* What flows of source addresses with the same hash hold. */
struct share {
	__u32 flows;
	__u32 large_buffers;
};

#define TABLE(name, entries, kind)                                                                 \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_ARRAY);                                                  \
		__uint(max_entries, entries);                                                      \
		__type(key, __u32);                                                                \
		__type(value, kind);                                                               \
	} name SEC(".maps")

TABLE(sni_flows, FLOWS, struct flow);
TABLE(sni_small, FLOWS, struct small_buffer);
TABLE(sni_large, LARGE_BUFFERS, struct large_buffer);
TABLE(sni_shares, SHARES, struct share);

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, FLOWS);
	__type(key, struct flow_key);
	__type(value, __u32);
} sni_flow_index SEC(".maps");

/* Hellos that gave no name, by enum sni_unread_reason. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SNI_REASONS);
	__type(key, __u32);
	__type(value, __u64);
} sni_unread SEC(".maps");

/* As long as `pending` is 0, which it nearly always is, no packet is looked up in any table. */
static struct {
	__u32 pending; /* flows */
	__u32 hand;    /* the place where the search for a free one begins */
	__u32 large_hand;
	__u32 sweep; /* the place that is looked at next when nothing else is to be done */
	__u64 until; /* when the youngest flow is too old */
} waiting = {};

static __always_inline struct flow *flow_at(__u32 place)
{
	return bpf_map_lookup_elem(&sni_flows, &place);
}

static __always_inline bool flow_key(struct __sk_buff *skb, const struct packet *pkt,
				     struct flow_key *key)
{
	__builtin_memset(key, 0, sizeof(*key));
	/* Both addresses lie side by side in the packet. */
	if (pkt->version == 4) {
		if (bpf_skb_load_bytes(skb, pkt->l3 + 12, key->src, 8))
			return false;
		key->dst[0] = key->src[1];
		key->src[1] = 0;
	} else if (bpf_skb_load_bytes(skb, pkt->l3 + 8, key->src, 32)) {
		return false;
	}
	if (bpf_skb_load_bytes(skb, pkt->l4, &key->ports, sizeof(key->ports)))
		return false;
	key->netns = skb->cb[0];
	key->version = pkt->version;
	key->outgoing = skb->pkt_type == GADGET_PACKET_OUTGOING;
	return true;
}

/* A /64 is one source: whoever has it can choose any address in it. */
static __always_inline __u32 share_of(const struct flow_key *key)
{
	__u64 source = (__u64)key->src[0] << 32 | key->src[1];

	return source * 0x9e3779b97f4a7c15 >> 52;
}

static __always_inline void give_large_buffer_back(struct flow *flow)
{
	__u32 at = flow->large - 1;
	struct large_buffer *large = bpf_map_lookup_elem(&sni_large, &at);
	struct share *share = bpf_map_lookup_elem(&sni_shares, &flow->share);

	flow->large = 0;
	if (large)
		large->flow = 0;
	if (share)
		__sync_fetch_and_add(&share->large_buffers, -1);
}

static __always_inline void free_flow(struct flow *flow)
{
	struct share *share = bpf_map_lookup_elem(&sni_shares, &flow->share);

	bpf_map_delete_elem(&sni_flow_index, &flow->key);
	if (flow->large)
		give_large_buffer_back(flow);
	if (share)
		__sync_fetch_and_add(&share->flows, -1);
	flow->born = 0;
	__sync_fetch_and_add(&waiting.pending, -1);
}

/* Gives a flow up. What never turned out to be a hello is no loss. */
static __always_inline void give_up(struct flow *flow, enum sni_unread_reason reason)
{
	if (flow->missing)
		reason = SNI_OUT_OF_ORDER;
	if (flow->missing || flow->hello)
		gadget_count(&sni_unread, reason);
	free_flow(flow);
}

/* Looks for one flow whose time is up: nobody else does if no more hellos are split. */
static __always_inline void sweep(__u64 now)
{
	for (int i = 0; i < PROBES; i++) {
		struct flow *flow = flow_at(waiting.sweep % FLOWS);

		waiting.sweep++;
		if (!flow || !flow->born || now - flow->born <= FLOW_LIFETIME)
			continue;
		give_up(flow, SNI_TIMED_OUT);
		return;
	}
}

/* A place for a flow: a free one, or one that nobody waits for any more, or else the oldest of
 * those looked at, which is lost. */
static __always_inline __u32 find_place(struct __sk_buff *skb, __u64 now)
{
	__u32 best = waiting.hand % FLOWS;
	struct flow *flow;
	__u64 oldest = -1;

	for (int i = 0; i < PROBES; i++) {
		__u32 place = waiting.hand % FLOWS;

		waiting.hand = place + 1;
		flow = flow_at(place);
		if (!flow || flow->born >= oldest)
			continue;
		oldest = flow->born;
		best = place;
		if (now - oldest > FLOW_LIFETIME)
			break;
	}
	best = forget(skb, best);
	flow = flow_at(best);
	if (flow && flow->born)
		give_up(flow, now - flow->born > FLOW_LIFETIME ? SNI_TIMED_OUT : SNI_EVICTED);
	return best;
}

/* Begins to wait for the rest of what starts at sequence number `base`. NULL, counted: not for this
 * one. */
static __always_inline struct flow *start_flow(struct __sk_buff *skb, const struct flow_key *key,
					       __u32 base, __u32 *place)
{
	__u64 now = bpf_ktime_get_boot_ns();
	__u32 at = share_of(key);
	struct share *share = bpf_map_lookup_elem(&sni_shares, &at);
	struct flow *flow;

	if (!share)
		return NULL;
	if (share->flows >= SHARE_FLOWS) {
		sweep(now);
		gadget_count(&sni_unread, SNI_PEER_SHARE);
		return NULL;
	}
	*place = find_place(skb, now);
	flow = flow_at(*place);
	if (!flow)
		return NULL;
	if (bpf_map_update_elem(&sni_flow_index, key, place, BPF_ANY)) {
		gadget_count(&sni_unread, SNI_EVICTED);
		return NULL;
	}
	__builtin_memset(flow, 0, sizeof(*flow));
	flow->key = *key;
	flow->base = base;
	flow->limit = LARGE_SIZE;
	flow->share = at;
	flow->born = now;
	waiting.until = now + FLOW_LIFETIME;
	__sync_fetch_and_add(&share->flows, 1);
	__sync_fetch_and_add(&waiting.pending, 1);
	return flow;
}

/* Lends a large buffer to a flow and moves there what it has. */
static __always_inline bool lend_large_buffer(struct __sk_buff *skb, struct flow *flow, __u32 place)
{
	struct share *share = bpf_map_lookup_elem(&sni_shares, &flow->share);
	struct small_buffer *small = bpf_map_lookup_elem(&sni_small, &place);
	struct large_buffer *large = NULL;
	__u64 now = bpf_ktime_get_boot_ns();
	__u32 at, owner;

	if (!share || !small || share->large_buffers >= SHARE_LARGE_BUFFERS)
		return false;
	for (int i = 0; i < PROBES; i++) {
		struct flow *other;

		at = waiting.large_hand++ % LARGE_BUFFERS;
		large = bpf_map_lookup_elem(&sni_large, &at);
		if (!large)
			return false;
		owner = large->flow - 1;
		other = flow_at(owner);
		if (!other || !other->born || now - other->born > FLOW_LIFETIME ||
		    other->large != at + 1)
			break;
		large = NULL;
	}
	if (!large)
		return false;
	at = forget(skb, at);
	large = bpf_map_lookup_elem(&sni_large, &at);
	if (!large)
		return false;
	owner = large->flow - 1;
	{
		struct flow *other = flow_at(owner);

		if (large->flow && other && other->born && other->large == at + 1)
			give_up(other, SNI_TIMED_OUT);
	}
	for (int i = 0; i < SMALL_SIZE; i += 8)
		*(__u64 *)(large->data + i) = *(__u64 *)(small->data + i);
	large->flow = place + 1;
	flow->large = at + 1;
	__sync_fetch_and_add(&share->large_buffers, 1);
	return true;
}

#endif
