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

/* Where layouts that are not read keep what routed experts have. */
static const struct {
	const char *component, *whose;
} unread_layouts[] = {
	{"switch_mlp.", "MLX"},
	{"block_sparse_moe.input_linear.", "Granite"},
	{"block_sparse_moe.output_linear.", "Granite"},
	{"mlp.input_linear.", "JetMoE"},
	{"mlp.output_linear.", "JetMoE"},
	{"moe.gate_proj.", "Step-3"},
	{"moe.up_proj.", "Step-3"},
	{"moe.down_proj.", "Step-3"},
};

/* Components (with the '.' behind them) of a name divided by '.', or NULL. "shared_experts" is another
 * one than "experts". */
static const char *find_component(const char *name, const char *component)
{
	for (const char *at = strstr(name, component); at; at = strstr(at + 1, component)) {
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

/* The last component of the prefix that is a number. */
static void find_layer(const char *name, expert_name *out)
{
	uint32_t end = out->prefix_bytes, at;

	out->tower_bytes = out->layer_bytes = end;
	for (; end > 0; end = at - (at > 0)) {
		for (at = end; at > 0 && name[at - 1] != '.';)
			at--;
		if (at < end && take_number(name + at, &out->layer_number) == end - at) {
			out->layer_bytes = end;
			out->tower_bytes = at - (at > 0);
			return;
		}
	}
	out->layer_number = 0;
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

/* What the names of weights that are published quantised have behind "experts". */
static const struct {
	const char *word, *format;
} quantised[] = {
	{"weight_packed", "compressed-tensors"},
	{"weight_shape", "compressed-tensors"},
	{"weight_zero_point", "compressed-tensors"},
	{"weight_scale_inv", "FP8 in blocks"},
	{"weight_scale", "FP8, NVFP4 or compressed-tensors"},
	{"input_scale", "FP8 or NVFP4"},
	{"_blocks", "MXFP4"},
	{"_scales", "MXFP4"},
	{"qweight", "GPTQ or AWQ"},
	{"qzeros", "GPTQ or AWQ"},
	{"g_idx", "GPTQ"},
	{"weight.absmax", "bitsandbytes"},
	{"weight.quant_", "bitsandbytes"},
	{"weight.nested_", "bitsandbytes"},
	{"W_q", "HQQ"},
	{"codebooks", "AQLM"},
	{"scale", "with scales"},
	{"blocks", "in blocks"},
};

static ufm_status fail_tail(const char *name, const char *tail)
{
	for (size_t i = 0; i < sizeof quantised / sizeof quantised[0]; i++) {
		if (strstr(tail, quantised[i].word))
			return status_fail(UFM_EFORMAT,
			                   "tensor \"%.200s\": quantised experts are not understood (%s), "
			                   "expected F32, BF16 or F16 weights",
			                   name, quantised[i].format);
	}
	if (strcmp(tail, "gate_up_proj_bias") == 0 || strcmp(tail, "down_proj_bias") == 0)
		return status_fail(UFM_EFORMAT,
		                   "tensor \"%.200s\": fused experts with biases have layouts (transposed, "
		                   "interleaved) that are not understood",
		                   name);
	return status_fail(UFM_EFORMAT, "tensor \"%.200s\": not a known name of an expert's weights",
	                   name);
}

static void take_prefix(const char *name, const char *at, size_t component_bytes, expert_name *out)
{
	memset(out, 0, sizeof *out);
	out->prefix_bytes = (uint32_t)(at - name - (at != name));
	out->tail_at = (uint32_t)((size_t)(at - name) + component_bytes);
	find_layer(name, out);
}

bool expert_name_find(const char *name, expert_name *out)
{
	const char *at = find_component(name, COMPONENT);

	if (at) {
		take_prefix(name, at, sizeof COMPONENT - 1, out);
		return true;
	}
	for (size_t i = 0; i < sizeof unread_layouts / sizeof unread_layouts[0]; i++) {
		at = find_component(name, unread_layouts[i].component);
		if (!at)
			continue;
		take_prefix(name, at, strlen(unread_layouts[i].component), out);
		out->unread = unread_layouts[i].whose;
		return true;
	}
	return false;
}

ufm_status expert_name_read(const char *name, expert_name *out)
{
	const char *tail = name + out->tail_at;

	if (out->unread)
		return status_fail(
			UFM_EFORMAT,
			"tensor \"%.200s\": experts fused as %s does are not understood, expected "
			"tensors ….experts.…",
			name, out->unread);
	return parse_single(tail, out) || parse_fused(tail, out) ? UFM_OK : fail_tail(name, tail);
}
