/* SPDX-License-Identifier: MIT */
/* A word-at-a-time multiplicative hash: each step is a bijection of the state, so that two inputs
 * that differ in one word never meet. */
#include "base/hash.h"

#include <string.h>

#define HASH_FACTOR 0xd6e8feb86659fd93u

static inline uint64_t hash_word(uint64_t hash, uint64_t word)
{
	hash = (hash ^ word) * HASH_FACTOR;
	return hash ^ (hash >> 32);
}

uint64_t hash_bytes(uint64_t hash, const void *data, size_t size_bytes)
{
	const unsigned char *at = data;
	size_t left = size_bytes;
	uint64_t word;

	for (; left >= sizeof word; at += sizeof word, left -= sizeof word) {
		memcpy(&word, at, sizeof word);
		hash = hash_word(hash, word);
	}
	word = 0;
	if (left)
		memcpy(&word, at, left);
	hash = hash_word(hash, word);
	/* The length tells a short tail from one padded with zeros. */
	return hash_word(hash, (uint64_t)size_bytes);
}
