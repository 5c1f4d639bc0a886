// SPDX-License-Identifier: GPL-2.0
/*
 * trace_sni: which host name a process asks for over TLS, read from the ClientHello as it passes a
 * socket filter that the runner puts in each network namespace.
 *
 * A hello that is whole in one packet, up to its name, is read here. One that is split over packets
 * or records is gathered, and QUIC and DTLS are only recognised: their bytes travel behind the
 * event to the image's guest, which reads them.
 */
#include <linux/bpf.h>
#include <stdbool.h>

#define GADGET_TYPE_NETWORKING
#define GADGET_MAX_EVENT_SIZE 512

#include <gadget/types.h>
#include <gadget/macros.h>
#include <gadget/buffer.h>
#include <gadget/filter.h>
#include <gadget/sockets-map.h>

#include "packet.h"
#include "client_hello.h"
#include "event.h"
#include "flow.h"
#include "gather.h"
#include "opening.h"
#include "datagram.h"
#include "sightings.h"

/* Room for 800 split hellos: a reader that is late by some hundredths of a second loses none. */
#define EVENTS_SIZE (2 * 1024 * 1024)
#define DATAGRAMS_SIZE (1024 * 1024)

GADGET_TRACER_MAP(events, EVENTS_SIZE);
GADGET_TRACER(sni, events, event);

/* For the guest only, which shows what it finds on another data source. */
GADGET_TRACER_MAP(datagrams, DATAGRAMS_SIZE);
GADGET_TRACER(sni_datagram, datagrams, event);

const volatile bool all = false;
const volatile bool no_sni = false;
const volatile bool ja4 = false;

GADGET_PARAM(all);
GADGET_PARAM(no_sni);
GADGET_PARAM(ja4);

/* Who sent or gets a packet, on this host. */
struct sighted {
	struct gadget_socket_value *owner;
	__u32 ports;
	bool outgoing;
};

/* False: the filters leave it out. */
static __always_inline bool sight(struct __sk_buff *skb, const struct packet *pkt,
				  struct sighted *sighted)
{
	bool outgoing = skb->pkt_type == GADGET_PACKET_OUTGOING;
	__u32 ports = load_word(skb, pkt->l4);
	struct gadget_socket_key key = {
	    .netns = skb->cb[0],
	    .family = pkt->version == 4 ? GADGET_AF_INET : GADGET_AF_INET6,
	    .proto = pkt->proto,
	    .port = outgoing ? ports >> 16 : ports,
	};

	sighted->ports = ports;
	sighted->outgoing = outgoing;
	sighted->owner = skb->pkt_type == GADGET_PACKET_OTHERHOST ? NULL : gadget_socket_find(&key);
	return !gadget_should_discard_data_by_netns(sighted->owner, skb->cb[0]);
}

/* Fills what is known of every hello; the rest is zero. */
static __always_inline bool fill_event(struct __sk_buff *skb, const struct packet *pkt,
				       const struct sighted *sighted, struct event *event)
{
	__builtin_memset(event, 0, sizeof(*event));
	event->src.port = sighted->ports >> 16;
	event->dst.port = sighted->ports;
	event->src.proto_raw = event->dst.proto_raw = pkt->proto;
	event->src.version = event->dst.version = pkt->version;
	/* Both addresses lie side by side, so one load does. */
	if (pkt->version == 4) {
		__u32 addrs[2];

		if (bpf_skb_load_bytes(skb, pkt->l3 + 12, addrs, sizeof(addrs)))
			return false;
		event->src.addr_raw.v4 = addrs[0];
		event->dst.addr_raw.v4 = addrs[1];
	} else {
		__u64 addrs[4];

		if (bpf_skb_load_bytes(skb, pkt->l3 + 8, addrs, sizeof(addrs)))
			return false;
		__builtin_memcpy(&event->src.addr_raw, addrs, 16);
		__builtin_memcpy(&event->dst.addr_raw, addrs + 2, 16);
	}
	event->timestamp_raw = bpf_ktime_get_boot_ns();
	event->netns_id = skb->cb[0];
	event->direction_raw = sighted->outgoing ? egress : ingress;
	event->transport_raw = tcp;
	event->owner_source_raw = sighted->owner ? sockets : unknown;
	event->segments = 1;
	gadget_process_populate_from_socket(sighted->owner, &event->proc);
	return true;
}

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "ends_at() takes the first byte of a word for its lowest"
#endif

