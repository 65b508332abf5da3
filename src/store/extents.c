/* SPDX-License-Identifier: MIT */
/* The store that carries out a bank's extents: made from a seed, copied from memory, written by the caller's
 * function, or read from a file by a thread that waits. */
#include <stdbool.h>
#include <string.h>

#include "bank/bank.h"
#include "base/alloc.h"
#include "base/file.h"
#include "base/status.h"
#include "store/convert_int.h"
#include "store/direct_int.h"
#include "store/nibbles_int.h"
#include "store/store.h"
#include "store/strided_int.h"
#include "store/synthetic_int.h"

#define STRIDED_BUFFER_BYTES ((uint64_t)4 << 20)

typedef struct extents_store {
	store base;
	ufm_bank *bank;
	uint32_t file_count;
	direct_file *files;
} extents_store;

/* One extent of one expert that is being read. */
typedef struct reading {
	const extents_store *s;
	uint32_t key;
	const bank_extent *extent;
	bool keep; /* what is read is left in the page cache */
} reading;

static ufm_status fail_expert(const reading *r, uint64_t done, const char *cause)
{
	const ufm_bank *bank = r->s->bank;
	uint32_t experts = bank_get_shape(bank)->experts;

	return status_fail(UFM_EEXPERT_IO, "layer %u expert %u: %s at byte %llu: %s",
	                   ufm_bank_layer_number(bank, r->key / experts), r->key % experts,
	                   bank_file_path(bank, r->extent->file),
	                   (unsigned long long)(r->extent->file_offset_bytes + done), cause);
}

/* A strided_source. */
static ufm_status read_bytes(void *ctx, uint64_t from_bytes, uint64_t size_bytes, void *out)
{
	const reading *r = ctx;
	const direct_file *file = &r->s->files[r->extent->file];
	uint64_t at = r->extent->file_offset_bytes + from_bytes, got;
	ufm_status status = r->keep ? file_read(file->fd, out, size_bytes, at, &got)
	                            : direct_read(file, out, size_bytes, at, &got);

	if (status)
		return fail_expert(r, from_bytes + got, ufm_last_error());
	if (got < size_bytes)
		return fail_expert(r, from_bytes + got, "the file ends here");
	return UFM_OK;
}

/* In pieces, so that a thread needs the same memory whatever a matrix needs. */
static ufm_status read_converted(reading *r, uint8_t *out)
{
	const bank_extent *extent = r->extent;
	uint64_t from_bytes = ufm_dtype_bytes(extent->from), to_bytes = ufm_dtype_bytes(extent->to);
	uint64_t count = extent->size_bytes / to_bytes, most = CONVERT_PIECE_BYTES / from_bytes;
	convert_fn convert = convert_find(extent->from, extent->to);
	uint8_t piece[CONVERT_PIECE_BYTES];

	for (uint64_t done = 0; done < count; done += most) {
		uint64_t n = count - done < most ? count - done : most;
		ufm_status status = read_bytes(r, done * from_bytes, n * from_bytes, piece);

		if (status)
			return status;
		convert(piece, n, out + done * to_bytes);
	}
	return UFM_OK;
}

/* The disk reads whole pages. Where more than a quarter of them is not wanted it is another part's, which is
 * read next: so that the disk does not read them again the page cache keeps them. */
static ufm_status read_strided(reading *r, uint8_t *out)
{
	uint64_t span_bytes = strided_span_bytes(r->extent);
	uint64_t buffer_bytes = span_bytes < STRIDED_BUFFER_BYTES ? span_bytes : STRIDED_BUFFER_BYTES;
	uint8_t *buffer = alloc_pages(buffer_bytes);
	ufm_status status;

	if (!buffer)
		return UFM_ENOMEM;
	alloc_pages_keep_from_fork(buffer, buffer_bytes, true);
	r->keep = bank_extent_file_bytes(r->extent) < span_bytes - span_bytes / 4;
	status = strided_read(r->extent, read_bytes, r, buffer, buffer_bytes, out);
	alloc_pages_free(buffer, buffer_bytes);
	return status;
}

