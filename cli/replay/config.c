/* SPDX-License-Identifier: MIT */
/* Lists that options hold as text: capacities and policies. */
#include "cli/replay/config.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/size.h"
#include "base/status.h"
#include "cli/nearest.h"
#include "policy/registry.h"

#define WORD_BYTES 64

/* The next word of a list; false: there is none, or one that is empty or too long. */
static bool next_word(const char **at, char word[WORD_BYTES])
{
	size_t length = strcspn(*at, ",");
	if (length == 0 || length >= WORD_BYTES)
		return false;
	memcpy(word, *at, length);
	word[length] = '\0';
	*at += length;
	if (**at == ',')
		++*at;
	return true;
}

static bool ends_with_comma(const char *text)
{
	size_t length = strlen(text);
	return length && text[length - 1] == ',';
}

/* ---- capacities */

static bool parse_percent(const char *word, double *out)
{
	char *end;
	if (strspn(word, "0123456789.%") != strlen(word))
		return false;
	*out = strtod(word, &end);
	return end != word && strcmp(end, "%") == 0 && *out > 0 && *out <= 100;
}

static bool parse_capacity(const char *word, replay_capacity *out)
{
	bool digits = strspn(word, "0123456789") == strlen(word);
	if (strchr(word, '%')) {
		out->unit = CAPACITY_PERCENT;
		return parse_percent(word, &out->percent);
	}
	out->unit = digits ? CAPACITY_SLOTS : CAPACITY_BYTES;
	return size_parse(word, &out->value) == UFM_OK && out->value > 0 &&
	       (!digits || out->value <= UINT32_MAX);
}

ufm_status replay_check_capacities(const char *text)
{
	char word[WORD_BYTES] = "";
	uint32_t count = 0;
	bool good = !ends_with_comma(text);
	for (const char *at = text; good && *at;) {
		replay_capacity c;
		good = ++count <= REPLAY_LIST_MAX && next_word(&at, word) && parse_capacity(word, &c);
	}
	if (good && count)
		return UFM_OK;
	return status_fail(UFM_EINVAL,
	                   "found '%.60s', expected at most %d capacities of a cache, separated by "
	                   "commas: slots (16), a share of its experts (25%%) or a size (8GiB)%s",
	                   text, REPLAY_LIST_MAX, nearest_size(text).text);
}

uint32_t replay_capacities(const char *text, replay_capacity *out)
{
	uint32_t count = 0;
	char word[WORD_BYTES];
	while (*text && next_word(&text, word))
		parse_capacity(word, &out[count++]);
	return count;
}

static ufm_status too_small(const char *what, uint64_t expert_bytes)
{
	char one[32];
	return status_fail(UFM_EINVAL,
	                   "--capacity: %s is less than an expert, expected at least %s for each cache",
	                   what, size_format(expert_bytes, one, sizeof one));
}

ufm_status replay_slots(const replay_capacity *capacity, const trace *t, replay_scope scope,
                        uint64_t expert_bytes, uint32_t *slots)
{
	bool own = scope == REPLAY_LAYER;
	uint64_t keys = own ? t->experts : (uint64_t)t->layers * t->experts, found = capacity->value;
	char size[32];
	if (capacity->unit == CAPACITY_PERCENT) {
		found = (uint64_t)floor((double)keys * capacity->percent / 100 + 1e-9);
		found = found ? found : 1;
	} else if (capacity->unit == CAPACITY_BYTES) {
		if (expert_bytes == 0)
			return status_fail(UFM_EINVAL, "--capacity: found a size, expected --expert-bytes or "
			                               "--preset beside it, which say what an expert takes");
		found = capacity->value / expert_bytes / (own ? t->layers : 1);
		if (found == 0)
			return too_small(size_format(capacity->value, size, sizeof size), expert_bytes);
	}
	*slots = found < keys ? (uint32_t)found : (uint32_t)keys;
	return UFM_OK;
}

/* ---- policies */

static ufm_status wrong_policies(const char *text)
{
	static const char names[] = "default, " POLICY_NAMES ", " POLICY_BOUND_NAMES;
	return status_fail(UFM_EINVAL, "found '%.60s', expected %s%s", text, names,
	                   nearest_name(text, names).text);
}

ufm_status replay_check_policies(const char *text)
{
	char word[WORD_BYTES];
	uint32_t count = 0;
	if (*text == '\0' || ends_with_comma(text))
		return status_fail(UFM_EINVAL, "found '%.60s', expected names separated by commas", text);
	for (const char *at = text; *at;) {
		if (!next_word(&at, word) || !policy_find(word))
			return wrong_policies(text);
		if (++count > REPLAY_LIST_MAX)
			return status_fail(UFM_EINVAL, "found more than %d names", REPLAY_LIST_MAX);
	}
	return UFM_OK;
}

static bool has_policy(const ufm_policy *const *list, uint32_t count, const ufm_policy *policy)
{
	for (uint32_t i = 0; i < count; i++)
		if (list[i] == policy)
			return true;
	return false;
}

uint32_t replay_policies(const char *text, const ufm_policy **out)
{
	uint32_t count = 0;
	char word[WORD_BYTES];
	while (*text && next_word(&text, word)) {
		const ufm_policy *policy = policy_find(word);
		if (!has_policy(out, count, policy))
			out[count++] = policy;
	}
	return count;
}

/* ---- the terms of admission */

/* A second, so that sums of them stay whole. */
#define TERM_US_MAX 1e6

static bool parse_term(const char *word, uint64_t *out)
{
	char *end;
	if (strspn(word, "0123456789.") != strlen(word))
		return false;
	double us = strtod(word, &end);
	*out = us <= TERM_US_MAX ? (uint64_t)llround(us * 1000) : 0;
	return end != word && *end == 0 && *out > 0;
}

static bool parse_admission(const char *text, admit_terms *out)
{
	char word[WORD_BYTES];
	uint64_t *const terms[] = {&out->copy_ns, &out->cpu_ns, &out->call_ns};
	for (size_t i = 0; i < sizeof terms / sizeof terms[0]; i++)
		if (!next_word(&text, word) || !parse_term(word, terms[i]))
			return false;
	return *text == 0;
}

ufm_status replay_check_admission(const char *text)
{
	admit_terms terms;
	if (!ends_with_comma(text) && parse_admission(text, &terms))
		return UFM_OK;
	return status_fail(
		UFM_EINVAL,
		"found '%.60s', expected COPY,CPU,CALL: three times in microseconds, above 0 "
		"and at most a second, as a row of ufm bench has them in admission",
		text);
}

admit_terms replay_admission(const char *text)
{
	admit_terms terms = {0};
	if (text)
		parse_admission(text, &terms);
	return terms;
}

const char *replay_scope_name(replay_scope scope)
{
	static const char *const names[] = {"layer", "pool", "auto"};
	return names[scope];
}
