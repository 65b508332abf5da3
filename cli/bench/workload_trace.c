/* SPDX-License-Identifier: MIT */
/* Recorded routing out of a .npy file. */
#include <inttypes.h>
#include <string.h>

#include "base/status.h"
#include "cli/bench/workload_int.h"

static ufm_status check_array(const npy_array *a, const char *path)
{
	if (a->type != NPY_U8 && a->type != NPY_U16 && a->type != NPY_I32)
		return status_fail(UFM_EFORMAT,
		                   "%s: wrong element type, expected expert ids as uint8, uint16 or int32",
		                   path);
	if (a->dims != 3)
		return status_fail(UFM_EFORMAT,
		                   "%s: found %" PRIu32 " dimensions, expected 3: [token, layer, rank]",
		                   path, a->dims);
	if (a->count == 0 || a->shape[1] > UINT32_MAX || a->shape[2] > UINT32_MAX)
		return status_fail(UFM_EFORMAT,
		                   "%s: found the shape [%" PRIu64 ", %" PRIu64 ", %" PRIu64
		                   "], expected at least one token, layer and rank",
		                   path, a->shape[0], a->shape[1], a->shape[2]);
	return UFM_OK;
}

ufm_status trace_open(const char *path, trace *out)
{
	npy_array array;
	ufm_status status = npy_open(path, &array);
	if (status)
		return status;
	status = check_array(&array, path);
	if (status) {
		npy_close(&array);
		return status;
	}
	out->array = array;
	out->tokens = array.shape[0];
	out->layers = (uint32_t)array.shape[1];
	out->ranks = (uint32_t)array.shape[2];
	return UFM_OK;
}

void trace_close(trace *t)
{
	if (t->array.data)
		npy_close(&t->array);
	memset(t, 0, sizeof *t);
}

int32_t trace_id(const trace *t, uint64_t token, uint32_t layer, uint32_t rank)
{
	uint64_t at = (token * t->layers + layer) * t->ranks + rank;
	switch (t->array.type) {
	case NPY_U8:
		return ((const uint8_t *)t->array.data)[at];
	case NPY_U16:
		return ((const uint16_t *)t->array.data)[at];
	default:
		return ((const int32_t *)t->array.data)[at];
	}
}

/* A set of experts, not a list: an id twice would count one expert's output twice. */
static ufm_status check_twice(const trace *t, const char *path, uint64_t token, uint32_t layer,
                              uint32_t rank)
{
	int32_t id = trace_id(t, token, layer, rank);
	for (uint32_t before = 0; before < rank; before++) {
		if (trace_id(t, token, layer, before) == id)
			return status_fail(UFM_EFORMAT,
			                   "%s: found expert id %" PRId32 " twice at token %" PRIu64
			                   ", layer %" PRIu32 ", expected different ids",
			                   path, id, token, layer);
	}
	return UFM_OK;
}

static ufm_status check_ids(const trace *t, const char *path, const workload_config *c)
{
	for (uint64_t token = 0; token < t->tokens; token++)
		for (uint32_t layer = 0; layer < c->layers; layer++)
			for (uint32_t rank = 0; rank < t->ranks; rank++) {
				int32_t id = trace_id(t, token, layer, rank);
				if (id < 0 || (uint32_t)id >= c->experts_min)
					return status_fail(UFM_EFORMAT,
					                   "%s: found expert id %" PRId32 " at token %" PRIu64
					                   ", layer %" PRIu32 ", expected 0 to %" PRIu32
					                   " (--experts %" PRIu32 ")",
					                   path, id, token, layer, c->experts_min - 1, c->experts_min);
				ufm_status status = check_twice(t, path, token, layer, rank);
				if (status)
					return status;
			}
	return UFM_OK;
}

ufm_status trace_check(const trace *t, const char *path, const workload_config *c)
{
	if (t->ranks != c->top_k)
		return status_fail(UFM_EFORMAT,
		                   "%s: found %" PRIu32 " ranks a token, expected %" PRIu32 " (--top-k)",
		                   path, t->ranks, c->top_k);
	if (t->layers < c->layers)
		return status_fail(UFM_EFORMAT,
		                   "%s: found %" PRIu32 " layers, expected at least %" PRIu32 " (--layers)",
		                   path, t->layers, c->layers);
	return check_ids(t, path, c);
}
