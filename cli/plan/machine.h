/* SPDX-License-Identifier: MIT */
/* The machine that a plan is for, as it was given, recorded or probed, and where each rate is from. */
#ifndef CLI_PLAN_MACHINE_H
#define CLI_PLAN_MACHINE_H

#include <jansson.h>

#include "cli/plan/cards.h"
#include "plan/machine.h"

typedef struct told_machine {
	plan_machine plan;
	double disk_gbps;     /* 0: not known */
	uint64_t ram_bytes;   /* that a bank may take; 0: not known */
	bool ram_given;       /* by hand */
	double emulated_gbps; /* the link is emulated; 0: real */
	char words[768];      /* "one NVIDIA H100 (...), rates probed …": for people */
} told_machine;

/* What people say of a machine; 0: not said. */
typedef struct machine_given {
	const card *card; /* whose rates these are where nothing else was said; NULL: none */
	double link_gbps, dram_gbps, hbm_gbps, disk_gbps, gflops;
	uint64_t ram_bytes;
	uint32_t cores;
	const char *backend; /* "auto": cuda, when no machine is at hand */
} machine_given;

/* Whether nothing of a machine needs to be asked. */
bool machine_is_given(const machine_given *given);
/* All from what is said. UFM_EBACKEND as machine_finish. */
ufm_status machine_of_given(const machine_given *given, told_machine *out);
/* From rows of `ufm bench` (runs.jsonl, or a summary.json): medians of what they probed; what is said besides counts
 * instead. UFM_EFILE, UFM_EFORMAT. */
ufm_status machine_of_file(const char *path, const machine_given *given, told_machine *out);
/* From one row, not finished. *known false: it probed no link and no device memory. UFM_EFORMAT names a field out of
 * range. */
ufm_status machine_of_row(const json_t *row, bool *known, told_machine *out);
/* This machine, probed with blocks of the shape; what is said counts instead. UFM_EBACKEND and what opening an engine
 * may fail with. */
ufm_status machine_of_here(const ufm_expert_desc *desc, uint32_t top_k, const machine_given *given,
                           told_machine *out);

#endif
