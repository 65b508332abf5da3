/* SPDX-License-Identifier: MIT */
/* Costs from a file, and what hits saved of them. */
#include "cli/replay/cost.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/npy.h"
#include "base/status.h"

static double value_at(const npy_array *a, uint64_t i)
{
	return a->type == NPY_F32 ? (double)((const float *)a->data)[i] : ((const double *)a->data)[i];
}

static ufm_status check_shape(const char *path, const npy_array *a, const trace *t)
{
	if (a->type != NPY_F32 && a->type != NPY_F64)
		return status_fail(UFM_EFORMAT, "%s: wrong element type, expected float32 or float64",
		                   path);
	if (a->dims == 2 && a->shape[0] == t->layers && a->shape[1] == t->experts)
		return UFM_OK;
	return status_fail(UFM_EFORMAT,
	                   "%s: found %" PRIu32 " dimensions of %" PRIu64 " costs, expected [%" PRIu32
	                   ", %" PRIu32 "]: layers and experts of the trace",
	                   path, a->dims, a->count, t->layers, t->experts);
}

static ufm_status copy_costs(const char *path, const npy_array *a, const trace *t, float *each)
{
	for (uint64_t i = 0; i < a->count; i++) {
		each[i] = (float)value_at(a, i);
		if (!(each[i] > 0) || isinf(each[i]))
			return status_fail(UFM_EFORMAT,
			                   "%s: found %g for layer %" PRIu32 ", expert %" PRIu64
			                   ", expected a finite number above 0",
			                   path, value_at(a, i),
			                   trace_layer_number(t, (uint32_t)(i / t->experts)), i % t->experts);
	}
	return UFM_OK;
}

ufm_status replay_cost_read(const char *path, const trace *t, replay_cost *out)
{
	npy_array a;
	*out = (replay_cost){0};
	if (!path)
		return UFM_OK;
	ufm_status status = npy_open(path, &a);
	if (status)
		return status;
	status = check_shape(path, &a, t);
	if (!status) {
		out->each = alloc_zeroed(a.count, sizeof *out->each);
		status = out->each ? copy_costs(path, &a, t, out->each) : UFM_ENOMEM;
	}
	npy_close(&a);
	if (status)
		replay_cost_free(out);
	return status;
}

void replay_cost_free(replay_cost *cost)
{
	alloc_free(cost->each);
	cost->each = NULL;
}

static void add_event(void *self, const replay_event *e)
{
	cost_sums *sums = self;
	const float *each = sums->each + (uint64_t)e->layer * sums->experts;
	for (uint32_t i = 0; e->counted && i < e->count; i++) {
		uint32_t expert = e->members[i].expert;
		sums->used += (double)each[expert];
		if (cache_find(e->cache, e->first_key + expert) != SLOT_NONE)
			sums->saved += (double)each[expert];
	}
}

replay_observer cost_observer(cost_sums *sums)
{
	return (replay_observer){.event = add_event, .self = sums};
}
