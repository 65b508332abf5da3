/* SPDX-License-Identifier: MIT */
/* Banks out of checkpoints: every naming scheme and dtype byte by byte, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bank/bank.h"
#include "base/bf16.h"
#include "base/f16.h"
#include "base/rng.h"
#include "support/assert_error.h"
#include "support/checkpoint_file.h"

enum { TENSORS_MAX = 256, NAME_BYTES = 80 };

static char folder[64];
static char names[TENSORS_MAX][NAME_BYTES];
static test_tensor tensors[TENSORS_MAX];
static uint32_t count;

static int make_folder(void **state)
{
	(void)state;
	checkpoint_folder_make(folder);
	count = 0;
	return 0;
}

static int remove_folder(void **state)
{
	(void)state;
	checkpoint_folder_remove(folder);
	return 0;
}

static test_tensor *add(const char *dtype, uint32_t rank, uint64_t a, uint64_t b, uint64_t c,
                        const char *format, ...)
{
	test_tensor *t = &tensors[count];
	va_list args;

	assert_true(count < TENSORS_MAX);
	va_start(args, format);
	vsnprintf(names[count], NAME_BYTES, format, args);
	va_end(args);
	*t = (test_tensor){.name = names[count++], .dtype = dtype, .rank = rank, .shape = {a, b, c}};
	return t;
}

typedef enum scheme { GATED, LETTERS, FUSED, PLAIN, BIASES, SCHEMES } scheme;

typedef struct shape {
	scheme s;
	uint32_t layers, experts, d_model, d_hidden;
	const char *dtype;
} shape;

/* Layer l has the number 2 l + 1. Returns the tensor that holds a part. */
static void add_experts(const shape *g, uint32_t l)
{
	uint64_t h = g->d_hidden, m = g->d_model;

	for (uint32_t x = 0; x < g->experts && g->s != FUSED; x++) {
		const char *base = "model.layers.%u.mlp.experts.%u.%s";
		const char *gate = g->s == LETTERS ? "w1.weight" : "gate_proj.weight";
		const char *up = g->s == LETTERS ? "w3.weight" : "up_proj.weight";
		const char *down = g->s == LETTERS ? "w2.weight" : "down_proj.weight";

		add(g->dtype, 2, m, h, 0, base, 2 * l + 1, x, down);
		if (g->s == GATED || g->s == LETTERS)
			add(g->dtype, 2, h, m, 0, base, 2 * l + 1, x, gate);
		add(g->dtype, 2, h, m, 0, base, 2 * l + 1, x, up);
		if (g->s == BIASES) {
			add(g->dtype, 1, m, 0, 0, base, 2 * l + 1, x, "down_proj.bias");
			add(g->dtype, 1, h, 0, 0, base, 2 * l + 1, x, "up_proj.bias");
		}
	}
	if (g->s == FUSED) {
		add(g->dtype, 3, g->experts, m, h, "model.layers.%u.mlp.experts.down_proj", 2 * l + 1);
		add(g->dtype, 3, g->experts, 2 * h, m, "model.layers.%u.mlp.experts.gate_up_proj",
		    2 * l + 1);
	}
}

/* What no routed expert is stands between them. */
static void add_model(const shape *g)
{
	for (uint32_t l = 0; l < g->layers; l++) {
		add("F32", 2, g->experts, g->d_model, 0, "model.layers.%u.mlp.gate.weight", 2 * l + 1);
		add_experts(g, l);
		add("F32", 2, 3, 2, 0, "model.layers.%u.mlp.shared_experts.up_proj.weight", 2 * l + 1);
		add("F32", 2, 3, 2, 0, "model.layers.%u.mlp.shared_expert.down_proj.weight", 2 * l + 1);
		add("F32", 2, 3, 2, 0, "model.layers.%u.mlp.up_proj.weight", 2 * l);
	}
}

