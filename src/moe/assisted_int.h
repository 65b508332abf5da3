/* SPDX-License-Identifier: MIT */
/* A layer call whose misses are shared between link and CPU, for assisted*.c. */
#ifndef UFM_MOE_ASSISTED_INT_H
#define UFM_MOE_ASSISTED_INT_H

#include "moe/moe_int.h"
#include "schedule/share.h"

typedef struct assisted {
	forward *f;
	pager_cpu *cpu;
	launches at;
	uint32_t candidate; /* demands from here on may be the CPU's: their input is in cpu->x */
	bool may_take;      /* there is one, or only its cost forbids it */
	uint32_t
		first_row; /* of the first candidate: row 0 of cpu->y, and of cpu->x after offered tokens */
	uint64_t inputs; /* the mark that they are written */
	bool inputs_ready;
	uint32_t fixed;    /* with a fixed share: how many the CPU gets */
	uint32_t copies;   /* of this call, in flight */
	uint64_t copy_ns;  /* of an expert */
	uint64_t given_ns; /* when the CPU got its first expert */
	uint32_t done, learned, flushed_row;
	uint64_t worked_ns; /* by the CPU's threads, for the experts that it has learned from */
} assisted;

const schedule_demand *assisted_demand(const assisted *s, uint32_t index);

/* assisted_rows.c */
/* Has the device write the candidates' inputs, if that was not offered. */
ufm_status assisted_write_inputs(assisted *s);
/* Waits until they are written. */
ufm_status assisted_await_inputs(assisted *s);
/* Adds the expert of a demand to the pool's job. */
void assisted_add(assisted *s, const schedule_demand *d);
/* Brings outputs that are ready into the row table: when they are many, or all. */
ufm_status assisted_flush(assisted *s, bool all);

#endif
