/* SPDX-License-Identifier: MIT */
/* NULL where an object or a pointer is needed: every function that libufm exports, with each of them in turn. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <ufm/plan.h>
#include <ufm/ufm.h>

#include "support/fixture.h"

#define FUNCTIONS_MAX 128

/* The functions that a test below has called. */
static const char *called[FUNCTIONS_MAX];
static uint32_t called_count;

static bool was_called(const char *function)
{
	for (uint32_t i = 0; i < called_count; i++)
		if (strcmp(called[i], function) == 0)
			return true;
	return false;
}

static void note(const char *function)
{
	assert_true(called_count < FUNCTIONS_MAX);
	if (!was_called(function))
		called[called_count++] = function;
}

static void check_refused(const char *function, const char *argument, ufm_status status)
{
	char null[64], empty[64]; /* of a path */
	snprintf(null, sizeof null, "%s: NULL, expected ", argument);
	snprintf(empty, sizeof empty, "%s is empty, expected ", argument);
	note(function);
	if (status != UFM_EINVAL || (strncmp(ufm_last_error(), null, strlen(null)) != 0 &&
	                             strncmp(ufm_last_error(), empty, strlen(empty)) != 0))
		fail_msg("%s, %s NULL: status %d, \"%s\"", function, argument, (int)status,
		         ufm_last_error());
}

static void check_none(const char *function, uint64_t found)
{
	note(function);
	if (found)
		fail_msg("%s of NULL: found %llu, expected 0", function, (unsigned long long)found);
}

/* One line an argument. REFUSES names it; NONE is 0 or NULL; TAKES is a function to which NULL is nothing. */
#define REFUSES(argument, function, ...) check_refused(#function, argument, function(__VA_ARGS__))
#define NONE(function, ...) check_none(#function, (uint64_t)function(__VA_ARGS__))
#define NO_POINTER(function, ...) check_none(#function, (uint64_t)(uintptr_t)function(__VA_ARGS__))
#define TAKES(function, ...) (function(__VA_ARGS__), note(#function))
/* It has no argument that could be NULL. */
#define HAS_NONE(function) ((void)(function), note(#function))

static void without_objects(void **state)
{
	(void)state;
	HAS_NONE(ufm_version);
	HAS_NONE(ufm_strerror);
	HAS_NONE(ufm_last_error);
	HAS_NONE(ufm_dtype_bytes);
	HAS_NONE(ufm_format_name);
	HAS_NONE(ufm_format_bytes);
	HAS_NONE(ufm_counter_count);
	HAS_NONE(ufm_counter_describe);
	NONE(ufm_sizeof, NULL);
	TAKES(ufm_struct_init, NULL, sizeof(size_t));
}

static void descriptions(void **state)
{
	(void)state;
	REFUSES("desc", ufm_expert_desc_init, NULL, UFM_EXPERT_MLP, 8, 8, UFM_F32);
	REFUSES("desc", ufm_expert_desc_init_format, NULL, UFM_EXPERT_MLP, 32, 32, UFM_FORMAT_Q8_0);
	NO_POINTER(ufm_expert_part, NULL, UFM_ROLE_UP);
	ufm_expert_desc desc = {.struct_size = sizeof desc};
	_Alignas(64) char block[4096] = {0};
	float out[64];
	assert_int_equal(ufm_expert_desc_init(&desc, UFM_EXPERT_MLP, 8, 8, UFM_F32), UFM_OK);
	REFUSES("desc", ufm_expert_expand, NULL, block, UFM_ROLE_UP, out);
	REFUSES("block", ufm_expert_expand, &desc, NULL, UFM_ROLE_UP, out);
	REFUSES("out", ufm_expert_expand, &desc, block, UFM_ROLE_UP, NULL);
	assert_int_equal(ufm_expert_expand(&desc, block, UFM_ROLE_UP, out), UFM_OK);
}

