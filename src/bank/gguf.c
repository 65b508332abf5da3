/* SPDX-License-Identifier: MIT */
/* The header of one GGUF file: what it begins with, its counts, and its tensors. */
#include "bank/gguf.h"

#include <stdlib.h>
#include <string.h>

#include "bank/gguf_int.h"
#include "base/alloc.h"
#include "base/status.h"

#define RANK_MAX 4u
#define NAME_BYTES_MAX 255u
#define ALIGNMENT 32u
#define ALIGNMENT_MAX (1u << 20)
#define LFS_BEGINNING "version " /* of a pointer that git lfs leaves in a file's place */
/* The fewest bytes of a key-value and of a tensor in a header. */
#define PAIR_BYTES_MIN (8u + 1 + 4 + 1)
#define TENSOR_BYTES_MIN (8u + 1 + 4 + 8 + 4 + 8)

/* ---- what it begins with */

static ufm_status check_version(uint32_t version)
{
	if (version == 2 || version == 3)
		return UFM_OK;
	if (version == 1)
		return status_fail(UFM_EFORMAT, "version is 1, expected 2 or 3: a file of 2023, whose "
		                                "counts are shorter");
	if ((version & 0xffff) == 0 && version)
		return status_fail(UFM_EFORMAT,
		                   "version is 0x%08x: a big-endian file, expected a "
		                   "little-endian one",
		                   version);
	return status_fail(UFM_EFORMAT, "version is %u, expected 2 or 3", version);
}

static ufm_status take_magic(gguf_reader *r)
{
	const uint8_t *at;
	uint32_t version;
	ufm_status status;

	if (r->got >= sizeof LFS_BEGINNING - 1 &&
	    memcmp(r->bytes, LFS_BEGINNING, sizeof LFS_BEGINNING - 1) == 0)
		return status_fail(UFM_EFORMAT, "is a git-lfs pointer, not the file: expected the weights "
		                                "themselves (git lfs pull)");
	status = gguf_take(r, 4, &at);
	if (status)
		return status;
	if (memcmp(at, GGUF_MAGIC, 4) != 0)
		return status_fail(UFM_EFORMAT,
		                   "begins with 0x%02x%02x%02x%02x, expected \"" GGUF_MAGIC
		                   "\": not a GGUF file",
		                   at[0], at[1], at[2], at[3]);
	status = gguf_take_u32(r, &version);
	return status ? status : check_version(version);
}

static ufm_status take_count(gguf_reader *r, const char *what, uint32_t most, uint64_t *out)
{
	ufm_status status = gguf_take_u64(r, out);

	if (!status && *out > most)
		return status_fail(UFM_EFORMAT, "the number of %s is %llu, expected at most %u", what,
		                   (unsigned long long)*out, most);
	return status;
}

static ufm_status take_counts(gguf_reader *r, uint64_t *tensors, uint64_t *pairs)
{
	ufm_status status = take_count(r, "tensors", CHECKPOINT_TENSORS_MAX, tensors);

	if (!status)
		status = take_count(r, "keys", GGUF_KEYS_MAX, pairs);
	/* Both are small: the sum cannot overflow. */
	if (!status && *tensors * TENSOR_BYTES_MIN + *pairs * PAIR_BYTES_MIN > gguf_left(r))
		return status_fail(UFM_EFORMAT, "%llu tensors and %llu keys, but only %llu bytes follow",
		                   (unsigned long long)*tensors, (unsigned long long)*pairs,
		                   (unsigned long long)gguf_left(r));
	return status;
}

/* Before gguf_values_settle, so that tensors can be checked against it: keys are in the order of the file. */
static const gguf_value *find_unsettled(const gguf_values *values, const char *key)
{
	size_t bytes = strlen(key);

	for (uint32_t i = 0; i < values->count; i++) {
		const char *found = values->items[i].key;
		if (gguf_string_bytes(found) == bytes && memcmp(found, key, bytes) == 0)
			return &values->items[i];
	}
	return NULL;
}

static ufm_status find_alignment(const gguf_values *values, uint32_t *out)
{
	const gguf_value *said = find_unsettled(values, "general.alignment");
	char words[64];

	*out = ALIGNMENT;
	if (!said || (gguf_value_whole(said, 1, ALIGNMENT_MAX, out) && (*out & (*out - 1)) == 0))
		return UFM_OK;
	return status_fail(UFM_EFORMAT, "general.alignment is %s, expected a power of two, at most %u",
	                   gguf_value_words(said, words, sizeof words), ALIGNMENT_MAX);
}