static ufm_status read_reciprocals(reading *r, uint8_t *out)
{
	ufm_status status = read_bytes(r, 0, r->extent->size_bytes, out);

	for (uint64_t at = 0; !status && at < r->extent->size_bytes; at += sizeof(float)) {
		float value;

		memcpy(&value, out + at, sizeof value);
		value = 1.0f / value;
		memcpy(out + at, &value, sizeof value);
	}
	return status;
}

static ufm_status read_file(reading *r, uint8_t *out)
{
	if (r->extent->kind == EXTENT_STRIDED)
		return read_strided(r, out);
	if (r->extent->kind == EXTENT_NIBBLES)
		return nibbles_read(r->extent, read_bytes, r, out);
	if (r->extent->kind == EXTENT_RECIPROCAL)
		return read_reciprocals(r, out);
	if (r->extent->from != r->extent->to)
		return read_converted(r, out);
	return read_bytes(r, 0, r->extent->size_bytes, out);
}

/* Whatever the caller's function returns, ours is a status. */
static ufm_status call_reader(const ufm_bank *bank, uint32_t key, const bank_reader *reader,
                              void *block)
{
	uint32_t experts = bank_get_shape(bank)->experts, layer = key / experts, expert = key % experts;
	ufm_status status = reader->read(reader->ctx, layer, expert, block);

	if (status == UFM_OK)
		return UFM_OK;
	return status_fail(status_is_known(status) ? status : UFM_EEXPERT_IO,
	                   "layer %u expert %u: the caller's function returned %d (%s)",
	                   ufm_bank_layer_number(bank, layer), expert, (int)status,
	                   ufm_strerror(status));
}

static ufm_status read_extent(const extents_store *s, uint32_t key, const bank_extent *extent,
                              uint8_t *block)
{
	uint8_t *out = block + extent->block_offset_bytes;

	switch (extent->kind) {
	case EXTENT_SYNTHETIC:
		synthetic_fill(bank_desc(s->bank), extent->seed, out);
		return UFM_OK;
	case EXTENT_MEMORY:
		memcpy(out, extent->memory, extent->size_bytes);
		return UFM_OK;
	case EXTENT_ZERO:
		memset(out, 0, extent->size_bytes);
		return UFM_OK;
	case EXTENT_CALLBACK:
		return call_reader(s->bank, key, extent->reader, out);
	case EXTENT_FILE:
	case EXTENT_STRIDED:
	case EXTENT_NIBBLES:
	case EXTENT_RECIPROCAL:
		break;
	}
	return read_file(&(reading){.s = s, .key = key, .extent = extent}, out);
}

static ufm_status extents_read(store *base, uint32_t key, void *block)
{
	extents_store *s = (extents_store *)base;
	bank_extent extents[BANK_EXTENTS_MAX];
	uint32_t count = bank_extents(s->bank, key, extents);
	ufm_status status = UFM_OK;

	for (uint32_t i = 0; i < count && !status; i++)
		status = read_extent(s, key, &extents[i], block);
	return status;
}

static void extents_close(store *base)
{
	extents_store *s = (extents_store *)base;

	for (uint32_t i = 0; i < s->file_count; i++)
		direct_close(&s->files[i]);
	alloc_free(s->files);
	ufm_bank_close(s->bank);
	alloc_free(s);
}

/* file_count counts the files opened so far, so that closing works after a failure half-way. */
static ufm_status open_files(extents_store *s)
{
	uint32_t wanted = bank_file_count(s->bank);

	s->files = alloc_zeroed(wanted, sizeof *s->files);
	if (!s->files)
		return UFM_ENOMEM;
	for (; s->file_count < wanted; s->file_count++) {
		ufm_status status =
			direct_open(bank_file_path(s->bank, s->file_count), &s->files[s->file_count]);

		if (status)
			return status;
	}
	return UFM_OK;
}

ufm_status store_extents_open(ufm_bank *bank, store **out)
{
	extents_store *s = alloc_zeroed(1, sizeof *s);
	ufm_status status;

	if (!s)
		return UFM_ENOMEM;
	s->base.read = extents_read;
	s->base.close = extents_close;
	s->bank = bank_ref(bank);
	status = open_files(s);
	if (status) {
		extents_close(&s->base);
		return status;
	}
	*out = &s->base;
	return UFM_OK;
}
