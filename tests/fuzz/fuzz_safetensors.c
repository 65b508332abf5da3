/* SPDX-License-Identifier: MIT */
/* Fuzz target: a .safetensors file, opened as a checkpoint and as a bank. What is accepted keeps what
 * the rules promise: names once each, extents that cover the payload, blocks that can be read. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bank/bank.h"
#include "bank/safetensors.h"
#include "base/file.h"
#include "fuzzed_file.h"
#include "store/store.h"

enum { PAYLOAD_BYTES_MAX = 1 << 16, BLOCK_BYTES_MAX = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes);

static uint64_t elements(const checkpoint_tensor *t)
{
	uint64_t count = 1;

	for (uint32_t i = 0; i < t->rank; i++)
		count *= t->shape[i];
	return count;
}

static void check_checkpoint(const checkpoint *c, uint64_t payload_bytes)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < checkpoint_tensor_count(c); i++) {
		const checkpoint_tensor *t = checkpoint_tensor_at(c, i);

		require(checkpoint_find(c, t->name) == t);
		require(i == 0 || strcmp(checkpoint_tensor_at(c, i - 1)->name, t->name) < 0);
		require(t->file_offset_bytes + t->size_bytes <= checkpoint_file_bytes(c, t->file));
		require(elements(t) * checkpoint_dtype_bits(t->dtype) == 8 * t->size_bytes);
		sum += t->size_bytes;
	}
	require(sum == payload_bytes);
}

/* Every routed layer is of one tower, and numbers rise; whichever prefix chooses, they are the same. */
static uint32_t check_towers(const checkpoint *c, const char *prefix)
{
	towers t;
	uint32_t layers = 0;
	ufm_status status = towers_find(c, prefix, &t);

	if (status) {
		check_refused(status);
		return 0;
	}
	for (uint32_t i = 0; i < t.count; i++) {
		const tower *one = &t.items[i];

		require(one->layers >= 1 && (i < 2 || one->layers <= t.items[i - 1].layers));
		for (uint32_t k = 1; k < one->layers; k++)
			require(one->numbers[k - 1] < one->numbers[k]);
		layers += one->layers;
	}
	require(!prefix || t.count == 0 || strncmp(t.items[0].name, prefix, strlen(prefix)) == 0);
	towers_free(&t);
	return layers;
}

static void check_all_towers(const checkpoint *c)
{
	uint32_t layers = check_towers(c, NULL), chosen = check_towers(c, "mtp");

	require(chosen == 0 || chosen == layers);
}

static void check_bank(const ufm_bank *bank)
{
	ufm_bank_info info = {.struct_size = sizeof info};
	void *block;

	ufm_bank_get_info(bank, &info);
	require(bank_check_desc(info.desc) == UFM_OK);
	require(info.bank_bytes == (uint64_t)info.layers * info.experts * info.desc->expert_bytes);
	if (info.desc->block_bytes > BLOCK_BYTES_MAX)
		return;
	block = malloc(info.desc->expert_bytes);
	require(block);
	require(ufm_bank_read(bank, 0, 0, block) == UFM_OK);
	require(ufm_bank_read(bank, info.layers - 1, info.experts - 1, block) == UFM_OK);
	free(block);
}

static void open_bank(const char *path)
{
	const ufm_bank_checkpoint_config config = {
		.struct_size = sizeof config, .f16_as = UFM_BF16, .activation = UFM_ACT_SILU};
	ufm_bank *bank;
	ufm_status status = ufm_bank_checkpoint(path, &config, &bank);

	if (status) {
		check_refused(status);
		return;
	}
	check_bank(bank);
	ufm_bank_close(bank);
}

static void try_file(const uint8_t *header, size_t header_bytes, const uint8_t *prefix,
                     uint64_t file_bytes)
{
	char path[64];
	int fd = memory_file(path);
	checkpoint *c;
	ufm_status status;

	require(ftruncate(fd, 0) == 0 && ftruncate(fd, (off_t)file_bytes) == 0);
	require(pwrite(fd, prefix, 8, 0) == 8);
	require(pwrite(fd, header, header_bytes, 8) == (ssize_t)header_bytes);
	status = checkpoint_open(path, &c);
	if (status) {
		check_refused(status);
		return;
	}
	uint64_t length;
	require(safetensors_header_bytes(prefix, 8, file_bytes, &length) == UFM_OK);
	check_checkpoint(c, file_bytes - 8 - length);
	check_all_towers(c);
	checkpoint_close(c);
	open_bank(path);
}

/* All bytes after the first eight are the header, and they say how large the payload is: chance finds
 * no header length that fits. */
static void try_repaired(const uint8_t *data, size_t size_bytes)
{
	uint64_t header_bytes = size_bytes - 8, payload_bytes = 0;
	uint8_t prefix[8];

	for (int i = 8; i-- > 0;)
		payload_bytes = payload_bytes << 8 | data[i];
	for (int i = 0; i < 8; i++)
		prefix[i] = (uint8_t)(header_bytes >> (8 * i));
	try_file(data + 8, header_bytes, prefix,
	         8 + header_bytes + payload_bytes % (PAYLOAD_BYTES_MAX + 1));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
	uint64_t length;

	if (size_bytes < 8) {
		check_refused(safetensors_header_bytes(data, size_bytes, size_bytes, &length));
		return 0;
	}
	try_file(data + 8, size_bytes - 8, data, size_bytes);
	try_repaired(data, size_bytes);
	return 0;
}