/* ---- tensors */

/* The file has the dimension first whose elements lie side by side. */
static ufm_status take_shape(gguf_reader *r, checkpoint_tensor *t)
{
	ufm_status status = gguf_take_u32(r, &t->rank);

	if (!status && (t->rank < 1 || t->rank > RANK_MAX))
		return status_fail(UFM_EFORMAT, "has %u dimensions, expected 1 … %u", t->rank, RANK_MAX);
	for (uint32_t i = 0; !status && i < t->rank; i++) {
		uint64_t *size = &t->shape[t->rank - 1 - i];
		status = gguf_take_u64(r, size);
		if (!status && *size == 0)
			status = status_fail(UFM_EFORMAT, "a dimension is 0, expected at least 1");
	}
	return status;
}

static ufm_status find_size(const gguf_type *type, checkpoint_tensor *t)
{
	uint64_t row = t->shape[t->rank - 1], bytes = row / type->elements;

	if (row % type->elements)
		return status_fail(UFM_EFORMAT,
		                   "a row of %llu elements, expected a multiple of the %u of a %s block",
		                   (unsigned long long)row, type->elements, type->name);
	bool over = __builtin_mul_overflow(bytes, type->bytes, &bytes);
	for (uint32_t i = 0; i + 1 < t->rank; i++)
		over |= __builtin_mul_overflow(bytes, t->shape[i], &bytes);
	if (over)
		return status_fail(UFM_EFORMAT, "the product of its dimensions overflows");
	t->size_bytes = bytes;
	return UFM_OK;
}

static ufm_status take_type(gguf_reader *r, checkpoint_tensor *t)
{
	const gguf_type *type;
	uint32_t number;
	ufm_status status = gguf_take_u32(r, &number);

	if (status)
		return status;
	type = gguf_type_find(number);
	if (!type)
		return status_fail(UFM_EFORMAT, "its type is %u, which is not known here", number);
	t->dtype = type->dtype;
	return find_size(type, t);
}

static ufm_status take_offset(gguf_reader *r, uint32_t alignment, checkpoint_tensor *t)
{
	ufm_status status = gguf_take_u64(r, &t->file_offset_bytes);

	if (!status && t->file_offset_bytes % alignment)
		return status_fail(UFM_EFORMAT, "its offset is %llu, expected a multiple of %u",
		                   (unsigned long long)t->file_offset_bytes, alignment);
	return status;
}

static ufm_status take_tensor(gguf_reader *r, uint32_t alignment, checkpoint_tensor *t)
{
	gguf_slice name;
	ufm_status status = gguf_take_name(r, NAME_BYTES_MAX, "tensor's name", &name);

	if (status)
		return status;
	t->name = (const char *)name.at;
	status = take_shape(r, t);
	if (!status)
		status = take_type(r, t);
	if (!status)
		status = take_offset(r, alignment, t);
	return status ? status_prefix(status, "tensor \"%.*s\"", (int)name.bytes, t->name) : UFM_OK;
}

static ufm_status take_tensors(gguf_reader *r, uint64_t count, uint32_t alignment,
                               tensor_list *list)
{
	for (uint64_t i = 0; i < count; i++) {
		checkpoint_tensor *t = tensor_list_add(list);
		ufm_status status = t ? take_tensor(r, alignment, t) : UFM_ENOMEM;

		if (status)
			return status;
	}
	return UFM_OK;
}

/* ---- the whole of them */

static int compare_names(const void *a, const void *b)
{
	return strcmp(((const checkpoint_tensor *)a)->name, ((const checkpoint_tensor *)b)->name);
}

static int compare_offsets(const void *a, const void *b)
{
	const checkpoint_tensor *x = a, *y = b;

	if (x->file_offset_bytes != y->file_offset_bytes)
		return x->file_offset_bytes < y->file_offset_bytes ? -1 : 1;
	return strcmp(x->name, y->name);
}

static ufm_status check_names(checkpoint_tensor *tensors, uint32_t count)
{
	if (count > 1)
		qsort(tensors, count, sizeof *tensors, compare_names);
	for (uint32_t i = 1; i < count; i++) {
		if (strcmp(tensors[i - 1].name, tensors[i].name) == 0)
			return status_fail(UFM_EFORMAT, "tensor \"%.200s\" stands twice", tensors[i].name);
	}
	return UFM_OK;
}