/*
 * Whether the first zero byte of `name`, which has one, is at `len`. With an earlier one, whoever
 * reads a C string would take a part of the name for the whole. Eight bytes a step: subtracting one
 * from each byte borrows only where it is zero, and of the bytes where that shows, the lowest is
 * always right.
 */
static __always_inline bool ends_at(const char name[NAME_SIZE], __u32 len)
{
	const __u64 ones = 0x0101010101010101;
	const __u64 *words = (const __u64 *)name;

	for (__u32 i = 0; i < NAME_SIZE / 8; i++) {
		__u64 zeros = (words[i] - ones) & ~words[i] & (ones << 7);

		if (zeros)
			return i == len / 8 && (zeros & -zeros) == 0x80ULL << (len % 8 * 8);
	}
	return false;
}

static __always_inline enum sni_unread_reason load_name(struct __sk_buff *skb,
							const struct server_name *name, char *to)
{
	__u32 len = name->len & MAX_NAME_LEN;

	if (!len || bpf_skb_load_bytes(skb, name->off, to, len))
		return SNI_NOT_LOADED;
	return forget(skb, ends_at(to, len)) ? SNI_READ : SNI_MALFORMED;
}

/* Sends what one packet told; no `name`: the hello has none. */
static __always_inline enum sni_unread_reason
report(struct __sk_buff *skb, const struct packet *pkt, const struct server_name *name, bool named)
{
	enum sni_unread_reason reason = SNI_READ;
	struct sighted sighted;
	struct random random;
	struct event *event;

	if (!sight(skb, pkt, &sighted))
		return SNI_READ;
	if (!all) {
		/* A hello with a name is longer. */
		if (bpf_skb_load_bytes(skb,
				       pkt->payload + RECORD_HLEN + HANDSHAKE_HLEN + VERSION_LEN,
				       &random, sizeof(random)))
			return SNI_NOT_LOADED;
		if (seen_before(&random, sighted.owner != NULL))
			return SNI_READ;
	}
	event = gadget_reserve_buf(&events, sizeof(*event));
	if (!event)
		return SNI_READ;
	if (!fill_event(skb, pkt, &sighted, event))
		reason = SNI_NOT_LOADED;
	else if (named)
		reason = load_name(skb, name, event->name);
	else
		event->name_status_raw = no_name;
	if (reason != SNI_READ) {
		gadget_discard_buf(event);
		return reason;
	}
	gadget_submit_buf(skb, &events, event, sizeof(*event));
	return SNI_READ;
}

/* Sends a hello that was gathered, with its bytes. */
static __always_inline enum sni_unread_reason
send_gathered(struct __sk_buff *skb, const struct packet *pkt, struct flow *flow, __u32 place)
{
	const __u32 random_at = RECORD_HLEN + HANDSHAKE_HLEN + VERSION_LEN;
	struct small_buffer *small = bpf_map_lookup_elem(&sni_small, &place);
	struct large_buffer *large = NULL;
	__u32 len = forget(skb, flow->limit);
	struct sighted sighted;
	struct random random;

	if (!small || !sight(skb, pkt, &sighted))
		return SNI_READ;
	if (flow->large) {
		__u32 lent = flow->large - 1;

		large = bpf_map_lookup_elem(&sni_large, &lent);
		if (!large || large->flow != place + 1)
			return SNI_EVICTED;
		__builtin_memcpy(&random, large->data + random_at, sizeof(random));
	} else {
		__builtin_memcpy(&random, small->data + random_at, sizeof(random));
	}
	if (!all && seen_before(&random, sighted.owner != NULL))
		return SNI_READ;
	if (!fill_event(skb, pkt, &sighted, &small->event))
		return SNI_NOT_LOADED;
	small->event.segments = flow->segments > 255 ? 255 : flow->segments;
	if (!large) {
		gadget_output_buf(skb, &events, small,
				  sizeof(struct event) + lowest_bits(len - 1, SMALL_SIZE - 1) + 1);
	} else {
		for (int i = 0; i < sizeof(struct event) / 8; i++)
			((__u64 *)large)[i] = ((__u64 *)small)[i];
		gadget_output_buf(skb, &events, large,
				  sizeof(struct event) + lowest_bits(len - 1, LARGE_SIZE - 1) + 1);
	}
	return SNI_READ;
}

