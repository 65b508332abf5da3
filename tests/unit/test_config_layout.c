/* SPDX-License-Identifier: MIT */
/* Which layers of a model are routed, by every key and family that says so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bank/model_config.h"

#define FAMILY(name) "\"model_type\":\"" name "\","
#define LAYERS(count) "\"num_hidden_layers\":" #count
#define NOT_ALIKE(layer, is, by, other, key) \
	"layer " layer " is " is " by " by " and " other " by " key ", expected the same by both"

/* The rest of a config that says its experts comes from the test. */
static const struct {
	const char *keys;
	const char *routed; /* a digit a layer; NULL: an obstacle */
	const char *obstacle;
} cases[] = {
	{LAYERS(3), "111", NULL},
	{"\"n_layer\":2", "11", NULL},
	/* dense ones first */
	{LAYERS(4) ",\"first_k_dense_replace\":1", "0111", NULL},
	{LAYERS(4) ",\"num_dense_layers\":3", "0001", NULL},
	{LAYERS(2) ",\"first_k_dense_replace\":2", NULL, "found no routed layer"},
	{LAYERS(2) ",\"first_k_dense_replace\":-1", NULL,
     "first_k_dense_replace is -1, expected a whole number from 0"},
	/* a number of every so many, and a list, under one key */
	{FAMILY("deepseek_v2") LAYERS(9) ",\"moe_layer_freq\":2,\"first_k_dense_replace\":0",
     "101010101", NULL},
	{FAMILY("deepseek_v2") LAYERS(5) ",\"moe_layer_freq\":2,\"first_k_dense_replace\":1", "00101",
     NULL},
	{FAMILY("mimo_v2_flash") LAYERS(4) ",\"moe_layer_freq\":[0,1,1,1]", "0111", NULL},
	{LAYERS(4) ",\"moe_layer_freq\":1", "1111", NULL},
	{LAYERS(4) ",\"moe_layer_freq\":2", NULL, "moe_layer_freq is 2, expected 1 or a list"},
	{LAYERS(4) ",\"moe_layer_freq\":0", NULL, "moe_layer_freq is 0"},
	{LAYERS(4) ",\"moe_layer_freq\":[0,1,1]", NULL,
     "moe_layer_freq is a list of 3, expected a list of 4"},
	{LAYERS(2) ",\"moe_layer_freq\":[0,2]", NULL, "moe_layer_freq has 2 for layer 1"},
	/* Qwen */
	{FAMILY("qwen2_moe") LAYERS(8) ",\"decoder_sparse_step\":2,\"mlp_only_layers\":[0,2]",
     "01010101", NULL},
	{FAMILY("qwen3_moe") LAYERS(4) ",\"decoder_sparse_step\":1,\"mlp_only_layers\":[1,9]", "1011",
     NULL},
	{LAYERS(4) ",\"mlp_only_layers\":[]", "1111", NULL},
	{LAYERS(4) ",\"mlp_only_layers\":[\"x\"]", NULL, "mlp_only_layers lists \"x\""},
	{LAYERS(4) ",\"mlp_only_layers\":3", NULL, "mlp_only_layers is 3, expected a list"},
	{LAYERS(4) ",\"decoder_sparse_step\":0", NULL, "decoder_sparse_step is 0"},
	/* Llama 4 */
	{LAYERS(8) ",\"interleave_moe_layer_step\":2", "01010101", NULL},
	{LAYERS(4) ",\"interleave_moe_layer_step\":2,\"moe_layers\":[1,3]", "0101", NULL},
	/* a list that goes before */
	{LAYERS(4) ",\"interleave_moe_layer_step\":2,\"moe_layers\":[0]", "1000", NULL},
	{LAYERS(3) ",\"first_k_dense_replace\":\"x\",\"mlp_layer_types\":[\"moe\",\"mlp\",\"moe\"]",
     "101", NULL},
	{LAYERS(3) ",\"is_moe_layer\":[1,1,1],\"mlp_layer_types\":[\"moe\",\"mlp\",\"moe\"]", NULL,
     NOT_ALIKE("1", "dense", "mlp_layer_types", "routed", "is_moe_layer")},
	/* Jamba */
	{LAYERS(8) ",\"expert_layer_period\":2,\"expert_layer_offset\":1", "01010101", NULL},
	{LAYERS(5) ",\"expert_layer_period\":3,\"expert_layer_offset\":0", "10010", NULL},
	{LAYERS(5) ",\"expert_layer_period\":1,\"expert_layer_offset\":1", NULL,
     "expert_layer_offset is 1"},
	/* Ernie */
	{FAMILY("ernie4_5_moe") LAYERS(6) ",\"moe_layer_start_index\":1,\"moe_layer_end_index\":-1,"
                                      "\"moe_layer_interval\":2",
     "010101", NULL},
	{FAMILY("ernie4_5_moe") LAYERS(5) ",\"moe_layer_end_index\":3", "01110", NULL},
	/* lists */
	{LAYERS(3) ",\"mlp_layer_types\":[\"dense\",\"sparse\",\"sparse\"]", "011", NULL},
	{LAYERS(3) ",\"mlp_layer_types\":[\"hash_moe\",\"moe\",\"dense\",\"sparse\"]", "110", NULL},
	{LAYERS(3) ",\"mlp_layer_types\":[\"dense\",\"spare\",\"sparse\"]", NULL,
     "mlp_layer_types has \"spare\" for layer 1"},
	{LAYERS(3) ",\"mlp_layer_types\":\"sparse\"", NULL, "mlp_layer_types is \"sparse\""},
	{LAYERS(3) ",\"is_moe_layer\":[false,true,true]", "011", NULL},
	{LAYERS(4) ",\"is_moe_layer\":[false,true,true,true],\"first_k_dense_replace\":1", "0111",
     NULL},
	{LAYERS(3) ",\"is_moe_layer\":[false,true,true],\"first_k_dense_replace\":2", NULL,
     NOT_ALIKE("1", "routed", "is_moe_layer", "dense", "first_k_dense_replace")},
	{LAYERS(5) ",\"moe_layers_enum\":\"3,4\"", "00011", NULL},
	{LAYERS(5) ",\"moe_layers_enum\":\"3,x\"", NULL, "moe_layers_enum lists \"x\""},
	/* Nemotron-H, whose lists say how many layers there are */
	{FAMILY("nemotron_h") LAYERS(8) ",\"hybrid_override_pattern\":\"ME*EM-ME\"", "01010001", NULL},
	{"\"hybrid_override_pattern\":\"MEX\"", NULL, "hybrid_override_pattern is \"MEX\""},
	{FAMILY("nemotron_h") "\"layers_block_type\":[\"mamba\",\"moe\",\"attention\",\"moe\"]", "0101",
     NULL},
	{FAMILY("nemotron_h") LAYERS(8), "0100", NULL},
	{"\"layers_block_type\":[\"mamba\",\"mole\",\"moe\"]", NULL, "layers_block_type has \"mole\""},
	/* kinds of attention are no layout */
	{LAYERS(2) ",\"layer_types\":[\"full_attention\",\"sliding_attention\"]", "11", NULL},
	{LAYERS(2) ",\"layer_types\":[\"full_attention\",\"switch\"]", NULL,
     "layer_types has \"switch\" for layer 1"},
	/* what families have when the file is silent */
	{FAMILY("deepseek_v3") LAYERS(5), "00011", NULL},
	{FAMILY("jamba") LAYERS(4), "0101", NULL},
	{FAMILY("lfm2_moe") LAYERS(4), "0011", NULL},
	{FAMILY("glm4_moe") LAYERS(3), "011", NULL},
	/* Longcat's number counts halves */
	{FAMILY("longcat_flash") LAYERS(8) ",\"num_layers\":4", "1111", NULL},
	{LAYERS(8) ",\"num_layers\":4", NULL, "num_hidden_layers is 8, and num_layers is 4"},
	/* what is not understood */
	{LAYERS(3) ",\"moe_every\":2", NULL, "moe_every is 2: it sounds like layers"},
	{LAYERS(3) ",\"sparse_blocks\":[1]", NULL, "sparse_blocks is a list of 1"},
	{LAYERS(3) ",\"moe_layer_num_skipped\":0", "111", NULL},
	{LAYERS(3) ",\"moe_layer_num_skipped\":1", NULL, "moe_layer_num_skipped is 1"},
	{"\"x\":1", NULL, "found none of num_hidden_layers"},
	{LAYERS(0), NULL, "num_hidden_layers is 0, expected a whole number from 1 to 4096"},
	{LAYERS(4097), NULL, "num_hidden_layers is 4097"},
	{LAYERS(Infinity), NULL, "num_hidden_layers is Infinity"},
};

