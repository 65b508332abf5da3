/* SPDX-License-Identifier: MIT */
/* Messages name a layer as the model does, whatever its place in the bank. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/status.h"
#include "device/registry.h"
#include "pager/host.h"
#include "pager/pager.h"
#include "support/assert_error.h"
#include "support/checkpoint_model.h"

/* The layers 1 and 3 of a model, on a device of its own. */
typedef struct bed {
	ufm_bank *bank;
	ufm_host *host;
	ufm_engine *engine;
} bed;

static void open_bed(bed *b, const ufm_backend *backend)
{
	const model_shape shape = {
		.scheme = GATED, .layers = 2, .experts = 2, .d_model = 8, .d_hidden = 16, .dtype = "F32"};
	test_model model;
	model_build(&model, &shape);
	checkpoint_file_write(case_folder, "model.safetensors", model.tensors, model.count, 1);
	checkpoint_text_write(case_folder, "config.json", "{\"hidden_act\": \"silu\"}");
	assert_int_equal(ufm_bank_open(case_folder, &b->bank), UFM_OK);
	assert_int_equal(ufm_bank_layer_number(b->bank, 1), 3);
	ufm_host_config host;
	UFM_STRUCT_INIT(&host);
	assert_int_equal(host_open_on(backend, b->bank, &host, &b->host), UFM_OK);
	ufm_engine_config config;
	UFM_STRUCT_INIT(&config);
	config.headroom_bytes = 1;
	assert_int_equal(ufm_engine_open(b->host, &config, &b->engine), UFM_OK);
}

static void close_bed(bed *b)
{
	ufm_engine_close(b->engine);
	ufm_host_close(b->host);
	ufm_bank_close(b->bank);
}

static ufm_status no_copy(ufm_stream *s, ufm_copy_kind k, ufm_devptr to, ufm_devptr from,
                          uint64_t n)
{
	(void)s, (void)k, (void)to, (void)from, (void)n;
	return status_fail(UFM_EDEVICE, "planted failure");
}

static ufm_status no_copies(ufm_stream *s, const ufm_copies_args *a)
{
	(void)s, (void)a;
	return status_fail(UFM_EDEVICE, "planted failure");
}

static void a_copy_that_fails(void **state)
{
	(void)state;
	ufm_backend backend = cpu_backend;
	backend.copy = no_copy;
	backend.copies = no_copies;
	bed b;
	open_bed(&b, &backend);
	ufm_lease *lease;
	assert_error(ufm_acquire_begin(b.engine, 1, (uint32_t[]){1}, 1, &lease), UFM_EDEVICE,
	             "copying expert 1 of layer 3 to the device: planted failure");
	close_bed(&b);
}

/* Says so when it is asked for the second layer's first expert. */
static int stop_in_second(void *ctx)
{
	uint32_t *asked = ctx;
	return (*asked)++ == 1;
}

static void loading_that_is_ended(void **state)
{
	(void)state;
	uint32_t asked = 0;
	bed b;
	open_bed(&b, &cpu_backend);
	assert_error(pager_load_all(b.engine, stop_in_second, &asked), UFM_ECANCELED,
	             "ended in layer 3, after 1 of 2 layers");
	close_bed(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_copy_that_fails, case_folder_make, case_folder_remove),
		cmocka_unit_test_setup_teardown(loading_that_is_ended, case_folder_make,
	                                    case_folder_remove),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
