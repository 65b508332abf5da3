/* SPDX-License-Identifier: MIT */
/* Every allocation of opening and reading a checkpoint in shards, a quantised one, and a GGUF model in files, fails in turn: each time the outcome is
 * a clean error, and nothing leaks (the leak checker of the sanitizer build watches). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdbool.h>
#include <stdio.h>

#include "bank/bank.h"
#include "base/alloc.h"
#include "support/checkpoint_file.h"
#include "support/gguf_file.h"

static char folder[64];

typedef struct plan {
	uint64_t asked, fail_at; /* UINT64_MAX: never */
	bool for_ever;
} plan;

static bool allow(void *ctx, size_t size_bytes)
{
	plan *p = ctx;
	uint64_t number = p->asked++;

	(void)size_bytes;
	return p->for_ever ? number < p->fail_at : number != p->fail_at;
}

static void write_checkpoint(void)
{
	test_tensor one[] = {
		{.name = "l.1.experts.0.up_proj.weight", .dtype = "F16", .rank = 2, .shape = {3, 2}}};
	test_tensor two[] = {
		{.name = "l.1.experts.0.down_proj.weight", .dtype = "F16", .rank = 2, .shape = {2, 3}},
		{.name = "l.1.gate.weight", .dtype = "F32", .rank = 2, .shape = {1, 2}}};

	checkpoint_file_write(folder, "s1.safetensors", one, 1, 1);
	checkpoint_file_write(folder, "s2.safetensors", two, 2, 2);
	checkpoint_text_write(folder, "config.json", "{\"hidden_act\":\"gelu\"}");
	checkpoint_text_write(folder, "model.safetensors.index.json",
	                      "{\"metadata\":{\"total_size\":36},\"weight_map\":{"
	                      "\"l.1.experts.0.up_proj.weight\":\"s1.safetensors\","
	                      "\"l.1.experts.0.down_proj.weight\":\"s2.safetensors\","
	                      "\"l.1.gate.weight\":\"s2.safetensors\"}}");
}

static void write_quantised(void)
{
	test_tensor tensors[] = {
		{.name = "l.1.experts.0.up_proj.qweight", .dtype = "I32", .rank = 2, .shape = {8, 2}},
		{.name = "l.1.experts.0.up_proj.qzeros", .dtype = "I32", .rank = 2, .shape = {1, 2}},
		{.name = "l.1.experts.0.up_proj.scales", .dtype = "F16", .rank = 2, .shape = {1, 16}},
		{.name = "l.1.experts.0.down_proj.qweight", .dtype = "I32", .rank = 2, .shape = {16, 1}},
		{.name = "l.1.experts.0.down_proj.qzeros", .dtype = "I32", .rank = 2, .shape = {1, 1}},
		{.name = "l.1.experts.0.down_proj.scales", .dtype = "F16", .rank = 2, .shape = {1, 8}}};

	checkpoint_file_write(folder, "model.safetensors", tensors, 6, 1);
	checkpoint_text_write(folder, "config.json",
	                      "{\"hidden_act\":\"gelu\",\"quantization_config\":{"
	                      "\"quant_method\":\"awq\",\"modules_to_not_convert\":[\"gate\"]}}");
}

static ufm_status open_read_close(void)
{
	const checkpoint_tensor *router;
	uint8_t block[4096];
	ufm_bank *bank;
	ufm_status status = ufm_bank_open(folder, &bank);

	if (status)
		return status;
	status = ufm_bank_read(bank, 0, 0, block);
	if (!status)
		status = bank_router(bank, 0, &router);
	ufm_bank_close(bank);
	return status;
}

/* Two files, a kind of layers in each. */
static void write_gguf(void)
{
	for (uint32_t i = 0; i < 2; i++) {
		gguf_words w = {.key_count = 0};
		char name[32];

		if (i == 0)
			gguf_add_text(&w, "general.architecture", "qwen3moe");
		gguf_add_u32(&w, "split.no", i);
		gguf_add_u32(&w, "split.count", 2);
		gguf_add_u32(&w, "split.tensors.count", 8);
		gguf_add_layer(&w, i, i ? 0 : 8, 0, 32, 8, 2);
		snprintf(name, sizeof name, "m-0000%u-of-00002.gguf", i + 1);
		gguf_words_write(&w, folder, name, i);
	}
}

static ufm_status open_read_close_gguf(void)
{
	const ufm_bank_checkpoint_config config = {.struct_size = sizeof config, .geometry = 2};
	const checkpoint_tensor *router;
	uint8_t block[8192];
	ufm_bank *bank;
	ufm_status status = ufm_bank_checkpoint(folder, &config, &bank);

	if (status)
		return status;
	status = ufm_bank_read(bank, 0, 1, block);
	if (!status)
		status = bank_router(bank, 0, &router);
	ufm_bank_close(bank);
	return status;
}

static void fail_each(void (*write)(void), ufm_status (*run)(void), bool for_ever)
{
	plan p = {.fail_at = UINT64_MAX};
	uint64_t total;

	checkpoint_folder_make(folder);
	write();
	alloc_set_hook(allow, &p);
	assert_int_equal(run(), UFM_OK);
	total = p.asked;
	assert_true(total > 20);
	for (uint64_t at = 0; at < total; at++) {
		p = (plan){.fail_at = at, .for_ever = for_ever};
		if (run() != UFM_ENOMEM)
			fail_msg("allocation %llu of %llu", (unsigned long long)at, (unsigned long long)total);
	}
	alloc_set_hook(NULL, NULL);
	assert_int_equal(run(), UFM_OK);
	checkpoint_folder_remove(folder);
}

static void each_allocation_fails_once(void **state)
{
	(void)state;
	fail_each(write_checkpoint, open_read_close, false);
	fail_each(write_quantised, open_read_close, false);
	fail_each(write_gguf, open_read_close_gguf, false);
}

static void each_allocation_fails_for_ever(void **state)
{
	(void)state;
	fail_each(write_checkpoint, open_read_close, true);
	fail_each(write_quantised, open_read_close, true);
	fail_each(write_gguf, open_read_close_gguf, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_allocation_fails_once),
		cmocka_unit_test(each_allocation_fails_for_ever),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
