/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * The map that tells who owns a socket. The runner fills it; a gadget that declares it can ask for
 * the process behind a packet. Layouts are part of the gadget ABI: do not change them.
 *
 * Define GADGET_TYPE_NETWORKING (programs that see packets) or GADGET_TYPE_TRACING (programs that
 * see a struct sock) before the include, and the map and its look-up are there too.
 */
#ifndef GADGET_SOCKETS_MAP_H
#define GADGET_SOCKETS_MAP_H

#include <gadget/types.h>
#include <bpf/bpf_helpers.h>

#define GADGET_SOCKETS_MAX_ENTRIES 16384
#define GADGET_SOCKETS_PATH_MAX 4096

/* 12 bytes, padding zeroed. Ports are in host byte order. */
struct gadget_socket_key {
	__u32 netns;
	__u16 family;
	__u8 proto;
	__u8 pad1;
	__u16 port;
	__u16 pad2;
};

/*
 * The kernel never sees this declaration's size: the runner makes the map, and its offsets reach
 * every program by CO-RE. Fields from cwd on may be absent: ask bpf_core_field_exists() first.
 */
struct gadget_socket_value {
	__u64 mntns;
	__u64 pid_tgid; /* tgid << 32 | tid */
	__u64 uid_gid;  /* gid << 32 | uid */
	char task[16];
	char ptask[16];
	__u64 sock;               /* identifies the socket, opaque */
	__u64 deletion_timestamp; /* boot ns when the socket was closed; 0 while it is open */
	__u32 ppid;
	__u32 ptid;
	char ipv6only;
	char cwd[GADGET_SOCKETS_PATH_MAX] __attribute__((aligned(8)));
	char exepath[GADGET_SOCKETS_PATH_MAX];
} __attribute__((preserve_access_index));

#if defined(GADGET_TYPE_NETWORKING) || defined(GADGET_TYPE_TRACING)
#include <gadget/sockets-lookup.h>
#endif

#endif
