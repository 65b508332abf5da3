/* SPDX-License-Identifier: MIT */
/* A GPU that is lost while an engine runs: every call says so with the first reason, and everything can
 * still be closed. A program of its own, because its context computes nothing afterwards. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "device/registry.h"
#include "support/fixture.h"

/* An address that no device memory is mapped at. */
#define NOWHERE ((ufm_devptr)1 << 46)

static const ufm_backend *find_gpu(void)
{
	const ufm_backend *cuda = NULL;

	if (registry_find("cuda", &cuda) == UFM_OK)
		return cuda;
	print_message("no GPU: %s\n", ufm_last_error());
	skip();
	return NULL;
}

static ufm_status forward(fixture *f, ufm_devptr y, ufm_ticket *ticket)
{
	ufm_moe_call call;

	UFM_STRUCT_INIT(&call);
	call.tokens = 16;
	call.x = &f->x_tokens;
	call.y = &(ufm_tokens){.struct_size = sizeof(ufm_tokens), .place = UFM_ON_DEVICE, .device = y};
	return ufm_moe_forward(f->layers[0], &call, ticket);
}

static void lost_device(void **state)
{
	(void)state;
	fixture f;
	fixture_config c = {.backend = find_gpu(), .slots_max = 3, .no_residual = 1};
	ufm_ticket ticket = {0};
	ufm_lease *lease;
	const uint32_t one[1] = {0};
	ufm_engine_memory memory = {.struct_size = sizeof memory};

	assert_int_equal(fixture_open(&f, &c), UFM_OK);
	assert_int_equal(fixture_run(&f, 0), UFM_OK);
	ufm_status status = forward(&f, NOWHERE, &ticket);
	if (status == UFM_OK)
		status = ufm_ticket_wait(f.engine, ticket, UFM_WAIT_FOREVER);
	assert_int_equal(status, UFM_EDEVICE);
	for (uint32_t i = 0; i < 3; i++) {
		assert_int_equal(fixture_run(&f, 0), UFM_EDEVICE);
		assert_non_null(strstr(ufm_last_error(), "is lost"));
		assert_non_null(strstr(ufm_last_error(), "cudaErrorIllegalAddress"));
	}
	assert_int_equal(ufm_acquire_begin(f.engine, 0, one, 1, &lease), UFM_EDEVICE);
	ufm_engine_get_memory(f.engine, &memory);
	fixture_close(&f);
	/* The context stays lost: opening again is refused, not hung. */
	assert_int_equal(fixture_open(&f, &c), UFM_EDEVICE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(lost_device)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