static const test_tensor *find(const char *name)
{
	for (uint32_t i = 0; i < count; i++) {
		if (strcmp(tensors[i].name, name) == 0)
			return &tensors[i];
	}
	fail_msg("%s", name);
	return NULL;
}

/* The bytes of a part as they stand in the file. */
static void read_part(const shape *g, uint32_t layer, uint32_t expert, ufm_role role, void *out,
                      uint64_t bytes)
{
	static const char *const words[][2] = {
		[UFM_ROLE_UP] = {"up_proj.weight", "w3.weight"},
		[UFM_ROLE_GATE] = {"gate_proj.weight", "w1.weight"},
		[UFM_ROLE_DOWN] = {"down_proj.weight", "w2.weight"},
		[UFM_ROLE_UP_BIAS] = {"up_proj.bias", ""},
		[UFM_ROLE_DOWN_BIAS] = {"down_proj.bias", ""},
	};
	char name[NAME_BYTES];
	uint64_t from = 0;

	if (g->s == FUSED) {
		snprintf(name, sizeof name, "model.layers.%u.mlp.experts.%s", 2 * layer + 1,
		         role == UFM_ROLE_DOWN ? "down_proj" : "gate_up_proj");
		from =
			role == UFM_ROLE_DOWN ? expert * bytes : (2 * expert + (role == UFM_ROLE_UP)) * bytes;
	} else {
		snprintf(name, sizeof name, "model.layers.%u.mlp.experts.%u.%s", 2 * layer + 1, expert,
		         words[role][g->s == LETTERS]);
	}
	checkpoint_file_read(folder, "model.safetensors", find(name)->offset_bytes + from, out, bytes);
}

static void check_part(const shape *g, const ufm_part *part, const uint8_t *found, uint32_t layer,
                       uint32_t expert)
{
	uint64_t n = (uint64_t)part->rows * part->cols;
	uint64_t each = strcmp(g->dtype, "F32") == 0 ? 4 : 2;
	uint8_t *stored = malloc(n * each);

	assert_non_null(stored);
	read_part(g, layer, expert, part->role, stored, n * each);
	if (strcmp(g->dtype, "F16") != 0) {
		assert_memory_equal(found, stored, n * each);
	} else {
		for (uint64_t i = 0; i < n; i++) {
			uint16_t half, rounded;
			float value;

			memcpy(&half, stored + 2 * i, sizeof half);
			value = f16_to_f32(half);
			rounded = bf16_from_f32(value);
			if (part->dtype == UFM_F32)
				assert_memory_equal(found + 4 * i, &value, sizeof value);
			else
				assert_memory_equal(found + 2 * i, &rounded, sizeof rounded);
		}
	}
	free(stored);
}

/* Every byte of the payload is written: parts as in the file, and zeros between them. */
static void check_block(const shape *g, const ufm_bank *bank, uint32_t layer, uint32_t expert)
{
	ufm_bank_info info;
	uint8_t *block, *dirty;

	ufm_bank_get_info(bank, &info);
	block = malloc(info.desc.expert_bytes);
	dirty = malloc(info.desc.expert_bytes);
	assert_true(block && dirty);
	memset(block, 0, info.desc.expert_bytes);
	memset(dirty, 0xff, info.desc.expert_bytes);
	assert_int_equal(ufm_bank_read(bank, layer, expert, block), UFM_OK);
	assert_int_equal(ufm_bank_read(bank, layer, expert, dirty), UFM_OK);
	assert_memory_equal(block, dirty, info.desc.expert_bytes);
	for (uint32_t i = 0; i < info.desc.part_count; i++) {
		const ufm_part *part = &info.desc.parts[i];

		check_part(g, part, block + part->offset_bytes, layer, expert);
	}
	free(block);
	free(dirty);
}

static ufm_status open_bank(ufm_dtype f16_as, ufm_bank **out)
{
	const ufm_bank_checkpoint_config config = {
		.struct_size = sizeof config, .f16_as = f16_as, .activation = UFM_ACT_SILU};

	return ufm_bank_checkpoint(folder, &config, out);
}

