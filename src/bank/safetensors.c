/* SPDX-License-Identifier: MIT */
/* The header of one .safetensors file. */
#include "bank/safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bank/gguf.h"
#include "base/alloc.h"
#include "base/json_pull.h"
#include "base/status.h"

#define METADATA "__metadata__"
#define LFS_BEGINNING "version " /* of a pointer that git lfs leaves in a file's place */

static const struct {
	const char *name;
	uint32_t bits;
} dtypes[CHECKPOINT_DTYPE_END] = {
	[CHECKPOINT_BOOL] = {"BOOL", 8},
	[CHECKPOINT_F4] = {"F4", 4},
	[CHECKPOINT_F6_E2M3] = {"F6_E2M3", 6},
	[CHECKPOINT_F6_E3M2] = {"F6_E3M2", 6},
	[CHECKPOINT_U8] = {"U8", 8},
	[CHECKPOINT_I8] = {"I8", 8},
	[CHECKPOINT_F8_E5M2] = {"F8_E5M2", 8},
	[CHECKPOINT_F8_E4M3] = {"F8_E4M3", 8},
	[CHECKPOINT_F8_E8M0] = {"F8_E8M0", 8},
	[CHECKPOINT_F8_E4M3FNUZ] = {"F8_E4M3FNUZ", 8},
	[CHECKPOINT_F8_E5M2FNUZ] = {"F8_E5M2FNUZ", 8},
	[CHECKPOINT_I16] = {"I16", 16},
	[CHECKPOINT_U16] = {"U16", 16},
	[CHECKPOINT_F16] = {"F16", 16},
	[CHECKPOINT_BF16] = {"BF16", 16},
	[CHECKPOINT_I32] = {"I32", 32},
	[CHECKPOINT_U32] = {"U32", 32},
	[CHECKPOINT_F32] = {"F32", 32},
	[CHECKPOINT_C64] = {"C64", 64},
	[CHECKPOINT_F64] = {"F64", 64},
	[CHECKPOINT_I64] = {"I64", 64},
	[CHECKPOINT_U64] = {"U64", 64},
};

const char *checkpoint_dtype_name(checkpoint_dtype dtype)
{
	return dtype < CHECKPOINT_GGUF ? dtypes[dtype].name : gguf_type_of(dtype)->name;
}

uint32_t checkpoint_dtype_bits(checkpoint_dtype dtype)
{
	return dtypes[dtype].bits;
}

ufm_dtype checkpoint_plain_dtype(checkpoint_dtype dtype)
{
	switch ((int)dtype) {
	case CHECKPOINT_F32:
		return UFM_F32;
	case CHECKPOINT_BF16:
		return UFM_BF16;
	case CHECKPOINT_F16:
		return UFM_F16;
	default:
		return (ufm_dtype)0;
	}
}

char *checkpoint_shape_text(uint32_t rank, const uint64_t *shape, char *text, size_t size)
{
	size_t used = (size_t)snprintf(text, size, "[");

	for (uint32_t i = 0; i < rank && used < size; i++)
		used += (size_t)snprintf(text + used, size - used, "%s%llu", i ? ", " : "",
		                         (unsigned long long)shape[i]);
	if (used < size)
		snprintf(text + used, size - used, "]");
	return text;
}

void tensor_list_free(tensor_list *list)
{
	alloc_free(list->tensors);
	*list = (tensor_list){0};
}

checkpoint_tensor *tensor_list_add(tensor_list *list)
{
	checkpoint_tensor *tensors =
		alloc_grow(list->tensors, list->count, &list->room, sizeof *tensors);

	if (!tensors)
		return NULL;
	list->tensors = tensors;
	/* The place may hold what a failed file left. */
	memset(&tensors[list->count], 0, sizeof *tensors);
	return &tensors[list->count++];
}

ufm_status safetensors_header_bytes(const uint8_t *prefix, uint64_t got, uint64_t file_bytes,
                                    uint64_t *out)
{
	uint64_t length = 0;

	if (got < SAFETENSORS_PREFIX_BYTES)
		return status_fail(UFM_EFORMAT, "holds %llu bytes, expected a header length of %u",
		                   (unsigned long long)got, SAFETENSORS_PREFIX_BYTES);
	if (memcmp(prefix, LFS_BEGINNING, SAFETENSORS_PREFIX_BYTES) == 0)
		return status_fail(UFM_EFORMAT, "is a git-lfs pointer, not the file: expected the weights "
		                                "themselves (git lfs pull)");
	for (unsigned i = SAFETENSORS_PREFIX_BYTES; i-- > 0;)
		length = length << 8 | prefix[i];
	if (length > SAFETENSORS_HEADER_BYTES_MAX)
		return status_fail(UFM_EFORMAT,
		                   "header length is %llu, expected at most %u: not a safetensors file",
		                   (unsigned long long)length, SAFETENSORS_HEADER_BYTES_MAX);
	if (length > file_bytes - SAFETENSORS_PREFIX_BYTES)
		return status_fail(UFM_EFORMAT,
		                   "header length is %llu, but only %llu bytes follow it in the file",
		                   (unsigned long long)length,
		                   (unsigned long long)(file_bytes - SAFETENSORS_PREFIX_BYTES));
	*out = length;
	return UFM_OK;
}