static void banks(void **state)
{
	fixture *f = *state;
	ufm_expert_desc desc = {.struct_size = sizeof desc};
	ufm_bank_info info = {.struct_size = sizeof info};
	char block[1];
	assert_int_equal(ufm_expert_desc_init(&desc, UFM_EXPERT_MLP, 8, 8, UFM_F32), UFM_OK);
	const ufm_bank_synthetic_config made = {
		.struct_size = sizeof made, .experts = 1, .desc = &desc};
	const ufm_bank_synthetic_config no_desc = {.struct_size = sizeof no_desc, .experts = 1};
	const ufm_bank_memory_config memory = {.struct_size = sizeof memory, .experts = 1};
	ufm_bank *bank = NULL;
	REFUSES("config", ufm_bank_synthetic, NULL, &bank);
	REFUSES("desc", ufm_bank_synthetic, &no_desc, &bank);
	REFUSES("out", ufm_bank_synthetic, &made, NULL);
	REFUSES("config", ufm_bank_memory, NULL, &bank);
	REFUSES("desc", ufm_bank_memory, &memory, &bank);
	REFUSES("out", ufm_bank_memory, &memory, NULL);
	const ufm_bank_files_config files = {.struct_size = sizeof files, .experts = 1};
	REFUSES("config", ufm_bank_files, NULL, &bank);
	REFUSES("desc", ufm_bank_files, &files, &bank);
	REFUSES("out", ufm_bank_files, &files, NULL);
	const ufm_bank_callback_config callback = {.struct_size = sizeof callback, .experts = 1};
	const ufm_bank_callback_config no_read = {
		.struct_size = sizeof no_read, .experts = 1, .desc = &desc};
	REFUSES("config", ufm_bank_callback, NULL, &bank);
	REFUSES("desc", ufm_bank_callback, &callback, &bank);
	REFUSES("read", ufm_bank_callback, &no_read, &bank);
	REFUSES("out", ufm_bank_callback, &callback, NULL);
	REFUSES("path", ufm_bank_open, NULL, &bank);
	REFUSES("out", ufm_bank_open, "/nowhere", NULL);
	REFUSES("path", ufm_bank_checkpoint, NULL, NULL, &bank);
	REFUSES("out", ufm_bank_checkpoint, "/nowhere", NULL, NULL);
	NONE(ufm_bank_layer_number, NULL, 3);
	REFUSES("bank", ufm_bank_save, NULL, "/nowhere/bank.ufm");
	REFUSES("path", ufm_bank_save, f->bank, NULL);
	REFUSES("bank", ufm_bank_get_info, NULL, &info);
	REFUSES("info", ufm_bank_get_info, f->bank, NULL);
	REFUSES("bank", ufm_bank_read, NULL, 0, 0, block);
	REFUSES("block", ufm_bank_read, f->bank, 0, 0, NULL);
	TAKES(ufm_bank_close, NULL);
	assert_null(bank);
}

static void hosts_and_engines(void **state)
{
	fixture *f = *state;
	const ufm_engine_config config = {.struct_size = sizeof config};
	ufm_host *host = NULL;
	ufm_engine *engine = NULL;
	REFUSES("bank", ufm_host_open, NULL, NULL, &host);
	REFUSES("out", ufm_host_open, f->bank, NULL, NULL);
	TAKES(ufm_host_close, NULL);
	REFUSES("host", ufm_engine_open, NULL, &config, &engine);
	REFUSES("out", ufm_engine_open, f->host, &config, NULL);
	TAKES(ufm_engine_close, NULL);
	REFUSES("engine", ufm_engine_resize, NULL, 1 << 20);
	ufm_engine_bounds bounds = {.struct_size = sizeof bounds};
	REFUSES("engine", ufm_engine_get_bounds, NULL, &bounds);
	REFUSES("bounds", ufm_engine_get_bounds, f->engine, NULL);
	REFUSES("engine", ufm_engine_make_room, NULL, 0, NULL);
	assert_int_equal(ufm_engine_make_room(f->engine, 0, NULL), UFM_OK);
	REFUSES("engines", ufm_engines_divide, NULL, 1, 1 << 20, NULL);
	assert_true(!host && !engine);
}

static int no_memory(ufm_devptr *out, size_t size_bytes)
{
	(void)size_bytes;
	*out = 0;
	return 2;
}

static int no_release(ufm_devptr memory)
{
	(void)memory;
	return 1;
}

static void lenders(void **state)
{
	fixture *f = *state;
	ufm_lender_config config = {.struct_size = sizeof config, .limit_bytes = 1 << 30};
	ufm_lender_info info = {.struct_size = sizeof info};
	ufm_lender *lender = NULL;
	ufm_devptr memory;
	REFUSES("config", ufm_lender_open, NULL, &lender);
	REFUSES("engines", ufm_lender_open, &config, &lender);
	config.engines = &f->engine;
	config.engine_count = 1;
	REFUSES("alloc", ufm_lender_open, &config, &lender);
	config.alloc = no_memory;
	REFUSES("release", ufm_lender_open, &config, &lender);
	config.release = no_release;
	REFUSES("out", ufm_lender_open, &config, NULL);
	assert_null(lender);
	assert_int_equal(ufm_lender_open(&config, &lender), UFM_OK);
	REFUSES("lender", ufm_lender_alloc, NULL, 1, &memory);
	REFUSES("out", ufm_lender_alloc, lender, 1, NULL);
	REFUSES("lender", ufm_lender_free, NULL, 1);
	REFUSES("lender", ufm_lender_settle, NULL, 0);
	REFUSES("lender", ufm_lender_get_info, NULL, &info);
	REFUSES("info", ufm_lender_get_info, lender, NULL);
	NO_POINTER(ufm_lent_alloc, 1, 0, NULL);
	TAKES(ufm_lent_free, NULL, 1, 0, NULL);
	TAKES(ufm_lender_close, NULL);
	ufm_lender_close(lender);
}

