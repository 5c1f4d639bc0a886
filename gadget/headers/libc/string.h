/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* What clang turns into instructions. There is no library to call. */
#ifndef IGX_STRING_H
#define IGX_STRING_H
#include <stddef.h>

void *memcpy(void *to, const void *from, size_t length);
void *memmove(void *to, const void *from, size_t length);
void *memset(void *at, int byte, size_t length);
int memcmp(const void *one, const void *other, size_t length);
#endif
