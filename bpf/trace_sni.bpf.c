// SPDX-License-Identifier: GPL-2.0
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("socket1")
int ig_trace_sni(struct __sk_buff *skb)
{
	return 0;
}

char _license[] SEC("license") = "GPL";
