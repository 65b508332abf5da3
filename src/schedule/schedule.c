/* SPDX-License-Identifier: MIT */
/* The demand of a call: gathered from its routing, put in order, laid out as rows. */
#include "schedule/schedule.h"

#include <assert.h>
#include <string.h>
#include <ufm/backend.h>

/* ------------------------------------------------------------------ order */

#define SHARES_MIN 4u

/* A total order, because experts differ: the result does not depend on how it is sorted. */
static bool comes_before(const schedule_demand *a, const schedule_demand *b)
{
	if (a->resident != b->resident)
		return a->resident;
	if (a->resident && a->refilled_next != b->refilled_next)
		return a->refilled_next;
	if (!a->resident && a->tokens != b->tokens)
		return a->tokens > b->tokens;
	if (!a->resident && a->appeal != b->appeal)
		return a->appeal > b->appeal;
	return a->expert < b->expert;
}

static void swap(schedule_demand *a, schedule_demand *b)
{
	schedule_demand kept = *a;

	*a = *b;
	*b = kept;
}

/* Restores the heap, whose top comes last, after its entry `at` changed. */
static void sift_down(schedule_demand *heap, uint32_t at, uint32_t n)
{
	for (;;) {
		uint32_t child = 2 * at + 1;

		if (child >= n)
			return;
		if (child + 1 < n && comes_before(&heap[child], &heap[child + 1]))
			child++;
		if (!comes_before(&heap[at], &heap[child]))
			return;
		swap(&heap[at], &heap[child]);
		at = child;
	}
}

/* Heapsort: in place and never quadratic. The C library's qsort may allocate, which nothing inside
 * a step may. */
static void sort_demands(schedule_demand *demands, uint32_t n)
{
	for (uint32_t i = n / 2; i-- > 0;)
		sift_down(demands, i, n);
	for (uint32_t end = n; end > 1; end--) {
		swap(&demands[0], &demands[end - 1]);
		sift_down(demands, 0, end - 1);
	}
}

/* The copies that a share of the residents goes before. */
static uint32_t shares_of(uint32_t copies)
{
	uint32_t quarter = copies / 4 + (copies % 4 != 0);
	if (copies <= SHARES_MIN)
		return 1;
	return quarter > SHARES_MIN ? quarter : SHARES_MIN;
}

/* Launch 0, then a share of residents and the misses of a copy in turn. */
static void number_launches(schedule_demand *demands, uint32_t n, uint32_t first, uint32_t streamed,
                            uint32_t together)
{
	uint32_t copies = streamed / together + (streamed % together != 0);
	uint32_t residents = n - streamed - first, shares = shares_of(copies);

	for (uint32_t i = 0; i < residents; i++) {
		uint64_t share = (uint64_t)i * shares / residents;

		demands[first + i].launch = 1 + 2 * (uint32_t)share;
	}
	for (uint32_t i = 0; i < streamed; i++)
		demands[n - streamed + i].launch = 2 + 2 * (i / together);
}

schedule_plan schedule_layer(schedule_demand *demands, uint32_t n, uint32_t together)
{
	schedule_plan plan = {0};
	uint32_t first = 0;

	for (uint32_t i = 0; i < n; i++) {
		demands[i].launch = 0;
		plan.resident += demands[i].resident;
		first += demands[i].refilled_next;
	}
	plan.streamed = n - plan.resident;
	sort_demands(demands, n);
	if (plan.streamed)
		number_launches(demands, n, first, plan.streamed, together);
	return plan;
}

/* ------------------------------------------------------------------ demands */

/* Through uint32_t a negative id is out of range like one that is too large. */
static bool is_expert(int32_t id, uint32_t experts)
{
	return (uint32_t)id < experts;
}

uint32_t schedule_demands(const int32_t *ids, uint64_t count, uint32_t experts, uint32_t *counts,
                          schedule_demand *demands)
{
	uint32_t n = 0;

	memset(counts, 0, experts * sizeof *counts);
	for (uint64_t i = 0; i < count; i++) {
		uint32_t expert = (uint32_t)ids[i];

		if (is_expert(ids[i], experts) && counts[expert]++ == 0)
			demands[n++] = (schedule_demand){.expert = expert};
	}
	for (uint32_t d = 0; d < n; d++)
		demands[d].tokens = counts[demands[d].expert];
	return n;
}

/* ------------------------------------------------------------------ rows */

uint32_t schedule_first_rows(const schedule_demand *demands, uint32_t n, uint32_t *first_row)
{
	uint32_t rows = 0;

	for (uint32_t d = 0; d < n; d++) {
		first_row[demands[d].expert] = rows;
		rows += demands[d].tokens;
	}
	return rows;
}

uint32_t schedule_rows(const int32_t *ids, uint32_t tokens, uint32_t top_k, uint32_t experts,
                       const schedule_demand *demands, uint32_t n, uint32_t *first_row,
                       uint32_t *row_of, uint32_t *row_token)
{
	uint32_t rows = schedule_first_rows(demands, n, first_row);

	for (uint32_t t = 0; t < tokens; t++) {
		for (uint32_t k = 0; k < top_k; k++) {
			uint64_t i = (uint64_t)t * top_k + k;
			uint32_t row = is_expert(ids[i], experts) ? first_row[ids[i]]++ : UFM_ROW_NONE;

			row_of[i] = row;
			if (row != UFM_ROW_NONE) {
				assert(row < rows);
				row_token[row] = t;
			}
		}
	}
	return rows;
}