static void check_model(const shape *g, ufm_dtype f16_as)
{
	bool half = strcmp(g->dtype, "F16") == 0;
	ufm_dtype dtype =
		strcmp(g->dtype, "F32") == 0 || (half && f16_as != UFM_BF16) ? UFM_F32 : UFM_BF16;
	ufm_expert_kind kind = g->s == PLAIN    ? UFM_EXPERT_MLP
	                       : g->s == BIASES ? UFM_EXPERT_MLP_BIAS
	                                        : UFM_EXPERT_GATED;
	ufm_expert_desc desc;
	ufm_bank_info info;
	ufm_bank *bank = NULL;

	if (open_bank(f16_as, &bank))
		fail_msg("%s", ufm_last_error());
	ufm_bank_get_info(bank, &info);
	assert_int_equal(ufm_expert_desc_init(&desc, kind, g->d_model, g->d_hidden, dtype), UFM_OK);
	desc.activation = UFM_ACT_SILU;
	assert_memory_equal(&info.desc, &desc, sizeof desc);
	assert_int_equal(info.layers, g->layers);
	assert_int_equal(info.experts, g->experts);
	for (uint32_t l = 0; l < g->layers; l++) {
		assert_int_equal(ufm_bank_layer_number(bank, l), 2 * l + 1);
		for (uint32_t x = 0; x < g->experts; x++)
			check_block(g, bank, l, x);
	}
	ufm_bank_close(bank);
}

static void test_every_scheme(void **state)
{
	static const char *const dtypes[] = {"F32", "BF16", "F16"};
	uint64_t seed = (uint64_t)time(NULL);
	rng r;

	(void)state;
	print_message("seed %llu\n", (unsigned long long)seed);
	rng_seed(&r, seed);
	for (int s = 0; s < SCHEMES; s++) {
		for (int d = 0; d < 3; d++) {
			shape g = {.s = (scheme)s,
			           .layers = 1 + rng_below(&r, 3),
			           .experts = 1 + rng_below(&r, 5),
			           .d_model = 1 + rng_below(&r, 40),
			           .d_hidden = 1 + rng_below(&r, 40),
			           .dtype = dtypes[d]};

			count = 0;
			add_model(&g);
			checkpoint_file_write(folder, "model.safetensors", tensors, count, rng_u64(&r));
			check_model(&g, UFM_F32);
			check_model(&g, UFM_BF16);
		}
	}
}

/* More than one piece of the conversion. */
static void test_long_halves(void **state)
{
	shape g = {
		.s = FUSED, .layers = 1, .experts = 1, .d_model = 129, .d_hidden = 255, .dtype = "F16"};

	(void)state;
	add_model(&g);
	checkpoint_file_write(folder, "model.safetensors", tensors, count, 3);
	check_model(&g, UFM_F32);
	check_model(&g, UFM_BF16);
}

static void write_small(scheme s)
{
	shape g = {.s = s, .layers = 3, .experts = 2, .d_model = 3, .d_hidden = 2, .dtype = "F32"};

	count = 0;
	add_model(&g);
}

static void test_layers_are_chosen(void **state)
{
	ufm_bank_checkpoint_config config = {
		.struct_size = sizeof config, .activation = UFM_ACT_GELU, .layer_begin = 2, .layer_end = 6};
	ufm_bank_info info;
	ufm_bank *bank;

	(void)state;
	write_small(GATED);
	checkpoint_file_write(folder, "model.safetensors", tensors, count, 1);
	assert_int_equal(ufm_bank_checkpoint(folder, &config, &bank), UFM_OK);
	ufm_bank_get_info(bank, &info);
	assert_int_equal(info.layers, 2);
	assert_int_equal(info.desc.activation, UFM_ACT_GELU);
	assert_int_equal(ufm_bank_layer_number(bank, 0), 3);
	assert_int_equal(ufm_bank_layer_number(bank, 1), 5);
	assert_non_null(bank_checkpoint(bank));
	ufm_bank_close(bank);
	config.layer_begin = 0;
	config.layer_end = 1;
	assert_error(ufm_bank_checkpoint(folder, &config, &bank), UFM_EFORMAT,
	             "holds no routed layer with a number in 0 … 0");
	config.layer_begin = config.layer_end = 4;
	assert_error(ufm_bank_checkpoint(folder, &config, &bank), UFM_EINVAL, "layers [4, 4) are none");
}