static void what_an_engine_tells(void **state)
{
	fixture *f = *state;
	ufm_engine_info info = {.struct_size = sizeof info};
	ufm_engine_memory memory = {.struct_size = sizeof memory};
	ufm_cpu_choice choice = {.struct_size = sizeof choice};
	uint64_t values[1];
	REFUSES("engine", ufm_engine_get_info, NULL, &info);
	REFUSES("info", ufm_engine_get_info, f->engine, NULL);
	REFUSES("engine", ufm_engine_get_memory, NULL, &memory);
	REFUSES("memory", ufm_engine_get_memory, f->engine, NULL);
	REFUSES("engine", ufm_engine_get_cpu_choice, NULL, 0, &choice);
	REFUSES("choice", ufm_engine_get_cpu_choice, f->engine, 0, NULL);
	REFUSES("engine", ufm_engine_get_counters, NULL, values, 1);
	REFUSES("values", ufm_engine_get_counters, f->engine, NULL, 1);
	assert_int_equal(ufm_engine_get_counters(f->engine, NULL, 0), UFM_OK);
	REFUSES("engine", ufm_engine_write_timeline, NULL, "/dev/null");
	REFUSES("path", ufm_engine_write_timeline, f->engine, NULL);
	REFUSES("engine", ufm_engine_write_routing, NULL, "/dev/null", 1, NULL);
	REFUSES("path", ufm_engine_write_routing, f->engine, NULL, 1, NULL);
	NONE(ufm_engine_lease_max, NULL);
}

static void device_memory(void **state)
{
	fixture *f = *state;
	ufm_devptr at;
	ufm_stream *stream;
	char bytes[4] = {0};
	assert_int_equal(ufm_engine_alloc(f->engine, sizeof bytes, &at), UFM_OK);
	REFUSES("engine", ufm_engine_alloc, NULL, 4, &at);
	REFUSES("out", ufm_engine_alloc, f->engine, 4, NULL);
	REFUSES("engine", ufm_stream_open, NULL, NULL, &stream);
	REFUSES("out", ufm_stream_open, f->engine, NULL, NULL);
	assert_int_equal(ufm_stream_open(f->engine, NULL, &stream), UFM_OK);
	REFUSES("engine", ufm_stream_of, NULL, NULL, &stream);
	REFUSES("out", ufm_stream_of, f->engine, NULL, NULL);
	REFUSES("engine", ufm_stream_sync, NULL, stream);
	REFUSES("engine", ufm_copy_to_device, NULL, stream, at, bytes, sizeof bytes);
	REFUSES("src", ufm_copy_to_device, f->engine, stream, at, NULL, sizeof bytes);
	REFUSES("engine", ufm_copy_to_host, NULL, stream, bytes, at, sizeof bytes);
	REFUSES("dst", ufm_copy_to_host, f->engine, stream, NULL, at, sizeof bytes);
	TAKES(ufm_stream_close, NULL, stream);
	TAKES(ufm_stream_close, f->engine, NULL);
	ufm_stream_close(f->engine, stream);
}

static void leases(void **state)
{
	fixture *f = *state;
	const uint32_t experts[1] = {0};
	ufm_lease *lease;
	ufm_stream *stream;
	assert_int_equal(ufm_stream_open(f->engine, NULL, &stream), UFM_OK);
	REFUSES("engine", ufm_acquire_begin, NULL, 0, experts, 1, &lease);
	REFUSES("experts", ufm_acquire_begin, f->engine, 0, NULL, 1, &lease);
	REFUSES("out", ufm_acquire_begin, f->engine, 0, experts, 1, NULL);
	REFUSES("engine", ufm_acquire_wait, NULL, 0, experts, 1, 0, &lease);
	REFUSES("experts", ufm_acquire_wait, f->engine, 0, NULL, 1, 0, &lease);
	REFUSES("out", ufm_acquire_wait, f->engine, 0, experts, 1, 0, NULL);
	assert_int_equal(ufm_acquire_begin(f->engine, 0, experts, 1, &lease), UFM_OK);
	REFUSES("lease", ufm_acquire_ready, NULL, stream, 0);
	REFUSES("stream", ufm_acquire_ready, lease, NULL, 0);
	NONE(ufm_lease_view, NULL, 0);
	REFUSES("lease", ufm_release, NULL, stream);
	assert_int_equal(ufm_release(lease, NULL), UFM_OK);
	REFUSES("engine", ufm_prefetch, NULL, 0, experts, 1);
	REFUSES("experts", ufm_prefetch, f->engine, 0, NULL, 1);
	assert_int_equal(ufm_prefetch(f->engine, 0, NULL, 0), UFM_OK);
	ufm_stream_close(f->engine, stream);
}

