/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * What trace_sni tells of a hello. The same struct goes out for a hello that this program has read
 * itself, alone, and for one that it has only gathered, with the hello's bytes behind it: the
 * image's guest reads those.
 */
#ifndef EVENT_H
#define EVENT_H

#include <gadget/types.h>
#include <gadget/igx-cgroup.h>

#include "client_hello.h"

#define NAME_SIZE (MAX_NAME_LEN + 1)

/* A field NAME_raw of an enumerated type is shown by a field NAME with the enumerator's own name:
 * hence the case. */
enum __attribute__((packed)) sni_direction { egress = 0, ingress = 1 };
enum __attribute__((packed)) sni_transport { tcp = 0, quic = 1, dtls = 2 };
/* Only the guest reads that far. */
enum __attribute__((packed)) sni_ech { none = 0, present = 1, unread = 2 };
enum __attribute__((packed)) sni_name_status {
	ok = 0,
	no_name = 1,
	truncated = 2,
	malformed = 3,
	escaped = 4,  /* bytes that no host name has: they are shown escaped */
	ip = 5,       /* an address instead of a name */
	unchecked = 6 /* no plain host name: its bytes follow, and the guest says which it is */
};
enum __attribute__((packed)) sni_owner_source { unknown = 0, sockets = 1, connection = 2 };

enum { OPTION_ALL = 1, OPTION_NO_SNI = 2, OPTION_JA4 = 4 };

/* Sent by the ring buffers. The part to `name` is what other runners of this gadget know; append
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
	/* Of datagrams that travel as one packet, how long each but the last is; else 0. */
	__u16 datagram_size;
	__u16 options; /* for the guest: what the user asked for */
	__u16 __pad[2];
	igx_cgroup_id cgroup_id; /* of the process' container, as far as it is in one */
};

#endif
