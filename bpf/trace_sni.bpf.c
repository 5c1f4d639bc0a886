// SPDX-License-Identifier: GPL-2.0
/*
 * trace_sni: which host name a process asks for over TLS, read from the ClientHello as it passes a
 * socket filter that the runner puts in each network namespace.
 *
 * At this stage a hello is read from one packet. find_name_in_payload() is where split ones will
 * branch off: SNI_SPLIT is its word for them.
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

#define NAME_SIZE (MAX_NAME_LEN + 1)
#define EVENTS_SIZE (256 * 1024)

/* A field NAME_raw of an enumerated type is shown by a field NAME with the enumerator's own name:
 * hence the case. */
enum __attribute__((packed)) sni_direction { egress = 0, ingress = 1 };
enum __attribute__((packed)) sni_transport { tcp = 0, quic = 1, dtls = 2 };
enum __attribute__((packed)) sni_ech { none = 0, present = 1 };
enum __attribute__((packed)) sni_name_status {
	whole = 0,
	no_name = 1,
	truncated = 2,
	malformed = 3
};
enum __attribute__((packed)) sni_owner_source { unknown = 0, sockets = 1 };

/* Sent by the ring buffer. The part to `name` is what other runners of this gadget know; append
 * only. */
struct event {
	gadget_timestamp timestamp_raw;
	gadget_netns_id netns_id;
	struct gadget_process proc;
	char name[NAME_SIZE];

	struct gadget_l4endpoint_t src;
	struct gadget_l4endpoint_t dst;
	enum sni_direction direction_raw;
	enum sni_transport transport_raw;
	enum sni_ech ech_raw;
	enum sni_name_status name_status_raw;
	enum sni_owner_source owner_source_raw;
	__u8 segments; /* packets that the hello came in */
	__u16 tls_version;
	char alpn[16];
	char ja4[40];
};

GADGET_TRACER_MAP(events, EVENTS_SIZE);
GADGET_TRACER(sni, events, event);

/* Hellos that gave no name, by enum sni_unread_reason. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SNI_REASONS);
	__type(key, __u32);
	__type(value, __u64);
} sni_unread SEC(".maps");

static __always_inline struct gadget_socket_value *
find_owner(const struct __sk_buff *skb, const struct packet *pkt, bool outgoing, __u32 ports)
{
	struct gadget_socket_key key = {
	    .netns = skb->cb[0],
	    .family = pkt->version == 4 ? GADGET_AF_INET : GADGET_AF_INET6,
	    .proto = GADGET_IPPROTO_TCP,
	    .port = outgoing ? ports >> 16 : ports,
	};

	if (skb->pkt_type == GADGET_PACKET_OTHERHOST)
		return NULL;
	return gadget_socket_find(&key);
}

static __always_inline bool fill_endpoints(struct __sk_buff *skb, const struct packet *pkt,
					   __u32 ports, struct event *event)
{
	event->src.port = ports >> 16;
	event->dst.port = ports;
	event->src.proto_raw = event->dst.proto_raw = GADGET_IPPROTO_TCP;
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
	/* The verifiers of 5.10 and 6.1 forget a check for zero when they spill, but not a bound. */
	__u32 len = ((name->len - 1) & MAX_NAME_LEN) + 1;

	if (bpf_skb_load_bytes(skb, name->off, to, len))
		return SNI_NOT_LOADED;
	return forget(skb, ends_at(to, len)) ? SNI_READ : SNI_MALFORMED;
}

static __always_inline enum sni_unread_reason
report(struct __sk_buff *skb, const struct packet *pkt, const struct server_name *name)
{
	bool outgoing = skb->pkt_type == GADGET_PACKET_OUTGOING;
	__u32 ports = load_word(skb, pkt->tcp);
	struct gadget_socket_value *owner = find_owner(skb, pkt, outgoing, ports);
	enum sni_unread_reason reason;
	struct event *event;

	if (gadget_should_discard_data_by_netns(owner, skb->cb[0]))
		return SNI_READ;
	event = gadget_reserve_buf(&events, sizeof(*event));
	if (!event)
		return SNI_READ;
	__builtin_memset(event, 0, sizeof(*event));
	reason = load_name(skb, name, event->name);
	if (reason == SNI_READ && !fill_endpoints(skb, pkt, ports, event))
		reason = SNI_NOT_LOADED;
	if (reason != SNI_READ) {
		gadget_discard_buf(event);
		return reason;
	}
	event->timestamp_raw = bpf_ktime_get_boot_ns();
	event->netns_id = skb->cb[0];
	event->direction_raw = outgoing ? egress : ingress;
	event->transport_raw = tcp;
	event->owner_source_raw = owner ? sockets : unknown;
	event->segments = 1;
	gadget_process_populate_from_socket(owner, &event->proc);
	gadget_submit_buf(skb, &events, event, sizeof(*event));
	return SNI_READ;
}

SEC("socket1")
int ig_trace_sni(struct __sk_buff *skb)
{
	struct server_name name = {};
	enum sni_unread_reason reason;
	struct packet pkt;

	if (!find_tcp(skb, &pkt) || !starts_hello(skb, &pkt))
		return 0;
	find_end(skb, &pkt);
	pkt.version = forget(skb, pkt.version);
	pkt.end = forget(skb, pkt.end);
	pkt.payload = forget(skb, pkt.payload);
	reason = find_name_in_payload(skb, &pkt, &name);
	if (reason == SNI_READ) {
		name.off = forget(skb, name.off);
		name.len = forget(skb, name.len);
		reason = report(skb, &pkt, &name);
	}
	if (reason != SNI_READ)
		gadget_count(&sni_unread, reason);
	return 0;
}

char _license[] SEC("license") = "GPL";