static void read_case(const char *keys, model_config *out)
{
	char text[1024];
	int length = snprintf(text, sizeof text,
	                      "{%s,\"num_experts\":8,\"num_experts_per_tok\":2,\"hidden_size\":64,"
	                      "\"intermediate_size\":32}",
	                      keys);

	assert_true(length > 0 && (size_t)length < sizeof text);
	assert_int_equal(model_config_parse(text, (size_t)length, NULL, out), UFM_OK);
}

static void test_every_rule(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		model_config m;
		char routed[MODEL_LAYERS_MAX + 1];
		uint32_t count = 0;

		print_message("%s\n", cases[i].keys);
		read_case(cases[i].keys, &m);
		if (!cases[i].routed) {
			if (!strstr(m.shape_obstacle, cases[i].obstacle))
				fail_msg("\"%s\" does not contain \"%s\"", m.shape_obstacle, cases[i].obstacle);
			continue;
		}
		assert_string_equal(m.shape_obstacle, "");
		for (uint32_t layer = 0; layer < m.layers; layer++) {
			routed[layer] = model_config_is_routed(&m, layer) ? '1' : '0';
			count += model_config_is_routed(&m, layer);
		}
		routed[m.layers] = '\0';
		assert_string_equal(routed, cases[i].routed);
		assert_int_equal(m.routed_layers, count);
		assert_false(model_config_is_routed(&m, m.layers));
	}
}

