/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * Which UDP packets may carry a ClientHello: those with an Initial packet of QUIC, version 1
 * (RFC 9000, section 17.2.2) or 2 (RFC 9369, section 3.1), whose hello is encrypted with keys that
 * anyone can compute; Retry packets, after which the same connection begins anew; and those with a
 * ClientHello of DTLS (RFC 6347, section 4.2.2). They travel as they are to the image's guest.
 */
#ifndef DATAGRAM_H
#define DATAGRAM_H

#include "event.h"
#include "packet.h"

enum {
	/* So much of one is sent: two full Initial packets that travel as one packet, and more. */
	DATAGRAM_SIZE = 4095,
	QUIC_MIN_SIZE = 1200, /* a client pads what carries an Initial packet (section 14.1) */
	QUIC_INITIAL = 0,     /* types of packets */
	QUIC_RETRY = 3,
	QUIC_V1 = 0x00000001,
	QUIC_V2 = 0x6b3343cf,
	DTLS_START = 0x16fe, /* a handshake record, of any DTLS version */
	DTLS_RECORD_HLEN = 13,
};

struct datagram {
	struct event event;
	__u8 data[DATAGRAM_SIZE + 1];
};

/* Where an event is put together with its datagram. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct datagram);
} sni_datagram SEC(".maps");

/* Whether the datagram may carry a hello, or says that it comes again, and over what. */
static __always_inline bool carries_hello(struct __sk_buff *skb, const struct packet *pkt,
					  enum sni_transport *transport)
{
	__u32 payload = pkt->payload;
	__u32 word = load_word(skb, payload);
	__u32 version, type;

	if (word >> 16 == DTLS_START) {
		*transport = dtls;
		/* Epoch 0: a later hello is encrypted. */
		return load_half(skb, payload + 3) == 0 &&
		       load_byte(skb, payload + DTLS_RECORD_HLEN) == TYPE_CLIENT_HELLO;
	}
	/* A long header with its fixed bit. */
	if (word >> 30 != 3)
		return false;
	*transport = quic;
	version = load_word(skb, payload + 1);
	/* Version 2 has the same types of packets, counted from 1. */
	type = (word >> 28) - (version == QUIC_V2) & 3;
	if (version != QUIC_V1 && version != QUIC_V2)
		return false;
	return type == QUIC_RETRY || (type == QUIC_INITIAL && skb->len - payload >= QUIC_MIN_SIZE);
}

#endif
