/* SPDX-License-Identifier: MIT */
/* The public calls that move a bank's payload: reading one expert, and saving all as a packed
 * file. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bank/bank.h"
#include "base/alloc.h"
#include "base/file.h"
#include "base/replace.h"
#include "base/status.h"
#include "store/store.h"

ufm_status ufm_bank_read(const ufm_bank *bank, uint32_t layer, uint32_t expert, void *block)
{
	const bank_shape *shape;
	store *s;
	ufm_status status = status_need(bank, "bank", "an open bank");

	if (!status)
		status = status_need(block, "block", "memory for an expert");
	if (status)
		return status;
	shape = bank_get_shape(bank);
	if (layer >= shape->layers || expert >= shape->experts)
		return status_fail(UFM_EINVAL, "layer %u expert %u, expected below %u and %u", layer,
		                   expert, shape->layers, shape->experts);
	/* Every bank is allocated writable; only its reference count changes here. */
	status = store_open((ufm_bank *)bank, NULL, &s);
	if (status)
		return status;
	status = store_read(s, layer * shape->experts + expert, block);
	store_close(s);
	return status;
}

static ufm_status write_all(int fd, const void *data, uint64_t size_bytes, const char *path)
{
	if (file_write(fd, data, size_bytes))
		return UFM_OK;
	return status_fail(UFM_EFILE, "%s: cannot be written: %s", path, strerror(errno));
}

/* `block` is zeroed and of block_bytes: the bytes after the payload stay zero. */
static ufm_status write_blocks(ufm_bank *bank, store *s, void *block, int fd, const char *path)
{
	const ufm_expert_desc *desc = bank_desc(bank);
	ufm_status status = UFM_OK;

	for (uint32_t key = 0; key < bank_key_count(bank) && !status; key++) {
		status = store_read(s, key, block);
		if (!status)
			status = write_all(fd, block, desc->block_bytes, path);
	}
	return status;
}

ufm_status store_write_packed(ufm_bank *bank, int fd, const char *path)
{
	uint8_t header[BANK_PACKED_HEADER_BYTES];
	const bank_shape *shape = bank_get_shape(bank);
	ufm_status status;
	store *s;
	void *block;

	status = store_open(bank, NULL, &s);
	if (status)
		return status;
	block = alloc_zeroed(1, shape->desc.block_bytes);
	if (!block) {
		status = UFM_ENOMEM;
		goto close_store;
	}
	bank_packed_header(shape, header);
	status = write_all(fd, header, sizeof header, path);
	if (!status)
		status = write_blocks(bank, s, block, fd, path);
	alloc_free(block);
close_store:
	store_close(s);
	return status;
}

ufm_status ufm_bank_save(ufm_bank *bank, const char *path)
{
	replacement file;
	ufm_status status = status_need(bank, "bank", "an open bank");

	if (status)
		return status;
	if (!path || !*path)
		return status_fail(UFM_EINVAL, "path is empty, expected a file to write");
	status = replacement_open(path, &file);
	if (status)
		return status;
	status = store_write_packed(bank, file.fd, file.path);
	if (!status)
		return replacement_commit(&file);
	replacement_abandon(&file);
	return status;
}
