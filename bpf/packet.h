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
#include <stddef.h>
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
	__u64 known = value;

	/* In words of its own: the compiler would keep the address of the field in a register,
	 * which the verifier does not allow. */
	asm volatile("*(u32 *)(%[skb] + %[scratch]) = %[known]\n"
		     "%[known] = *(u32 *)(%[skb] + %[scratch])"
		     : [known] "+r"(known)
		     : [skb] "r"(skb), [scratch] "i"(offsetof(struct __sk_buff, cb[4])));
	return known;
}

/*
 * Functions that are verified by themselves, once, whatever leads to them: they take and give
 * numbers only. So where(packet) stands for a struct packet, and places of flows are counted from
 * 1, 0 being none.
 */
#define APART __attribute__((noinline))

/* The value's lowest bits, where the verifier sees that: a comparison, which the compiler may make
 * with a copy of the value, tells it less. `mask` is a constant. */
#define lowest_bits(value, mask)                                                                   \
	({                                                                                         \
		__u64 __value = (value);                                                           \
		asm volatile("%0 &= %1" : "+r"(__value) : "i"(mask));                              \
		__value;                                                                           \
	})

enum {
	ETH_P_VLAN = 0x8100,
	ETH_P_QINQ = 0x88A8,
	VLAN_HLEN = 4,
	MAX_VLAN_TAGS = 2,
	IPV4_MIN_HLEN = 20,
	TCP_MIN_HLEN = 20,
	TCP_SYN = 0x02,
	TCP_ACK = 0x10,
	UDP_HLEN = 8,
};

/* Offsets from the start of the frame. */
struct packet {
	__u32 l3;
	__u32 l4; /* header of TCP or UDP */
	__u32 payload;
	__u32 end;    /* of the IP packet: link padding lies behind it */
	__u8 version; /* 4 or 6 */
	__u8 proto;   /* GADGET_IPPROTO_TCP or GADGET_IPPROTO_UDP */
};

static __always_inline bool find_l4_in_ipv4(struct __sk_buff *skb, struct packet *pkt)
{
	/* The offset of a later fragment is not zero: what it has at this place is no header. */
	__u32 fragment_proto = load_word(skb, pkt->l3 + 6) & 0x1fff00ff;
	__u32 hlen;

	if (fragment_proto != GADGET_IPPROTO_TCP && fragment_proto != GADGET_IPPROTO_UDP)
		return false;
	hlen = (load_byte(skb, pkt->l3) & 0x0f) * 4;
	if (hlen < IPV4_MIN_HLEN)
		return false;
	pkt->l4 = pkt->l3 + hlen;
	pkt->version = 4;
	pkt->proto = fragment_proto;
	return true;
}

static __always_inline bool find_l4_in_ipv6(struct __sk_buff *skb, struct packet *pkt)
{
	__u8 proto = load_byte(skb, pkt->l3 + 6);

	pkt->l4 = pkt->l3 + GADGET_IPV6_HLEN;
	pkt->version = 6;
	for (int i = 0; i < GADGET_IPV6_MAX_EXT; i++) {
		if (proto == GADGET_IPPROTO_TCP || proto == GADGET_IPPROTO_UDP)
			break;
		if (gadget_ipv6_step(skb, &pkt->l4, &proto) <= 0)
			return false;
		pkt->l4 = forget(skb, pkt->l4);
	}
	pkt->proto = proto;
	return proto == GADGET_IPPROTO_TCP || proto == GADGET_IPPROTO_UDP;
}

/* Whether this is a packet of TCP or UDP, and where its header is. */
static __always_inline bool find_l4(struct __sk_buff *skb, struct packet *pkt)
{
	__u16 protocol = bpf_ntohs(skb->protocol);

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
		if (!find_l4_in_ipv4(skb, pkt))
			return false;
	} else if (protocol == GADGET_ETH_P_IPV6) {
		if (!find_l4_in_ipv6(skb, pkt))
			return false;
	} else {
		return false;
	}
	pkt->l4 = forget(skb, pkt->l4);
	pkt->proto = forget(skb, pkt->proto);
	return true;
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
