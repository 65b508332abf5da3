/* SPDX-License-Identifier: MIT */
/* Cards by name, for whoever plans before buying or renting one. */
#ifndef CLI_PLAN_CARDS_H
#define CLI_PLAN_CARDS_H

#include <stdbool.h>
#include <stdint.h>

/* As the vendor's data sheet says: memory in GiB, its rate and that of the host's link in decimal GB/s. */
typedef struct card {
	const char *name;
	uint32_t memory_gib;
	double memory_gbps, link_gbps;
} card;

/* For an option; the first is none. */
#define CARD_CHOICES \
	"none|rtx-3060|rtx-3090|rtx-4060-ti-16gb|rtx-4070|rtx-4080|rtx-4090|rtx-5070|rtx-5070-ti|rtx-" \
	"5080|rtx-5090|" \
	"rtx-a6000|rtx-6000-ada|l4|l40s|a100-40gb|a100-80gb|h100|h200"

/* By its place in CARD_CHOICES; NULL: none. */
const card *card_at(uint32_t choice);
/* What a program sees of these rates: the parts that one H200 gave of its own. */
double card_memory_gbps(const card *c);
double card_link_gbps(const card *c);

/* Sizes that cards have, ascending, in GiB; 0 beyond the last. */
uint32_t card_size_gib(uint32_t index);

#endif
