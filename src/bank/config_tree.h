/* SPDX-License-Identifier: MIT */
/*
 * A config.json as a tree of values, so that what a key means can depend on keys that come after it.
 * Values are kept as they are spelt: one that nobody asks for is never wrong.
 *
 * The nodes stand in one array in the order of the text, a value's members right behind it, so a node
 * needs no pointers: node + 1 is its first member, node + node->span what comes after it.
 */
#ifndef UFM_BANK_CONFIG_TREE_H
#define UFM_BANK_CONFIG_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <ufm/ufm.h>

typedef enum config_kind {
	CONFIG_NULL = 1,
	CONFIG_BOOL,
	CONFIG_NUMBER, /* also NaN and Infinity, as Python writes them */
	CONFIG_TEXT,
	CONFIG_LIST,
	CONFIG_OBJECT,
} config_kind;

typedef struct config_node {
	const char *key; /* NULL in a list and at the top */
	config_kind kind;
	bool truth;
	const char *text;    /* of a text, NUL-terminated; of a number, text_bytes long */
	uint32_t text_bytes; /* of a number */
	uint32_t count;      /* members of a list or an object */
	uint32_t span;       /* this node and all below it */
} config_node;

/* What was read points into `text`, which is changed. UFM_EFORMAT, also when the text is no object. */
ufm_status config_tree_parse(char *text, size_t size_bytes, config_node **out);
void config_tree_free(config_node *root);

/* A value of that key right in the object; NULL when there is none, or null, which says as little. */
const config_node *config_find(const config_node *object, const char *key);
/* The i-th member of a list. */
const config_node *config_item(const config_node *list, uint32_t i);

/* A whole number from `least` to `most`; false for everything else. */
bool config_whole(const config_node *node, uint32_t least, uint32_t most, uint32_t *out);
/* A number that is finite. */
bool config_real(const config_node *node, double *out);
bool config_is_text(const config_node *node, const char *text);
/* The value in few words for a message: 8, "greedy", true, a list of 3, an object. */
const char *config_words(const config_node *node, char *out, size_t size_bytes);

#endif