/* Puts a segment where it belongs, and sends the hello if that makes it whole. */
static __always_inline void gather(struct __sk_buff *skb, const struct packet *pkt,
				   struct flow *flow, __u32 place, __u32 seq)
{
	__u32 off = pkt->payload;
	__u32 len = pkt->end - off;
	__u32 at = seq - flow->base;
	__u32 reason;

	if ((__s32)at < 0) {
		/* Sent again, with something that was before. */
		if (len <= -at)
			return;
		off -= at;
		len += at;
		at = 0;
	}
	reason = place_piece(skb, flow, place, forget(skb, at), forget(skb, off), forget(skb, len));
	reason = forget(skb, reason);
	if (reason == SNI_READ) {
		reason = find_end_of_hello(flow, place);
		reason = forget(skb, reason);
	}
	if (reason == SNI_SPLIT)
		return;
	if (reason == SNI_READ)
		reason = send_gathered(skb, pkt, flow, place);
	if (reason != SNI_READ && reason != NO_HELLO)
		gadget_count(&sni_unread, reason);
	free_flow(flow);
}

/* What a segment's payload begins with. */
enum beginning {
	OTHER,
	HELLO,
	PART_OF_HEADER, /* too short to tell a hello from another record */
};

/* This is the test that nearly all packets fail. Moves the payload to a hello behind plain text. */
static __always_inline enum beginning beginning_of(struct __sk_buff *skb, struct packet *pkt)
{
	__u32 payload = pkt->payload;
	__u32 word, off;

	if (skb->len - payload < RECORD_HLEN + 1)
		return load_byte(skb, payload) == HELLO_START >> 8 ? PART_OF_HEADER : OTHER;
	word = load_word(skb, payload);
	if (word >> 24 == HELLO_START >> 8) {
		if (word >> 16 == HELLO_START &&
		    load_byte(skb, payload + RECORD_HLEN) == TYPE_CLIENT_HELLO)
			return HELLO;
		/* What looks like a longer payload may be link padding. */
		find_end(skb, pkt);
		return pkt->end - payload < RECORD_HLEN + 1 ? PART_OF_HEADER : OTHER;
	}
	off = plain_text(skb, payload, word);
	if (!off)
		return OTHER;
	find_end(skb, pkt);
	off = search_hello(skb, payload + off, pkt->end);
	if (!off)
		return OTHER;
	pkt->payload = off;
	return HELLO;
}

/* A flow that waits for such a segment, if there is one. */
static __always_inline struct flow *find_flow(struct __sk_buff *skb, const struct flow_key *key,
					      __u32 seq, bool begins, __u32 *place)
{
	__u64 now = bpf_ktime_get_boot_ns();
	struct flow *flow;
	__u32 *found;
	__s32 at;

	if (now > waiting.until)
		sweep(now);
	found = bpf_map_lookup_elem(&sni_flow_index, key);
	if (!found)
		return NULL;
	*place = *found;
	flow = flow_at(*place);
	if (!flow || !flow->born)
		return NULL;
	at = seq - flow->base;
	/* The ports may be those of another connection by now. */
	if (now - flow->born > FLOW_LIFETIME ||
	    (begins && (at < -LARGE_SIZE || at >= LARGE_SIZE))) {
		give_up(flow, SNI_TIMED_OUT);
		return NULL;
	}
	return flow;
}

