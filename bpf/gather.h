/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * Puts a split hello together: the payload of each segment goes where its sequence number says, in
 * whatever order they come and however they overlap, and the headers of the TLS records among the
 * bytes (RFC 8446, section 5.1) tell when the hello is whole. What it says is for others to read.
 */
#ifndef GATHER_H
#define GATHER_H

#include "flow.h"

enum {
	/* Records that are stepped over for one packet. */
	MAX_RECORDS = 128,
	VERSION_LEN = 2,
};

/* Copies `len` bytes of the packet, or the first PIECE of them, to the flow's buffer, which has
 * room for as many behind its end. 0: the packet does not have them. */
APART int copy_piece(struct __sk_buff *skb, __u32 place, __u32 at, __u32 off, __u32 len)
{
	struct flow *flow = flow_at(place);
	__u64 n = lowest_bits((len < PIECE ? len : PIECE) - 1, PIECE - 1) + 1;

	if (!flow)
		return 0;
	if (flow->large) {
		__u32 lent = flow->large - 1;
		struct large_buffer *large = bpf_map_lookup_elem(&sni_large, &lent);

		return large && large->flow == place + 1 &&
		       !bpf_skb_load_bytes(skb, off, large->data + lowest_bits(at, LARGE_SIZE - 1),
					   n);
	}
	struct small_buffer *small = bpf_map_lookup_elem(&sni_small, &place);

	return small &&
	       !bpf_skb_load_bytes(skb, off, small->data + lowest_bits(at, SMALL_SIZE - 1), n);
}

/* If an island touches the bytes that are being noted, makes it a part of them. */
APART int join_island(__u32 place, __u32 number)
{
	struct flow *flow = flow_at(place);
	struct island *new, *old;

	if (!flow || number >= ISLANDS)
		return 0;
	new = &flow->island;
	old = &flow->islands[number];
	if (!old->end || old->start > new->end || old->end < new->start)
		return 0;
	if (old->start < new->start)
		new->start = old->start;
	if (old->end > new->end)
		new->end = old->end;
	old->end = 0;
	return 0;
}

/* Notes that the bytes from `start` to `end` are there; 0: there are too many gaps. */
APART int cover(__u32 place, __u32 start, __u32 end)
{
	struct flow *flow = flow_at(place);

	if (!flow)
		return 0;
	flow->island.start = start;
	flow->island.end = end;
	/* No two islands touch, so that growing by one makes it touch none that it did not. */
	for (int i = 0; i < ISLANDS; i++)
		join_island(place, i);
	start = flow->island.start;
	end = flow->island.end;
	if (start <= flow->there) {
		if (end > flow->there)
			flow->there = end;
		return 1;
	}
	flow->missing = 1;
	for (int i = 0; i < ISLANDS; i++) {
		if (flow->islands[i].end)
			continue;
		flow->islands[i].start = start;
		flow->islands[i].end = end;
		return 1;
	}
	return 0;
}

/* Adds what the packet has from `off` on, `len` bytes, to the flow, where it belongs at `at`. */
APART int place_piece(struct __sk_buff *skb, __u32 place, __u32 at, __u32 off, __u32 len)
{
	struct flow *flow = flow_at(place);
	__u32 limit, end;

	if (!flow)
		return SNI_EVICTED;
	limit = flow->limit;
	if (at >= limit)
		return SNI_READ;
	end = len < limit - at ? at + len : limit;
	if (!flow->large && end > SMALL_SIZE &&
	    !lend_large_buffer(place, find_large_buffer(bpf_ktime_get_boot_ns())))
		return SNI_EVICTED;
	flow->segments++;
	for (__u32 i = 0; i < LARGE_SIZE; i += PIECE) {
		if (i >= end - at)
			break;
		if (!copy_piece(skb, place, at + i, off + i, end - at - i))
			return SNI_NOT_LOADED;
	}
	return cover(place, at, end) ? SNI_READ : SNI_OUT_OF_ORDER;
}

