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
	MAX_RECORDS = 16,
	VERSION_LEN = 2,
};

/* Copies into a buffer for `size` bytes what the packet has at `off`, in pieces; `data` has room
 * for another piece behind its end. `at + len` is at most `size`. */
static __always_inline bool copy(struct __sk_buff *skb, __u8 *data, __u32 at, __u32 off, __u32 len,
				 const __u32 size, const __u32 piece)
{
	for (__u32 i = 0; i < size / piece; i++) {
		__u32 n = len < piece ? len : piece;

		if (!n)
			break;
		at = forget(skb, at);
		n = forget(skb, n);
		if (bpf_skb_load_bytes(skb, off, data + lowest_bits(at, size - 1),
				       lowest_bits(n - 1, piece - 1) + 1))
			return false;
		at += n;
		off += n;
		len = forget(skb, len - n);
	}
	return true;
}

/* Notes that the bytes from `start` to `end` are there. */
static __always_inline bool cover(struct flow *flow, __u32 start, __u32 end)
{
	volatile struct island *new = &flow->island;
	bool stored = false;

	new->start = start;
	new->end = end;
	/* No two islands touch, so that growing by one makes it touch none that it did not. */
	for (int i = 0; i < ISLANDS; i++) {
		volatile struct island *old = &flow->islands[i];

		if (!old->end || old->start > end || old->end < start)
			continue;
		if (old->start < new->start)
			new->start = old->start;
		if (old->end > new->end)
			new->end = old->end;
		old->end = 0;
	}
	if (new->start <= flow->there) {
		if (new->end > flow->there)
			flow->there = new->end;
		return true;
	}
	flow->missing = 1;
	for (int i = 0; i < ISLANDS; i++) {
		volatile struct island *free = &flow->islands[i];

		if (free->end)
			continue;
		free->start = new->start;
		free->end = new->end;
		stored = true;
		break;
	}
	return stored;
}

/* Adds what the packet has from `off` on, `len` bytes, to the flow, where it belongs at `at`. */
static __always_inline enum sni_unread_reason
place_piece(struct __sk_buff *skb, struct flow *flow, __u32 place, __u32 at, __u32 off, __u32 len)
{
	__u32 limit = flow->limit;

	if (limit > LARGE_SIZE)
		limit = LARGE_SIZE;
	if (at >= limit)
		return SNI_READ;
	if (len > limit - at)
		len = limit - at;
	at = forget(skb, at);
	len = forget(skb, len);
	if (!flow->large && at + len > SMALL_SIZE && !lend_large_buffer(skb, flow, place))
		return SNI_EVICTED;
	if (flow->large) {
		__u32 lent = flow->large - 1;
		struct large_buffer *large = bpf_map_lookup_elem(&sni_large, &lent);

		if (!large || large->flow != place + 1)
			return SNI_EVICTED;
		if (!copy(skb, large->data, at, off, len, LARGE_SIZE, LARGE_PIECE))
			return SNI_NOT_LOADED;
	} else {
		struct small_buffer *small = bpf_map_lookup_elem(&sni_small, &place);

		if (!small || !copy(skb, small->data, at, off, len, SMALL_SIZE, SMALL_PIECE))
			return SNI_NOT_LOADED;
	}
	flow->segments++;
	return cover(flow, at, at + len) ? SNI_READ : SNI_OUT_OF_ORDER;
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

/* What find_end_of_hello() says besides the reasons: the flow is no hello. */
#define NO_HELLO SNI_REASONS

/*
 * Goes over the records that are there. SNI_READ: the hello is whole and ends at `limit`;
 * SNI_SPLIT: not yet; anything else: it never will be. What it learnt is kept for the next time.
 */
static __always_inline __u32 find_end_of_hello(volatile struct flow *flow, __u32 place)
{
	for (int i = 0; i < MAX_RECORDS; i++) {
		__u32 at = flow->record;
		__u32 there = flow->there;
		__u32 message = flow->message;
		__u32 len, rest;
		__u64 bytes;

		if (there <= at)
			return SNI_SPLIT;
		bytes = bytes_at(flow, place, at);
		if (bytes >> 56 != HELLO_START >> 8 ||
		    (there > at + 1 && (bytes >> 48 & 0xff) != (HELLO_START & 0xff)))
			return flow->hello ? SNI_MALFORMED : NO_HELLO;
		if (there < at + RECORD_HLEN)
			return SNI_SPLIT;
		len = bytes >> 24 & 0xffff;
		if (!len || len > RECORD_MAX_LEN)
			return flow->hello ? SNI_MALFORMED : NO_HELLO;
		at += RECORD_HLEN;
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
			/* Here the sizes are 1 to 4 bytes. */
			flow->header = flow->header << (n * 8 & 31) | bytes >> (64 - n * 8 & 63);
			if (n == HANDSHAKE_HLEN)
				flow->header = bytes >> 32;
			if (n == missing)
				flow->hello = (flow->header & 0xffffff) + HANDSHAKE_HLEN;
			if (n == missing && !message && len >= HANDSHAKE_HLEN + VERSION_LEN &&
			    there >= at + HANDSHAKE_HLEN + VERSION_LEN && (bytes >> 24 & 0xff) != 3)
				return SNI_ENCRYPTED;
		}
		if (flow->hello) {
			if (flow->hello < HANDSHAKE_HLEN + HELLO_SESSION_ID)
				return SNI_MALFORMED;
			rest = flow->hello - message;
			if (rest > LARGE_SIZE - at || at > LARGE_SIZE)
				return SNI_TOO_LARGE;
			if (rest <= len) {
				flow->limit = at + rest;
				return flow->limit <= there ? SNI_READ : SNI_SPLIT;
			}
		}
		flow->message = message + len;
		flow->record = at + len;
	}
	/* Very small records: whoever reads them sees for themselves where they end. */
	flow->limit = flow->there;
	return SNI_READ;
}

#endif
