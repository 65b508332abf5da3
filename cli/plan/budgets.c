/* SPDX-License-Identifier: MIT */
/* Sizes, shares of the bank, and what is chosen where nothing is said. */
#include "cli/plan/budgets.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/size.h"
#include "base/status.h"
#include "cli/nearest.h"
#include "cli/plan/cards.h"

#define ITEM_BYTES 40

/* The next item of a list, cut at ITEM_BYTES; false at the end. */
static bool next_item(const char **at, char item[ITEM_BYTES])
{
	size_t length = strcspn(*at, ",");
	if (!**at)
		return false;
	snprintf(item, ITEM_BYTES, "%.*s", (int)length, *at);
	*at += length + ((*at)[length] == ',');
	return true;
}

static bool read_percent(const char *item, double *percent)
{
	char *end = NULL;
	if (!strchr(item, '%') || strspn(item, "0123456789.") == 0)
		return false;
	*percent = strtod(item, &end);
	return strcmp(end, "%") == 0 && *percent > 0 && *percent <= 100;
}

static bool is_budget(const char *item)
{
	double percent;
	uint64_t size_bytes;
	if (strchr(item, '%'))
		return read_percent(item, &percent);
	return size_parse(item, &size_bytes) == UFM_OK && size_bytes > 0;
}

ufm_status budgets_check(const char *text)
{
	char item[ITEM_BYTES];
	const char *at = text;
	uint32_t count = 0;
	bool good = *text && text[strlen(text) - 1] != ',';
	if (strcmp(text, "auto") == 0)
		return UFM_OK;
	while (good && next_item(&at, item))
		good = is_budget(item) && ++count <= LADDER_POINTS_MAX;
	if (!good)
		return status_fail(
			UFM_EINVAL,
			"found '%.60s', expected auto, or at most %u sizes (16GiB) and shares of the "
			"experts (50%%) separated by commas%s",
			text, LADDER_POINTS_MAX, nearest_size(text).text);
	return UFM_OK;
}

static uint32_t keys_of(const division *d)
{
	return d->terms.layers * d->terms.experts;
}

/* At least the working set. */
static uint64_t target_of_share(const division *d, double share)
{
	double slots = ceil(share * keys_of(d) - 1e-6);
	uint32_t least = budget_slots_min(&d->terms);
	return division_target(d, slots < least ? least : (uint32_t)slots);
}

static void add(budget_list *list, uint64_t target_bytes)
{
	uint32_t n = list->count;
	if (n == LADDER_POINTS_MAX || (n && list->target_bytes[n - 1] == target_bytes))
		return;
	list->target_bytes[list->count++] = target_bytes;
}

#define CHOSEN_MIN 3u

static void choose_sizes(const division *d, uint64_t most_bytes, budget_list *out)
{
	uint64_t whole_bytes = division_target(d, keys_of(d)), least_bytes = division_target_min(d);
	uint32_t gib;
	for (uint32_t i = 0; (gib = card_size_gib(i)); i++) {
		uint64_t bytes = (uint64_t)gib << 30;
		if (bytes >= least_bytes && bytes < whole_bytes && (!most_bytes || bytes < most_bytes))
			add(out, bytes);
	}
	if (most_bytes && most_bytes < whole_bytes)
		add(out, most_bytes);
	else
		add(out, whole_bytes);
}

static void choose_shares(const division *d, uint64_t most_bytes, budget_list *out)
{
	add(out, division_target_min(d));
	for (int tenth = 1; tenth <= 10; tenth++) {
		uint64_t bytes = target_of_share(d, tenth / 10.0);
		if (!most_bytes || bytes <= most_bytes)
			add(out, bytes);
	}
}

static void choose(const division *d, uint64_t most_bytes, budget_list *out)
{
	choose_sizes(d, most_bytes, out);
	if (out->count >= CHOSEN_MIN)
		return;
	*out = (budget_list){.count = 0};
	choose_shares(d, most_bytes, out);
}

void budgets_of(const char *text, const division *d, uint64_t most_bytes, budget_list *out)
{
	char item[ITEM_BYTES];
	const char *at = text;
	budget_list list = {.count = 0};
	if (strcmp(text, "auto") == 0)
		choose(d, most_bytes, &list);
	else
		while (next_item(&at, item)) {
			double percent;
			uint64_t size_bytes = 0;
			if (read_percent(item, &percent))
				add(&list, target_of_share(d, percent / 100));
			else if (size_parse(item, &size_bytes) == UFM_OK)
				add(&list, size_bytes);
		}
	*out = list;
}