static void test_arguments(void **state)
{
	ufm_bank_checkpoint_config config = {.struct_size = sizeof config, .f16_as = (ufm_dtype)9};
	ufm_bank *bank;

	(void)state;
	assert_error(ufm_bank_checkpoint(folder, &config, &bank), UFM_EINVAL, "f16_as is 9");
	config.f16_as = UFM_F32;
	config.activation = (ufm_activation)3;
	assert_error(ufm_bank_checkpoint(folder, &config, &bank), UFM_EINVAL, "activation is 3");
	config.struct_size = 1000;
	assert_error(ufm_bank_checkpoint(folder, &config, &bank), UFM_EINVAL, "struct_size is 1000");
	assert_error(ufm_bank_checkpoint(NULL, NULL, &bank), UFM_EINVAL, "path is empty");
}

static void test_activation(void **state)
{
	static const struct {
		const char *config; /* NULL: no file */
		ufm_status status;
		const char *line;
	} cases[] = {
		{NULL, UFM_EINVAL, "no hidden_act in a config.json beside the weights"},
		{"{}", UFM_EINVAL, "no hidden_act in a config.json beside the weights"},
		{"{\"hidden_act\":\"relu2\"}", UFM_EFORMAT,
	     "config.json: hidden_act is \"relu2\", expected silu or gelu"},
		{"{\"hidden_act\":\"silu\",\"swiglu_limit\":7}", UFM_EFORMAT,
	     "config.json: swiglu_limit is set, which is not understood"},
		{"{\"hidden_act\":\"silu\",\"num_experts\":3}", UFM_EFORMAT,
	     "config.json: says 3 experts a layer, the weights hold 2"},
		{"{\"hidden_act\":\"silu\",\"num_experts\":3}", UFM_EFORMAT,
	     "config.json: says 3 experts a layer, the weights hold 2"},
		{"{\"hidden_act\":", UFM_EFORMAT, "config.json: "},
	};
	ufm_bank *bank;
	ufm_bank_info info;

	(void)state;
	write_small(GATED);
	checkpoint_file_write(folder, "model.safetensors", tensors, count, 1);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		if (cases[i].config)
			checkpoint_text_write(folder, "config.json", cases[i].config);
		assert_error(ufm_bank_open(folder, &bank), cases[i].status, cases[i].line);
	}
	checkpoint_text_write(folder, "config.json", "{\"hidden_act\":\"silu\"}");
	assert_int_equal(ufm_bank_open(folder, &bank), UFM_OK);
	ufm_bank_get_info(bank, &info);
	assert_int_equal(info.desc.activation, UFM_ACT_SILU);
	ufm_bank_close(bank);
}

