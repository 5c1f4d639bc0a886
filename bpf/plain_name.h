/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * Which names can be shown as they were sent. Any other one goes to the image's guest, which
 * escapes and marks it: that is done in one place, however a hello comes.
 */
#ifndef PLAIN_NAME_H
#define PLAIN_NAME_H

#include "event.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "is_plain() takes the first byte of a word for its lowest"
#endif

#define ONES 0x0101010101010101ULL
#define TOPS (ONES << 7)

/*
 * In the topmost bit of each byte of `word`, whether it is less than `bound`, at most 0x80. The
 * lowest that shows is always right: subtracting borrows from a byte only where the one below it is
 * less.
 */
#define BYTES_BELOW(word, bound) (((word)-ONES * (bound)) & ~(word)&TOPS)

/*
 * Whether the `len` bytes of `name`, behind which there is nothing but zero, can be shown as they
 * are: visible ASCII, no backslash, and no address. Eight bytes a step.
 */
static __always_inline bool is_plain(const char name[NAME_SIZE], __u32 len)
{
	const __u64 *words = (const __u64 *)name;
	__u64 odd = 0, letters = 0;

#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < NAME_SIZE / 8; i++) {
		__u64 word = words[i];
		__u64 zeros = BYTES_BELOW(word, 1);
		/* What comes before the first zero byte. */
		__u64 name_bytes = zeros ? ((zeros & -zeros) >> 7) - 1 : ~0ULL;

		odd |= (BYTES_BELOW(word, '!') | (word + ONES) | word |
			BYTES_BELOW(word ^ ONES * '\\', 1) | BYTES_BELOW(word ^ ONES * ':', 1)) &
		       TOPS & name_bytes;
		letters |=
		    (BYTES_BELOW(word, '.') | (word + ONES * (0x7f - '9'))) & TOPS & name_bytes;
		if (zeros)
			return !odd && letters && i == len / 8 &&
			       (zeros & -zeros) == 0x80ULL << (len % 8 * 8);
	}
	return false;
}

#endif
