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
#define GADGET_NO_BUF_RESERVE

#include <gadget/types.h>
#include <gadget/macros.h>
#include <gadget/buffer.h>
#include <gadget/filter.h>
#include <gadget/sockets-map.h>
#include <gadget/igx-sockets.h>

#include "packet.h"
#include "client_hello.h"
#include "event.h"
#include "flow.h"
#include "gather.h"
#include "opening.h"
#include "datagram.h"
#include "plain_name.h"
#include "sightings.h"

/* Room for 1,600 split hellos: a reader that is late by a tenth of a second loses none. */
#define EVENTS_SIZE (4 * 1024 * 1024)
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

/* What describe() says. */
enum {
	LEFT_OUT, /* by filters, or because it was shown before */
	WITHOUT_OWNER,
	WITH_OWNER,
};

/* Where an event is put together: with its flow's bytes, if `place` is that of a flow (from 1), or
 * else with the one datagram of this CPU. */
static __always_inline struct event *event_at(__u32 place)
{
	struct small_buffer *small;
	struct datagram *scratch;
	__u32 at = place - 1;

	if (place) {
		small = bpf_map_lookup_elem(&sni_small, &at);
		return small ? &small->event : NULL;
	}
	scratch = bpf_map_lookup_elem(&sni_datagram, &place);
	return scratch ? &scratch->event : NULL;
}

/* Fills the event at `place` with what a packet tells of any hello, but for whose it is; the rest
 * is zero. 0: the packet does not have that. */
APART int begin_event(struct __sk_buff *skb, __u64 where, __u32 place, __u32 transport)
{
	struct packet pkt = packet_at(where);
	__u32 ports = load_word(skb, pkt.l4);
	struct event *event = event_at(place);

	if (!event)
		return 0;
	__builtin_memset(event, 0, sizeof(*event));
	event->src.port = ports >> 16;
	event->dst.port = ports;
	event->src.proto_raw = event->dst.proto_raw = pkt.proto;
	event->src.version = event->dst.version = pkt.version;
	/* Not by way of the stack, of which all callers together have 512 bytes. */
	if (pkt.version == 4) {
		if (bpf_skb_load_bytes(skb, pkt.l3 + 12, &event->src.addr_raw, 4) ||
		    bpf_skb_load_bytes(skb, pkt.l3 + 16, &event->dst.addr_raw, 4))
			return 0;
	} else if (bpf_skb_load_bytes(skb, pkt.l3 + 8, &event->src.addr_raw, 16) ||
		   bpf_skb_load_bytes(skb, pkt.l3 + 24, &event->dst.addr_raw, 16)) {
		return 0;
	}
	event->timestamp_raw = bpf_ktime_get_boot_ns();
	event->netns_id = skb->cb[0];
	event->direction_raw = skb->pkt_type == GADGET_PACKET_OUTGOING ? egress : ingress;
	event->transport_raw = transport;
	event->segments = 1;
	event->ech_raw = unread;
	event->options =
	    (all ? OPTION_ALL : 0) | (no_sni ? OPTION_NO_SNI : 0) | (ja4 ? OPTION_JA4 : 0);
	return 1;
}

/* Whether the hello whose random bytes the packet has at `off` has been shown already. */
APART int shown_by_packet(struct __sk_buff *skb, __u32 off, __u32 owned)
{
	struct random random;

	return !bpf_skb_load_bytes(skb, off, &random, sizeof(random)) &&
	       seen_before(&random, owned);
}

/* Fills the event at `place` with what is known of every hello. `random_off`: where the packet has
 * the hello's random bytes, 0 if nowhere. */
