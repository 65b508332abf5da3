/* SPDX-License-Identifier: MIT */
/* Builds the tree of a config.json, and reads single values of it. */
#include "bank/config_tree.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/json_pull.h"
#include "base/status.h"

#define NODES_MAX (1u << 20)
#define NUMBER_BYTES_MAX 64u

typedef struct builder {
	json_pull json;
	config_node *nodes;
	uint32_t count, room;
} builder;

static void fail(builder *b, ufm_status status)
{
	json_pull_stop(&b->json, status);
}

/* The index of a new node; nodes move when their array grows. NODES_MAX: none could be made. */
static uint32_t add_node(builder *b, const char *key, config_kind kind)
{
	config_node *nodes;

	if (b->count == NODES_MAX) {
		fail(b, status_fail(UFM_EFORMAT, "holds more than %u values", NODES_MAX));
		return NODES_MAX;
	}
	nodes = alloc_grow(b->nodes, b->count, &b->room, sizeof *nodes);
	if (!nodes) {
		fail(b, UFM_ENOMEM);
		return NODES_MAX;
	}
	b->nodes = nodes;
	nodes[b->count] = (config_node){.key = key, .kind = kind, .span = 1};
	return b->count++;
}

static void build_value(builder *b, const char *key);

static uint32_t build_members(builder *b, config_kind kind)
{
	uint32_t count = 0;
	const char *key;

	if (kind == CONFIG_OBJECT) {
		json_pull_object(&b->json);
		for (; json_pull_next_key(&b->json, &key); count++)
			build_value(b, key);
	} else {
		json_pull_array(&b->json);
		for (; json_pull_next_item(&b->json); count++)
			build_value(b, NULL);
	}
	return count;
}

static void build_plain(builder *b, config_node *node)
{
	size_t size_bytes = 0;

	switch (node->kind) {
	case CONFIG_TEXT:
		json_pull_string(&b->json, &node->text);
		break;
	case CONFIG_NUMBER:
		json_pull_number(&b->json, &node->text, &size_bytes);
		node->text_bytes = (uint32_t)size_bytes;
		break;
	case CONFIG_BOOL:
		json_pull_bool(&b->json, &node->truth);
		break;
	default:
		json_pull_skip(&b->json);
	}
}

/* Its recursion ends at JSON_PULL_DEPTH_MAX. */
static void build_value(builder *b, const char *key)
{
	static const config_kind kinds[] = {
		[JSON_PULL_NONE] = CONFIG_NULL,     [JSON_PULL_OBJECT] = CONFIG_OBJECT,
		[JSON_PULL_ARRAY] = CONFIG_LIST,    [JSON_PULL_STRING] = CONFIG_TEXT,
		[JSON_PULL_NUMBER] = CONFIG_NUMBER, [JSON_PULL_BOOL] = CONFIG_BOOL,
		[JSON_PULL_NULL] = CONFIG_NULL,
	};
	config_kind kind = kinds[json_pull_peek(&b->json)];
	uint32_t at = add_node(b, key, kind), count;

	if (at == NODES_MAX)
		return;
	if (kind != CONFIG_OBJECT && kind != CONFIG_LIST) {
		build_plain(b, &b->nodes[at]);
		return;
	}
	count = build_members(b, kind);
	b->nodes[at].count = count;
	b->nodes[at].span = b->count - at;
}

ufm_status config_tree_parse(char *text, size_t size_bytes, config_node **out)
{
	builder b = {.count = 0};
	ufm_status status;

	json_pull_begin(&b.json, text, size_bytes);
	b.json.python = true;
	build_value(&b, NULL);
	status = json_pull_end(&b.json);
	if (!status && b.nodes->kind != CONFIG_OBJECT)
		status = status_fail(UFM_EFORMAT, "byte 0: expected an object");
	if (status) {
		alloc_free(b.nodes);
		return status;
	}
	*out = b.nodes;
	return UFM_OK;
}

void config_tree_free(config_node *root)
{
	alloc_free(root);
}

const config_node *config_find(const config_node *object, const char *key)
{
	const config_node *member = object + 1;

	if (object->kind != CONFIG_OBJECT)
		return NULL;
	for (; member < object + object->span; member += member->span) {
		if (strcmp(member->key, key) == 0)
			return member->kind == CONFIG_NULL ? NULL : member;
	}
	return NULL;
}

const config_node *config_item(const config_node *list, uint32_t i)
{
	const config_node *member = list + 1;

	while (i-- > 0)
		member += member->span;
	return member;
}

static bool copy_number(const config_node *node, char out[NUMBER_BYTES_MAX])
{
	if (node->kind != CONFIG_NUMBER || node->text_bytes >= NUMBER_BYTES_MAX)
		return false;
	memcpy(out, node->text, node->text_bytes);
	out[node->text_bytes] = '\0';
	return true;
}

bool config_whole(const config_node *node, uint32_t least, uint32_t most, uint32_t *out)
{
	char text[NUMBER_BYTES_MAX];
	unsigned long value;

	/* Ten digits hold what 32 bits do, and cannot overflow. */
	if (!copy_number(node, text) || strspn(text, "0123456789") != node->text_bytes ||
	    node->text_bytes > 10)
		return false;
	value = strtoul(text, NULL, 10);
	if (value < least || value > most)
		return false;
	*out = (uint32_t)value;
	return true;
}

bool config_real(const config_node *node, double *out)
{
	char text[NUMBER_BYTES_MAX];
	locale_t c;

	if (!copy_number(node, text))
		return false;
	/* The decimal point of the process's locale may be another one than JSON's. */
	c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
	if (!c)
		return false;
	*out = strtod_l(text, NULL, c);
	freelocale(c);
	return isfinite(*out);
}

bool config_is_text(const config_node *node, const char *text)
{
	return node->kind == CONFIG_TEXT && strcmp(node->text, text) == 0;
}

const char *config_words(const config_node *node, char *out, size_t size_bytes)
{
	switch (node->kind) {
	case CONFIG_BOOL:
		snprintf(out, size_bytes, "%s", node->truth ? "true" : "false");
		break;
	case CONFIG_NUMBER:
		snprintf(out, size_bytes, "%.*s", (int)(node->text_bytes < 24 ? node->text_bytes : 24),
		         node->text);
		break;
	case CONFIG_TEXT:
		snprintf(out, size_bytes, "\"%.40s\"", node->text);
		break;
	case CONFIG_LIST:
		snprintf(out, size_bytes, "a list of %u", node->count);
		break;
	case CONFIG_OBJECT:
		snprintf(out, size_bytes, "an object");
		break;
	default:
		snprintf(out, size_bytes, "null");
	}
	return out;
}
