/* SPDX-License-Identifier: MIT */
/* Finds the router beside a layer's experts, and refuses one that has more than a weight. */
#include <stdio.h>
#include <string.h>

#include "bank/experts.h"
#include "base/alloc.h"
#include "base/status.h"

#define GATE "gate."

/* "prefix.gate."; NULL without memory. */
static char *gate_prefix(const char *name, uint32_t prefix_bytes)
{
	size_t size = prefix_bytes + sizeof "." GATE;
	char *text = alloc_zeroed(size, 1);

	if (text)
		snprintf(text, size, "%.*s%s" GATE, (int)prefix_bytes, name, prefix_bytes ? "." : "");
	return text;
}

/* Everything that begins with the prefix: the weight, and nothing else. */
static ufm_status find_gate(const checkpoint *c, const char *prefix, const checkpoint_tensor **out)
{
	size_t length = strlen(prefix);
	const checkpoint_tensor *found = NULL;

	for (uint32_t i = checkpoint_lower_bound(c, prefix); i < checkpoint_tensor_count(c); i++) {
		const checkpoint_tensor *t = checkpoint_tensor_at(c, i);

		if (strncmp(t->name, prefix, length) != 0)
			break;
		if (strcmp(t->name + length, "weight") != 0)
			return status_fail(
				UFM_EFORMAT,
				"tensor \"%.200s\": a router with more than a weight is not understood", t->name);
		found = t;
	}
	*out = found;
	return UFM_OK;
}

static ufm_status find_beside(const checkpoint *c, const char *name, uint32_t prefix_bytes,
                              const checkpoint_tensor **out)
{
	char *prefix = gate_prefix(name, prefix_bytes);
	ufm_status status;

	if (!prefix)
		return UFM_ENOMEM;
	status = find_gate(c, prefix, out);
	alloc_free(prefix);
	return status;
}

ufm_status checkpoint_router(const checkpoint *c, uint32_t layer_number,
                             const checkpoint_tensor **out)
{
	for (uint32_t i = 0; i < checkpoint_tensor_count(c); i++) {
		const char *tensor = checkpoint_tensor_at(c, i)->name;
		expert_name name;
		ufm_status status;

		if (expert_name_parse(tensor, &name, &status) && name.layer_number == layer_number)
			return find_beside(c, tensor, name.prefix_bytes, out);
	}
	return status_fail(UFM_EFORMAT, "layer %u has no routed experts", layer_number);
}

ufm_status experts_router(const expert_set *e, const checkpoint *c, uint32_t layer,
                          const checkpoint_tensor **out)
{
	const checkpoint_tensor *t = e->tensors[(size_t)layer * e->layer_tensors], *found;
	uint64_t shape[2] = {e->experts, e->d_model};
	char is[96], expected[96];
	expert_name name;
	ufm_status status;

	expert_name_parse(t->name, &name, &status);
	status = find_beside(c, t->name, name.prefix_bytes, &found);
	if (status)
		return status;
	if (found && (found->rank != 2 || memcmp(found->shape, shape, sizeof shape) != 0))
		return status_fail(UFM_EFORMAT, "tensor \"%.200s\": shape is %s, expected %s", found->name,
		                   checkpoint_shape_text(found->rank, found->shape, is, sizeof is),
		                   checkpoint_shape_text(2, shape, expected, sizeof expected));
	*out = found;
	return UFM_OK;
}
