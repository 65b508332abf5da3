/* SPDX-License-Identifier: MIT */
/* A bank whose blocks are put together from the tensors of a checkpoint. */
#include "bank/bank_int.h"
#include "bank/gguf_bank.h"
#include "bank/model_config.h"
#include "base/dtype.h"
#include "base/status.h"
#include "format/format.h"

bool bank_is_checkpoint(const char *path)
{
	return checkpoint_matches(path);
}

/* The caller's word counts more than the file's; nobody's makes a clamp or another activation go away. */
static ufm_status choose_activation(const model_config *model, ufm_activation given,
                                    ufm_activation *out)
{
	if (*model->expert_obstacle)
		return status_fail(UFM_EFORMAT, "config.json: %s", model->expert_obstacle);
	*out = given ? given : model->activation;
	if (*out)
		return UFM_OK;
	return status_fail(UFM_EINVAL, "no hidden_act in a config.json beside the weights: the "
	                               "activation must be given");
}

/* Of a gated expert; without a gate nobody says any. */
static void set_parameters(const model_config *model, ufm_expert_desc *desc)
{
	desc->act_alpha = model->act_alpha;
	desc->gate_limit = model->act_limit;
	desc->up_limit = model->act_limit;
	desc->up_offset = model->up_offset;
}

/* What of the checkpoint becomes a bank, and how. */
typedef struct contents {
	towers towers;
	expert_set found;
	ufm_expert_desc desc;
} contents;

static void free_contents(contents *k)
{
	experts_free(&k->found);
	towers_free(&k->towers);
}

/* After the towers. What was found before a failure stays to be freed. */
static ufm_status find_contents(const checkpoint *c, const ufm_bank_checkpoint_config *config,
                                contents *k)
{
	ufm_status status =
		experts_find(c, &k->towers, config->layer_begin, config->layer_end, &k->found);

	if (!status)
		status = experts_desc(&k->found, config->f16_as ? config->f16_as : UFM_F32, &k->desc);
	if (!status)
		status = experts_check_model(&k->found, &k->towers.model);
	if (!status)
		status = choose_activation(&k->towers.model, config->activation, &k->desc.activation);
	if (!status)
		set_parameters(&k->towers.model, &k->desc);
	return status;
}

static ufm_status new_bank(const contents *k, ufm_bank **out)
{
	ufm_status status = bank_new(EXTENT_FILE, k->found.layers, k->found.experts, &k->desc, out);

	return status ? bank_as_format(status) : UFM_OK;
}

/* Its layers are alike: there is nothing to choose from. */
static ufm_status check_geometry(const ufm_bank_checkpoint_config *config)
{
	if (config->geometry > 1)
		return status_fail(UFM_EINVAL, "geometry is %u, expected at most 1", config->geometry);
	return UFM_OK;
}

static ufm_status make_of_safetensors(const checkpoint *c, const ufm_bank_checkpoint_config *config,
                                      contents *k, ufm_bank **out)
{
	ufm_status status = check_geometry(config);

	if (!status)
		status = find_contents(c, config, k);
	return status ? status : new_bank(k, out);
}

/* On success `source` belongs to the bank. */
static ufm_status make_bank(checkpoint *source, const ufm_bank_checkpoint_config *config,
                            ufm_bank **out)
{
	contents k = {.found = {.layers = 0}};
	ufm_status status = towers_find(source, config->prefix, &k.towers);

	if (status)
		return status;
	status = checkpoint_values(source) ? gguf_bank_make(source, &k.towers, config, out)
	                                   : make_of_safetensors(source, config, &k, out);
	if (status) {
		free_contents(&k);
		return status_prefix(status, "%s", checkpoint_path(source));
	}
	(*out)->source = source;
	(*out)->towers = k.towers;
	(*out)->found = k.found;
	return UFM_OK;
}

static ufm_status check_config(const ufm_bank_checkpoint_config *config)
{
	if (config->f16_as && !dtype_is_token(config->f16_as))
		return status_fail(UFM_EINVAL, "f16_as is %d, expected UFM_F32, UFM_BF16 or UFM_F16",
		                   (int)config->f16_as);
	if (config->activation && config->activation != UFM_ACT_GELU &&
	    config->activation != UFM_ACT_SILU)
		return status_fail(UFM_EINVAL, "activation is %d, expected 0, 1 or 2",
		                   (int)config->activation);
	if (config->layer_end < config->layer_begin ||
	    (config->layer_end && config->layer_end == config->layer_begin))
		return status_fail(UFM_EINVAL, "layers [%u, %u) are none", config->layer_begin,
		                   config->layer_end);
	return UFM_OK;
}

ufm_status ufm_bank_checkpoint(const char *path, const ufm_bank_checkpoint_config *given,
                               ufm_bank **out)
{
	ufm_bank_checkpoint_config config;
	checkpoint *source;
	ufm_status status;

	UFM_STRUCT_INIT(&config);
	status = status_read_config(&config, sizeof config, given, "ufm_bank_checkpoint_config");
	if (!status)
		status = check_config(&config);
	if (!status)
		status = status_need((const void *)out, "out", "where to put the bank");
	if (!status)
		status = checkpoint_open(path, &source);
	if (status)
		return status;
	status = make_bank(source, &config, out);
	if (status)
		checkpoint_close(source);
	return status;
}

/* Parts follow each other, zero bytes between them. */
uint32_t bank_checkpoint_extents(const ufm_bank *bank, uint32_t key,
                                 bank_extent out[BANK_EXTENTS_MAX])
{
	const ufm_expert_desc *desc = &bank->shape.desc;
	uint32_t layer = key / bank->shape.experts, expert = key % bank->shape.experts;
	uint32_t count = bank_gaps(desc, out);

	for (uint32_t i = 0; i < desc->part_count; i++) {
		const ufm_part *part = &desc->parts[i];
		bank_extent *extent = &out[count++];

		experts_extent(&bank->found, layer, expert, i, extent);
		extent->to = part->format ? extent->from : part->dtype;
		extent->block_offset_bytes = part->offset_bytes;
		extent->size_bytes = format_part_bytes(part);
	}
	return count;
}
