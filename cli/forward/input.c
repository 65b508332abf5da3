/* SPDX-License-Identifier: MIT */
/* Reads tokens and routing, and says what is wrong with them in terms of the options. */
#include "cli/forward/input.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/status.h"

#define TOKENS_MAX (1u << 24)

/* A file that an option names, and what must be in it. */
typedef struct wanted {
	const char *option, *path, *what; /* "f4 [T, D]" */
	npy_type type, other_type;        /* other_type 0: none */
} wanted;

/* "i8 [3, 4, 5]" */
static char *describe(const npy_array *a, char *text, size_t size)
{
	size_t used = (size_t)snprintf(text, size, "%s [", npy_type_descr(a->type) + 1);
	for (uint32_t i = 0; i < a->dims && used < size; i++)
		used +=
			(size_t)snprintf(text + used, size - used, "%s%" PRIu64, i ? ", " : "", a->shape[i]);
	if (used < size)
		snprintf(text + used, size - used, "]");
	return text;
}

static ufm_status refuse(const wanted *w, const npy_array *found, const char *expected)
{
	char text[128];
	return status_fail(UFM_EFORMAT, "--%s: %s: found %s, expected %s", w->option, w->path,
	                   describe(found, text, sizeof text), expected);
}

/* A matrix of the wanted type. */
static ufm_status open_matrix(const wanted *w, npy_array *out)
{
	ufm_status status = npy_open(w->path, out);
	if (status)
		return status_prefix(status, "--%s (%s)", w->option, w->what);
	if (out->dims == 2 && (out->type == w->type || out->type == w->other_type))
		return UFM_OK;
	status = refuse(w, out, w->what);
	npy_close(out);
	return status;
}

static ufm_status open_tokens(const forward_config *config, forward_input *in)
{
	wanted w = {.option = "input", .path = config->input, .what = "f4 [T, D]", .type = NPY_F32};
	ufm_status status = open_matrix(&w, &in->x);
	if (status)
		return status;
	if (in->x.shape[0] > TOKENS_MAX || in->x.shape[1] == 0 || in->x.shape[1] > UINT32_MAX)
		return refuse(&w, &in->x, "f4 [T, D] with T from 0 to 2^24 and D of at least 1");
	in->tokens = (uint32_t)in->x.shape[0];
	in->d_model = (uint32_t)in->x.shape[1];
	return UFM_OK;
}

/* A wider id that does not fit is no expert, like any other outside their range. */
static int32_t narrow(int64_t id)
{
	return id >= INT32_MIN && id <= INT32_MAX ? (int32_t)id : -1;
}

static ufm_status copy_ids(const npy_array *a, int32_t **out)
{
	int32_t *ids = alloc_zeroed(a->count ? a->count : 1, sizeof *ids);
	if (!ids)
		return UFM_ENOMEM;
	if (a->type == NPY_I32 && a->count)
		memcpy(ids, a->data, a->count * sizeof *ids);
	else
		for (uint64_t i = 0; i < a->count; i++)
			ids[i] = narrow(((const int64_t *)a->data)[i]);
	*out = ids;
	return UFM_OK;
}

static ufm_status check_ids(const wanted *w, const npy_array *a, const forward_input *in)
{
	char expected[96];
	uint64_t k = a->shape[1];
	snprintf(expected, sizeof expected, "i4 or i8 [%u, k] with k of at least 1", in->tokens);
	if (a->shape[0] != in->tokens || k == 0)
		return refuse(w, a, expected);
	if (k > FORWARD_ROWS_MAX || in->tokens * k > FORWARD_ROWS_MAX)
		return refuse(w, a, "at most 2^30 ids");
	return UFM_OK;
}

static ufm_status open_ids(const forward_config *config, forward_input *in)
{
	wanted w = {.option = "ids",
	            .path = config->ids,
	            .what = "i4 or i8 [T, k]",
	            .type = NPY_I32,
	            .other_type = NPY_I64};
	npy_array array;
	ufm_status status = open_matrix(&w, &array);
	if (status)
		return status;
	status = check_ids(&w, &array, in);
	if (!status) {
		in->top_k = (uint32_t)array.shape[1];
		status = copy_ids(&array, &in->ids);
	}
	npy_close(&array);
	return status;
}

static ufm_status open_gates(const forward_config *config, forward_input *in)
{
	wanted w = {.option = "gates", .path = config->gates, .what = "f4 [T, k]", .type = NPY_F32};
	char expected[96];
	ufm_status status = open_matrix(&w, &in->gates_array);
	if (status)
		return status;
	if (in->gates_array.shape[0] == in->tokens && in->gates_array.shape[1] == in->top_k)
		return UFM_OK;
	snprintf(expected, sizeof expected, "f4 [%u, %u] as --ids has", in->tokens, in->top_k);
	return refuse(&w, &in->gates_array, expected);
}

ufm_status forward_input_open(const forward_config *config, forward_input *out)
{
	ufm_status status;
	memset(out, 0, sizeof *out);
	status = open_tokens(config, out);
	if (!status && config->ids)
		status = open_ids(config, out);
	if (!status && config->gates)
		status = open_gates(config, out);
	if (status)
		forward_input_close(out);
	return status;
}

void forward_input_close(forward_input *input)
{
	npy_close(&input->x);
	npy_close(&input->gates_array);
	alloc_free(input->ids);
	memset(input, 0, sizeof *input);
}
