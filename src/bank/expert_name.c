/* SPDX-License-Identifier: MIT */
/* What the names of expert tensors mean. Only what is written here is understood. */
#include <string.h>

#include "bank/experts.h"
#include "base/status.h"

#define COMPONENT "experts."

static const struct {
	const char *tail;
	ufm_role role;
} single_tails[] = {
	{"gate_proj.weight", UFM_ROLE_GATE}, {"up_proj.weight", UFM_ROLE_UP},
	{"down_proj.weight", UFM_ROLE_DOWN}, {"gate_proj.bias", UFM_ROLE_GATE_BIAS},
	{"up_proj.bias", UFM_ROLE_UP_BIAS},  {"down_proj.bias", UFM_ROLE_DOWN_BIAS},
	{"w1.weight", UFM_ROLE_GATE},        {"w3.weight", UFM_ROLE_UP},
	{"w2.weight", UFM_ROLE_DOWN},
};

/* The component "experts" of a name divided by '.', or NULL. "shared_experts" is another one. */
static const char *find_component(const char *name)
{
	for (const char *at = strstr(name, COMPONENT); at; at = strstr(at + 1, COMPONENT)) {
		if (at == name || at[-1] == '.')
			return at;
	}
	return NULL;
}

/* A plain decimal below 2^31; its length, or 0. */
static size_t take_number(const char *text, uint32_t *out)
{
	size_t n = strspn(text, "0123456789");
	uint32_t value = 0;

	if (n == 0 || n > 9 || (n > 1 && text[0] == '0'))
		return 0;
	for (size_t i = 0; i < n; i++)
		value = value * 10 + (uint32_t)(text[i] - '0');
	*out = value;
	return n;
}

static bool find_layer(const char *name, size_t prefix_bytes, uint32_t *out)
{
	size_t at = prefix_bytes;

	*out = 0;
	while (at > 0) {
		size_t end = at, n;

		while (at > 0 && name[at - 1] != '.')
			at--;
		n = take_number(name + at, out);
		if (n && n == end - at)
			return true;
		*out = 0;
		at -= at > 0;
	}
	return false;
}

static bool parse_single(const char *tail, expert_name *out)
{
	size_t n = take_number(tail, &out->expert);

	if (n == 0 || tail[n] != '.')
		return false;
	for (size_t i = 0; i < sizeof single_tails / sizeof single_tails[0]; i++) {
		if (strcmp(tail + n + 1, single_tails[i].tail) == 0) {
			out->role = single_tails[i].role;
			return true;
		}
	}
	return false;
}

static bool parse_fused(const char *tail, expert_name *out)
{
	out->gate_up = strcmp(tail, "gate_up_proj") == 0;
	out->fused = out->gate_up || strcmp(tail, "down_proj") == 0;
	out->role = out->gate_up ? UFM_ROLE_GATE : UFM_ROLE_DOWN;
	return out->fused;
}

/* Why a tensor under "experts" is not taken, as far as its name tells. */
static const char *explain(const char *tail)
{
	if (strstr(tail, "scale") || strstr(tail, "blocks") || strstr(tail, "qweight") ||
	    strstr(tail, "qzeros"))
		return "quantised experts are not understood";
	if (strcmp(tail, "gate_up_proj_bias") == 0 || strcmp(tail, "down_proj_bias") == 0)
		return "fused experts with biases have layouts (transposed, interleaved) that are not "
			   "understood";
	return "not a known name of an expert's weights";
}

bool expert_name_parse(const char *name, expert_name *out, ufm_status *status)
{
	const char *at = find_component(name), *tail;

	*status = UFM_OK;
	if (!at)
		return false;
	memset(out, 0, sizeof *out);
	tail = at + sizeof COMPONENT - 1;
	out->prefix_bytes = (uint32_t)(at - name - (at != name));
	find_layer(name, out->prefix_bytes, &out->layer_number);
	if (!parse_single(tail, out) && !parse_fused(tail, out))
		*status = status_fail(UFM_EFORMAT, "tensor \"%.200s\": %s", name, explain(tail));
	return true;
}