APART int describe(struct __sk_buff *skb, __u64 where, __u32 place, __u32 transport,
		   __u32 random_off)
{
	struct packet pkt = packet_at(where);
	bool outgoing = skb->pkt_type == GADGET_PACKET_OUTGOING;
	__u32 ports = load_word(skb, pkt.l4);
	struct gadget_socket_key key = {
	    .netns = skb->cb[0],
	    .family = pkt.version == 4 ? GADGET_AF_INET : GADGET_AF_INET6,
	    .proto = pkt.proto,
	    .port = outgoing ? ports >> 16 : ports,
	};
	struct gadget_socket_value *owner =
	    skb->pkt_type == GADGET_PACKET_OTHERHOST
		? NULL
		: igx_socket_find(skb, &key, pkt.l3, ports, outgoing);
	struct event *event;

	if (gadget_should_discard_data_by_netns(owner, skb->cb[0]))
		return LEFT_OUT;
	if (random_off && !all && shown_by_packet(skb, random_off, !!owner))
		return LEFT_OUT;
	if (!begin_event(skb, where, place, transport))
		return LEFT_OUT;
	event = event_at(place);
	if (!event)
		return LEFT_OUT;
	event->owner_source_raw = igx_socket_source(owner);
	event->cgroup_id = igx_socket_cgroup(owner);
	gadget_process_populate_from_socket(owner, &event->proc);
	return owner ? WITH_OWNER : WITHOUT_OWNER;
}

/* Sends what the packet with its payload at `payload` told: the name, `len` bytes at `off`, or that
 * there is none if `len` is 0. */
APART int report(struct __sk_buff *skb, __u64 where, __u32 payload, __u32 off, __u32 len)
{
	__u32 random_off = payload + RECORD_HLEN + HANDSHAKE_HLEN + VERSION_LEN;
	__u32 described = describe(skb, where, 0, tcp, random_off);
	struct datagram *scratch;
	__u32 zero = 0;

	scratch = bpf_map_lookup_elem(&sni_datagram, &zero);
	if (!scratch || described == LEFT_OUT)
		return SNI_READ;
	if (!len) {
		if (!no_sni)
			return SNI_NO_NAME;
		scratch->event.name_status_raw = no_name;
		gadget_output_buf(skb, &events, &scratch->event, sizeof(struct event));
		return SNI_READ;
	}
	/* One byte more than is shown tells that there are more. */
	if (len > NAME_SIZE)
		len = NAME_SIZE;
	/* The verifiers of 5.10 and 6.1 forget a check for zero when they spill, but not a bound.
	 */
	len = lowest_bits(len - 1, NAME_SIZE - 1) + 1;
	if (bpf_skb_load_bytes(skb, off, scratch->event.name, len))
		return SNI_NOT_LOADED;
	if (len <= MAX_NAME_LEN && is_plain(scratch->event.name, len)) {
		gadget_output_buf(skb, &events, &scratch->event, sizeof(struct event));
		return SNI_READ;
	}
	scratch->event.name[MAX_NAME_LEN] = 0;
	scratch->event.name_status_raw = unchecked;
	if (bpf_skb_load_bytes(skb, off, scratch->data, len))
		return SNI_NOT_LOADED;
	gadget_output_buf(skb, &events, scratch, sizeof(struct event) + len);
	return SNI_READ;
}

/* The same for a hello that was gathered. */
APART int shown_by_flow(__u32 place, __u32 owned)
{
	volatile struct flow *flow = flow_at(place);
	struct random random;

	if (!flow)
		return 0;
	/* A hello in very small records has other bytes here, but the same at each tap. */
	for (int i = 0; i < RANDOM_LEN; i += 8)
		*(__u64 *)(random.bytes + i) = __builtin_bswap64(
		    bytes_at(flow, place, RECORD_HLEN + HANDSHAKE_HLEN + VERSION_LEN + i));
	return seen_before(&random, owned);
}

