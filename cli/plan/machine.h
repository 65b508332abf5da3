/* SPDX-License-Identifier: MIT */
/* The machine that a plan is for: its rates, and where each is from. */
#ifndef CLI_PLAN_MACHINE_H
#define CLI_PLAN_MACHINE_H

#include <jansson.h>
#include <ufm/ufm.h>

#include "cli/plan/cards.h"
#include "cli/plan/timing.h"

typedef struct plan_machine {
	timing_rates rates;
	double disk_gbps;     /* 0: not known */
	uint64_t ram_bytes;   /* that a bank may take; 0: not known */
	bool ram_given;       /* by hand */
	char backend[64];     /* whose costs and memory are counted: "cuda", "cpu" */
	double emulated_gbps; /* the link is emulated; 0: real */
	/* What of a device a budget depends on. */
	uint64_t granularity_bytes;
	char words[768]; /* "one NVIDIA H100 (...), rates probed …": for people */
} plan_machine;

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
/* All from what is said. UFM_EINVAL in the words of the options. */
ufm_status machine_of_given(const machine_given *given, plan_machine *out);
/* From rows of `ufm bench` (runs.jsonl, or a summary.json): medians of what they probed; what is said besides counts
 * instead. UFM_EFILE, UFM_EFORMAT. */
ufm_status machine_of_file(const char *path, const machine_given *given, plan_machine *out);
/* From one row. *known false: it probed no link and no device memory. UFM_EFORMAT names a field out of range. */
ufm_status machine_of_row(const json_t *row, bool *known, plan_machine *out);
/* This machine, probed with blocks of the shape; what is said counts instead. UFM_EBACKEND and what opening an engine
 * may fail with. */
ufm_status machine_probe(const ufm_expert_desc *desc, uint32_t top_k, const machine_given *given,
                         plan_machine *out);

/* Shared by the ways above: what is said replaces what was found, and the rates are told; then what link and CPU reach
 * together is derived where it is not known. */
void machine_describe(const machine_given *given, plan_machine *m);
ufm_status machine_finish(plan_machine *m);

/* Device memory that an experts call wants for its hidden rows: the same on every backend there is. */
uint64_t machine_hidden_bytes(const ufm_expert_desc *desc, uint32_t rows);

#endif
