/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * Where things lie in a packet. Every packet of every watched network namespace comes through here,
 * so bytes are read with the load instructions of classic BPF: in a socket filter nothing is
 * cheaper. Such a load outside the packet ends the program, which is a silent "not ours"; what must
 * be counted is held against the bounds first.
 */
#ifndef PACKET_H
#define PACKET_H

#include <linux/bpf.h>
#include <gadget/sockets-map.h>

/* Big-endian at an offset; the results are in host byte order. */
__u64 load_byte(void *skb, __u64 off) asm("llvm.bpf.load.byte");
__u64 load_half(void *skb, __u64 off) asm("llvm.bpf.load.half");
__u64 load_word(void *skb, __u64 off) asm("llvm.bpf.load.word");

/*
 * The same value, of which the verifier knows nothing: what it reads from the context is any
 * number. Where several paths meet, they are then one state and what follows is verified once, not
 * once for each path.
 */
static __always_inline __u32 forget(struct __sk_buff *skb, __u32 value)
{
	volatile __u32 *scratch = &skb->cb[4];

	*scratch = value;
	return *scratch;
}

enum {
	ETH_P_VLAN = 0x8100,
	ETH_P_QINQ = 0x88A8,
	VLAN_HLEN = 4,
	MAX_VLAN_TAGS = 2,
	IPV4_MIN_HLEN = 20,
	TCP_MIN_HLEN = 20,
};

/* Offsets from the start of the frame. */
struct packet {
	__u32 l3;
	__u32 tcp;
	__u32 payload;
	__u32 end;    /* of the IP packet: link padding lies behind it */
	__u8 version; /* 4 or 6 */
};

static __always_inline bool find_tcp4(struct __sk_buff *skb, struct packet *pkt)
{
	__u32 fragment_ttl_proto = load_word(skb, pkt->l3 + 6);
	__u32 hlen;

	/* The offset of a later fragment is not zero: what it has at this place is no TCP header.
	 */
	if ((fragment_ttl_proto & 0x1fff00ff) != GADGET_IPPROTO_TCP)
		return false;
	hlen = (load_byte(skb, pkt->l3) & 0x0f) * 4;
	if (hlen < IPV4_MIN_HLEN)
		return false;
	pkt->tcp = pkt->l3 + hlen;
	pkt->version = 4;
	return true;
}

static __always_inline bool find_tcp6(struct __sk_buff *skb, struct packet *pkt)
{
	__u8 proto = load_byte(skb, pkt->l3 + 6);

	pkt->tcp = pkt->l3 + GADGET_IPV6_HLEN;
	pkt->version = 6;
	if (proto == GADGET_IPPROTO_TCP)
		return true;
	if (proto == GADGET_IPPROTO_UDP)
		return false;
	for (int i = 0; i < GADGET_IPV6_MAX_EXT; i++) {
		if (gadget_ipv6_step(skb, &pkt->tcp, &proto) <= 0)
			return false;
		pkt->tcp = forget(skb, pkt->tcp);
		if (proto == GADGET_IPPROTO_TCP)
			return true;
	}
	return false;
}

/* Whether this is a TCP segment with a payload, and where its parts are; all but `end`. */
static __always_inline bool find_tcp(struct __sk_buff *skb, struct packet *pkt)
{
	__u16 protocol = bpf_ntohs(skb->protocol);
	__u32 hlen;

	pkt->l3 = GADGET_ETH_HLEN;
	/* A tag that the device stripped is not in the packet, nor in its protocol. */
	for (int i = 0; i < MAX_VLAN_TAGS; i++) {
		if (protocol != ETH_P_VLAN && protocol != ETH_P_QINQ)
			break;
		protocol = load_half(skb, pkt->l3 + VLAN_HLEN - 2);
		pkt->l3 += VLAN_HLEN;
	}
	pkt->l3 = forget(skb, pkt->l3);
	if (protocol == GADGET_ETH_P_IP) {
		if (!find_tcp4(skb, pkt))
			return false;
	} else if (protocol == GADGET_ETH_P_IPV6) {
		if (!find_tcp6(skb, pkt))
			return false;
	} else {
		return false;
	}
	pkt->tcp = forget(skb, pkt->tcp);
	hlen = (load_byte(skb, pkt->tcp + 12) >> 4) * 4;
	pkt->payload = pkt->tcp + hlen;
	return hlen >= TCP_MIN_HLEN && pkt->payload < skb->len;
}

/* Finds `end`: apart, because only a hello needs it. A GSO packet may be too long to say how long
 * it is (0). */
static __always_inline void find_end(struct __sk_buff *skb, struct packet *pkt)
{
	__u32 len;

	if (pkt->version == 4) {
		len = load_half(skb, pkt->l3 + 2);
	} else {
		len = load_half(skb, pkt->l3 + 4);
		len = len ? len + GADGET_IPV6_HLEN : 0;
	}
	pkt->end = len && pkt->l3 + len < skb->len ? pkt->l3 + len : skb->len;
}

#endif