/* Sends a hello that was gathered, with its bytes. */
static __always_inline int send_gathered(struct __sk_buff *skb, __u64 where, __u32 place)
{
	struct small_buffer *small = bpf_map_lookup_elem(&sni_small, &place);
	struct flow *flow = flow_at(place);
	struct large_buffer *large;
	__u32 described = describe(skb, where, place + 1, tcp, 0);
	__u32 lent;

	if (!small || !flow || described == LEFT_OUT ||
	    (!all && shown_by_flow(place, described == WITH_OWNER)))
		return SNI_READ;
	small->event.segments = flow->segments > 255 ? 255 : flow->segments;
	if (!flow->large) {
		gadget_output_buf(skb, &events, small,
				  sizeof(struct event) +
				      lowest_bits(flow->limit - 1, SMALL_SIZE - 1) + 1);
		return SNI_READ;
	}
	lent = flow->large - 1;
	large = bpf_map_lookup_elem(&sni_large, &lent);
	if (!large || large->flow != place + 1)
		return SNI_EVICTED;
#pragma clang loop unroll(full)
	for (int i = 0; i < sizeof(struct event) / 8; i++)
		((__u64 *)large)[i] = ((__u64 *)small)[i];
	gadget_output_buf(skb, &events, large,
			  sizeof(struct event) + lowest_bits(flow->limit - 1, LARGE_SIZE - 1) + 1);
	return SNI_READ;
}

/* The same, and ends the flow. Not called by gather(), whose stack would come on top. */
APART int finish(struct __sk_buff *skb, __u64 where, __u32 place)
{
	int reason = send_gathered(skb, where, place);
	struct flow *flow = flow_at(place);

	if (reason != SNI_READ)
		gadget_count(&sni_unread, reason);
	if (flow)
		free_flow(flow);
	return 0;
}

/* Puts a segment's payload where it belongs in its flow. 1: the hello is whole. */
APART int gather(struct __sk_buff *skb, __u64 span, __u32 seq, __u32 place)
{
	__u32 off = span;
	__u32 len = (span >> 32) - off;
	struct flow *flow = flow_at(place);
	__u32 at;
	int reason;

	if (!flow)
		return 0;
	at = seq - flow->base;
	if ((__s32)at < 0) {
		/* Sent again, with something that was before. */
		if (len <= -at)
			return 0;
		off -= at;
		len += at;
		at = 0;
	}
	reason = place_piece(skb, place, at, off, len);
	if (reason == SNI_READ)
		reason = find_end_of_hello(place);
	if (reason == SNI_SPLIT)
		return 0;
	if (reason == SNI_READ)
		return 1;
	if (reason != NO_HELLO)
		gadget_count(&sni_unread, reason);
	free_flow(flow);
	return 0;
}

/* What a segment's payload begins with. */
enum beginning {
	OTHER,
	HELLO,
	PART_OF_HEADER, /* too short to tell a hello from another record */
};

/* This is the test that nearly all packets fail. `hello` is where one begins: there may be plain
 * text before it. */
static __always_inline enum beginning beginning_of(struct __sk_buff *skb, struct packet *pkt,
						   __u32 *hello)
{
	__u32 payload = pkt->payload;
	__u32 word, off;

	*hello = payload;
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
	*hello = off;
	return HELLO;
}

/* Whether what begins like a hello is one: a later record of a hello can begin like that too. */
static __always_inline bool is_plausible(struct __sk_buff *skb, __u32 hello, __u32 end)
{
	__u32 message = hello + RECORD_HLEN;

	return message + HANDSHAKE_HLEN < end && load_byte(skb, message + HANDSHAKE_HLEN) == 3 &&
	       load_word(skb, message) - (TYPE_CLIENT_HELLO << 24) < LARGE_SIZE;
}

/* Shows the name of the hello at `hello` if the packet, which ends at `end`, has it. What it gives
 * is of enum sni_unread_reason. */
APART int show(struct __sk_buff *skb, __u64 where, __u32 hello, __u32 end)
{
	__u64 found = find_name(skb, hello, end);
	enum sni_unread_reason reason = found & NAME_REASON;

	/* Neither a reason nor a name: a load outside the packet ended the function. */
	if (!found)
		return SNI_NOT_LOADED;
	if (reason == SNI_READ && !ja4)
		return report(skb, where, hello, found >> NAME_OFF_SHIFT,
			      found >> NAME_LEN_SHIFT & NAME_LEN);
	if (reason == SNI_NO_NAME && !ja4)
		return report(skb, where, hello, 0, 0);
	return reason;
}

