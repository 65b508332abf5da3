/* SPDX-License-Identifier: MIT */
#include "support/callback_bank.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "bank/bank.h"
#include "pager/host.h"

static ufm_status copy_parts(const weights *w, uint32_t key, void *block)
{
	const ufm_expert_desc *desc = bank_desc(w->source);
	uint8_t *whole = malloc(desc->expert_bytes);

	ufm_status status =
		whole ? ufm_bank_read(w->source, key / WEIGHTS_EXPERTS, key % WEIGHTS_EXPERTS, whole)
			  : UFM_ENOMEM;

	for (uint32_t i = 0; !status && i < desc->part_count; i++) {
		const ufm_part *part = &desc->parts[i];

		memcpy((uint8_t *)block + part->offset_bytes, whole + part->offset_bytes,
		       (size_t)part->rows * part->cols * ufm_dtype_bytes(part->dtype));
	}
	if (!status && w->writes_gaps)
		memcpy(block, whole, desc->expert_bytes);
	free(whole);
	return status;
}

static ufm_status read_weights(void *ctx, uint32_t layer, uint32_t expert, void *block)
{
	weights *w = ctx;
	uint32_t key = layer * WEIGHTS_EXPERTS + expert, number = atomic_fetch_add(&w->total, 1);

	if (layer >= WEIGHTS_LAYERS || expert >= WEIGHTS_EXPERTS)
		abort();
	atomic_fetch_add(&w->reads[key], 1);
	if (number < WEIGHTS_KEYS)
		w->order[number] = key;
	if (key == w->fails_at)
		return (ufm_status)w->status;
	return copy_parts(w, key, block);
}

static void note_closed(void *ctx)
{
	atomic_fetch_add(&((weights *)ctx)->closed, 1);
}

ufm_expert_desc weights_describe(ufm_expert_kind kind, ufm_dtype dtype, uint32_t d_model,
                                 uint32_t d_hidden)
{
	ufm_expert_desc desc = {.struct_size = sizeof desc};

	assert_int_equal(ufm_expert_desc_init(&desc, kind, d_model, d_hidden, dtype), UFM_OK);
	return desc;
}

void weights_open(weights *w, const ufm_expert_desc *desc)
{
	ufm_bank_synthetic_config config;

	memset(w, 0, sizeof *w);
	UFM_STRUCT_INIT(&config);
	config.layers = WEIGHTS_LAYERS;
	config.experts = WEIGHTS_EXPERTS;
	config.desc = desc;
	config.seed = 7;
	assert_int_equal(ufm_bank_synthetic(&config, &w->source), UFM_OK);
	w->fails_at = WEIGHTS_FAILS_NEVER;
}

void weights_close(weights *w, uint32_t closed)
{
	assert_int_equal(w->closed, closed);
	ufm_bank_close(w->source);
}

ufm_bank_callback_config weights_config(weights *w)
{
	return (ufm_bank_callback_config){.struct_size = sizeof(ufm_bank_callback_config),
	                                  .layers = WEIGHTS_LAYERS,
	                                  .experts = WEIGHTS_EXPERTS,
	                                  .desc = bank_desc(w->source),
	                                  .read = read_weights,
	                                  .ctx = w,
	                                  .closed = note_closed};
}

ufm_bank *weights_bank(weights *w)
{
	const ufm_bank_callback_config config = weights_config(w);
	ufm_bank *bank;

	assert_int_equal(ufm_bank_callback(&config, &bank), UFM_OK);
	return bank;
}

ufm_status weights_host(ufm_bank *bank, uint32_t threads, ufm_host **out)
{
	ufm_host_config config;

	UFM_STRUCT_INIT(&config);
	config.backend = "cpu";
	config.pageable = 1;
	config.fill_threads = threads;
	return ufm_host_open(bank, &config, out);
}

void weights_check_block(const weights *w, uint32_t key, const void *block)
{
	uint64_t bytes = bank_desc(w->source)->expert_bytes;
	void *wanted = malloc(bytes);

	assert_non_null(wanted);
	assert_int_equal(ufm_bank_read(w->source, key / WEIGHTS_EXPERTS, key % WEIGHTS_EXPERTS, wanted),
	                 UFM_OK);
	assert_memory_equal(block, wanted, bytes);
	free(wanted);
}

/* Gaps are those of the model, which are zero, although the memory was poisoned and nobody wrote them. */
void weights_check_reads(const weights *w, const ufm_bank *bank)
{
	uint64_t bytes = bank_desc(w->source)->expert_bytes;
	uint8_t *block = malloc(bytes + 1);

	assert_non_null(block);
	for (uint32_t key = 0; key < WEIGHTS_KEYS; key++) {
		memset(block, 0xa5, bytes + 1);
		assert_int_equal(ufm_bank_read(bank, key / WEIGHTS_EXPERTS, key % WEIGHTS_EXPERTS, block),
		                 UFM_OK);
		weights_check_block(w, key, block);
		assert_int_equal(block[bytes], 0xa5);
	}
	free(block);
}

void weights_check_hosts(weights *w, ufm_bank *bank)
{
	static const uint32_t threads[] = {0, 1, 2, 16};

	for (uint32_t i = 0; i < sizeof threads / sizeof *threads; i++) {
		uint32_t before[WEIGHTS_KEYS];
		ufm_host *host;

		for (uint32_t key = 0; key < WEIGHTS_KEYS; key++)
			before[key] = w->reads[key];
		assert_int_equal(weights_host(bank, threads[i], &host), UFM_OK);
		for (uint32_t key = 0; key < WEIGHTS_KEYS; key++) {
			assert_int_equal(w->reads[key], before[key] + 1);
			weights_check_block(w, key, host_block(host, key));
		}
		ufm_host_close(host);
	}
}