static bool read_dtype(json_pull *r, checkpoint_tensor *t)
{
	const char *name;

	if (!json_pull_string(r, &name))
		return false;
	for (uint32_t i = 1; i < CHECKPOINT_DTYPE_END; i++) {
		if (strcmp(dtypes[i].name, name) == 0) {
			t->dtype = (checkpoint_dtype)i;
			return true;
		}
	}
	json_pull_stop(r, status_fail(UFM_EFORMAT,
	                              "dtype is \"%.40s\", expected one that the format knows", name));
	return false;
}

static bool read_shape(json_pull *r, checkpoint_tensor *t)
{
	if (!json_pull_array(r))
		return false;
	t->rank = 0;
	while (json_pull_next_item(r)) {
		if (t->rank == CHECKPOINT_RANK_MAX) {
			json_pull_stop(r, status_fail(UFM_EFORMAT, "shape has more than %u dimensions",
			                              CHECKPOINT_RANK_MAX));
			return false;
		}
		if (!json_pull_u64(r, &t->shape[t->rank++]))
			return false;
	}
	return !r->status;
}

/* Begin and end, relative to the payload. */
static bool read_offsets(json_pull *r, checkpoint_tensor *t)
{
	uint64_t offsets[2];
	uint32_t count = 0;

	if (!json_pull_array(r))
		return false;
	while (json_pull_next_item(r)) {
		uint64_t offset;

		if (!json_pull_u64(r, &offset))
			return false;
		if (count < 2)
			offsets[count] = offset;
		count++;
	}
	if (r->status)
		return false;
	if (count != 2 || offsets[0] > offsets[1]) {
		json_pull_stop(r, status_fail(UFM_EFORMAT, "data_offsets must be two, begin and end"));
		return false;
	}
	t->file_offset_bytes = offsets[0];
	t->size_bytes = offsets[1] - offsets[0];
	return true;
}

enum { FIELD_DTYPE = 1, FIELD_SHAPE = 2, FIELD_OFFSETS = 4, FIELDS_ALL = 7 };

/* Reads a field and returns its bit; 0 on failure. */
static unsigned read_field(json_pull *r, const char *key, checkpoint_tensor *t)
{
	if (strcmp(key, "dtype") == 0)
		return read_dtype(r, t) ? FIELD_DTYPE : 0;
	if (strcmp(key, "shape") == 0)
		return read_shape(r, t) ? FIELD_SHAPE : 0;
	if (strcmp(key, "data_offsets") == 0)
		return read_offsets(r, t) ? FIELD_OFFSETS : 0;
	json_pull_stop(r, status_fail(UFM_EFORMAT,
	                              "unknown key \"%.40s\", expected dtype, shape and data_offsets",
	                              key));
	return 0;
}

static ufm_status check_fields(unsigned seen)
{
	if (!(seen & FIELD_DTYPE))
		return status_fail(UFM_EFORMAT, "dtype is missing");
	if (!(seen & FIELD_SHAPE))
		return status_fail(UFM_EFORMAT, "shape is missing");
	if (!(seen & FIELD_OFFSETS))
		return status_fail(UFM_EFORMAT, "data_offsets is missing");
	return UFM_OK;
}

/* A zero among the dimensions does not excuse the others from being countable. */
static ufm_status check_size(const checkpoint_tensor *t)
{
	uint64_t bits = checkpoint_dtype_bits(t->dtype);
	bool empty = false;

	for (uint32_t i = 0; i < t->rank; i++) {
		empty |= t->shape[i] == 0;
		if (t->shape[i] && __builtin_mul_overflow(bits, t->shape[i], &bits))
			return status_fail(UFM_EFORMAT, "shape: the product of its dimensions overflows");
	}
	bits = empty ? 0 : bits;
	if (bits % 8)
		return status_fail(UFM_EFORMAT, "shape and dtype make %llu bits, expected whole bytes",
		                   (unsigned long long)bits);
	if (bits / 8 != t->size_bytes)
		return status_fail(UFM_EFORMAT,
		                   "data_offsets hold %llu bytes, expected %llu by shape and dtype",
		                   (unsigned long long)t->size_bytes, (unsigned long long)(bits / 8));
	return UFM_OK;
}

