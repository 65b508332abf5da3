/* SPDX-License-Identifier: MIT */
/* The bank object, the banks that need no file (synthetic ones and those in memory), and the choice of
 * whose file it is. */
#include "bank/bank.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

#include "bank/bank_callback_int.h"
#include "bank/bank_files_int.h"
#include "bank/bank_int.h"
#include "bank/gguf_bank.h"
#include "base/alloc.h"
#include "base/rng.h"
#include "base/status.h"

ufm_status bank_check_counts(uint32_t layers, uint32_t experts, uint64_t block_bytes)
{
	uint64_t keys = (uint64_t)layers * experts;

	if (experts < 1 || experts > BANK_EXPERTS_MAX)
		return status_fail(UFM_EINVAL, "experts is %u, expected 1 … %u", experts, BANK_EXPERTS_MAX);
	if (layers < 1 || keys > BANK_KEYS_MAX)
		return status_fail(UFM_EINVAL, "layers is %u, expected 1 … %u with %u experts a layer",
		                   layers, BANK_KEYS_MAX / experts, experts);
	if (block_bytes > (INT64_MAX - BANK_PACKED_HEADER_BYTES) / keys)
		return status_fail(UFM_EINVAL,
		                   "%llu blocks of %llu bytes: the bank would exceed 2^63 bytes",
		                   (unsigned long long)keys, (unsigned long long)block_bytes);
	return UFM_OK;
}

ufm_status bank_new(extent_kind kind, uint32_t layers, uint32_t experts,
                    const ufm_expert_desc *given, ufm_bank **out)
{
	ufm_expert_desc desc;
	ufm_status status;
	ufm_bank *bank;

	layers = layers ? layers : 1;
	status = bank_read_desc(given, &desc);
	if (!status)
		status = bank_check_counts(layers, experts, desc.block_bytes);
	if (status)
		return status;
	bank = alloc_zeroed(1, sizeof *bank);
	if (!bank)
		return UFM_ENOMEM;
	atomic_init(&bank->refs, 1);
	bank->kind = kind;
	bank->shape.layers = layers;
	bank->shape.experts = experts;
	bank->shape.desc = desc;
	bank->shape.bank_bytes = (uint64_t)layers * experts * desc.expert_bytes;
	*out = bank;
	return UFM_OK;
}

ufm_status bank_copy_numbers(ufm_bank *bank, const uint32_t *numbers)
{
	uint32_t layers = bank->shape.layers;

	if (!numbers)
		return UFM_OK;
	bank->layer_numbers = alloc_zeroed(layers, sizeof *numbers);
	if (!bank->layer_numbers)
		return UFM_ENOMEM;
	memcpy(bank->layer_numbers, numbers, layers * sizeof *numbers);
	return UFM_OK;
}

ufm_status bank_need_both(const void *config, const char *wanted, ufm_bank **out)
{
	ufm_status status = status_need(config, "config", wanted);

	return status ? status : status_need((const void *)out, "out", "where to put the bank");
}

ufm_status ufm_bank_synthetic(const ufm_bank_synthetic_config *given, ufm_bank **out)
{
	ufm_bank_synthetic_config config;
	ufm_status status;

	UFM_STRUCT_INIT(&config);
	status = bank_need_both(given, "a ufm_bank_synthetic_config", out);
	if (!status)
		status = status_read_config(&config, sizeof config, given, "ufm_bank_synthetic_config");
	if (!status)
		status = bank_new(EXTENT_SYNTHETIC, config.layers, config.experts, config.desc, out);
	if (!status)
		(*out)->seed = config.seed;
	return status;
}

static ufm_status check_blocks(const ufm_bank_memory_config *config)
{
	uint64_t keys = (uint64_t)(config->layers ? config->layers : 1) * config->experts;

	if (!config->blocks)
		return status_fail(UFM_EINVAL, "blocks is NULL, expected %llu pointers",
		                   (unsigned long long)keys);
	for (uint64_t key = 0; key < keys; key++) {
		if (!config->blocks[key])
			return status_fail(UFM_EINVAL, "blocks[%llu] is NULL, expected an expert's bytes",
			                   (unsigned long long)key);
	}
	return UFM_OK;
}

ufm_status ufm_bank_memory(const ufm_bank_memory_config *given, ufm_bank **out)
{
	ufm_bank_memory_config config;
	ufm_bank *bank;
	ufm_status status;

	UFM_STRUCT_INIT(&config);
	status = bank_need_both(given, "a ufm_bank_memory_config", out);
	if (!status)
		status = status_read_config(&config, sizeof config, given, "ufm_bank_memory_config");
	/* Before the blocks: the counts say how many there must be. */
	if (!status)
		status = bank_new(EXTENT_MEMORY, config.layers, config.experts, config.desc, &bank);
	if (status)
		return status;
	status = check_blocks(&config);
	if (status) {
		ufm_bank_close(bank);
		return status;
	}
	bank->blocks = config.blocks;
	*out = bank;
	return UFM_OK;
}

ufm_status ufm_bank_open(const char *path, ufm_bank **out)
{
	if (!path || !*path)
		return status_fail(UFM_EINVAL, "path is empty, expected a bank's file or folder");
	ufm_status status = status_need((const void *)out, "out", "where to put the bank");
	if (status)
		return status;
	return bank_is_checkpoint(path) ? ufm_bank_checkpoint(path, NULL, out)
	                                : bank_packed_open(path, out);
}

