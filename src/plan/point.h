/* SPDX-License-Identifier: MIT */
/* One budget: who fits, what is hit, and how fast prefill and decode go. */
#ifndef UFM_PLAN_POINT_H
#define UFM_PLAN_POINT_H

#include "plan/predict.h"

/* Of decode or prefill, over the link alone or shared with the CPU. */
typedef struct point_way {
	bool known;
	double tokens_per_s, hit_rate;
	/* Of a token, in bytes: experts read in device memory, copied to it, and read by the CPU. */
	double device_bytes, link_bytes, cpu_bytes;
	double step_ns, parts_ns[TIMING_BOUNDS]; /* a step, on average */
	double link_ns;                          /* that the link is busy in it */
	timing_bound bound;
} point_way;

typedef struct plan_point {
	uint64_t target_bytes;
	bool refused;
	char why[320]; /* refused: found, expected, what would run */
	budget budget;
	point_way decode, prefill;         /* the CPU path off */
	point_way decode_cpu, prefill_cpu; /* with the CPU path; known where the engine would have it */
	double bound_hit_rate; /* of decode by the best policy that knows the future; < 0: not known */
	double limit_ns; /* of a decode step, as replay/limit.h has it, with those hits; 0: not known */
} plan_point;

typedef struct point_config {
	const plan_shape *shape;
	const plan_machine *machine;
	const trace *decode_routing, *prefill_routing;
	const ufm_policy *policy;
	const division *division;
	uint32_t batch, prompt;
	bool given; /* the caller brings the ids */
} point_config;

/* Steps that a point walks, the uncounted ones included. */
uint32_t point_decode_steps(void);
uint32_t point_prefill_steps(uint32_t tokens);

/* A budget that is too small is no failure: the point says so. */
ufm_status point_open(const point_config *config, uint64_t target_bytes, plan_point *out);

/* Sets bound_hit_rate and limit_ns where the routing says them. */
ufm_status point_bound(const point_config *config, plan_point *p);

/* As the engine runs it where nothing is said: the quicker way, for decode and prefill apart. */
const point_way *point_decode(const plan_point *p);
const point_way *point_prefill(const plan_point *p);
/* Tokens a second of decode at its limit; 0: not known. */
double point_limit(const point_config *config, const plan_point *p);
/* "link" or "cpu+link": which of a point's ways it is. */
const char *point_way_name(const plan_point *p, const point_way *way);

#endif
