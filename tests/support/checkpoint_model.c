/* SPDX-License-Identifier: MIT */
/* A model's tensors for checkpoint tests. */
#include "support/checkpoint_model.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

test_tensor *model_add(test_model *m, const char *dtype, uint32_t rank, uint64_t a, uint64_t b,
                       uint64_t c, const char *format, ...)
{
	test_tensor *t = &m->tensors[m->count];
	va_list args;

	if (m->count == MODEL_TENSORS_MAX)
		abort();
	va_start(args, format);
	vsnprintf(m->names[m->count], MODEL_NAME_BYTES, format, args);
	va_end(args);
	*t = (test_tensor){
		.name = m->names[m->count++], .dtype = dtype, .rank = rank, .shape = {a, b, c}};
	return t;
}

static void add_expert(test_model *m, const model_shape *g, uint32_t layer, uint32_t expert)
{
	static const char base[] = "model.layers.%u.mlp.experts.%u.%s";
	uint64_t wide = g->d_model, deep = g->d_hidden;
	bool letters = g->scheme == LETTERS;

	model_add(m, g->dtype, 2, wide, deep, 0, base, layer, expert,
	          letters ? "w2.weight" : "down_proj.weight");
	if (g->scheme == GATED || letters)
		model_add(m, g->dtype, 2, deep, wide, 0, base, layer, expert,
		          letters ? "w1.weight" : "gate_proj.weight");
	model_add(m, g->dtype, 2, deep, wide, 0, base, layer, expert,
	          letters ? "w3.weight" : "up_proj.weight");
	if (g->scheme == BIASES) {
		model_add(m, g->dtype, 1, wide, 0, 0, base, layer, expert, "down_proj.bias");
		model_add(m, g->dtype, 1, deep, 0, 0, base, layer, expert, "up_proj.bias");
	}
}

static void add_fused(test_model *m, const model_shape *g, uint32_t layer)
{
	model_add(m, g->dtype, 3, g->experts, g->d_model, g->d_hidden,
	          "model.layers.%u.mlp.experts.down_proj", layer);
	model_add(m, g->dtype, 3, g->experts, 2 * (uint64_t)g->d_hidden, g->d_model,
	          "model.layers.%u.mlp.experts.gate_up_proj", layer);
}

void model_build(test_model *m, const model_shape *g)
{
	m->count = 0;
	for (uint32_t i = 0; i < g->layers; i++) {
		uint32_t layer = 2 * i + 1;

		model_add(m, "F32", 2, g->experts, g->d_model, 0, "model.layers.%u.mlp.gate.weight", layer);
		if (g->scheme == FUSED)
			add_fused(m, g, layer);
		for (uint32_t x = 0; x < g->experts && g->scheme != FUSED; x++)
			add_expert(m, g, layer, x);
		model_add(m, "F32", 2, 3, 2, 0, "model.layers.%u.mlp.shared_experts.up_proj.weight", layer);
		model_add(m, "F32", 2, 3, 2, 0, "model.layers.%u.mlp.shared_expert.down_proj.weight",
		          layer);
		model_add(m, "F32", 2, 3, 2, 0, "model.layers.%u.mlp.up_proj.weight", layer - 1);
	}
}

test_tensor *model_find(test_model *m, const char *name)
{
	for (uint32_t i = 0; i < m->count; i++) {
		if (strcmp(m->tensors[i].name, name) == 0)
			return &m->tensors[i];
	}
	fprintf(stderr, "the model has no tensor %s\n", name);
	abort();
}