ufm_status ufm_bank_get_info(const ufm_bank *bank, ufm_bank_info *info)
{
	ufm_status status = status_need(bank, "bank", "an open bank");

	if (!status)
		status = status_need(info, "info", "a ufm_bank_info");
	if (status)
		return status;
	const ufm_bank_info found = {.layers = bank->shape.layers,
	                             .experts = bank->shape.experts,
	                             .desc = &bank->shape.desc,
	                             .bank_bytes = bank->shape.bank_bytes,
	                             .geometries = bank->gguf ? gguf_bank_kinds(bank->gguf) : 1};
	return status_write_info(info, &found, sizeof found, "ufm_bank_info");
}

const bank_shape *bank_get_shape(const ufm_bank *bank)
{
	return &bank->shape;
}

ufm_bank *bank_ref(ufm_bank *bank)
{
	/* The caller's own reference keeps the bank alive, so nothing needs to be ordered. */
	atomic_fetch_add_explicit(&bank->refs, 1, memory_order_relaxed);
	return bank;
}

void ufm_bank_close(ufm_bank *bank)
{
	if (!bank)
		return;
	/* Whoever drops the last reference must see all that the others did before dropping theirs. */
	if (atomic_fetch_sub_explicit(&bank->refs, 1, memory_order_acq_rel) != 1)
		return;
	alloc_free(bank->path);
	gguf_bank_free(bank->gguf);
	experts_free(&bank->found);
	towers_free(&bank->towers);
	checkpoint_close(bank->source);
	bank_files_free(bank->files);
	alloc_free(bank->layer_numbers);
	bank_callback_close(bank);
	alloc_free(bank);
}

const ufm_expert_desc *bank_desc(const ufm_bank *bank)
{
	return &bank->shape.desc;
}

uint32_t bank_key_count(const ufm_bank *bank)
{
	return bank->shape.layers * bank->shape.experts;
}

uint32_t bank_extents(const ufm_bank *bank, uint32_t key, bank_extent out[BANK_EXTENTS_MAX])
{
	bank_extent extent = {.kind = bank->kind, .size_bytes = bank->shape.desc.expert_bytes};

	assert(key < bank_key_count(bank));
	if (bank->gguf)
		return gguf_bank_extents(bank, key, out);
	if (bank->source)
		return bank_checkpoint_extents(bank, key, out);
	if (bank->files)
		return bank_files_extents(bank, key, out);
	if (bank->kind == EXTENT_CALLBACK)
		return bank_callback_extents(bank, out);
	switch (bank->kind) {
	case EXTENT_SYNTHETIC:
		extent.seed = rng_mix(bank->seed, key);
		break;
	case EXTENT_MEMORY:
		extent.memory = bank->blocks[key];
		break;
	case EXTENT_FILE:
		extent.file_offset_bytes =
			BANK_PACKED_HEADER_BYTES + (uint64_t)key * bank->shape.desc.block_bytes;
		break;
	case EXTENT_CALLBACK: /* has been told of */
	case EXTENT_STRIDED:
	case EXTENT_NIBBLES:
	case EXTENT_RECIPROCAL:
	case EXTENT_ZERO: /* the kinds of no bank */
		break;
	}
	out[0] = extent;
	return 1;
}

uint64_t bank_extent_file_bytes(const bank_extent *extent)
{
	if (extent->kind != EXTENT_FILE && extent->kind != EXTENT_STRIDED)
		return 0;
	if (extent->from == extent->to)
		return extent->size_bytes;
	return extent->size_bytes / ufm_dtype_bytes(extent->to) * ufm_dtype_bytes(extent->from);
}

uint32_t bank_file_count(const ufm_bank *bank)
{
	if (bank->source)
		return checkpoint_file_count(bank->source);
	if (bank->files)
		return bank_files_count(bank->files);
	return bank->kind == EXTENT_FILE ? 1 : 0;
}

const char *bank_file_path(const ufm_bank *bank, uint32_t file)
{
	assert(file < bank_file_count(bank));
	if (bank->files)
		return bank_files_path(bank->files, file);
	return bank->source ? checkpoint_file_path(bank->source, file) : bank->path;
}

const checkpoint *bank_checkpoint(const ufm_bank *bank)
{
	return bank->source;
}

const towers *bank_towers(const ufm_bank *bank)
{
	return &bank->towers;
}

ufm_status bank_router(const ufm_bank *bank, uint32_t layer, const checkpoint_tensor **out)
{
	assert(layer < bank->shape.layers);
	*out = NULL;
	if (bank->gguf)
		return gguf_bank_router(bank->gguf, bank->source, layer, out);
	return bank->source ? experts_router(&bank->found, bank->source, layer, out) : UFM_OK;
}

uint32_t ufm_bank_layer_number(const ufm_bank *bank, uint32_t layer)
{
	if (!bank)
		return 0;
	if (bank->layer_numbers && layer < bank->shape.layers)
		return bank->layer_numbers[layer];
	return bank->source && layer < bank->found.layers ? bank->found.numbers[layer] : layer;
}
