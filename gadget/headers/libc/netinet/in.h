/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Internet protocols and addresses are the kernel's. */
#ifndef __VMLINUX_H__
#include <linux/in.h>
#include <linux/in6.h>
#endif
