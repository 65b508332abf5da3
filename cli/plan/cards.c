/* SPDX-License-Identifier: MIT */
/* The table of cards. */
#include "cli/plan/cards.h"

#include <stddef.h>

#define CARD_ROW(...) {__VA_ARGS__},
static const card cards[] = {CARDS(CARD_ROW)};

/* docs/results/h200-defaults/probe.jsonl: 4,472 of 4,800; copies of 9.4 MB take 55 of 63. */
#define MEMORY_PART 0.93
#define LINK_PART 0.87

const card *card_at(uint32_t choice)
{
	return choice && choice <= sizeof cards / sizeof *cards ? &cards[choice - 1] : NULL;
}

double card_memory_gbps(const card *c)
{
	return MEMORY_PART * c->memory_gbps;
}

double card_link_gbps(const card *c)
{
	return LINK_PART * c->link_gbps;
}

uint32_t card_size_gib(uint32_t index)
{
	static const uint32_t sizes[] = {8, 12, 16, 24, 32, 48, 80, 96, 141, 192};

	return index < sizeof sizes / sizeof *sizes ? sizes[index] : 0;
}
