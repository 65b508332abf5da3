/* SPDX-License-Identifier: MIT */
/* The sizes of the public structs as the library was built, for bindings that declare them anew. */
#include <string.h>
#include <ufm/plan.h>
#include <ufm/ufm.h>

/* Every struct of ufm.h and plan.h; tests/unit/test_struct_sizes.c reads the headers. */
#define PUBLIC_STRUCTS(X) \
	X(ufm_part) \
	X(ufm_expert_desc) \
	X(ufm_bank_info) \
	X(ufm_bank_synthetic_config) \
	X(ufm_bank_memory_config) \
	X(ufm_bank_checkpoint_config) \
	X(ufm_extent) \
	X(ufm_bank_files_config) \
	X(ufm_bank_callback_config) \
	X(ufm_host_debug) \
	X(ufm_host_config) \
	X(ufm_engine_debug) \
	X(ufm_engine_config) \
	X(ufm_engine_bounds) \
	X(ufm_lender_config) \
	X(ufm_lender_info) \
	X(ufm_engine_info) \
	X(ufm_cpu_choice) \
	X(ufm_engine_memory) \
	X(ufm_counter_desc) \
	X(ufm_routing_info) \
	X(ufm_layer_config) \
	X(ufm_tokens) \
	X(ufm_moe_call) \
	X(ufm_ticket) \
	X(ufm_plan_model) \
	X(ufm_plan_machine) \
	X(ufm_plan_config) \
	X(ufm_plan_phase) \
	X(ufm_plan_point)

static const struct {
	const char *name;
	size_t size;
} structs[] = {
#define STRUCT(name) {#name, sizeof(name)},
	PUBLIC_STRUCTS(STRUCT)
#undef STRUCT
};

size_t ufm_sizeof(const char *name)
{
	for (size_t i = 0; name && i < sizeof structs / sizeof structs[0]; i++) {
		if (strcmp(structs[i].name, name) == 0)
			return structs[i].size;
	}
	return 0;
}
