/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Error numbers are the kernel's. */
#include <linux/errno.h>