/* Changes to a good model; `tensor` is renamed or reshaped. */
static const struct {
	const char *rule;
	scheme s;
	const char *tensor, *renamed; /* NULL: keeps its name */
	const char *dtype;            /* NULL: keeps its own */
	uint64_t shape[3];            /* 0: keeps its own */
	const char *line;
} refusals[] = {
	{"experts are numbered from 0",
     GATED,
     "model.layers.1.mlp.experts.0.up_proj.weight",
     "model.layers.1.mlp.experts.2.up_proj.weight",
     NULL,
     {0},
     "lacks an up or a down matrix"},
	{"parts are whole",
     GATED,
     "model.layers.1.mlp.experts.1.up_proj.weight",
     "other",
     NULL,
     {0},
     "layer 1 expert 1: its up matrix is missing"},
	{"parts are whole in every layer",
     GATED,
     "model.layers.5.mlp.experts.1.down_proj.weight",
     "other",
     NULL,
     {0},
     "layer 5 expert 1: its down matrix is missing"},
	{"no hole in the numbers",
     PLAIN,
     "model.layers.3.mlp.experts.1.up_proj.weight",
     "model.layers.3.mlp.experts.2.up_proj.weight",
     NULL,
     {0},
     "layer 3 expert 1: its up matrix is missing"},
	{"no expert more than in the first layer",
     GATED,
     "model.layers.4.mlp.up_proj.weight",
     "model.layers.5.mlp.experts.2.gate_proj.weight",
     NULL,
     {0},
     "\"model.layers.5.mlp.experts.2.gate_proj.weight\": other layers have 2 experts"},
	{"no part more than the first expert has",
     PLAIN,
     "model.layers.4.mlp.up_proj.weight",
     "model.layers.3.mlp.experts.1.down_proj.bias",
     NULL,
     {0},
     "experts.1.down_proj.bias\": the first expert has no such part"},
	{"no part twice",
     GATED,
     "model.layers.4.mlp.up_proj.weight",
     "model.layers.3.mlp.experts.1.w1.weight",
     NULL,
     {0},
     "are both the gate matrix of layer 3"},
	{"no second stack with the same numbers",
     GATED,
     "model.layers.3.mlp.experts.1.up_proj.weight",
     "other.layers.3.mlp.experts.1.up_proj.weight",
     NULL,
     {0},
     "are both of layer 3"},
	{"known names",
     GATED,
     "model.layers.4.mlp.up_proj.weight",
     "model.layers.3.mlp.experts.0.up_proj.lora_A",
     NULL,
     {0},
     "up_proj.lora_A\": not a known name of an expert's weights"},
	{"plain numbers",
     GATED,
     "model.layers.4.mlp.up_proj.weight",
     "model.layers.3.mlp.experts.00.up_proj.weight",
     NULL,
     {0},
     "not a known name"},
	{"no scales",
     GATED,
     "model.layers.4.mlp.up_proj.weight",
     "model.layers.3.mlp.experts.0.up_proj.weight_scale_inv",
     NULL,
     {0},
     "quantised experts are not understood"},
	{"no blocks",
     GATED,
     "model.layers.4.mlp.up_proj.weight",
     "model.layers.3.mlp.experts.gate_up_proj_blocks",
     NULL,
     {0},
     "quantised experts are not understood"},
	{"no fused biases",
     FUSED,
     "model.layers.4.mlp.up_proj.weight",
     "model.layers.3.mlp.experts.gate_up_proj_bias",
     NULL,
     {0},
     "fused experts with biases have layouts"},
	{"no bias of a gated expert",
     GATED,
     "model.layers.0.mlp.up_proj.weight",
     "model.layers.1.mlp.experts.0.up_proj.bias",
     NULL,
     {0},
     "has a gate and biases"},
	{"no bias of a gate",
     GATED,
     "model.layers.0.mlp.up_proj.weight",
     "model.layers.1.mlp.experts.0.gate_proj.bias",
     NULL,
     {0},
     "has a gate and biases"},
	{"both biases",
     PLAIN,
     "model.layers.0.mlp.up_proj.weight",
     "model.layers.1.mlp.experts.0.up_proj.bias",
     NULL,
     {0},
     "a bias for one of its matrices only"},
	{"fused or single",
     GATED,
     "model.layers.4.mlp.up_proj.weight",
     "model.layers.3.mlp.experts.down_proj",
     NULL,
     {0},
     "fused and single experts"},
	{"fused matrices are whole",
     FUSED,
     "model.layers.3.mlp.experts.gate_up_proj",
     "other",
     NULL,
     {0},
     "layer 3: the fused gate matrix of its experts is missing"},
	{"one dtype",
     GATED,
     "model.layers.3.mlp.experts.1.up_proj.weight",
     NULL,
     "BF16",
     {0},
     "dtype is BF16, of other experts F32"},
	{"one shape",
     GATED,
     "model.layers.3.mlp.experts.1.up_proj.weight",
     NULL,
     NULL,
     {3, 3, 0},
     "shape is [3, 3], expected [2, 3]"},
	{"up is not transposed",
     GATED,
     "model.layers.1.mlp.experts.0.up_proj.weight",
     NULL,
     NULL,
     {3, 2, 0},
     "shape is [3, 2], expected [2, 3]"},
	{"experts are there",
     FUSED,
     "model.layers.1.mlp.experts.down_proj",
     NULL,
     NULL,
     {UINT64_MAX, 3, 2},
     "a dimension is 0, expected 1 … 65536"},
	{"one number of fused experts",
     FUSED,
     "model.layers.3.mlp.experts.down_proj",
     NULL,
     NULL,
     {3, 3, 2},
     "shape is [3, 3, 2], expected [2, 3, 2]"},
};