static bool read_tensor(json_pull *r, const char *name, checkpoint_tensor *t)
{
	unsigned seen = 0;
	const char *key;
	ufm_status status;

	t->name = name;
	if (json_pull_object(r))
		while (json_pull_next_key(r, &key))
			seen |= read_field(r, key, t);
	status = r->status ? r->status : check_fields(seen);
	if (!status)
		status = check_size(t);
	if (status)
		json_pull_stop(r, status_prefix(status, "tensor \"%.200s\"", name));
	return !status;
}

/* The format's free text: strings by name, or null, which some writers leave. */
static bool read_metadata(json_pull *r)
{
	const char *key, *value;

	if (json_pull_peek(r) == JSON_PULL_NULL)
		json_pull_skip(r);
	else if (json_pull_object(r))
		while (json_pull_next_key(r, &key))
			json_pull_string(r, &value);
	if (r->status)
		json_pull_stop(r, status_prefix(r->status, METADATA));
	return !r->status;
}

static void read_member(json_pull *r, const char *key, tensor_list *list)
{
	checkpoint_tensor *t;

	if (strcmp(key, METADATA) == 0) {
		read_metadata(r);
		return;
	}
	t = tensor_list_add(list);
	if (t)
		read_tensor(r, key, t);
	else
		json_pull_stop(r, UFM_ENOMEM);
}

static ufm_status read_header(char *header, uint64_t header_bytes, tensor_list *list)
{
	json_pull r;
	const char *key;

	json_pull_begin(&r, header, header_bytes);
	/* The format wants no space before the bracket, so that a file can be told by its ninth byte. */
	if (header_bytes && header[0] != '{')
		json_pull_stop(&r, status_fail(UFM_EFORMAT, "does not begin with '{'"));
	if (json_pull_object(&r))
		while (json_pull_next_key(&r, &key))
			read_member(&r, key, list);
	return json_pull_end(&r);
}

static int compare_offsets(const void *a, const void *b)
{
	const checkpoint_tensor *x = a, *y = b;

	if (x->file_offset_bytes != y->file_offset_bytes)
		return x->file_offset_bytes < y->file_offset_bytes ? -1 : 1;
	if (x->size_bytes != y->size_bytes)
		return x->size_bytes < y->size_bytes ? -1 : 1;
	return strcmp(x->name, y->name);
}

/* In the order of offsets each tensor begins where the one before it ends, and the last ends with the
 * file: then nothing overlaps and there is no hole. */
static ufm_status check_extents(const tensor_list *list, uint32_t first, uint64_t payload)
{
	uint64_t end = 0;

	for (uint32_t i = first; i < list->count; i++) {
		const checkpoint_tensor *t = &list->tensors[i];

		/* size_bytes is end - begin of two numbers of 64 bits: the sum cannot wrap. */
		if (t->file_offset_bytes + t->size_bytes > payload)
			return status_fail(UFM_EFORMAT,
			                   "tensor \"%.200s\": ends at byte %llu of a payload of %llu", t->name,
			                   (unsigned long long)(t->file_offset_bytes + t->size_bytes),
			                   (unsigned long long)payload);
		if (t->file_offset_bytes < end)
			return status_fail(UFM_EFORMAT, "tensors \"%.150s\" and \"%.150s\" overlap",
			                   list->tensors[i - 1].name, t->name);
		if (t->file_offset_bytes > end)
			return status_fail(UFM_EFORMAT, "tensor \"%.200s\": a hole of %llu bytes before it",
			                   t->name, (unsigned long long)(t->file_offset_bytes - end));
		end += t->size_bytes;
	}
	if (end != payload)
		return status_fail(UFM_EFORMAT, "%llu bytes after the last tensor belong to none",
		                   (unsigned long long)(payload - end));
	return UFM_OK;
}

ufm_status safetensors_parse(char *header, uint64_t header_bytes, uint64_t file_bytes,
                             uint32_t file, tensor_list *list)
{
	uint64_t payload_at = SAFETENSORS_PREFIX_BYTES + header_bytes;
	uint32_t first = list->count;
	ufm_status status = read_header(header, header_bytes, list);

	if (status)
		goto drop;
	if (list->count - first > 1)
		qsort(&list->tensors[first], list->count - first, sizeof *list->tensors, compare_offsets);
	status = check_extents(list, first, file_bytes - payload_at);
	if (status)
		goto drop;
	for (uint32_t i = first; i < list->count; i++) {
		list->tensors[i].file = file;
		list->tensors[i].file_offset_bytes += payload_at;
	}
	return UFM_OK;

drop:
	list->count = first;
	return status_prefix(status, "header");
}
