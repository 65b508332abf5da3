/* SPDX-License-Identifier: MIT */
/* A bank whose blocks are put together from the tensors of a checkpoint. */
#include "bank/bank_int.h"
#include "bank/gguf_bank.h"
#include "bank/model_config.h"
#include "base/dtype.h"
#include "base/status.h"
#include "format/format.h"

/* What the weights are in the block, and how they get there. */
static ufm_status choose_dtype(checkpoint_dtype found, ufm_dtype f16_as, ufm_dtype *in_file,
                               ufm_dtype *dtype)
{
	switch ((int)found) {
	case CHECKPOINT_F32:
		*in_file = *dtype = UFM_F32;
		return UFM_OK;
	case CHECKPOINT_BF16:
		*in_file = *dtype = UFM_BF16;
		return UFM_OK;
	case CHECKPOINT_F16:
		*in_file = UFM_F16;
		*dtype = f16_as;
		return UFM_OK;
	default:
		return status_fail(UFM_EFORMAT, "experts have dtype %s, expected F32, BF16 or F16",
		                   checkpoint_dtype_name(found));
	}
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

/* What of the checkpoint becomes a bank, and how. */
typedef struct contents {
	towers towers;
	expert_set found;
	ufm_dtype in_file, dtype;
	ufm_activation activation;
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
		status = choose_dtype(k->found.dtype, config->f16_as ? config->f16_as : UFM_F32,
		                      &k->in_file, &k->dtype);
	if (!status)
		status = experts_check_model(&k->found, &k->towers.model);
	if (!status)
		status = choose_activation(&k->towers.model, config->activation, &k->activation);
	return status;
}

static ufm_status new_bank(const contents *k, ufm_bank **out)
{
	ufm_expert_desc desc = {.struct_size = sizeof desc};
	ufm_status status =
		ufm_expert_desc_init(&desc, k->found.kind, k->found.d_model, k->found.d_hidden, k->dtype);

	if (!status) {
		desc.activation = k->activation;
		status = bank_new(EXTENT_FILE, k->found.layers, k->found.experts, &desc, out);
	}
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
	contents k = {.dtype = 0};
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
	(*out)->in_file = k.in_file;
	return UFM_OK;
}

static ufm_status check_config(const ufm_bank_checkpoint_config *config)
{
	if (config->f16_as && !dtype_is_computed(config->f16_as))
		return status_fail(UFM_EINVAL, "f16_as is %d, expected UFM_F32 or UFM_BF16",
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

/* Standard layouts: parts follow each other, zero bytes between them. */
uint32_t bank_checkpoint_extents(const ufm_bank *bank, uint32_t key,
                                 bank_extent out[BANK_EXTENTS_MAX])
{
	const ufm_expert_desc *desc = &bank->shape.desc;
	uint32_t layer = key / bank->shape.experts, expert = key % bank->shape.experts, count = 0;
	uint64_t end = 0;

	for (uint32_t i = 0; i < desc->part_count; i++) {
		const ufm_part *part = &desc->parts[i];
		expert_place place = experts_place(&bank->found, layer, expert, i);

		if (part->offset_bytes > end)
			out[count++] = bank_zeros(end, part->offset_bytes);
		out[count++] = (bank_extent){.kind = EXTENT_FILE,
		                             .file = place.file,
		                             .file_offset_bytes = place.offset_bytes,
		                             .from = bank->in_file,
		                             .to = part->dtype,
		                             .block_offset_bytes = part->offset_bytes,
		                             .size_bytes = format_part_bytes(part)};
		end = part->offset_bytes + format_part_bytes(part);
	}
	return count;
}
