/* SPDX-License-Identifier: MIT */
/* Fuzz target: a GGUF file, parsed in pieces, opened as a checkpoint and as banks of every kind of its layers. What is
 * accepted keeps what the rules promise: names once each, tensors inside the file, blocks that can be read. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bank/bank.h"
#include "bank/gguf.h"
#include "bank/gguf_experts.h"
#include "fuzzed_file.h"

enum { PAYLOAD_BYTES = 1 << 18, BLOCK_BYTES_MAX = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes);

/* ---- the parser alone, whose memory ends with what it was given */

typedef struct parsed {
	ufm_status status;
	bool more;
	uint32_t tensors, keys;
	uint64_t header_bytes;
} parsed;

static parsed parse(const uint8_t *data, size_t got, uint64_t file_bytes)
{
	tensor_list list = {0};
	gguf_header h;
	parsed p = {.more = false};
	uint8_t *copy = malloc(got ? got : 1);

	require(copy != NULL);
	if (got)
		memcpy(copy, data, got);
	p.status = gguf_parse(copy, got, file_bytes, 0, &list, &h, &p.more);
	free(copy);
	p.tensors = list.count;
	if (p.status) {
		check_refused(p.status);
		require(list.count == 0);
	} else {
		p.keys = h.values.count;
		p.header_bytes = h.header_bytes;
		for (uint32_t i = 0; i < h.values.count; i++)
			require(gguf_find(&h.values, h.values.items[i].key) == &h.values.items[i]);
		gguf_header_free(&h);
	}
	tensor_list_free(&list);
	return p;
}

/* However much is read at first, the outcome is that of the whole, unless more is asked for. */
static void parse_in_pieces(const uint8_t *data, size_t size_bytes, uint64_t file_bytes)
{
	parsed whole = parse(data, size_bytes, file_bytes);

	require(!whole.more || size_bytes < file_bytes);
	for (size_t got = size_bytes; got > 0; got /= 2) {
		parsed part = parse(data, got - 1, file_bytes);

		if (part.more)
			continue;
		require(!part.status == !whole.status && part.tensors == whole.tensors);
		require(part.status ||
		        (part.keys == whole.keys && part.header_bytes == whole.header_bytes));
	}
}

/* ---- as a file */

static void check_checkpoint(const checkpoint *c)
{
	for (uint32_t i = 0; i < checkpoint_tensor_count(c); i++) {
		const checkpoint_tensor *t = checkpoint_tensor_at(c, i);

		require(checkpoint_find(c, t->name) == t);
		require(i == 0 || strcmp(checkpoint_tensor_at(c, i - 1)->name, t->name) < 0);
		require(t->size_bytes > 0 && t->size_bytes <= checkpoint_file_bytes(c, t->file));
		require(t->file_offset_bytes <= checkpoint_file_bytes(c, t->file) - t->size_bytes);
		require(*checkpoint_dtype_name(t->dtype));
	}
}

static void check_set(const checkpoint *c, const gguf_set *set)
{
	char text[64];
	uint32_t layers = 0;

	for (uint32_t i = 0; i < set->kind_count; i++) {
		layers += set->kinds[i].layers;
		require(*bank_types_text(&set->kinds[i].desc, text, sizeof text));
		require(*gguf_kind_layers(set, i, text, sizeof text));
	}
	require(layers == set->count && set->kind_count >= 1);
	for (uint32_t i = 0; i < set->count; i++) {
		const checkpoint_tensor *t;
		ufm_status status = gguf_experts_router(set, c, i, &t);

		require(i == 0 || set->layers[i - 1].number < set->layers[i].number);
		if (status)
			check_refused(status);
	}
}

static void find_experts(const checkpoint *c, const char *prefix)
{
	towers t;
	gguf_set set;
	ufm_status status = towers_find(c, prefix, &t);

	if (status) {
		check_refused(status);
		return;
	}
	status = gguf_experts_find(c, &t, 0, 0, 0, &set);
	if (status) {
		check_refused(status);
	} else {
		check_set(c, &set);
		gguf_experts_free(&set);
	}
	towers_free(&t);
}

static void read_blocks(const ufm_bank *bank)
{
	ufm_bank_info info = {.struct_size = sizeof info};
	void *block;

	ufm_bank_get_info(bank, &info);
	require(bank_check_desc(info.desc) == UFM_OK);
	require(info.bank_bytes == (uint64_t)info.layers * info.experts * info.desc->expert_bytes);
	if (info.desc->block_bytes > BLOCK_BYTES_MAX)
		return;
	block = aligned_alloc(4096, info.desc->block_bytes);
	require(block);
	require(ufm_bank_read(bank, 0, 0, block) == UFM_OK);
	require(ufm_bank_read(bank, info.layers - 1, info.experts - 1, block) == UFM_OK);
	free(block);
}

static uint32_t open_bank(const char *path, uint32_t geometry)
{
	const ufm_bank_checkpoint_config config = {.struct_size = sizeof config, .geometry = geometry};
	ufm_bank_info info = {.struct_size = sizeof info};
	ufm_bank *bank;
	ufm_status status = ufm_bank_checkpoint(path, &config, &bank);

	if (status) {
		check_refused(status);
		return 0;
	}
	ufm_bank_get_info(bank, &info);
	read_blocks(bank);
	ufm_bank_close(bank);
	return info.geometries;
}

/* All kinds are there, or none is but for what a description is refused for. */
static void open_banks(const char *path)
{
	uint32_t kinds = open_bank(path, 1);

	require(kinds == 0 || open_bank(path, kinds + 1) == 0);
	for (uint32_t i = 2; i <= kinds; i++)
		open_bank(path, i);
	require(open_bank(path, 0) == 0 || kinds == 1);
}

static void try_file(const uint8_t *data, size_t size_bytes, uint64_t file_bytes)
{
	char path[64];
	int fd = memory_file(path);
	checkpoint *c;
	ufm_status status;

	require(ftruncate(fd, 0) == 0 && ftruncate(fd, (off_t)file_bytes) == 0);
	require(pwrite(fd, data, size_bytes, 0) == (ssize_t)size_bytes);
	if (!bank_is_checkpoint(path))
		return;
	status = checkpoint_open(path, &c);
	if (status) {
		check_refused(status);
		return;
	}
	check_checkpoint(c);
	find_experts(c, NULL);
	find_experts(c, "blk.1");
	checkpoint_close(c);
	open_banks(path);
}

/* As it is, and with a payload: chance writes none that is long enough. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
	parse_in_pieces(data, size_bytes, size_bytes);
	parse_in_pieces(data, size_bytes, size_bytes + PAYLOAD_BYTES);
	try_file(data, size_bytes, size_bytes);
	try_file(data, size_bytes, size_bytes + PAYLOAD_BYTES);
	return 0;
}
