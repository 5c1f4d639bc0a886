// SPDX-License-Identifier: GPL-2.0
/*
 * Tells of each packet that an interface receives or sends, by programs of traffic control.
 */
#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include <gadget/types.h>
#include <gadget/macros.h>
#include <gadget/buffer.h>

enum direction_raw {
	ingress = 0,
	egress = 1,
};

struct event {
	gadget_timestamp timestamp_raw;
	gadget_netns_id netns_id;
	enum direction_raw direction_raw;
	__u32 ifindex;
	__u32 len;
};

GADGET_TRACER_MAP(events, 64 * 1024);
GADGET_TRACER(traffic, events, event);

static __always_inline int report(struct __sk_buff *skb, enum direction_raw direction)
{
	struct event *event;

	event = gadget_reserve_buf(&events, sizeof(*event));
	if (!event)
		return 0;
	event->timestamp_raw = bpf_ktime_get_boot_ns();
	event->netns_id = skb->cb[0];
	event->direction_raw = direction;
	event->ifindex = skb->ifindex;
	event->len = skb->len;
	gadget_submit_buf(skb, &events, event, sizeof(*event));
	return 0;
}

SEC("classifier/ingress/main")
int ig_ingress(struct __sk_buff *skb)
{
	return report(skb, ingress);
}

SEC("classifier/egress/main")
int ig_egress(struct __sk_buff *skb)
{
	return report(skb, egress);
}

char _license[] SEC("license") = "GPL";