static void change(size_t i)
{
	test_tensor *t = (test_tensor *)find(refusals[i].tensor);

	if (refusals[i].renamed)
		t->name = refusals[i].renamed;
	if (refusals[i].dtype)
		t->dtype = refusals[i].dtype;
	for (uint32_t d = 0; d < 3 && refusals[i].shape[d]; d++)
		t->shape[d] = refusals[i].shape[d] == UINT64_MAX ? 0 : refusals[i].shape[d];
}

static void test_refusals_are_named(void **state)
{
	ufm_bank *bank;

	(void)state;
	for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
		print_message("rule: %s\n", refusals[i].rule);
		write_small(refusals[i].s);
		change(i);
		checkpoint_file_write(folder, "model.safetensors", tensors, count, 1);
		assert_error(open_bank(UFM_F32, &bank), UFM_EFORMAT, refusals[i].line);
	}
}

static void test_other_refusals(void **state)
{
	ufm_bank *bank;

	(void)state;
	/* dense layers and shared experts are no routed experts */
	add("F32", 2, 2, 2, 0, "model.layers.0.mlp.shared_experts.up_proj.weight");
	add("F32", 2, 2, 2, 0, "model.layers.0.mlp.up_proj.weight");
	checkpoint_file_write(folder, "model.safetensors", tensors, count, 1);
	assert_error(open_bank(UFM_F32, &bank), UFM_EFORMAT, "holds no routed experts");
	/* d_model 3, d_hidden 2: [experts, d_model, 2 d_hidden] and [experts, d_hidden, d_model] */
	add("F32", 3, 2, 3, 4, "model.layers.0.mlp.experts.gate_up_proj");
	add("F32", 3, 2, 2, 3, "model.layers.0.mlp.experts.down_proj");
	checkpoint_file_write(folder, "model.safetensors", tensors, count, 1);
	assert_error(open_bank(UFM_F32, &bank), UFM_EFORMAT, "fused matrices are transposed");
	count = 0;
	add("I8", 2, 2, 2, 0, "experts.0.up_proj.weight");
	add("I8", 2, 2, 2, 0, "experts.0.down_proj.weight");
	checkpoint_file_write(folder, "model.safetensors", tensors, count, 1);
	assert_error(open_bank(UFM_F32, &bank), UFM_EFORMAT,
	             "experts have dtype I8, expected F32, BF16 or F16");
	tensors[0].dtype = tensors[1].dtype = "F32";
	tensors[0].shape[0] = tensors[1].shape[1] = 0;
	checkpoint_file_write(folder, "model.safetensors", tensors, count, 1);
	assert_error(open_bank(UFM_F32, &bank), UFM_EFORMAT, "a dimension is 0");
	tensors[1].rank = 1;
	tensors[1].shape[0] = 4;
	checkpoint_file_write(folder, "model.safetensors", tensors, count, 1);
	assert_error(open_bank(UFM_F32, &bank), UFM_EFORMAT, "has 1 dimensions, expected 2");
}

