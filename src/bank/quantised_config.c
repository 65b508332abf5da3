/* SPDX-License-Identifier: MIT */
/* What config.json says of how experts are quantised. */
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "bank/checkpoint_int.h"
#include "bank/model_config_int.h"
#include "bank/quantised_int.h"
#include "base/alloc.h"
#include "base/status.h"

#define CONFIG_BYTES_MAX (16u << 20)

/* The innermost object on the way to the section that is about experts. */
static const config_node *find_said(const config_reader *r)
{
	for (uint32_t i = r->depth; i-- > 0;) {
		const char *keys = config_keys(CONFIG_QUANTISED);
		char key[CONFIG_KEY_BYTES];

		while (config_next_key(&keys, key)) {
			const config_node *said = config_find(r->chain[i], key);

			if (said && said->kind == CONFIG_OBJECT)
				return said;
		}
	}
	return NULL;
}

static void find(quantised_config *q, const towers *t)
{
	char name[MODEL_TEXT_BYTES] = "";
	model_config m = {.is_index = false};
	config_reader r = {.tower = name, .m = &m};
	const config_node *method;

	if (t->count)
		tower_text(&t->items[0], name, sizeof name);
	config_find_section(q->root, &r);
	q->said = find_said(&r);
	method = q->said ? config_find(q->said, "quant_method") : NULL;
	q->method = method && method->kind == CONFIG_TEXT ? method->text : "";
}

ufm_status quantised_config_read(const checkpoint *c, const towers *t, quantised_config *out)
{
	const char *path = checkpoint_config_path(c);
	uint64_t size;
	ufm_status status;

	*out = (quantised_config){.method = ""};
	if (!path)
		return UFM_OK;
	status = checkpoint_read_text(path, CONFIG_BYTES_MAX, &out->text, &size);
	if (status)
		return status;
	status = config_tree_parse(out->text, size, &out->root);
	if (status) {
		alloc_free(out->text);
		return status_prefix(status, "%s", path);
	}
	find(out, t);
	return UFM_OK;
}

void quantised_config_free(quantised_config *q)
{
	if (q->root)
		config_tree_free(q->root);
	alloc_free(q->text);
}

/* ---- single values */

static ufm_status fail_value(const char *key, const config_node *node, const char *expected)
{
	char words[CONFIG_KEY_BYTES];

	return status_fail(UFM_EFORMAT, "config.json: quantization_config has %s %s, expected %s", key,
	                   config_words(node, words, sizeof words), expected);
}

static const config_node *find_value(const config_node *object, const char *key)
{
	return object ? config_find(object, key) : NULL;
}

bool quantised_number(const config_node *object, const char *key, int32_t *out)
{
	const config_node *node = find_value(object, key);
	double value;

	if (!node || !config_real(node, &value) || value < INT_MIN || value > INT_MAX)
		return false;
	*out = (int32_t)value;
	return (double)*out == value;
}

ufm_status quantised_need_number(const config_node *object, const char *key, int32_t expected)
{
	const config_node *node = find_value(object, key);
	int32_t found;
	char text[16];

	if (!node || (quantised_number(object, key, &found) && found == expected))
		return UFM_OK;
	snprintf(text, sizeof text, "%d", (int)expected);
	return fail_value(key, node, text);
}

bool quantised_lists(const char *names, const char *name,
                     int (*compare)(const char *, const char *, size_t))
{
	size_t length = strlen(name);

	for (const char *at = names; *at; at += strcspn(at, " "), at += *at == ' ') {
		if (length && strcspn(at, " ") == length && compare(at, name, length) == 0)
			return true;
	}
	return false;
}

bool quantised_says(const config_node *object, const char *key, const char *text)
{
	const config_node *node = find_value(object, key);

	return node && node->kind == CONFIG_TEXT && quantised_lists(text, node->text, strncasecmp);
}

ufm_status quantised_need_text(const config_node *object, const char *key, const char *expected)
{
	const config_node *node = find_value(object, key);

	if (!node || quantised_says(object, key, expected))
		return UFM_OK;
	return fail_value(key, node, expected);
}

ufm_status quantised_need_bool(const config_node *object, const char *key, bool expected)
{
	const config_node *node = find_value(object, key);

	if (!node || (node->kind == CONFIG_BOOL && node->truth == expected))
		return UFM_OK;
	return fail_value(key, node, expected ? "true" : "false");
}

ufm_status quantised_need_none(const config_node *object, const char *key)
{
	const config_node *node = find_value(object, key);
	bool is_list = node && (node->kind == CONFIG_LIST || node->kind == CONFIG_OBJECT);

	if (!node || (node->kind == CONFIG_BOOL && !node->truth) || (is_list && node->count == 0))
		return UFM_OK;
	return fail_value(key, node, "none");
}

/* ---- compressed-tensors */

