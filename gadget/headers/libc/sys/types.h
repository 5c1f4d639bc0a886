/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* The names that sources take for granted, over the kernel's types. */
#ifndef IGX_SYS_TYPES_H
#define IGX_SYS_TYPES_H
#ifndef __VMLINUX_H__
#include <linux/types.h>
#include <stddef.h>

typedef __kernel_pid_t pid_t;
typedef __kernel_uid32_t uid_t;
typedef __kernel_gid32_t gid_t;
typedef __kernel_mode_t mode_t;
typedef __kernel_off_t off_t;
typedef __kernel_ssize_t ssize_t;
#endif
#endif
