/* SPDX-License-Identifier: MIT */
/* What the names of expert tensors mean. Only what is written here is understood. */
#include <string.h>

#include "bank/experts.h"
#include "base/status.h"
#include "base/text.h"

#define COMPONENT "experts."

static const struct {
	const char *name;
	ufm_role role, bias; /* 0: has none here */
} matrices[] = {
	{"gate_proj.", UFM_ROLE_GATE, UFM_ROLE_GATE_BIAS},
	{"up_proj.", UFM_ROLE_UP, UFM_ROLE_UP_BIAS},
	{"down_proj.", UFM_ROLE_DOWN, UFM_ROLE_DOWN_BIAS},
	{"w1.", UFM_ROLE_GATE, 0},
	{"w3.", UFM_ROLE_UP, 0},
	{"w2.", UFM_ROLE_DOWN, 0},
};

/* As they are spelt behind a matrix's name, and behind that of a fused one. */
static const struct {
	const char *single, *fused; /* NULL: there is none */
} components[EXPERT_COMPONENTS] = {
	[EXPERT_WEIGHT] = {"weight", ""},
	[EXPERT_BIAS] = {"bias", "_bias"},
	[EXPERT_BLOCKS] = {NULL, "_blocks"},
	[EXPERT_PACKED] = {"weight_packed", NULL},
	[EXPERT_QWEIGHT] = {"qweight", NULL},
	[EXPERT_SCALE] = {"weight_scale", "_scale"},
	[EXPERT_SCALE_INV] = {"weight_scale_inv", "_scale_inv"},
	[EXPERT_SCALES] = {"scales", "_scales"},
	[EXPERT_ZERO_POINT] = {"weight_zero_point", NULL},
	[EXPERT_QZEROS] = {"qzeros", NULL},
	[EXPERT_SCALE_2] = {"weight_scale_2", NULL},
	[EXPERT_GLOBAL_SCALE] = {"weight_global_scale", NULL},
	[EXPERT_SHAPE] = {"weight_shape", NULL},
	[EXPERT_G_IDX] = {"g_idx", NULL},
	[EXPERT_INPUT_SCALE] = {"input_scale", "_input_scale"},
	[EXPERT_ACTIVATION_SCALE] = {"activation_scale", "_activation_scale"},
	[EXPERT_INPUT_GLOBAL_SCALE] = {"input_global_scale", NULL},
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

/* The last component of the prefix that is a number. */
static void find_layer(const char *name, expert_name *out)
{
	uint32_t end = out->prefix_bytes, at;

	out->tower_bytes = out->layer_bytes = end;
	for (; end > 0; end = at - (at > 0)) {
		for (at = end; at > 0 && name[at - 1] != '.';)
			at--;
		if (at < end && text_number(name + at, &out->layer_number) == end - at) {
			out->layer_bytes = end;
			out->tower_bytes = at - (at > 0);
			return;
		}
	}
	out->layer_number = 0;
}

static bool parse_component(const char *tail, bool fused, expert_name *out)
{
	for (expert_component i = 0; i < EXPERT_COMPONENTS; i++) {
		const char *spelt = fused ? components[i].fused : components[i].single;

		if (spelt && strcmp(tail, spelt) == 0) {
			out->component = i;
			return true;
		}
	}
	return false;
}

static bool parse_single(const char *tail, expert_name *out)
{
	size_t n = text_number(tail, &out->expert);

	if (n == 0 || tail[n] != '.')
		return false;
	for (size_t i = 0; i < sizeof matrices / sizeof matrices[0]; i++) {
		size_t length = strlen(matrices[i].name);

		if (strncmp(tail + n + 1, matrices[i].name, length) != 0 ||
		    !parse_component(tail + n + 1 + length, false, out))
			continue;
		out->role = out->component == EXPERT_BIAS ? matrices[i].bias : matrices[i].role;
		return out->role != 0;
	}
	return false;
}

static bool parse_fused(const char *tail, expert_name *out)
{
	static const char gate_up[] = "gate_up_proj", down[] = "down_proj";

	out->gate_up = strncmp(tail, gate_up, sizeof gate_up - 1) == 0;
	out->fused = out->gate_up || strncmp(tail, down, sizeof down - 1) == 0;
	out->role = out->gate_up ? UFM_ROLE_GATE : UFM_ROLE_DOWN;
	return out->fused &&
	       parse_component(tail + (out->gate_up ? sizeof gate_up : sizeof down) - 1, true, out);
}

const char *expert_component_name(expert_component component)
{
	const char *name = components[component].single;

	return name ? name : components[component].fused + 1;
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
	{"weight_global_scale", "NVFP4"},
	{"input_global_scale", "NVFP4"},
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

ufm_status expert_name_fail(const char *name, const expert_name *found)
{
	const char *tail = name + found->tail_at;

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
	return parse_single(tail, out) || parse_fused(tail, out) ? UFM_OK : expert_name_fail(name, out);
}
