/* SPDX-License-Identifier: MIT */
/* What the names of expert tensors in GGUF files mean. Only what is written here is understood. */
#include <string.h>

#include "bank/gguf_experts.h"
#include "base/status.h"
#include "base/text.h"

/* Behind "blk.N."; with "_exps." all experts, with ".E." one of them. */
static const struct {
	const char *matrix;
	ufm_role weight, bias;
	bool gate_up;
} matrices[] = {
	{"ffn_gate_up", UFM_ROLE_GATE, UFM_ROLE_GATE_BIAS, true},
	{"ffn_gate", UFM_ROLE_GATE, UFM_ROLE_GATE_BIAS, false},
	{"ffn_up", UFM_ROLE_UP, UFM_ROLE_UP_BIAS, false},
	{"ffn_down", UFM_ROLE_DOWN, UFM_ROLE_DOWN_BIAS, false},
};

/* "ffn_up.3.": the component behind a matrix's name is a number. */
static bool is_single(const char *tail)
{
	for (size_t i = 0; i < sizeof matrices / sizeof matrices[0]; i++) {
		size_t length = strlen(matrices[i].matrix);

		if (strncmp(tail, matrices[i].matrix, length) == 0 && tail[length] == '.' &&
		    tail[length + 1] >= '0' && tail[length + 1] <= '9')
			return true;
	}
	return false;
}

/* Shared experts are "shexp": no part of them is said of several. */
static bool is_expert(const char *tail)
{
	return strstr(tail, "exps") || is_single(tail);
}

/* The last number that is a whole component, with what is an expert's behind it. */
static bool find_layer(const char *name, expert_name *out)
{
	for (const char *at = name; at; at = strchr(at, '.')) {
		uint32_t number;
		size_t n;

		at += *at == '.';
		n = text_number(at, &number);
		if (n == 0 || at[n] != '.' || !is_expert(at + n + 1))
			continue;
		out->layer_number = number;
		out->layer_bytes = out->prefix_bytes = (uint32_t)(at + n - name);
		out->tower_bytes = (uint32_t)(at - name - (at != name));
		out->tail_at = out->layer_bytes + 1;
		return true;
	}
	return false;
}

bool gguf_name_find(const char *name, expert_name *out)
{
	memset(out, 0, sizeof *out);
	return find_layer(name, out) || is_expert(name);
}

/* "_exps.weight", or ".3.weight"; what stands behind it. */
static const char *take_which(const char *rest, expert_name *out)
{
	size_t n;

	out->fused = strncmp(rest, "_exps.", 6) == 0;
	if (out->fused)
		return rest + 6;
	n = rest[0] == '.' ? text_number(rest + 1, &out->expert) : 0;
	return n && rest[n + 1] == '.' ? rest + n + 2 : NULL;
}

static bool read_matrix(const char *tail, size_t index, expert_name *out)
{
	size_t length = strlen(matrices[index].matrix);
	const char *kind;

	if (strncmp(tail, matrices[index].matrix, length) != 0)
		return false;
	kind = take_which(tail + length, out);
	if (!kind || (strcmp(kind, "weight") != 0 && strcmp(kind, "bias") != 0))
		return false;
	if (matrices[index].gate_up && !out->fused)
		return false;
	out->gate_up = matrices[index].gate_up;
	out->role = *kind == 'w' ? matrices[index].weight : matrices[index].bias;
	return true;
}

ufm_status gguf_name_read(const char *name, expert_name *out)
{
	for (size_t i = 0; i < sizeof matrices / sizeof matrices[0]; i++) {
		if (out->tail_at && read_matrix(name + out->tail_at, i, out))
			return UFM_OK;
	}
	return status_fail(UFM_EFORMAT, "tensor \"%.200s\": not a known name of an expert's weights",
	                   name);
}
