/* SPDX-License-Identifier: MIT */
/* How a token's experts are chosen, and what would choose others. The keys count wherever they stand: in
 * the section or in an object around it. */
#include <stdio.h>
#include <string.h>

#include "bank/model_config_int.h"

/* As if it were not there. */
static bool is_one(const config_node *node)
{
	double value;

	return config_real(node, &value) && value >= 1 && value <= 1;
}

static bool is_off(const config_node *node)
{
	double value;

	if (node->kind == CONFIG_BOOL)
		return !node->truth;
	return config_real(node, &value) && value >= 0 && value <= 0;
}

/* The first of the keys that is said by the section, or else around it. */
static const config_node *find_outward(const config_reader *r, const char *keys,
                                       char key[CONFIG_KEY_BYTES])
{
	const config_node *said = config_first_said(r, keys, key);

	for (uint32_t i = r->depth; !said && i-- > 0;) {
		const char *rest = keys;

		while (!said && config_next_key(&rest, key))
			said = config_find(r->chain[i], key);
	}
	return said;
}

/* All of the keys, in all of the objects, must be as if they were not there. */
static void check_all(config_reader *r, const char *keys, bool (*harmless)(const config_node *node),
                      const char *expected)
{
	char key[CONFIG_KEY_BYTES], words[CONFIG_KEY_BYTES];

	while (config_next_key(&keys, key)) {
		for (uint32_t i = r->depth; i-- > 0;) {
			const config_node *said =
				i + 1 == r->depth ? config_said(r, key) : config_find(r->chain[i], key);

			if (said && !harmless(said))
				config_obstacle(r->m->router_obstacle, "%s is %s, %s", key,
				                config_words(said, words, sizeof words), expected);
		}
	}
}

static bool is_greedy(const config_node *node)
{
	return config_is_text(node, "greedy");
}

/* What is said wrongly is an obstacle; what is not said may come from the caller. */
static void read_top_k(config_reader *r)
{
	const char *keys = config_keys(CONFIG_TOP_K);
	model_config *m = r->m;

	m->top_k = config_read_count(r, keys, CONFIG_COUNT_MAX, m->top_k_obstacle);
	if (*m->top_k_obstacle)
		config_obstacle(m->router_obstacle, "%s", m->top_k_obstacle);
	else if (!m->top_k)
		config_obstacle(m->top_k_obstacle, "found none of %s, expected one", keys);
}

static void read_norm(config_reader *r)
{
	char key[CONFIG_KEY_BYTES], words[CONFIG_KEY_BYTES];
	const config_node *said = find_outward(r, config_keys(CONFIG_NORM), key);

	r->m->norm_topk = r->family->norm_topk;
	if (r->m->norm_topk || !said)
		return;
	if (said->kind == CONFIG_BOOL)
		r->m->norm_topk = said->truth ? MODEL_YES : MODEL_NO;
	else
		config_obstacle(r->m->router_obstacle, "%s is %s, expected true or false", key,
		                config_words(said, words, sizeof words));
}

static void read_scoring(config_reader *r)
{
	char key[CONFIG_KEY_BYTES], words[CONFIG_KEY_BYTES];
	const config_node *said = find_outward(r, config_keys(CONFIG_SCORING), key);
	model_config *m = r->m;

	if (said && said->kind == CONFIG_TEXT)
		snprintf(m->scoring_func, sizeof m->scoring_func, "%s", said->text);
	else if (said)
		config_obstacle(m->router_obstacle, "%s is %s, expected softmax or sigmoid", key,
		                config_words(said, words, sizeof words));
	if (strcmp(m->scoring_func, "softmax") == 0)
		m->scoring = UFM_SCORE_SOFTMAX;
	else if (strcmp(m->scoring_func, "sigmoid") == 0)
		m->scoring = UFM_SCORE_SIGMOID;
	if (r->family->scoring)
		m->scoring = r->family->scoring;
}

/* What sounds like layers or routing and is not understood may be either. */
static void check_unknown(config_reader *r)
{
	char words[CONFIG_KEY_BYTES];

	for (uint32_t i = r->depth; i-- > 0;) {
		const config_node *object = r->chain[i], *at = object + 1;

		for (; at < object + object->span; at += at->span) {
			if (at->kind == CONFIG_NULL || !config_is_unknown(at->key))
				continue;
			config_words(at, words, sizeof words);
			config_obstacle(r->m->shape_obstacle,
			                "%.60s is %s: it sounds like layers, experts or routing and is not "
			                "understood, expected no such key",
			                at->key, words);
			config_obstacle(r->m->router_obstacle,
			                "%.60s is %s: it sounds like layers, experts or routing and is not "
			                "understood, expected no such key",
			                at->key, words);
		}
	}
}

void config_read_router(config_reader *r)
{
	model_config *m = r->m;

	if (r->family->router)
		config_obstacle(m->router_obstacle, "model_type %.60s: %s", r->family_type,
		                r->family->router);
	read_top_k(r);
	read_norm(r);
	read_scoring(r);
	check_all(r, config_keys(CONFIG_ONE), is_one, "expected 1");
	check_all(r, config_keys(CONFIG_METHOD), is_greedy, "expected greedy");
	check_all(r, config_keys(CONFIG_OFF), is_off, "which is not understood");
	check_unknown(r);
}
