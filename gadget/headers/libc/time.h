/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Times are the kernel's. */
#ifndef __VMLINUX_H__
#include <linux/time.h>
#endif
