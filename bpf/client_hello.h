/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * The server name in a ClientHello (RFC 8446, section 4.1.2; RFC 6066, section 3), as far as it
 * lies in one packet. Every length that the packet states is held against those around it before it
 * is used: where they do not agree, there is a reason and no name.
 */
#ifndef CLIENT_HELLO_H
#define CLIENT_HELLO_H

#include "packet.h"

#define MAX_EXTENSIONS 64
#define MAX_NAME_LEN 255 /* a name in DNS has at most 253 characters */

enum {
	RECORD_HLEN = 5,
	RECORD_MAX_LEN = 1 << 14,
	HANDSHAKE_HLEN = 4,
	HELLO_SESSION_ID = 2 + 32, /* behind the version and the random */
	HELLO_START = 0x1603,      /* a handshake record, of any TLS version */
	TYPE_CLIENT_HELLO = 1,
	EXT_HLEN = 4,
	EXT_SERVER_NAME = 0,
	SERVER_NAME_HLEN = 5, /* list length, type, name length */
};

/* Why a hello gave no name. The numbers are indices of sni_unread, which others read: only append.
 */
enum sni_unread_reason {
	SNI_READ = 0,
	SNI_SPLIT,         /* the rest is in another packet or record, and was not waited for */
	SNI_NO_NAME,       /* the hello asks for no name */
	SNI_MALFORMED,     /* lengths that do not agree, or a name that is none */
	SNI_NAME_TOO_LONG, /* not counted any more: its beginning is shown */
	SNI_TOO_MANY_EXTENSIONS,
	SNI_NOT_LOADED,   /* the kernel refused to give bytes that the packet should have */
	SNI_EVICTED,      /* split, and there was no room to wait for the rest of it */
	SNI_TIMED_OUT,    /* split, and the rest did not come */
	SNI_OUT_OF_ORDER, /* split, and a piece was missing between others */
	SNI_PEER_SHARE,   /* split, and its source had too many unfinished ones */
	SNI_TOO_LARGE,    /* split, and larger than what is kept of one */
	SNI_ENCRYPTED,    /* bytes of a later handshake message that look like the start of one */
	SNI_REASONS,
};

struct server_name {
	__u32 off;
	__u32 len; /* from 1 */
};

/* The server_name extension whose data, `len` bytes, lies at `off`. `end`: of what can be read. */
static __always_inline enum sni_unread_reason
read_server_name(struct __sk_buff *skb, __u32 off, __u32 len, __u32 end, struct server_name *name)
{
	if (len < SERVER_NAME_HLEN)
		return SNI_MALFORMED;
	if (off + SERVER_NAME_HLEN > end)
		return SNI_SPLIT;
	name->off = off + SERVER_NAME_HLEN;
	name->len = load_half(skb, off + 3);
	/* One list of one name, of the only type there is. */
	if (load_half(skb, off) != len - 2 || load_byte(skb, off + 2) != 0 ||
	    name->len != len - SERVER_NAME_HLEN || !name->len)
		return SNI_MALFORMED;
	return name->off + name->len > end ? SNI_SPLIT : SNI_READ;
}

/*
 * Finds the name of the hello that starts at `hello`, behind the handshake header, and is `len`
 * bytes long. `end`: of what can be read of it. What puts split hellos together can call this too.
 */
static __always_inline enum sni_unread_reason
find_server_name(struct __sk_buff *skb, __u32 hello, __u32 len, __u32 end, struct server_name *name)
{
	__u32 hello_end = hello + len;
	__u32 at = hello + HELLO_SESSION_ID;
	__u32 ext_len = 0;
	bool found = false;

	if (at + 1 > end)
		return SNI_SPLIT;
	at += 1 + load_byte(skb, at);
	if (at + 2 > end)
		return at + 2 > hello_end ? SNI_MALFORMED : SNI_SPLIT;
	at += 2 + load_half(skb, at);
	if (at + 1 > end)
		return at + 1 > hello_end ? SNI_MALFORMED : SNI_SPLIT;
	at += 1 + load_byte(skb, at);
	if (at == hello_end)
		return SNI_NO_NAME; /* no extensions at all */
	if (at + 2 > end)
		return at + 2 > hello_end ? SNI_MALFORMED : SNI_SPLIT;
	/* The extensions are the last part of the hello. */
	if (at + 2 + load_half(skb, at) != hello_end)
		return SNI_MALFORMED;
	at += 2;
	for (int i = 0; i < MAX_EXTENSIONS && at != hello_end; i++) {
		__u32 type_len;

		if (at + EXT_HLEN > end)
			return at + EXT_HLEN > hello_end ? SNI_MALFORMED : SNI_SPLIT;
		type_len = load_word(skb, at);
		at = forget(skb, at + EXT_HLEN);
		ext_len = type_len & 0xffff;
		if (at + ext_len > hello_end)
			return SNI_MALFORMED;
		found = type_len >> 16 == EXT_SERVER_NAME;
		if (found)
			break;
		at += ext_len;
	}
	if (!found)
		return at == hello_end ? SNI_NO_NAME : SNI_TOO_MANY_EXTENSIONS;
	return read_server_name(skb, at, forget(skb, ext_len), end, name);
}

/* The same for what starts like a hello at `start`, with a record header, in a packet that ends at
 * `packet_end`. */
static __always_inline enum sni_unread_reason
find_name_in_record(struct __sk_buff *skb, __u32 start, __u32 packet_end, struct server_name *name)
{
	__u32 hello = start + RECORD_HLEN + HANDSHAKE_HLEN;
	__u32 record_len, hello_len, end;

	if (hello > packet_end)
		return SNI_SPLIT;
	record_len = load_half(skb, start + 3);
	hello_len = load_word(skb, start + RECORD_HLEN) & 0xffffff;
	/* Not even the message's length is in this record. */
	if (record_len && record_len < HANDSHAKE_HLEN)
		return SNI_SPLIT;
	if (!record_len || record_len > RECORD_MAX_LEN || hello_len < HELLO_SESSION_ID)
		return SNI_MALFORMED;
	/* A hello may go on in another record, whose header then lies among its bytes. */
	end = start + RECORD_HLEN + record_len;
	if (end > packet_end)
		end = packet_end;
	if (end > hello + hello_len)
		end = hello + hello_len;
	return find_server_name(skb, hello, hello_len, end, name);
}

/* The same in one number, as functions that are verified by themselves give no more. */
enum {
	NAME_REASON = 0xff,
	NAME_LEN_SHIFT = 8,
	NAME_LEN = 0xffff,
	NAME_OFF_SHIFT = 32,
};

APART __u64 find_name(struct __sk_buff *skb, __u32 start, __u32 packet_end)
{
	struct server_name name = {};
	__u64 reason = find_name_in_record(skb, start, packet_end, &name);

	return reason | (__u64)name.len << NAME_LEN_SHIFT | (__u64)name.off << NAME_OFF_SHIFT;
}

#endif
