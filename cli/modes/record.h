/* SPDX-License-Identifier: MIT */
/* --record-trace: what every command that runs layers does with it. */
#ifndef CLI_MODES_RECORD_H
#define CLI_MODES_RECORD_H

#include "cli/option_rows.h"
#include "telemetry/routing_file.h"

#define MODE_OPTION_RECORD \
	OPTION_ROW("record-trace", STRING, record_trace, .value_name = "FILE", \
	           .check = routing_file_check_name, \
	           .help = "Writes which experts every token went to as a trace, NAME.npy [token, " \
	                   "layer, rank] or NAME.jsonl, for ufm replay and --workload trace:.")

/* Before the work: whether the file can be written. path NULL: none is asked for. UFM_EFILE and UFM_ENOMEM name
 * --record-trace. */
ufm_status mode_record_check(const char *path);

/* The ring of an engine that will route so many tokens in every layer, at most 256 MiB. path NULL: 0. */
uint64_t mode_record_bytes(const char *path, uint64_t tokens, uint32_t layers, uint32_t top_k);

/* While the engine is open; waits for it. `sequences` as in ufm_engine_write_routing. What is left out is said
 * on standard error, as it is that nothing was routed, and then there is no file. A failure names
 * --record-trace. path NULL: nothing. */
ufm_status mode_record_write(const char *path, ufm_engine *engine, uint32_t sequences);

#endif
