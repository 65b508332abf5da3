/* SPDX-License-Identifier: MIT */
/* The table of cards. */
#include "cli/plan/cards.h"

#include <stddef.h>

/* PCIe of 16 lanes (of 8 in the 4060 Ti), each way. */
#define PCIE_4 31.5
#define PCIE_4_X8 15.8
#define PCIE_5 63.0

/* In the order of CARD_CHOICES. */
static const card cards[] = {
	{"rtx-3060", 12, 360, PCIE_4},
	{"rtx-3090", 24, 936, PCIE_4},
	{"rtx-4060-ti-16gb", 16, 288, PCIE_4_X8},
	{"rtx-4070", 12, 504, PCIE_4},
	{"rtx-4080", 16, 717, PCIE_4},
	{"rtx-4090", 24, 1008, PCIE_4},
	{"rtx-5070", 12, 672, PCIE_5},
	{"rtx-5070-ti", 16, 896, PCIE_5},
	{"rtx-5080", 16, 960, PCIE_5},
	{"rtx-5090", 32, 1792, PCIE_5},
	{"rtx-a6000", 48, 768, PCIE_4},
	{"rtx-6000-ada", 48, 960, PCIE_4},
	{"l4", 24, 300, PCIE_4},
	{"l40s", 48, 864, PCIE_4},
	{"a100-40gb", 40, 1555, PCIE_4},
	{"a100-80gb", 80, 2039, PCIE_4},
	{"h100", 80, 3350, PCIE_5},
	{"h200", 141, 4800, PCIE_5},
};

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
