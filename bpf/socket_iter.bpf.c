// SPDX-License-Identifier: GPL-2.0
/*
 * Passes over what the kernel has, run by reading them: one over the open files of all tasks, for
 * the sockets that are older than the run; one over the entries of gadget_sockets, for those of
 * sockets closed long enough ago.
 *
 * A socket is told from other files by its inode and by CO-RE, not by bpf_sock_from_file(): that
 * helper came with Linux 5.11, and the rest works on 5.10.
 */
#include "socket_entry.h"

#define S_IFMT 0170000
#define S_IFSOCK 0140000
#define TCP_LISTEN_STATE 10

SEC("iter/task_file")
int older_sockets(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct socket_owner owner, connected;
	struct socket_owner *entry;
	struct socket_key key;
	struct socket *socket;
	struct sock *sk;

	if (!task || !file)
		return 0;
	if ((BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT) != S_IFSOCK)
		return 0;
	/* A path to a socket in a file system is such a file too, but no socket is behind it. */
	socket = BPF_CORE_READ(file, private_data);
	if (!socket || BPF_CORE_READ(socket, file) != file)
		return 0;
	sk = BPF_CORE_READ(socket, sk);
	if (!sk || !socket_key(sk, &key))
		return 0;
	/*
	 * A listener wins over connections on its port. Of the tasks that hold a socket the first
	 * counts; of those that hold a listener the last, since a manager that opened it comes
	 * before the service that it was opened for. A connection has an entry of its own beside.
	 */
	socket_owner(sk, task, &owner);
	connected = owner;
	enter_connection(sk, &key, &connected, BPF_NOEXIST);
	if (BPF_CORE_READ(sk, __sk_common.skc_state) == TCP_LISTEN_STATE) {
		struct listener_key listener = {.socket = key};

		local_address(sk, key.family, listener.local);
		bpf_map_update_elem(&older_listeners, &listener, &owner, BPF_ANY);
		enter(&key, &owner, task);
		return 0;
	}
	entry = bpf_map_lookup_elem(&gadget_sockets, &key);
	if (entry && !entry->deletion_timestamp)
		return 0;
	enter(&key, &owner, task);
	return 0;
}

SEC("iter/bpf_map_elem")
int closed_sockets(struct bpf_iter__bpf_map_elem *ctx)
{
	struct socket_key *found = ctx->key;
	struct socket_owner *entry = ctx->value;
	struct socket_key key;

	if (!found || !entry || !entry->deletion_timestamp)
		return 0;
	if (bpf_ktime_get_boot_ns() - entry->deletion_timestamp < settings.grace)
		return 0;
	/* A copy: the entry's own key goes with it. */
	key = *found;
	bpf_map_delete_elem(&gadget_sockets, &key);
	return 0;
}

char _license[] SEC("license") = "GPL";