/* Eight bytes at `at`, the first one highest. */
static __always_inline __u64 bytes_at(volatile struct flow *flow, __u32 place, __u32 at)
{
	flow->bytes = 0;
	/* No processor that BPF's compiler is used on minds where a word begins. */
	if (flow->large) {
		__u32 lent = flow->large - 1;
		const struct large_buffer *large = bpf_map_lookup_elem(&sni_large, &lent);

		if (large)
			flow->bytes = *(const volatile __u64 *)(large->data +
								lowest_bits(at, LARGE_SIZE - 1));
	} else {
		const struct small_buffer *small = bpf_map_lookup_elem(&sni_small, &place);

		if (small)
			flow->bytes = *(const volatile __u64 *)(small->data +
								lowest_bits(at, SMALL_SIZE - 1));
	}
	return __builtin_bswap64(flow->bytes);
}

/* What next_record() says besides the reasons. */
enum {
	NO_HELLO = SNI_REASONS, /* the flow is none */
	ANOTHER_RECORD,         /* the hello goes on in the next record */
};

/*
 * Looks at one record. SNI_READ: the hello is whole and ends at `limit`; SNI_SPLIT: not yet. What
 * it learnt is kept for the next time.
 */
APART int next_record(__u32 place)
{
	volatile struct flow *flow = flow_at(place);
	__u32 at, there, message, len, rest;
	__u64 bytes;

	if (!flow)
		return SNI_EVICTED;
	at = flow->record;
	there = flow->there;
	message = flow->message;
	if (there <= at)
		return SNI_SPLIT;
	bytes = bytes_at(flow, place, at);
	len = bytes >> 24 & 0xffff;
	if (bytes >> 56 != HELLO_START >> 8 ||
	    (there >= at + 2 && (bytes >> 48 & 0xff) != (HELLO_START & 0xff)) ||
	    (there >= at + RECORD_HLEN && (!len || len > RECORD_MAX_LEN)))
		return flow->hello ? SNI_MALFORMED : NO_HELLO;
	at += RECORD_HLEN;
	if (there < at)
		return SNI_SPLIT;
	if (!flow->hello) {
		__u32 missing = HANDSHAKE_HLEN - message;
		__u32 n = len < missing ? len : missing;

		if (there <= at)
			return SNI_SPLIT;
		bytes = bytes_at(flow, place, at);
		if (!message && bytes >> 56 != TYPE_CLIENT_HELLO)
			return NO_HELLO;
		if (there < at + n)
			return SNI_SPLIT;
		if (n == HANDSHAKE_HLEN)
			flow->header = bytes >> 32;
		else
			flow->header = flow->header << (n * 8 & 31) | bytes >> (64 - n * 8 & 63);
		if (n == missing)
			flow->hello = (flow->header & 0xffffff) + HANDSHAKE_HLEN;
		if (n == HANDSHAKE_HLEN && len >= HANDSHAKE_HLEN + VERSION_LEN &&
		    there >= at + HANDSHAKE_HLEN + VERSION_LEN && (bytes >> 24 & 0xff) != 3)
			return SNI_ENCRYPTED;
	}
	if (flow->hello) {
		if (flow->hello < HANDSHAKE_HLEN + HELLO_SESSION_ID)
			return SNI_MALFORMED;
		rest = flow->hello - message;
		if (at > LARGE_SIZE || rest > LARGE_SIZE - at)
			return SNI_TOO_LARGE;
		if (rest <= len) {
			flow->limit = at + rest;
			return flow->limit <= there ? SNI_READ : SNI_SPLIT;
		}
	}
	flow->message = message + len;
	flow->record = at + len;
	return ANOTHER_RECORD;
}

/* The same for all the records that are there. */
APART int find_end_of_hello(__u32 place)
{
	struct flow *flow;

	for (int i = 0; i < MAX_RECORDS; i++) {
		int reason = next_record(place);

		if (reason != ANOTHER_RECORD)
			return reason;
	}
	/* Very small records: whoever reads them sees for himself where they end. */
	flow = flow_at(place);
	if (!flow)
		return SNI_EVICTED;
	flow->limit = flow->there;
	return SNI_READ;
}

#endif
