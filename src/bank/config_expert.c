/* SPDX-License-Identifier: MIT */
/* What an expert is: its matrices, their type, its activation. */
#include <stdio.h>
#include <string.h>

#include "bank/model_config_int.h"

static void copy_text(char out[MODEL_TEXT_BYTES], const char *text)
{
	snprintf(out, MODEL_TEXT_BYTES, "%s", text);
}

static uint32_t need_count(config_reader *r, config_meaning meaning, uint32_t most)
{
	const char *keys = config_keys(meaning);
	uint32_t value = config_read_count(r, keys, most, r->m->shape_obstacle);

	if (!value)
		config_obstacle(r->m->shape_obstacle,
		                "found none of %s, expected one: is it a model with routed experts?", keys);
	return value;
}

/* ---- width */

/* Not all at once, as dense layers have another width: the first of the keys. */
static uint32_t read_d_hidden(config_reader *r)
{
	const char *keys = r->family->d_hidden ? r->family->d_hidden : config_keys(CONFIG_D_HIDDEN);
	char key[CONFIG_KEY_BYTES];

	if (config_first_said(r, keys, key))
		return config_read_count(r, key, CONFIG_WIDTH_MAX, r->m->shape_obstacle);
	config_obstacle(r->m->shape_obstacle, "found none of %s, expected one", keys);
	return 0;
}

static uint32_t read_d_model(config_reader *r)
{
	char key[CONFIG_KEY_BYTES];

	return config_first_said(r, config_keys(CONFIG_D_LATENT), key)
	           ? config_read_count(r, key, CONFIG_WIDTH_MAX, r->m->shape_obstacle)
	           : need_count(r, CONFIG_D_MODEL, CONFIG_WIDTH_MAX);
}

/* ---- activation */

/* Some keep it in an object, with its name. */
static const config_node *activation_text(const config_node *node)
{
	const config_node *name = node->kind == CONFIG_OBJECT ? config_find(node, "name") : node;

	return name ? name : node;
}

static ufm_activation known_activation(const char *name)
{
	if (strcmp(name, "silu") == 0 || strcmp(name, "swish") == 0)
		return UFM_ACT_SILU;
	return strcmp(name, "gelu") == 0 ? UFM_ACT_GELU : 0;
}

/* All of its keys must say the same. */
static void read_activation(config_reader *r)
{
	const char *keys = config_keys(CONFIG_ACTIVATION);
	char key[CONFIG_KEY_BYTES], words[CONFIG_KEY_BYTES];
	model_config *m = r->m;

	while (config_next_key(&keys, key)) {
		const config_node *said = config_said(r, key), *name = said ? activation_text(said) : NULL;

		if (!said)
			continue;
		if (name->kind != CONFIG_TEXT) {
			config_obstacle(m->expert_obstacle, "%s is %s, expected silu or gelu", key,
			                config_words(name, words, sizeof words));
		} else if (!*m->hidden_act) {
			copy_text(m->activation_key, key);
			copy_text(m->hidden_act, name->text);
		} else if (strcmp(m->hidden_act, name->text) != 0) {
			config_obstacle(m->expert_obstacle, "%s is \"%.40s\" and %s is \"%.40s\"",
			                m->activation_key, m->hidden_act, key, name->text);
		}
	}
	m->activation = known_activation(m->hidden_act);
	if (*m->hidden_act && !m->activation)
		config_obstacle(m->expert_obstacle, "%s is \"%.80s\", expected silu or gelu",
		                m->activation_key, m->hidden_act);
}

static void fail_key(config_reader *r, config_meaning meaning)
{
	char key[CONFIG_KEY_BYTES];

	if (config_first_said(r, config_keys(meaning), key))
		config_obstacle(r->m->expert_obstacle, "%s is set, which is not understood", key);
}

/* A family's own value unless the file says another; what other families say is not understood. */
static float read_parameter(config_reader *r, config_meaning meaning, float usual)
{
	char key[CONFIG_KEY_BYTES], words[CONFIG_KEY_BYTES];
	const config_node *node = config_first_said(r, config_keys(meaning), key);
	double value;

	if (usual == 0.0f)
		fail_key(r, meaning);
	if (usual == 0.0f || !node)
		return usual;
	if (!config_real(node, &value) || !(value > 0.0 && value <= 1e6)) {
		config_obstacle(r->m->expert_obstacle, "%s is %s, expected a number above 0", key,
		                config_words(node, words, sizeof words));
		return usual;
	}
	return (float)value;
}

static void read_parameters(config_reader *r)
{
	r->m->act_limit = read_parameter(r, CONFIG_LIMIT, r->family->act_limit);
	r->m->act_alpha = read_parameter(r, CONFIG_ALPHA, r->family->act_alpha);
	r->m->up_offset = r->family->up_offset;
}

/* What no activation here has; a list may have none for any layer. */
static void read_arithmetic(config_reader *r)
{
	read_parameters(r);
	fail_key(r, CONFIG_ARITHMETIC);
	if (r->family->arithmetic)
		config_obstacle(r->m->expert_obstacle, "model_type %.60s: %s", r->family_type,
		                r->family->arithmetic);
}

/* Gated, as all but few are: a squared or plain ReLU is what experts without a gate have. */
static void read_kind(config_reader *r)
{
	model_config *m = r->m;

	m->kind = r->family->kind ? r->family->kind : UFM_EXPERT_GATED;
	if (!r->family_known && strncmp(m->hidden_act, "relu", 4) == 0)
		config_obstacle(
			m->shape_obstacle,
			"%s is \"%.40s\": whether experts have a gate then is not known of model_type "
			"\"%.60s\"",
			m->activation_key, m->hidden_act, m->model_type);
}

/* ---- type */

/* Both are also said for the whole, above the part about text. */
static void read_dtype(config_reader *r)
{
	char key[CONFIG_KEY_BYTES];
	const config_node *method;

	for (uint32_t i = r->depth; i-- > 0;) {
		const char *keys = config_keys(CONFIG_DTYPE);

		while (!*r->m->dtype && config_next_key(&keys, key)) {
			const config_node *said = config_find(r->chain[i], key);

			if (said && said->kind == CONFIG_TEXT)
				copy_text(r->m->dtype, said->text);
		}
		keys = config_keys(CONFIG_QUANTISED);
		while (!*r->m->quantised && config_next_key(&keys, key)) {
			const config_node *said = config_find(r->chain[i], key);

			if (!said || said->kind != CONFIG_OBJECT)
				continue;
			method = config_find(said, "quant_method");
			copy_text(r->m->quantised,
			          method && method->kind == CONFIG_TEXT && *method->text ? method->text : key);
		}
	}
}

/* ---- whether there are any */

void config_read_switch(config_reader *r)
{
	const char *keys = config_keys(CONFIG_SWITCH);
	char key[CONFIG_KEY_BYTES], words[CONFIG_KEY_BYTES];

	while (config_next_key(&keys, key)) {
		const config_node *said = config_said(r, key);

		if (said && !(said->kind == CONFIG_BOOL && said->truth))
			config_obstacle(r->m->shape_obstacle,
			                "%s is %s, expected true: it has no routed experts", key,
			                config_words(said, words, sizeof words));
	}
}

void config_read_expert(config_reader *r)
{
	model_config *m = r->m;

	read_activation(r);
	read_arithmetic(r);
	read_dtype(r);
	m->experts = need_count(r, CONFIG_EXPERTS, CONFIG_COUNT_MAX);
	read_kind(r);
	m->d_model = read_d_model(r);
	m->d_hidden = read_d_hidden(r);
	if (r->family->left_out)
		copy_text(m->left_out, r->family->left_out);
}
