/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * Where the pieces of split hellos wait for each other. A flow is one direction of a connection as
 * one network namespace sees it. Tables are of fixed size, less than 13 MiB together: a flow has a
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
	PIECE = 512,
	/* Loopback shows each hello twice, and three quarters are one address': room for a thousand
	 * of its connections at once. */
	FLOWS = 3072,
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
	__u8 data[SMALL_SIZE + PIECE];
};

struct large_buffer {
	struct event event;
	__u8 data[LARGE_SIZE + PIECE];
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

/* As long as `pending` and `openings` are 0, which they mostly are, no packet is looked up in any
 * table. */
static struct {
	__u32 pending;  /* flows */
	__u32 openings; /* connections that were opened and whose first byte is still to come */
	__u32 hand;     /* the place where the search for a free one begins */
	__u32 large_hand;
	__u32 sweep; /* the place that is looked at next when nothing else is to be done */
	__u64 until; /* when the youngest flow is too old */
} waiting = {};

static __always_inline __u64 where(const struct packet *pkt)
{
	return pkt->l3 | (__u64)pkt->l4 << 16 | (__u64)pkt->version << 32 | (__u64)pkt->proto << 40;
}

static __always_inline struct packet packet_at(__u64 where)
{
	return (struct packet){
	    .l3 = where & 0xffff,
	    .l4 = where >> 16 & 0xffff,
	    .version = where >> 32 & 0xff,
	    .proto = where >> 40 & 0xff,
	};
}

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
APART int give_up(__u32 place, __u32 reason)
{
	struct flow *flow = flow_at(place);

	if (!flow || !flow->born)
		return 0;
	if (flow->missing)
		reason = SNI_OUT_OF_ORDER;
	if (flow->missing || flow->hello)
		gadget_count(&sni_unread, reason);
	free_flow(flow);
	return 0;
}

/* Looks whether one flow's time is up. */
APART int sweep(__u64 now)
{
	__u32 place = waiting.sweep++ % FLOWS;
	struct flow *flow = flow_at(place);

	if (flow && flow->born && now - flow->born > FLOW_LIFETIME)
		give_up(place, SNI_TIMED_OUT);
	return 0;
}

/* Looks at some flows: nobody else does if no more hellos are split. */
APART int sweep_some(__u64 now)
{
#pragma clang loop unroll(disable)
	for (int i = 0; i < PROBES; i++)
		sweep(now);
	return 0;
}

/* Of two places, one that is free, or else the one that was taken before the other. */
APART int older_place(__u32 a, __u32 b)
{
	struct flow *one = flow_at(a);
	struct flow *other = flow_at(b);

	return one && other && other->born < one->born ? b : a;
}

/* A place for a flow: a free one, or else the oldest of those looked at, which is given up. */
APART int find_place(__u64 now)
{
	__u32 best = waiting.hand % FLOWS;
	struct flow *flow;

	waiting.hand = best + 1;
#pragma clang loop unroll(disable)
	for (int i = 1; i < PROBES; i++)
		best = older_place(best, waiting.hand++ % FLOWS);
	flow = flow_at(best);
	if (flow && flow->born)
		give_up(best, now - flow->born > FLOW_LIFETIME ? SNI_TIMED_OUT : SNI_EVICTED);
	return best;
}

/* Begins to wait for the rest of what starts at sequence number `base`. 0, counted: not for this
 * one.
 */
APART int start_flow(struct __sk_buff *skb, __u64 where, __u32 base)
{
	struct packet pkt = packet_at(where);
	__u64 now = bpf_ktime_get_boot_ns();
	struct share *share;
	struct flow_key key;
	struct flow *flow;
	__u32 at, place;

	if (!flow_key(skb, &pkt, &key))
		return 0;
	at = share_of(&key);
	share = bpf_map_lookup_elem(&sni_shares, &at);
	if (!share)
		return 0;
	if (share->flows >= SHARE_FLOWS) {
		sweep_some(now);
		gadget_count(&sni_unread, SNI_PEER_SHARE);
		return 0;
	}
	place = find_place(now);
	flow = flow_at(place);
	if (!flow)
		return 0;
	if (bpf_map_update_elem(&sni_flow_index, &key, &place, BPF_ANY)) {
		gadget_count(&sni_unread, SNI_EVICTED);
		return 0;
	}
	__builtin_memset(flow, 0, sizeof(*flow));
	flow->key = key;
	flow->base = base;
	flow->limit = LARGE_SIZE;
	flow->share = at;
	flow->born = now;
	waiting.until = now + FLOW_LIFETIME;
	__sync_fetch_and_add(&share->flows, 1);
	__sync_fetch_and_add(&waiting.pending, 1);
	return place + 1;
}

/* The flow that waits for a segment with `seq`, if there is one. `begins`: the segment begins like
 * a hello. */
APART int find_flow(struct __sk_buff *skb, __u64 where, __u32 seq, __u32 begins)
{
	struct packet pkt = packet_at(where);
	__u64 now = bpf_ktime_get_boot_ns();
	struct flow_key key;
	struct flow *flow;
	__u32 *found;
	__u32 place;
	__s32 at;

	if (now > waiting.until)
		sweep_some(now);
	if (!flow_key(skb, &pkt, &key))
		return 0;
	found = bpf_map_lookup_elem(&sni_flow_index, &key);
	if (!found)
		return 0;
	place = *found;
	flow = flow_at(place);
	if (!flow || !flow->born)
		return 0;
	at = seq - flow->base;
	/* The ports may be those of another connection by now. */
	if (now - flow->born > FLOW_LIFETIME ||
	    (begins && (at < -LARGE_SIZE || at >= LARGE_SIZE))) {
		give_up(place, SNI_TIMED_OUT);
		return 0;
	}
	return place + 1;
}

/* Whether nobody waits for what is in a large buffer; takes it back if so. */
APART int take_back(__u32 at, __u64 now)
{
	struct large_buffer *large = bpf_map_lookup_elem(&sni_large, &at);
	struct flow *flow;

	if (!large)
		return 0;
	flow = flow_at(large->flow - 1);
	if (!large->flow || !flow || !flow->born || flow->large != at + 1)
		return 1;
	if (now - flow->born <= FLOW_LIFETIME)
		return 0;
	give_up(large->flow - 1, SNI_TIMED_OUT);
	return 1;
}

/* A large buffer that nobody needs, counted from 1; 0: there is none among those looked at. */
APART int find_large_buffer(__u64 now)
{
	for (int i = 0; i < PROBES; i++) {
		__u32 at = waiting.large_hand++ % LARGE_BUFFERS;

		if (take_back(at, now))
			return at + 1;
	}
	return 0;
}

/* Lends a large buffer, counted from 1, to a flow, and moves there what it has; 0: neither. */
APART int lend_large_buffer(__u32 place, __u32 number)
{
	struct flow *flow = flow_at(place);
	struct small_buffer *small = bpf_map_lookup_elem(&sni_small, &place);
	__u32 at = number - 1;
	struct large_buffer *large = bpf_map_lookup_elem(&sni_large, &at);
	struct share *share;

	if (!flow || !small || !large)
		return 0;
	share = bpf_map_lookup_elem(&sni_shares, &flow->share);
	if (!share || share->large_buffers >= SHARE_LARGE_BUFFERS)
		return 0;
#pragma clang loop unroll_count(16)
	for (int i = 0; i < SMALL_SIZE; i += 8)
		*(__u64 *)(large->data + i) = *(__u64 *)(small->data + i);
	large->flow = place + 1;
	flow->large = number;
	__sync_fetch_and_add(&share->large_buffers, 1);
	return 1;
}

#endif
