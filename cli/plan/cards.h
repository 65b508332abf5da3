/* SPDX-License-Identifier: MIT */
/* Cards by name, for whoever plans before buying or renting one. */
#ifndef CLI_PLAN_CARDS_H
#define CLI_PLAN_CARDS_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/plan/cards.def"

/* As the vendor's data sheet says: memory in GiB, its rate and that of the host's link in decimal GB/s. */
typedef struct card {
	const char *name;
	uint32_t memory_gib;
	double memory_gbps, link_gbps;
} card;

/* For an option; the first is none. */
#define CARD_CHOICE(name, ...) "|" name
#define CARD_CHOICES "none" CARDS(CARD_CHOICE)

/* By its place in CARD_CHOICES; NULL: none. */
const card *card_at(uint32_t choice);
/* What a program sees of these rates: the parts that one H200 gave of its own. */
double card_memory_gbps(const card *c);
double card_link_gbps(const card *c);

/* Sizes that cards have, ascending, in GiB; 0 beyond the last. */
uint32_t card_size_gib(uint32_t index);

#endif