static void test_a_default_is_told(void **state)
{
	model_config m;

	(void)state;
	read_case(FAMILY("glm4_moe") LAYERS(3), &m);
	assert_non_null(strstr(m.layout_note, "model_type glm4_moe"));
	read_case(FAMILY("glm4_moe") LAYERS(3) ",\"first_k_dense_replace\":1", &m);
	assert_string_equal(m.layout_note, "");
	read_case(FAMILY("mixtral") LAYERS(3), &m);
	assert_string_equal(m.layout_note, "");
	read_case(LAYERS(4) ",\"interleave_moe_layer_step\":2,\"moe_layers\":[1,3]", &m);
	assert_string_equal(m.layout_note, "");
	read_case(LAYERS(4) ",\"interleave_moe_layer_step\":2,\"moe_layers\":[1]", &m);
	assert_string_equal(m.layout_note,
	                    "Its interleave_moe_layer_step says otherwise than its moe_layers, which "
	                    "counts.");
}

/* The largest model, and one layer more than a list may have. */
static void test_many_layers(void **state)
{
	static char text[16 * (MODEL_LAYERS_MAX + 2)];
	model_config m;
	size_t at;

	(void)state;
	for (uint32_t layers = MODEL_LAYERS_MAX; layers <= MODEL_LAYERS_MAX + 1; layers++) {
		at = (size_t)snprintf(text, sizeof text,
		                      "{\"num_experts\":2,\"layers_block_type\":[\"moe\"");
		for (uint32_t i = 1; i < layers; i++)
			at += (size_t)snprintf(text + at, sizeof text - at, ",\"mlp\"");
		at += (size_t)snprintf(text + at, sizeof text - at, "]}");
		assert_int_equal(model_config_parse(text, at, NULL, &m), UFM_OK);
		if (layers == MODEL_LAYERS_MAX) {
			assert_int_equal(m.routed_layers, 1);
			assert_true(model_config_is_routed(&m, 0));
		} else {
			assert_non_null(strstr(m.shape_obstacle, "layers_block_type has 4097 layers"));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_rule),
		cmocka_unit_test(test_a_default_is_told),
		cmocka_unit_test(test_many_layers),
	};

	return cmocka_run_group_tests_name("config_layout", tests, NULL, NULL);
}
