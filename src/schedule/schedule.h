/* SPDX-License-Identifier: MIT */
/* Which path every demanded expert takes, and in which order. Pure. */
#ifndef UFM_SCHEDULE_SCHEDULE_H
#define UFM_SCHEDULE_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

/* Misses of a call whose `appeal` is set: a larger one has enough misses of each weight for either path. */
#define SCHEDULE_APPEAL_MISSES 16u

typedef struct schedule_demand {
	uint32_t expert;
	uint32_t tokens; /* >= 1 */
	bool resident;
	bool refilled_next; /* resident in a slot that a coming copy will overwrite */
	uint8_t appeal;     /* not resident: how much it is worth to have it brought, 0: nothing */
	uint32_t launch;    /* set by schedule_layer: those with one number start together */
} schedule_demand;

typedef struct schedule_plan {
	uint32_t resident, streamed; /* how many are where they are needed, and how many are not */
} schedule_plan;

/*
 * Puts the n demands into the order of the row table, in place, and numbers their launches.
 *
 * Order: residents, those whose slot is refilled next before the others, each by ascending id; then
 * misses, most tokens first, of equal ones those that the policy would rather keep first, then by ascending id.
 * So what the CPU computes, from the light end of the misses, is the end of the row table, and the link
 * brings what will stay.
 *
 * Launches are started by ascending number, and the demands of one number are neighbours in the order.
 * Without misses all are one. With misses
 *   1. residents whose slot is refilled next go first, so that the copies can start at once; the layer
 *      starts these, of launch 0, one by one, so that the first copy need not wait for all of them;
 *   2. misses follow in the order of their copies, those of one copy (`together` of them, at least 1)
 *      together: the heaviest do not end up as a tail that nothing overlaps;
 *   3. the other residents are spread evenly before the first quarter of the copies, one share each; before
 *      the very first where there are at most 4, because then no copy waits for a slot.
 * A streamed expert frees the slot of a later copy, so it must not wait behind all of the residents:
 * then the link would idle as long as they compute. Spread out, the layer takes the longer of the
 * two, copies or arithmetic, and not their sum. Not further than a quarter, because the CPU may take
 * the rest. The order depends on the demands alone, so a run can be repeated.
 */
schedule_plan schedule_layer(schedule_demand *demands, uint32_t n, uint32_t together);

/* Gathers the demands of one call out of its routing: ids [tokens * top_k], values outside
 * 0 … experts-1 skipped. counts [experts] is scratch and on return holds tokens by expert. Writes
 * the distinct experts in order of first appearance; returns how many. demands holds
 * min(experts, tokens * top_k) entries. An id repeated within one token counts each time. */
uint32_t schedule_demands(const int32_t *ids, uint64_t count, uint32_t experts, uint32_t *counts,
                          schedule_demand *demands);

/* Where the row table has an expert's rows: demand d's follow those of d - 1. first_row [experts] is written for the
 * demanded ones. Returns the number of rows. */
uint32_t schedule_first_rows(const schedule_demand *demands, uint32_t n, uint32_t *first_row);

/* Lays out the row table: demand d's rows follow those of d - 1, tokens ascending within.
 * row_of [tokens * top_k] gets each assignment's row (UFM_ROW_NONE where the id was skipped),
 * row_token [rows] the token of each row; first_row [experts] is scratch and on return holds one
 * past each expert's last row. Returns the number of rows. */
uint32_t schedule_rows(const int32_t *ids, uint32_t tokens, uint32_t top_k, uint32_t experts,
                       const schedule_demand *demands, uint32_t n, uint32_t *first_row,
                       uint32_t *row_of, uint32_t *row_token);

#endif