static __always_inline void segment(struct __sk_buff *skb, struct packet *pkt)
{
	__u32 length_flags = load_half(skb, pkt->l4 + 12);
	__u32 hlen = (length_flags >> 12) * 4;
	__u32 seq, first = 0, place = 0;
	struct server_name name = {};
	enum sni_unread_reason reason;
	enum beginning beginning;
	struct flow *flow = NULL;
	struct flow_key key;
	bool early;

	if (hlen < TCP_MIN_HLEN)
		return;
	if ((length_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN)
		note_opening(skb, pkt);
	pkt->payload = pkt->l4 + hlen;
	if (pkt->payload >= skb->len)
		return;
	/* A SYN, which can carry data (RFC 7413), has a number of its own. */
	seq = load_word(skb, pkt->l4 + 4) + (length_flags & TCP_SYN) / TCP_SYN;
	early = overtook(skb, pkt, seq, &first);
	seq -= pkt->payload;
	beginning = beginning_of(skb, pkt);
	if (beginning == OTHER && !early && !waiting.pending)
		return;
	seq = forget(skb, seq + pkt->payload);
	find_end(skb, pkt);
	beginning = forget(skb, beginning);
	first = forget(skb, first);
	early = forget(skb, early);
	pkt->version = forget(skb, pkt->version);
	pkt->end = forget(skb, pkt->end);
	pkt->payload = forget(skb, pkt->payload);
	if (pkt->end <= pkt->payload)
		return;
	if (waiting.pending) {
		if (!flow_key(skb, pkt, &key))
			return;
		flow = find_flow(skb, &key, seq, beginning == HELLO, &place);
	}
	if (!flow) {
		if (beginning == HELLO) {
			reason = find_name_in_payload(skb, pkt, &name);
			if (reason == SNI_READ && !ja4) {
				name.off = forget(skb, name.off);
				name.len = forget(skb, name.len);
				reason = report(skb, pkt, &name, true);
			} else if (reason == SNI_NO_NAME && no_sni && !ja4) {
				report(skb, pkt, &name, false);
			}
			if (reason != SNI_SPLIT && !(ja4 && reason == SNI_READ)) {
				if (reason != SNI_READ)
					gadget_count(&sni_unread, reason);
				return;
			}
			first = seq;
		} else if (beginning == PART_OF_HEADER) {
			first = seq;
		} else if (!early) {
			return;
		}
		if (!flow_key(skb, pkt, &key))
			return;
		flow = start_flow(skb, &key, forget(skb, first), &place);
		if (!flow)
			return;
	}
	gather(skb, pkt, flow, forget(skb, place), seq);
}

static __always_inline void datagram(struct __sk_buff *skb, struct packet *pkt)
{
	enum sni_transport transport;
	struct datagram *datagram;
	struct sighted sighted;
	__u32 zero = 0, len;

	pkt->payload = pkt->l4 + UDP_HLEN;
	if (skb->len < pkt->payload + DTLS_RECORD_HLEN + 1 || !carries_hello(skb, pkt, &transport))
		return;
	find_end(skb, pkt);
	len = forget(skb, pkt->end - pkt->payload);
	pkt->version = forget(skb, pkt->version);
	if (!sight(skb, pkt, &sighted))
		return;
	datagram = bpf_map_lookup_elem(&sni_datagram, &zero);
	if (!datagram || !fill_event(skb, pkt, &sighted, &datagram->event))
		return;
	datagram->event.transport_raw = transport;
	datagram->event.datagram_size = skb->gso_size;
	if (len > DATAGRAM_SIZE)
		len = DATAGRAM_SIZE;
	len = lowest_bits(len, DATAGRAM_SIZE);
	if (!len || bpf_skb_load_bytes(skb, pkt->payload, datagram->data, len))
		return;
	gadget_output_buf(skb, &datagrams, datagram, sizeof(struct event) + len);
}

SEC("socket1")
int ig_trace_sni(struct __sk_buff *skb)
{
	struct packet pkt;

	if (!find_l4(skb, &pkt))
		return 0;
	if (pkt.proto == GADGET_IPPROTO_TCP)
		segment(skb, &pkt);
	else
		datagram(skb, &pkt);
	return 0;
}

char _license[] SEC("license") = "GPL";