static void test_reads_fail_by_name(void **state)
{
	char path[96];
	uint8_t block[4096];
	ufm_bank *bank;

	(void)state;
	write_small(GATED);
	checkpoint_file_write(folder, "model.safetensors", tensors, count, 1);
	assert_int_equal(open_bank(UFM_F32, &bank), UFM_OK);
	snprintf(path, sizeof path, "%s/model.safetensors", folder);
	assert_int_equal(truncate(path, (off_t)tensors[0].offset_bytes), 0);
	assert_error(ufm_bank_read(bank, 0, 1, block), UFM_EEXPERT_IO, "layer 0 expert 1: ");
	assert_error(ufm_bank_read(bank, 0, 1, block), UFM_EEXPERT_IO, "the file ends here");
	ufm_bank_close(bank);
}

static void open_routers(ufm_bank **bank)
{
	checkpoint_file_write(folder, "model.safetensors", tensors, count, 1);
	assert_int_equal(open_bank(UFM_F32, bank), UFM_OK);
}

static void test_routers(void **state)
{
	static const char *const corrections[] = {"gate.e_score_correction_bias", "gate.bias",
	                                          "e_score_correction_bias",
	                                          "moe_statics.e_score_correction_bias"};
	const checkpoint_tensor *t;
	char name[96];
	ufm_bank *bank;

	(void)state;
	write_small(GATED);
	open_routers(&bank);
	assert_int_equal(bank_router(bank, 1, &t), UFM_OK);
	assert_string_equal(t->name, "model.layers.3.mlp.gate.weight");
	ufm_bank_close(bank);
	tensors[0].name = "model.layers.1.mlp.router.weight";
	add("F32", 1, 2, 0, 0, "");
	for (size_t i = 0; i < sizeof corrections / sizeof corrections[0]; i++) {
		snprintf(name, sizeof name, "model.layers.3.mlp.%s", corrections[i]);
		tensors[count - 1].name = name;
		open_routers(&bank);
		assert_int_equal(bank_router(bank, 0, &t), UFM_OK);
		assert_null(t);
		assert_error(bank_router(bank, 1, &t), UFM_EFORMAT, corrections[i]);
		assert_error(bank_router(bank, 1, &t), UFM_EFORMAT, "a router with more than a weight");
		ufm_bank_close(bank);
	}
}

/* Names without a prefix or a number are layer 0. */
static void test_bare_names(void **state)
{
	const checkpoint_tensor *t;
	ufm_bank *bank;

	(void)state;
	add("F32", 2, 2, 3, 0, "experts.0.up_proj.weight");
	add("F32", 2, 3, 2, 0, "experts.0.down_proj.weight");
	add("F32", 2, 1, 3, 0, "gate.weight");
	checkpoint_file_write(folder, "model.safetensors", tensors, count, 1);
	assert_int_equal(open_bank(UFM_F32, &bank), UFM_OK);
	assert_int_equal(ufm_bank_layer_number(bank, 0), 0);
	assert_int_equal(bank_router(bank, 0, &t), UFM_OK);
	assert_string_equal(t->name, "gate.weight");
	ufm_bank_close(bank);
}

int main(void)
{
#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)
	const struct CMUnitTest tests[] = {
		IN_FOLDER(test_every_scheme),      IN_FOLDER(test_long_halves),
		IN_FOLDER(test_layers_are_chosen), IN_FOLDER(test_arguments),
		IN_FOLDER(test_activation),        IN_FOLDER(test_refusals_are_named),
		IN_FOLDER(test_other_refusals),    IN_FOLDER(test_reads_fail_by_name),
		IN_FOLDER(test_routers),           IN_FOLDER(test_bare_names),
	};

	return cmocka_run_group_tests_name("bank_checkpoint", tests, NULL, NULL);
}
