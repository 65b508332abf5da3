/* SPDX-License-Identifier: MIT */
/* A bank whose blocks are put together from the tensors of GGUF files, of layers of one kind. */
#include "bank/gguf_bank.h"

#include <stdio.h>

#include "bank/bank_int.h"
#include "base/alloc.h"
#include "base/status.h"
#include "format/format.h"

struct gguf_bank {
	gguf_set set; /* of the one kind */
	uint32_t kind;
};

static ufm_status check_runnable(const model_config *model)
{
	return *model->expert_obstacle ? status_fail(UFM_EFORMAT, "%s", model->expert_obstacle)
	                               : UFM_OK;
}

static ufm_status fail_mixed(const gguf_set *set)
{
	char text[400], layers[100], types[BANK_TYPES_BYTES];
	size_t used = 0;

	for (uint32_t i = 0; i < set->kind_count && used < sizeof text; i++)
		used += (size_t)snprintf(text + used, sizeof text - used, "%s%u: %s in layers %s",
		                         i ? "; " : "", i + 1,
		                         bank_types_text(&set->kinds[i].desc, types, sizeof types),
		                         gguf_kind_layers(set, i, layers, sizeof layers));
	return status_fail(UFM_EINVAL, "geometry is 0, expected one of %u kinds of layers (%s)",
	                   set->kind_count, text);
}

/* The kind that is asked for, from 0. */
static ufm_status choose_kind(const gguf_set *set, uint32_t geometry, uint32_t *out)
{
	if (geometry == 0 && set->kind_count > 1)
		return fail_mixed(set);
	if (geometry > set->kind_count)
		return status_fail(UFM_EINVAL, "geometry is %u, expected at most %u", geometry,
		                   set->kind_count);
	*out = geometry ? geometry - 1 : 0;
	return UFM_OK;
}

/* A given activation counts more than the architecture's. */
static ufm_status new_bank(const gguf_bank *g, ufm_activation activation, ufm_bank **out)
{
	const gguf_layer_kind *kind = &g->set.kinds[g->kind];
	ufm_expert_desc desc = kind->desc;
	ufm_status status;

	if (activation)
		desc.activation = activation;
	status = bank_new(EXTENT_FILE, kind->layers, kind->experts, &desc, out);
	return status ? bank_as_format(status) : UFM_OK;
}

static ufm_status number_layers(const gguf_bank *g, ufm_bank *bank)
{
	bank->layer_numbers = alloc_zeroed(g->set.count, sizeof *bank->layer_numbers);
	if (!bank->layer_numbers)
		return UFM_ENOMEM;
	for (uint32_t i = 0; i < g->set.count; i++)
		bank->layer_numbers[i] = g->set.layers[i].number;
	return UFM_OK;
}

static ufm_status make(gguf_bank *g, const ufm_bank_checkpoint_config *config, ufm_bank **out)
{
	ufm_status status = choose_kind(&g->set, config->geometry, &g->kind);

	if (status)
		return status;
	gguf_experts_keep(&g->set, g->kind);
	status = new_bank(g, config->activation, out);
	if (status)
		return status;
	status = number_layers(g, *out);
	if (status)
		ufm_bank_close(*out);
	return status;
}

ufm_status gguf_bank_make(const checkpoint *c, const towers *t,
                          const ufm_bank_checkpoint_config *config, ufm_bank **out)
{
	gguf_bank *g = alloc_zeroed(1, sizeof *g);
	ufm_bank *bank;
	ufm_status status = g ? check_runnable(&t->model) : UFM_ENOMEM;

	if (!status)
		status = gguf_experts_find(c, t, config->layer_begin, config->layer_end, config->f16_as,
		                           &g->set);
	if (!status)
		status = gguf_experts_check_model(&g->set, &t->model);
	if (!status)
		status = make(g, config, &bank);
	if (status) {
		gguf_bank_free(g);
		return status;
	}
	bank->gguf = g;
	*out = bank;
	return UFM_OK;
}

void gguf_bank_free(gguf_bank *g)
{
	if (!g)
		return;
	gguf_experts_free(&g->set);
	alloc_free(g);
}

uint32_t gguf_bank_kinds(const gguf_bank *g)
{
	return g->set.kind_count;
}

ufm_status gguf_bank_router(const gguf_bank *g, const checkpoint *c, uint32_t layer,
                            const checkpoint_tensor **out)
{
	return gguf_experts_router(&g->set, c, layer, out);
}

/* Where an expert's rows begin in the tensor that has them. */
static uint64_t expert_offset(const gguf_part *part, const checkpoint_tensor *t, uint32_t expert,
                              uint32_t experts)
{
	uint64_t expert_bytes = part->single ? t->size_bytes : t->size_bytes / experts;
	uint64_t row_bytes = expert_bytes / part->rows;

	return (part->single ? 0 : expert * expert_bytes) + part->begin_row * row_bytes;
}

static bank_extent part_extent(const gguf_part *part, const ufm_part *of, uint32_t expert,
                               uint32_t experts)
{
	const checkpoint_tensor *t = part->tensors[part->single ? expert : 0];

	return (bank_extent){.kind = EXTENT_FILE,
	                     .file = t->file,
	                     .file_offset_bytes =
	                         t->file_offset_bytes + expert_offset(part, t, expert, experts),
	                     .from = of->format ? 0 : checkpoint_plain_dtype(t->dtype),
	                     .to = of->dtype,
	                     .block_offset_bytes = of->offset_bytes,
	                     .size_bytes = format_part_bytes(of)};
}

uint32_t gguf_bank_extents(const ufm_bank *bank, uint32_t key, bank_extent out[BANK_EXTENTS_MAX])
{
	const ufm_expert_desc *desc = &bank->shape.desc;
	uint32_t experts = bank->shape.experts, count = bank_gaps(desc, out);
	const gguf_layer *layer = &bank->gguf->set.layers[key / experts];

	for (uint32_t i = 0; i < desc->part_count; i++)
		out[count++] = part_extent(&layer->parts[i], &desc->parts[i], key % experts, experts);
	return count;
}
