/* SPDX-License-Identifier: MIT */
/* What one window measured, as a line of JSON. */
#include "defaults/defaults.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNTERS_MAX 256u

static int by_value(const void *a, const void *b)
{
	const double *x = a, *y = b;
	return (*x > *y) - (*x < *y);
}

static double median(double *values, uint32_t count)
{
	qsort(values, count, sizeof *values, by_value);
	return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

static void print_text(const char *name, const char *value)
{
	printf("\"%s\":\"", name);
	for (const char *c = value ? value : ""; *c; c++)
		if ((unsigned char)*c >= ' ')
			printf(*c == '"' || *c == '\\' ? "\\%c" : "%c", *c);
	printf("\",");
}

static void print_case(const bench *b, const way *w, uint32_t round)
{
	static const char *const maths[] = {"", "fp32", "tf32", "bf16"};
	ufm_engine_info info = {.struct_size = sizeof info};
	const options *o = &b->o;
	ufm_engine_get_info(w->engine, &info);
	printf("{");
	print_text("label", o->label);
	print_text("library", ufm_version());
	print_text("backend", info.backend);
	print_text("device", info.device);
	print_text("policy", info.policy);
	printf("\"layers\":%u,\"num_experts\":%u,\"top_k\":%u,\"d_model\":%u,\"d_hidden\":%u,"
	       "\"kind\":\"gated\",\"dtype\":\"%s\",\"math\":\"%s\",\"link_gbps\":%g,",
	       o->layers, o->experts, o->top_k, o->d_model, o->d_hidden,
	       o->dtype == UFM_F32 ? "f32" : "bf16", maths[info.math], info.link_gbps);
	print_text("trace", o->trace);
	print_text("residency", b->residency);
	printf("\"slots\":%u,\"ring_slots\":%u,\"expert_bytes\":%llu,\"slab_bytes\":%llu,"
	       "\"workspace_bytes\":%llu,\"arena_bytes\":%llu,",
	       info.slots, info.ring_slots, (unsigned long long)info.expert_bytes,
	       (unsigned long long)info.slab_bytes, (unsigned long long)info.workspace_bytes,
	       (unsigned long long)info.arena_bytes);
	print_text("phase", b->phase.name);
	print_text("assist", w->assist);
	print_text("cpu_assist", info.cpu_assist);
	printf("\"tokens\":%u,\"cpu_threads\":%u,\"round\":%u,\"warmup\":%u,\"ids_off\":%llu,",
	       b->phase.tokens, info.cpu_threads, round, w->warmed, (unsigned long long)w->ids_off);
}

static void print_counters(const uint64_t *before, const uint64_t *after)
{
	uint32_t count = ufm_counter_count();
	printf("\"counters\":{");
	for (uint32_t i = 0; i < count && i < COUNTERS_MAX; i++) {
		const ufm_counter_desc *d = ufm_counter_describe(i);
		int sum = strcmp(d->kind, "sum") == 0;
		printf("%s\"%s\":%llu", i ? "," : "", d->name,
		       (unsigned long long)(sum ? after[i] - before[i] : after[i]));
	}
	printf("}}\n");
	fflush(stdout);
}

void window_measure(bench *b, way *w, uint32_t round)
{
	static double step_s[STEPS_MAX];
	uint64_t before[COUNTERS_MAX] = {0}, after[COUNTERS_MAX] = {0};
	uint32_t steps = 0;
	ufm_engine_get_counters(w->engine, before, COUNTERS_MAX);
	double begin_s = now_s(), end_s = begin_s;
	while (steps < b->phase.steps && (!steps || end_s - begin_s < b->o.seconds)) {
		way_step(b, w, 0);
		step_s[steps++] = now_s() - end_s;
		end_s += step_s[steps - 1];
	}
	ufm_engine_get_counters(w->engine, after, COUNTERS_MAX);
	print_case(b, w, round);
	printf("\"steps\":%u,\"seconds\":%.9f,\"tokens_per_s\":%.3f,\"step_ms_median\":%.4f,", steps,
	       end_s - begin_s, steps * (double)b->phase.tokens / (end_s - begin_s),
	       1e3 * median(step_s, steps));
	print_counters(before, after);
}
