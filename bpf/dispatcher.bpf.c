// SPDX-License-Identifier: GPL-2.0
/*
 * Stands in front of a gadget's socket filter, once per network namespace. Where the kernel does
 * not let a program find the namespace that a packet was seen in, this program, loaded with the
 * namespace's inode, writes it into skb->cb[0] and jumps to the gadget.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

const volatile __u32 current_netns = 0;

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} tail_call SEC(".maps");

SEC("socket")
int ig_net_disp(struct __sk_buff *skb)
{
	skb->cb[0] = current_netns;
	bpf_tail_call(skb, &tail_call, 0);
	/* Nobody reads the socket: keep no packet. */
	return 0;
}

char _license[] SEC("license") = "GPL";
