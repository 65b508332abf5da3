/* SPDX-License-Identifier: MIT */
/* A 64-bit hash to tell outputs apart; not for adversaries. */
#ifndef UFM_BASE_HASH_H
#define UFM_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#define HASH_SEED 0x9e3779b97f4a7c15u

/* Continues `hash` with more bytes; start with HASH_SEED. Depends on the bytes and on how they were
 * cut into calls. */
uint64_t hash_bytes(uint64_t hash, const void *data, size_t size_bytes);

#endif
