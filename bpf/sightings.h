/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * One line a connection: a hello passes several taps on its way (loopback shows it twice, a bridge
 * more often), is sent again when it got lost, and once more when the server asks for other keys.
 * All of these share the hello's 32 random bytes, whatever addresses are rewritten.
 *
 * The first sighting is shown, for it is that of the client's own socket where that is on this
 * host. If nobody was known to own that one, the first with an owner is shown too.
 */
#ifndef SIGHTINGS_H
#define SIGHTINGS_H

#include <gadget/types.h>
#include <bpf/bpf_helpers.h>

enum {
	RANDOM_LEN = 32,
	SIGHTINGS = 4096,
};

/* A random that comes back later is another connection of a client that has no good one. */
#define SIGHTING_LIFETIME 30000000000ULL /* ns */

struct random {
	__u8 bytes[RANDOM_LEN];
};

struct sighting {
	__u64 time; /* ns since boot */
	__u64 owned;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, SIGHTINGS);
	__type(key, struct random);
	__type(value, struct sighting);
} sni_sightings SEC(".maps");

/* Whether the hello with this random has been shown already; notes that it is shown otherwise. */
static __always_inline bool seen_before(const struct random *random, bool owned)
{
	struct sighting now = {.time = bpf_ktime_get_boot_ns(), .owned = owned};
	struct sighting *before = bpf_map_lookup_elem(&sni_sightings, random);

	if (before && now.time - before->time < SIGHTING_LIFETIME && (before->owned || !owned))
		return true;
	bpf_map_update_elem(&sni_sightings, random, &now, BPF_ANY);
	return false;
}

#endif