/* Each begins where the one before it ends, but for what aligns it. */
static ufm_status check_extents(checkpoint_tensor *tensors, uint32_t count, uint32_t alignment,
                                uint64_t payload)
{
	uint64_t end = 0;

	if (count > 1)
		qsort(tensors, count, sizeof *tensors, compare_offsets);
	for (uint32_t i = 0; i < count; i++) {
		const checkpoint_tensor *t = &tensors[i];
		uint64_t at = t->file_offset_bytes;

		if (t->size_bytes > payload || at > payload - t->size_bytes)
			return status_fail(UFM_EFORMAT,
			                   "tensor \"%.200s\": %llu bytes at byte %llu of a payload of %llu",
			                   t->name, (unsigned long long)t->size_bytes, (unsigned long long)at,
			                   (unsigned long long)payload);
		if (at < end)
			return status_fail(UFM_EFORMAT, "tensors \"%.150s\" and \"%.150s\" overlap",
			                   tensors[i - 1].name, t->name);
		if (at - end >= alignment)
			return status_fail(UFM_EFORMAT, "tensor \"%.200s\": a hole of %llu bytes before it",
			                   t->name, (unsigned long long)(at - end));
		end = at + t->size_bytes;
	}
	return UFM_OK;
}

static uint64_t text_bytes(const tensor_list *list, uint32_t first, const gguf_values *values)
{
	uint64_t bytes = gguf_values_text_bytes(values);

	for (uint32_t i = first; i < list->count; i++)
		bytes += gguf_string_bytes(list->tensors[i].name) + 1;
	return bytes;
}

/* Names and keys leave the header's bytes, which are the caller's. */
static ufm_status settle(tensor_list *list, uint32_t first, gguf_header *h)
{
	char *text = h->text = alloc_zeroed(text_bytes(list, first, &h->values), 1);

	if (!text)
		return UFM_ENOMEM;
	for (uint32_t i = first; i < list->count; i++)
		list->tensors[i].name = gguf_keep_string(list->tensors[i].name, &text);
	return gguf_values_settle(&h->values, &text);
}

static ufm_status parse(gguf_reader *r, tensor_list *list, gguf_header *h)
{
	uint64_t tensors, pairs;
	uint32_t first = list->count;
	ufm_status status = take_magic(r);

	if (!status)
		status = take_counts(r, &tensors, &pairs);
	if (!status)
		status = gguf_read_values(r, pairs, &h->values);
	if (!status)
		status = find_alignment(&h->values, &h->alignment);
	if (!status)
		status = take_tensors(r, tensors, h->alignment, list);
	if (!status)
		status = settle(list, first, h);
	return status;
}

static ufm_status place(const gguf_reader *r, uint32_t file, tensor_list *list, uint32_t first,
                        gguf_header *h)
{
	uint64_t data_at = (r->at + h->alignment - 1) / h->alignment * h->alignment;
	uint64_t payload = data_at < r->file_bytes ? r->file_bytes - data_at : 0;
	uint32_t count = list->count - first;
	checkpoint_tensor *tensors = count ? &list->tensors[first] : NULL;
	ufm_status status = check_names(tensors, count);

	if (!status)
		status = check_extents(tensors, count, h->alignment, payload);
	if (status)
		return status;
	for (uint32_t i = 0; i < count; i++) {
		tensors[i].file = file;
		tensors[i].file_offset_bytes += data_at;
	}
	h->header_bytes = r->at;
	return UFM_OK;
}

ufm_status gguf_parse(const uint8_t *bytes, uint64_t got, uint64_t file_bytes, uint32_t file,
                      tensor_list *list, gguf_header *out, bool *more)
{
	gguf_reader r = {.bytes = bytes, .got = got, .file_bytes = file_bytes};
	gguf_header h = {.header_bytes = 0};
	uint32_t first = list->count;
	ufm_status status = parse(&r, list, &h);

	if (!status)
		status = place(&r, file, list, first, &h);
	*more = r.more;
	if (status) {
		list->count = first;
		gguf_header_free(&h);
		return status == UFM_ENOMEM ? status : status_prefix(status, "header");
	}
	*out = h;
	return UFM_OK;
}

void gguf_header_free(gguf_header *h)
{
	alloc_free(h->values.items);
	alloc_free(h->text);
	*h = (gguf_header){.header_bytes = 0};
}
