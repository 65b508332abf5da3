/* SPDX-License-Identifier: MIT */
/* Banks against what a machine has: what is refused, what is tried, and what the line says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cli/bench/room.h"
#include "support/assert_error.h"

#define GIB ((uint64_t)1 << 30)

/* 32 GiB, of which 10 can be had and 8 page-locked. */
static limits a_machine(void)
{
	return (limits){.machine_ram_bytes = 32 * GIB,
	                .available_ram_bytes = 10 * GIB,
	                .cgroup_ram_bytes = LIMITS_NONE,
	                .ram_free_bytes = 10 * GIB};
}

/* 16 experts a layer of 64 MiB: 1 GiB a layer. */
static bench_config a_sweep(uint32_t layers, placement_mode mode)
{
	bench_config c = {.layers = layers, .d_model = 1024, .d_hidden = 8192, .top_k = 2};
	c.modes = (option_list){.count = 1, .items = {(uint32_t)mode}};
	c.experts = (option_list){.count = 2, .items = {4, 16}};
	return c;
}

static void a_bank_that_fits_is_no_matter(void **state)
{
	(void)state;
	char warning[ROOM_LINE_BYTES];
	limits here = a_machine();
	bench_config c = a_sweep(8, MODE_UFM);

	assert_int_equal(room_check(&c, &here, warning), UFM_OK);
	assert_string_equal(warning, "");
	c = a_sweep(10, MODE_NAIVE_OFFLOAD);
	assert_int_equal(room_check(&c, &here, warning), UFM_OK);
	here.ram_free_bytes = LIMITS_NONE; /* not known: who fills it will see */
	c = a_sweep(4096, MODE_UFM);
	assert_int_equal(room_check(&c, &here, warning), UFM_OK);
}

static void a_bank_that_does_not_is_refused_with_what_would(void **state)
{
	(void)state;
	char warning[ROOM_LINE_BYTES];
	limits here = a_machine();
	bench_config c = a_sweep(9, MODE_UFM);

	assert_error(room_check(&c, &here, warning), UFM_ENOMEM,
	             "a bank of 9.00 GiB does not fit: 10.0 GiB of host memory can be had here, of "
	             "which 8.0 GiB may be page-locked; --layers 8 or --experts 14 would run");
	c = a_sweep(11, MODE_NAIVE_OFFLOAD);
	assert_error(room_check(&c, &here, warning), UFM_ENOMEM,
	             "a bank of 11.00 GiB does not fit: 10.0 GiB of host memory can be had here; "
	             "--layers 10 or --experts 14 would run");
	c.modes = (option_list){.count = 2, .items = {MODE_NAIVE_OFFLOAD, MODE_BASELINE}};
	assert_error(room_check(&c, &here, warning), UFM_ENOMEM, "may be page-locked; --layers 8 or");
	c = a_sweep(100, MODE_UFM); /* 128 blocks fit: one a layer, fewer than top-k */
	assert_error(room_check(&c, &here, warning), UFM_ENOMEM, "; --layers 8 would run");
	c.experts.items[1] = 200;
	assert_error(room_check(&c, &here, warning), UFM_ENOMEM, "; expected smaller experts");
	c.experts.items[1] = 65536;
	c.layers = 4096;
	c.d_model = c.d_hidden = 1u << 20; /* more than 2^64 bytes */
	assert_error(room_check(&c, &here, warning), UFM_ENOMEM, "; expected smaller experts");
}

static void a_virtual_machine_may_grow_to_its_cgroups_limit(void **state)
{
	(void)state;
	char warning[ROOM_LINE_BYTES];
	limits here = a_machine();
	bench_config c = a_sweep(40, MODE_UFM);

	here.cgroup_ram_bytes = 64 * GIB;
	assert_error(room_check(&c, &here, warning), UFM_ENOMEM, "does not fit");
	here.virtual_machine = true;
	assert_int_equal(room_check(&c, &here, warning), UFM_OK);
	assert_string_equal(warning, "a bank of 40.00 GiB is more than this virtual machine has now "
	                             "(32.0 GiB); its cgroup may use 64.0 GiB, so it is tried");
	c.layers = 65;
	assert_error(room_check(&c, &here, warning), UFM_ENOMEM, "does not fit");
	c.layers = 20; /* it has the memory, and others use it */
	assert_error(room_check(&c, &here, warning), UFM_ENOMEM, "does not fit");
	here.cgroup_ram_bytes = LIMITS_NONE;
	c.layers = 40;
	assert_error(room_check(&c, &here, warning), UFM_ENOMEM, "does not fit");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_bank_that_fits_is_no_matter),
		cmocka_unit_test(a_bank_that_does_not_is_refused_with_what_would),
		cmocka_unit_test(a_virtual_machine_may_grow_to_its_cgroups_limit),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
