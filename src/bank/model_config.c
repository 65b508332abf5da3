/* SPDX-License-Identifier: MIT */
/* Reads a config.json: its tree, the part about routed layers, and what that says. */
#include "bank/model_config.h"

#include "bank/model_config_int.h"
#include "base/alloc.h"
#include "base/status.h"
#include "checkpoint/read_text.h"

#define CONFIG_BYTES_MAX (16u << 20)

/* The layout comes first: values that are given layer by layer count for routed ones alone. */
static void read_all(const config_node *root, const char *tower, model_config *m)
{
	config_reader r = {.tower = tower ? tower : "", .m = m};

	m->is_index = config_find(root, "weight_map") != NULL;
	config_find_section(root, &r);
	config_read_switch(&r);
	if (r.family->shape)
		config_obstacle(m->shape_obstacle, "model_type %.60s: %s", r.family_type, r.family->shape);
	config_read_layout(&r);
	config_read_expert(&r);
	config_read_router(&r);
}

ufm_status model_config_parse(char *text, size_t size, const char *tower, model_config *out)
{
	config_node *root;
	ufm_status status = config_tree_parse(text, size, &root);

	if (status)
		return status;
	*out = (model_config){0};
	read_all(root, tower, out);
	config_tree_free(root);
	return UFM_OK;
}

ufm_status model_config_read(const char *path, const char *tower, model_config *out)
{
	uint64_t size;
	char *text;
	ufm_status status;

	if (!path) {
		*out = (model_config){0};
		return UFM_OK;
	}
	status = checkpoint_read_text(path, CONFIG_BYTES_MAX, &text, &size);
	if (status)
		return status;
	status = model_config_parse(text, size, tower, out);
	alloc_free(text);
	return status ? status_prefix(status, "%s", path) : UFM_OK;
}