static void layers(void **state)
{
	fixture *f = *state;
	const ufm_layer_config config = {.struct_size = sizeof config, .top_k = 1};
	const ufm_bank_info info = {.struct_size = sizeof info, .experts = 4};
	const ufm_moe_call call = {.struct_size = sizeof call, .tokens = 1};
	const ufm_moe_call no_y = {.struct_size = sizeof no_y, .tokens = 1, .x = &f->x_tokens};
	ufm_layer *layer = NULL;
	NONE(ufm_layer_bytes, NULL, &config);
	NONE(ufm_layer_bytes, &info, NULL);
	NONE(ufm_layer_bytes, &info, &config); /* its desc is NULL */
	REFUSES("engine", ufm_layer_open, NULL, &config, &layer);
	REFUSES("config", ufm_layer_open, f->engine, NULL, &layer);
	REFUSES("out", ufm_layer_open, f->engine, &config, NULL);
	TAKES(ufm_layer_close, NULL);
	REFUSES("layer", ufm_moe_forward, NULL, &call, NULL);
	REFUSES("call", ufm_moe_forward, f->layers[0], NULL, NULL);
	REFUSES("x", ufm_moe_forward, f->layers[0], &call, NULL);
	REFUSES("y", ufm_moe_forward, f->layers[0], &no_y, NULL);
	REFUSES("engine", ufm_ticket_wait, NULL, (ufm_ticket){0}, 0);
	assert_null(layer);
}

static void plans(void **state)
{
	(void)state;
	ufm_expert_desc desc = {.struct_size = sizeof desc};
	ufm_plan_model model = {.struct_size = sizeof model, .desc = &desc};
	const ufm_plan_model no_desc = {.struct_size = sizeof no_desc};
	ufm_plan_model no_desc_to_fill = no_desc;
	ufm_plan_machine machine = {.struct_size = sizeof machine};
	ufm_plan_config config = {.struct_size = sizeof config, .machine = &machine};
	ufm_plan_point point = {.struct_size = sizeof point};
	model.layers = model.experts = model.top_k = 1;
	REFUSES("path", ufm_plan_read_model, NULL, NULL, &model);
	REFUSES("model", ufm_plan_read_model, "/nowhere", NULL, NULL);
	REFUSES("desc", ufm_plan_read_model, "/nowhere", NULL, &no_desc_to_fill);
	REFUSES("model", ufm_plan_probe_machine, NULL, "cpu", &machine);
	REFUSES("desc", ufm_plan_probe_machine, &no_desc, "cpu", &machine);
	REFUSES("machine", ufm_plan_probe_machine, &model, "cpu", NULL);
	REFUSES("config", ufm_plan, NULL, &point, 1);
	REFUSES("points", ufm_plan, &config, NULL, 1);
	REFUSES("model", ufm_plan, &config, &point, 1);
	assert_int_equal(ufm_expert_desc_init(&desc, UFM_EXPERT_MLP, 8, 8, UFM_F32), UFM_OK);
	config.model = &model;
	config.machine = NULL;
	REFUSES("machine", ufm_plan, &config, &point, 1);
}

/* After all others: what the library exports stands above. */
static void every_exported_function_is_called(void **state)
{
	(void)state;
	FILE *map = fopen("src/libufm.map", "r");
	char line[128], name[96], end;
	uint32_t exported = 0;
	assert_non_null(map);
	TAKES(ufm_set_log, NULL, NULL); /* silence from here on */
	while (fgets(line, sizeof line, map)) {
		if (sscanf(line, "\t%95[a-z0-9_]%c", name, &end) != 2 || end != ';')
			continue;
		exported++;
		if (!was_called(name))
			fail_msg("%s is exported, and no line here calls it with NULL", name);
	}
	fclose(map);
	assert_int_equal(exported, called_count);
}

static int open_fixture(void **state)
{
	static fixture f;
	const fixture_config c = {.slots_max = 3, .timeline_events = 16, .routing_bytes = 1 << 20};
	*state = &f;
	return fixture_open(&f, &c) == UFM_OK ? 0 : -1;
}

static int close_fixture(void **state)
{
	fixture_close(*state);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_objects),
		cmocka_unit_test(descriptions),
		cmocka_unit_test(banks),
		cmocka_unit_test(hosts_and_engines),
		cmocka_unit_test(lenders),
		cmocka_unit_test(what_an_engine_tells),
		cmocka_unit_test(device_memory),
		cmocka_unit_test(leases),
		cmocka_unit_test(layers),
		cmocka_unit_test(plans),
		cmocka_unit_test(every_exported_function_is_called),
	};

	return cmocka_run_group_tests_name("null_objects", tests, open_fixture, close_fixture);
}
