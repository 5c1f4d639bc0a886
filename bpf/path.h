/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Paths as a task sees them, from the root of its mount namespace. The kernel's own helper for it,
 * bpf_d_path(), is for few tracing programs only, so names are put together here, last one first,
 * at the end of a buffer.
 */
#ifndef IGX_PATH_H
#define IGX_PATH_H

#include <linux/types.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#include "kernel.h"

#define PATH_BYTES 4096
#define NAME_BYTES 256
/* Names, and mounts that are crossed; of a longer path the end is told. */
#define PATH_STEPS 40

struct path_buffer {
	__u64 busy;
	char bytes[PATH_BYTES + NAME_BYTES];
};

/*
 * One a CPU. Whoever interrupts its user, or runs while that one waits for the CPU, leaves it alone
 * and has no path.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct path_buffer);
} path_buffers SEC(".maps");

/* Writes the path to the end of the buffer, and returns where it begins. */
static __noinline __u32 build_path(struct path_buffer *buffer, __u64 first_mount, __u64 first_name)
{
	struct vfsmount *mnt = (struct vfsmount *)first_mount;
	struct dentry *dentry = (struct dentry *)first_name;
	__u32 at = PATH_BYTES - 1;

	if (!buffer)
		return 0;
	buffer->bytes[at] = 0;
	for (int step = 0; step < PATH_STEPS; step++) {
		struct dentry *parent = BPF_CORE_READ(dentry, d_parent);

		if (dentry == BPF_CORE_READ(mnt, mnt_root)) {
			struct mount *mount =
			    (void *)mnt - bpf_core_field_offset(struct mount, mnt);
			struct mount *above = BPF_CORE_READ(mount, mnt_parent);

			if (mount == above)
				break;
			dentry = BPF_CORE_READ(mount, mnt_mountpoint);
			mnt = (void *)above + bpf_core_field_offset(struct mount, mnt);
			continue;
		}
		if (dentry == parent)
			break;

		__u32 length = BPF_CORE_READ(dentry, d_name.len) & (NAME_BYTES - 1);
		const unsigned char *name = BPF_CORE_READ(dentry, d_name.name);

		if (at <= length)
			break;
		at = (at - length - 1) & (PATH_BYTES - 1);
		buffer->bytes[at] = '/';
		bpf_probe_read_kernel(&buffer->bytes[at + 1], length, name);
		dentry = parent;
	}
	if (at == PATH_BYTES - 1) {
		at--;
		buffer->bytes[at] = '/';
	}
	return at;
}

/* Copies a path to `to`, as much of it as `size` bytes hold. Empty if it cannot be told. */
static __always_inline void copy_path(const struct path *path, char *to, __u32 size)
{
	struct vfsmount *mnt = BPF_CORE_READ(path, mnt);
	struct dentry *dentry = BPF_CORE_READ(path, dentry);
	struct path_buffer *buffer;
	__u32 only = 0;

	to[0] = 0;
	buffer = bpf_map_lookup_elem(&path_buffers, &only);
	if (!mnt || !dentry || !buffer || buffer->busy)
		return;
	buffer->busy = 1;
	only = build_path(buffer, (__u64)mnt, (__u64)dentry) & (PATH_BYTES - 1);
	bpf_probe_read_kernel_str(to, size, &buffer->bytes[only]);
	buffer->busy = 0;
}

#endif
