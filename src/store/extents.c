/* SPDX-License-Identifier: MIT */
/* The store that carries out a bank's extents: made from a seed, copied from memory, or read from a
 * file by a thread that waits. */
#include <stdbool.h>
#include <string.h>

#include "bank/bank.h"
#include "base/alloc.h"
#include "base/status.h"
#include "store/convert_int.h"
#include "store/direct_int.h"
#include "store/store.h"
#include "store/synthetic_int.h"

typedef struct extents_store {
	store base;
	ufm_bank *bank;
	uint32_t file_count;
	direct_file *files;
} extents_store;

static ufm_status fail_expert(const extents_store *s, uint32_t key, const bank_extent *extent,
                              uint64_t done, const char *cause)
{
	uint32_t experts = bank_get_shape(s->bank)->experts;

	return status_fail(UFM_EEXPERT_IO, "layer %u expert %u: %s at byte %llu: %s",
	                   ufm_bank_layer_number(s->bank, key / experts), key % experts,
	                   bank_file_path(s->bank, extent->file),
	                   (unsigned long long)(extent->file_offset_bytes + done), cause);
}

static ufm_status read_bytes(const extents_store *s, uint32_t key, const bank_extent *extent,
                             uint64_t from, uint64_t size_bytes, void *out)
{
	uint64_t got;
	ufm_status status = direct_read(&s->files[extent->file], out, size_bytes,
	                                extent->file_offset_bytes + from, &got);

	if (status)
		return fail_expert(s, key, extent, from + got, ufm_last_error());
	if (got < size_bytes)
		return fail_expert(s, key, extent, from + got, "the file ends here");
	return UFM_OK;
}

/* In pieces, so that a thread needs the same memory whatever a matrix needs. */
static ufm_status read_converted(const extents_store *s, uint32_t key, const bank_extent *extent,
                                 uint8_t *out)
{
	ufm_dtype to = extent->conversion == CONVERT_F16_TO_F32 ? UFM_F32 : UFM_BF16;
	uint64_t count = extent->size_bytes / ufm_dtype_bytes(to);
	uint16_t piece[CONVERT_PIECE];

	for (uint64_t done = 0; done < count; done += CONVERT_PIECE) {
		uint64_t n = count - done < CONVERT_PIECE ? count - done : CONVERT_PIECE;
		ufm_status status =
			read_bytes(s, key, extent, done * sizeof *piece, n * sizeof *piece, piece);

		if (status)
			return status;
		convert_f16(piece, n, to, out + done * ufm_dtype_bytes(to));
	}
	return UFM_OK;
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
	case EXTENT_FILE:
		break;
	}
	if (extent->conversion != CONVERT_NONE)
		return read_converted(s, key, extent, out);
	return read_bytes(s, key, extent, 0, extent->size_bytes, out);
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