ufm_status quantised_scheme(const quantised_config *q, const char *format, int32_t bits,
                            const char *type, const config_node **weights)
{
	const config_node *groups = config_find(q->said, "config_groups");
	const config_node *group = groups && groups->kind == CONFIG_OBJECT ? groups + 1 : NULL;
	ufm_status status = quantised_need_text(q->said, "format", format);

	*weights = NULL;
	if (!status)
		status = quantised_need_none(q->said, "transform_config");
	if (status)
		return status;
	if (!group || groups->count != 1 || group->kind != CONFIG_OBJECT)
		return status_fail(
			UFM_EFORMAT,
			"config.json: quantization_config has %u config_groups, expected one for "
			"all experts",
			group ? groups->count : 0);
	*weights = config_find(group, "weights");
	if (!*weights || (*weights)->kind != CONFIG_OBJECT)
		return status_fail(UFM_EFORMAT, "config.json: config_groups of quantization_config have no "
		                                "weights, expected what they are quantised to");
	status = quantised_need_text(group, "format", format);
	if (!status)
		status = quantised_need_number(*weights, "num_bits", bits);
	return status ? status : quantised_need_text(*weights, "type", type);
}

/* ---- what is not quantised */

/* Whether so many bytes of the text are components between '.' of the name, anywhere in it. */
static bool names_part_of(const char *text, size_t length, const char *name)
{
	const char *end = name + strlen(name), *at = name;

	while (length && (at = memmem(at, (size_t)(end - at), text, length))) {
		if ((at == name || at[-1] == '.') && (at[length] == '.' || at[length] == '\0'))
			return true;
		at++;
	}
	return false;
}

/* "experts", but not of "shared_experts". */
static bool names_experts(const char *text)
{
	for (const char *at = strstr(text, "experts"); at; at = strstr(at + 1, "experts")) {
		if (at == text || at[-1] != '_')
			return true;
	}
	return false;
}

static bool is_pattern(const char *text)
{
	return strncmp(text, "re:", 3) == 0 || strpbrk(text, "*[(^$|?\\");
}

static ufm_status fail_exempt(const char *key, const char *text)
{
	return status_fail(UFM_EFORMAT,
	                   "config.json: %s of quantization_config has \"%.100s\", expected no routed "
	                   "experts: all are quantised",
	                   key, text);
}

/* Bytes of the text before its component "experts", without the '.' between them. */
static size_t bytes_before_experts(const char *text)
{
	const char *at = strstr(text, "experts");
	size_t bytes = at ? (size_t)(at - text) : 0;

	return bytes ? bytes - 1 : 0;
}

/* Whether it names a tensor of one layer, [from, to) of all. Without experts in it, it can only name the layer, or a
 * matrix of every expert. */
static bool names_one_of(const char *text, const expert_tensors *all, uint32_t from, uint32_t to)
{
	size_t before = bytes_before_experts(text);
	uint32_t few = experts_first_count(all);

	if (before && !names_part_of(text, before, all->items[from].tensor->name))
		return false;
	if (!names_experts(text) && to - from > few)
		to = from + few;
	for (uint32_t i = from; i < to; i++) {
		if (names_part_of(text, strlen(text), all->items[i].tensor->name))
			return true;
	}
	return false;
}

/* Patterns are not interpreted: one that has experts in it may mean any of them. */
static ufm_status check_entry(const char *key, const char *text, const expert_tensors *all)
{
	uint32_t to;

	if (is_pattern(text))
		return names_experts(text) ? fail_exempt(key, text) : UFM_OK;
	for (uint32_t from = 0; from < all->count; from = to) {
		to = from + 1;
		while (to < all->count &&
		       all->items[to].name.layer_number == all->items[from].name.layer_number)
			to++;
		if (names_one_of(text, all, from, to))
			return fail_exempt(key, text);
	}
	return UFM_OK;
}

static ufm_status check_list(const config_node *list, const char *key, const expert_tensors *all)
{
	const config_node *item = list + 1;

	if (list->kind != CONFIG_LIST)
		return fail_value(key, list, "a list of names");
	for (uint32_t i = 0; i < list->count; i++, item += item->span) {
		ufm_status status = item->kind == CONFIG_TEXT ? check_entry(key, item->text, all)
		                                              : fail_value(key, item, "names");

		if (status)
			return status;
	}
	return UFM_OK;
}

ufm_status quantised_check_exempt(const quantised_config *q, const expert_tensors *all)
{
	static const char *const keys[] = {"modules_to_not_convert", "ignored_layers", "ignore",
	                                   "exclude_modules"};
	ufm_status status = UFM_OK;

	for (size_t i = 0; i < sizeof keys / sizeof keys[0] && !status; i++) {
		const config_node *list = config_find(q->said, keys[i]);

		if (list)
			status = check_list(list, keys[i], all);
	}
	return status;
}
