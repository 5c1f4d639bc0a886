/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * How connections begin, as far as it helps to find hellos: where a stream starts, so that a
 * segment that overtook the first one is known for what it is; and what is said in plain text
 * before TLS is, where the two share a segment.
 */
#ifndef OPENING_H
#define OPENING_H

#include "flow.h"

enum {
	OPENINGS = 8192,
	/* So much of a segment that begins with plain text is searched for a hello, in steps of
	 * eight bytes. */
	SEARCH_STEPS = 64,
};

/* A connection that was opened, by a hash of its ports and namespace: a newer one takes its place.
 */
struct opening {
	__u32 ports;
	__u32 netns;
	__u32 first;   /* sequence number of the first byte that the client sends */
	__u8 begun[2]; /* whether that byte was seen: coming in, going out */
};

TABLE(sni_openings, OPENINGS, struct opening);

static __always_inline struct opening *opening_at(struct __sk_buff *skb, __u32 ports)
{
	__u32 at = (ports * 0x9e3779b1 ^ skb->cb[0] * 0x85ebca6b) >> 19;

	return bpf_map_lookup_elem(&sni_openings, &at);
}

APART int note_opening(struct __sk_buff *skb, __u32 l4)
{
	__u32 ports = load_word(skb, l4);
	struct opening *opening = opening_at(skb, ports);
	__u32 first = load_word(skb, l4 + 4) + 1;

	/* The same SYN may come again after the first byte. */
	if (!opening || (opening->ports == ports && opening->first == first))
		return 0;
	if (!opening->first || opening->begun[0] || opening->begun[1])
		__sync_fetch_and_add(&waiting.openings, 1);
	opening->ports = ports;
	opening->netns = skb->cb[0];
	/* 0 is a place that was never taken. */
	opening->first = first ? first : 1;
	opening->begun[0] = opening->begun[1] = 0;
	return 0;
}

/* How far behind the first byte of its stream a segment with `seq` is that overtook it; 0: it did
 * not. Notes that the first byte was seen if this is it. */
APART int overtook(struct __sk_buff *skb, __u32 l4, __u32 seq)
{
	__u32 ports = load_word(skb, l4);
	struct opening *opening = opening_at(skb, ports);
	__u32 outgoing = skb->pkt_type == GADGET_PACKET_OUTGOING;
	__u32 ahead;

	if (!opening || opening->ports != ports || opening->netns != skb->cb[0])
		return 0;
	ahead = seq - opening->first;
	if (ahead >= LARGE_SIZE || opening->begun[outgoing])
		return 0;
	if (!ahead) {
		if (!opening->begun[!outgoing])
			__sync_fetch_and_add(&waiting.openings, -1);
		opening->begun[outgoing] = 1;
	}
	return ahead;
}

/*
 * Where in a payload that begins with `word` the search for a hello may begin: behind as much of
 * the plain text as is certain. 0: such a payload is not searched. Servers are asked to speak TLS
 * in these ways: PROXY (versions 1 and 2), CONNECT, SOCKS 4 and 5, SMTP's STARTTLS, POP3's STLS,
 * FTP's AUTH, XMPP's and LDAP's StartTLS, and the SSLRequests of PostgreSQL and MySQL.
 */
static __always_inline __u32 plain_text(struct __sk_buff *skb, __u32 payload, __u32 word)
{
	switch (word) {
	case 0x50524f58: /* PROX */
	case 0x434f4e4e: /* CONN */
	case 0x53544152: /* STAR */
	case 0x73746172: /* star */
	case 0x53544c53: /* STLS */
	case 0x73746c73: /* stls */
	case 0x41555448: /* AUTH */
	case 0x61757468: /* auth */
	case 0x3c737461: /* <sta */
		return 6;
	case 0x0d0a0d0a: /* PROXY, version 2: with its length */
		return 16 + load_half(skb, payload + 14);
	case 0x00000008: /* PostgreSQL */
		return 8;
	case 0x20000001: /* MySQL */
		return 36;
	case 0x301d0201: /* LDAP */
		return 31;
	case 0x05010001: /* SOCKS 5: a request; an IPv4 address */
		return 10;
	case 0x05010003: /* a name */
		return 7 + load_byte(skb, payload + 4);
	case 0x05010004: /* an IPv6 address */
		return 22;
	}
	return word >> 16 == 0x0401 ? 8 : 0; /* SOCKS 4 */
}

/* How many of the eight bytes at `off` come before one like a record header's first: 8 at most. */
APART int plain_bytes(struct __sk_buff *skb, __u32 off)
{
	const __u64 ones = 0x0101010101010101;
	__u64 word, found;

	if (bpf_skb_load_bytes(skb, off, &word, sizeof(word)))
		return 0;
	word ^= ones * (HELLO_START >> 8);
	found = (word - ones) & ~word & (ones << 7);
	if (!found)
		return 8;
	/* One bit is left, of the lowest byte: its number is the factor's byte there. */
	found = (found & -found) >> 7;
	return found * 0x0001020304050607 >> 56;
}

/* Where the record header of a hello is that begins at `off` or later: plain text has no byte like
 * its first. 0: nowhere. */
APART int search_hello(struct __sk_buff *skb, __u32 off, __u32 end)
{
	for (int i = 0; i < SEARCH_STEPS; i++) {
		__u32 plain = plain_bytes(skb, off);

		off = forget(skb, off + plain);
		if (plain != 8)
			break;
	}
	if (off + RECORD_HLEN >= end || load_half(skb, off) != HELLO_START ||
	    load_byte(skb, off + RECORD_HLEN) != TYPE_CLIENT_HELLO)
		return 0;
	return off;
}

#endif
