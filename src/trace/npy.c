/* SPDX-License-Identifier: MIT */
/* Traces out of NumPy arrays. */
#include "base/npy.h"

#include <inttypes.h>

#include "base/alloc.h"
#include "base/status.h"
#include "trace/trace_int.h"

static ufm_status check_array(const npy_array *a)
{
	if (a->type != NPY_U8 && a->type != NPY_U16 && a->type != NPY_I32)
		return status_fail(
			UFM_EFORMAT, "found elements of type %s, expected expert ids as uint8, uint16 or int32",
			npy_type_descr(a->type));
	if (a->dims != 3)
		return status_fail(
			UFM_EFORMAT, "found %" PRIu32 " dimensions, expected 3: [token, layer, rank]", a->dims);
	if (a->count == 0 || a->shape[1] > UINT32_MAX || a->shape[2] > TRACE_EXPERTS_MAX)
		return status_fail(UFM_EFORMAT,
		                   "found the shape [%" PRIu64 ", %" PRIu64 ", %" PRIu64
		                   "], expected at least one token, layer and rank, and at most %u ranks",
		                   a->shape[0], a->shape[1], a->shape[2], TRACE_EXPERTS_MAX);
	return UFM_OK;
}

static inline int32_t id_at(const npy_array *a, uint64_t at)
{
	switch (a->type) {
	case NPY_U8:
		return ((const uint8_t *)a->data)[at];
	case NPY_U16:
		return ((const uint16_t *)a->data)[at];
	default:
		return ((const int32_t *)a->data)[at];
	}
}

static ufm_status copy_event(const npy_array *a, uint64_t event, member_check *m, uint16_t *out)
{
	uint64_t layers = a->shape[1], ranks = a->shape[2];
	member_check_event(m);
	for (uint64_t rank = 0; rank < ranks; rank++) {
		int32_t id = id_at(a, event * ranks + rank);
		ufm_status status = member_check_take(m, id);
		if (status)
			return status_prefix(status, "token %" PRIu64 ", layer %" PRIu64 ", rank %" PRIu64,
			                     event / layers, event % layers, rank);
		out[rank] = (uint16_t)id;
	}
	return UFM_OK;
}

static ufm_status copy_ids(const npy_array *a, uint32_t experts, trace *t)
{
	member_check m;
	uint64_t events = a->shape[0] * a->shape[1];
	ufm_status status = member_check_open(&m, experts);
	for (uint64_t event = 0; !status && event < events; event++)
		status = copy_event(a, event, &m, t->ids + event * t->ranks);
	t->experts = m.experts;
	member_check_close(&m);
	return status;
}

static ufm_status read_array(const npy_array *a, uint32_t experts, trace *out)
{
	trace t = {0};
	ufm_status status = check_array(a);
	if (status)
		return status;
	t.tokens = a->shape[0];
	t.layers = (uint32_t)a->shape[1];
	t.ranks = (uint32_t)a->shape[2];
	t.ids = alloc_zeroed(a->count, sizeof *t.ids);
	status = t.ids ? copy_ids(a, experts, &t) : UFM_ENOMEM;
	if (status)
		trace_close(&t);
	else
		*out = t;
	return status;
}

ufm_status trace_read_npy(const char *path, uint32_t experts, trace *out)
{
	npy_array array;
	ufm_status status = npy_open(path, &array);
	if (status)
		return status;
	status = read_array(&array, experts, out);
	npy_close(&array);
	return status == UFM_EFORMAT ? status_prefix(status, "%s", path) : status;
}