/* Takes in a segment that has something of a hello, or may have. `begins`: the offset of the hello
 * that begins in it, and behind it what enum beginning says of its payload. */
APART int take_segment(struct __sk_buff *skb, __u64 where, __u32 payload, __u64 begins)
{
	struct packet pkt = packet_at(where);
	__u32 length_flags = load_half(skb, pkt.l4 + 12);
	__u32 hello = begins;
	enum beginning beginning = begins >> 32;
	__u32 seq, ahead = 0, place = 0;

	/* A SYN, which can carry data (RFC 7413), has a number of its own. */
	seq = load_word(skb, pkt.l4 + 4) + (length_flags & TCP_SYN) / TCP_SYN;
	if (waiting.openings)
		ahead = overtook(skb, pkt.l4, seq);
	find_end(skb, &pkt);
	pkt.end = forget(skb, pkt.end);
	if (pkt.end <= payload)
		return 0;
	if (waiting.pending)
		place = find_flow(skb, where, seq, beginning == HELLO);
	if (!place && beginning == HELLO) {
		enum sni_unread_reason reason = show(skb, where, hello, pkt.end);

		if (!ahead || is_plausible(skb, hello, pkt.end)) {
			if (reason != SNI_SPLIT && !(ja4 && reason <= SNI_NO_NAME)) {
				if (reason != SNI_READ)
					gadget_count(&sni_unread, reason);
				return 0;
			}
			ahead = 0;
			seq += hello - payload;
			payload = hello;
		}
	} else if (!place && beginning == OTHER && !ahead) {
		return 0;
	}
	if (!place)
		place = start_flow(skb, where, seq - ahead);
	if (place && gather(skb, (__u64)pkt.end << 32 | payload, seq, place - 1))
		finish(skb, where, place - 1);
	return 0;
}

static __always_inline void segment(struct __sk_buff *skb, struct packet *pkt)
{
	__u32 length_flags = load_half(skb, pkt->l4 + 12);
	__u32 hlen = (length_flags >> 12) * 4;
	enum beginning beginning;
	__u32 hello;

	if (hlen < TCP_MIN_HLEN)
		return;
	if ((length_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN)
		note_opening(skb, pkt->l4);
	pkt->payload = pkt->l4 + hlen;
	if (pkt->payload >= skb->len)
		return;
	beginning = beginning_of(skb, pkt, &hello);
	if (beginning != OTHER || waiting.pending || waiting.openings)
		take_segment(skb, where(pkt), pkt->payload, (__u64)beginning << 32 | hello);
}

/* Sends the datagram from `span`'s lower half, its payload, to the upper one, its end. */
APART int send_datagram(struct __sk_buff *skb, __u64 where, __u64 span, __u32 transport)
{
	__u32 payload = span;
	__u32 len = (span >> 32) - payload;
	__u32 described = describe(skb, where, 0, transport, 0);
	struct datagram *datagram;
	__u32 zero = 0;

	datagram = bpf_map_lookup_elem(&sni_datagram, &zero);
	if (!datagram || described == LEFT_OUT)
		return 0;
	datagram->event.datagram_size = skb->gso_size;
	if (len > DATAGRAM_SIZE)
		len = DATAGRAM_SIZE;
	if (!len)
		return 0;
	len = lowest_bits(len - 1, DATAGRAM_SIZE) + 1;
	if (bpf_skb_load_bytes(skb, payload, datagram->data, len))
		return 0;
	gadget_output_buf(skb, &datagrams, datagram, sizeof(struct event) + len);
	return 0;
}

static __always_inline void datagram(struct __sk_buff *skb, struct packet *pkt)
{
	enum sni_transport transport = quic;

	pkt->payload = pkt->l4 + UDP_HLEN;
	if (skb->len < pkt->payload + DTLS_RECORD_HLEN + 1 || !carries_hello(skb, pkt, &transport))
		return;
	find_end(skb, pkt);
	send_datagram(skb, where(pkt), (__u64)pkt->end << 32 | pkt->payload, transport);
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
