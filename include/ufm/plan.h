/* SPDX-License-Identifier: MIT */
#ifndef UFM_PLAN_H
#define UFM_PLAN_H

/*
 * plan.h: what a model gives within a budget of device memory, before anything is run.
 *
 * The engine's own division of the budget, policy, cache, order of launches and share of the CPU are driven by routing
 * that was recorded or is made, and each call is given the time that rates of a machine and measured costs of the
 * engine make of it (docs/plan-model.md says how well that does). Only the routed layers are counted: attention, other
 * weights and the KV cache are not.
 *
 *     model.desc = &desc;
 *     ufm_plan_read_model("config.json", NULL, &model);    or fill both in
 *     ufm_plan_probe_machine(&model, "auto", &machine);    or fill one in: no device is needed
 *     points[0].vram_target_bytes = 24ull << 30;
 *     ufm_plan(&config, points, 1);
 *
 * Conventions are those of ufm.h. Every struct's struct_size is set by the caller, also of those that are written.
 * Nothing is kept between calls, and what a config points to is read during the call alone; calls on different threads
 * are independent. Rates are decimal GB/s.
 */

#include <ufm/ufm.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The routed experts of a model. */
typedef struct ufm_plan_model {
	size_t struct_size;
	uint32_t layers, experts; /* routed layers; experts a layer, at most 65535 and 2^17 in all */
	uint32_t top_k;           /* 1 … experts */
	/* The caller's, of ufm_expert_desc_init; ufm_plan_read_model writes to it, with struct_size set. */
	ufm_expert_desc *desc;
	/* What ufm_plan_read_model took for what, in whole sentences; ufm_plan does not read it. */
	char notes[1024];
} ufm_plan_model;

/* From a checkpoint (a file, an index or a folder with weights), a config.json of any name, or a folder with one: what
 * is not downloaded yet can be planned. prefix: of several stacks of layers the one whose tensors' names begin so
 * (mtp.layers, talker), NULL: the one of most routed layers. Payload is not read. Beside the model its desc is written.
 * UFM_EFILE, UFM_EFORMAT: the file, the key or tensor, and what was expected. */
UFM_API ufm_status ufm_plan_read_model(const char *path, const char *prefix, ufm_plan_model *model);

typedef struct ufm_plan_machine {
	size_t struct_size;
	const char *backend; /* whose costs are counted: "cuda" (default) or "cpu" */
	double link_gbps;    /* host to device; > 0 */
	double hbm_gbps;     /* device memory, read; > 0 */
	double dram_gbps;    /* host memory, read by the CPU; 0: the CPU path is not planned */
	/* Link and CPU at the same time; both 0: assumed, low among what machines kept of either. */
	double sum_link_gbps, sum_cpu_gbps;
	double gflops; /* 10^9 operations a second in products of many rows; 0: arithmetic is free */
	uint32_t cpu_threads; /* of the CPU path; default 15 */
} ufm_plan_machine;

/* The rates of this machine, in about a second, on an engine of its own with a few experts of the model's size.
 * backend: "auto" (also NULL), "cpu" or a plugin's name. machine->backend is static. UFM_EBACKEND: none of that name,
 * or one whose costs were never measured; else as ufm_host_open and ufm_engine_open. */
UFM_API ufm_status ufm_plan_probe_machine(const ufm_plan_model *model, const char *backend,
                                          ufm_plan_machine *machine);

typedef struct ufm_plan_config {
	size_t struct_size;
	const ufm_plan_model *model;
	const ufm_plan_machine *machine;
	uint32_t batch;  /* sequences at once; default 1 */
	uint32_t prompt; /* tokens of each one's prompt, prefilled in one call; default 512 */
	/* Routing: "sticky" (default; made as a recorded or published router of about the model's size does),
	 * "sticky:PRESET", "sticky:OVERLAP,SKEW,DRIFT", "trace:FILE" (docs/formats.md), or "uniform". */
	const char *workload;
	uint64_t seed;              /* of made routing; default 1 */
	const char *policy;         /* as ufm_engine_config's */
	uint64_t headroom_bytes;    /* part of every budget that stays free */
	uint32_t ring_slots;        /* as ufm_engine_config's */
	uint32_t max_tokens;        /* of the device workspace; default batch * prompt */
	uint32_t routing_by_caller; /* 1: ids and gates come with the calls; 0: layers have routers */
	/* NULL, or told on the calling thread how many points are done: first 0, and at the end all. */
	void (*progress)(void *ctx, uint32_t done, uint32_t total);
	void *progress_ctx;
	/* NULL, or asked before each point: anything but 0 ends the call with UFM_ECANCELED. */
	int (*stop)(void *ctx);
	void *stop_ctx;
} ufm_plan_config;

/* What most of the time of a step goes to. */
typedef enum ufm_plan_bound {
	UFM_PLAN_BY_HBM = 1, /* reading device memory */
	UFM_PLAN_BY_COMPUTE, /* arithmetic of the device */
	UFM_PLAN_BY_LINK,    /* copies */
	UFM_PLAN_BY_SHARED,  /* copies and the CPU beside them */
	UFM_PLAN_BY_HOST,    /* giving out work, and waiting for ids */
} ufm_plan_bound;

/* A phase as the engine would run it: over the link alone or with the CPU path, whichever is quicker. It has
 * room instead of a size, since a point holds two. */
typedef struct ufm_plan_phase {
	double tokens_per_s; /* through the routed layers */
	double hit_rate;     /* of the uses, those whose expert was in a slot: 0 … 1 */
	/* Of a token, by path: experts read in device memory, copied to it, and read by the CPU where they lie. */
	double device_bytes, link_bytes, cpu_bytes;
	double step_ns, link_busy_ns; /* on average; the link's part of it */
	ufm_plan_bound bound;
	uint32_t with_cpu;    /* 1: the CPU path is on */
	uint64_t reserved[8]; /* 0 */
} ufm_plan_phase;

typedef struct ufm_plan_point {
	size_t struct_size;
	/* Read: the budget, headroom included. 0: the one that gives every expert a slot, which is written here. */
	uint64_t vram_target_bytes;
	/* UFM_OK; UFM_EBUDGET: it is too small, all that follows but host_bytes is 0, and `why` says what is needed. */
	ufm_status status;
	char why[320];
	uint64_t host_bytes;      /* page-locked host memory, the same for every budget */
	uint64_t workspace_bytes; /* of the budget, for layers and their workspace */
	uint32_t slots, ring_slots;
	ufm_plan_phase decode, prefill;
	/* Of decode: hits and speed of whoever knows the future, with as many slots. bound_hit_rate -1 and
	 * limit_tokens_per_s 0: not known, where a trace has fewer experts or sequences than are planned. */
	double bound_hit_rate, limit_tokens_per_s;
} ufm_plan_point;

/*
 * Plans points[0 … count-1], each for its own budget; all have one struct_size. A budget that is too small is the point's status and no failure;
 * count 0 checks the configuration alone. Takes seconds a point for large models. Points are written on success only.
 * UFM_EINVAL names the field, what was found and what was expected, also where batch and prompt would take more than
 * minutes; UFM_EFILE, UFM_EFORMAT: the trace, or that it does not suit the model; UFM_EBACKEND; UFM_ECANCELED;
 * UFM_ENOMEM.
 */
UFM_API ufm_status ufm_plan(const ufm_plan_config *config, ufm_plan_point *points, uint32_t count);

#ifdef __cplusplus
}
#endif
#endif
