/* SPDX-License-Identifier: MIT */
/* Limits: fake roots for each kind of cgroup, and the machine's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/limits.h"

/* Tests run in the root of the repository. */
#ifndef UFM_TESTS_DATA
#define UFM_TESTS_DATA "tests/data"
#endif

#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)

static limits read_fake(const char *name)
{
	char root[512];
	limits l;

	snprintf(root, sizeof root, UFM_TESTS_DATA "/%s", name);
	if (access(root, R_OK) != 0)
		fail_msg("%s cannot be read: run in the root of the repository", root);
	limits_read_root(&l, root);
	return l;
}

static void check_ram(const limits *l, uint64_t cgroup, uint64_t used, uint64_t ram, uint64_t left)
{
	assert_int_equal(l->machine_ram_bytes, 16 * GIB);
	assert_int_equal(l->available_ram_bytes, 12 * GIB);
	assert_int_equal(l->cgroup_ram_bytes, cgroup);
	assert_int_equal(l->cgroup_ram_used_bytes, used);
	assert_int_equal(l->ram_bytes, ram);
	assert_int_equal(l->ram_free_bytes, left);
}

static void check_cores(const limits *l, double quota)
{
	uint32_t smallest = l->machine_cores;

	assert_true(l->machine_cores >= 1 && l->affinity_cores >= 1);
	if (l->affinity_cores < smallest)
		smallest = l->affinity_cores;
	if (quota > 0 && quota < smallest)
		smallest = quota < 1 ? 1 : (uint32_t)quota;
	assert_true(l->cgroup_cores > quota - 1e-9 && l->cgroup_cores < quota + 1e-9);
	assert_int_equal(l->cores, smallest);
}

static void test_no_cgroup(void **state)
{
	(void)state;
	limits l = read_fake("fakeroot_none");
	check_ram(&l, LIMITS_NONE, 0, 16 * GIB, 12 * GIB);
	check_cores(&l, 0);
}

/* The job may have 4 GiB and has taken 1; but its parent has 0.75 GiB left of 8, page cache that
 * can be dropped not counted. */
static void test_v2_ancestors(void **state)
{
	(void)state;
	limits l = read_fake("fakeroot_v2");
	check_ram(&l, 4 * GIB, GIB, 4 * GIB, 768 * MIB);
	check_cores(&l, 1.5);
}

static void test_v2_max_is_no_limit(void **state)
{
	(void)state;
	limits l = read_fake("fakeroot_v2_max");
	check_ram(&l, LIMITS_NONE, 0, 16 * GIB, 12 * GIB);
	check_cores(&l, 0);
}

/* Over its limit (it was lowered), in a namespace whose own group is "/". */
static void test_v2_over_its_limit(void **state)
{
	(void)state;
	limits l = read_fake("fakeroot_v2_full");
	check_ram(&l, GIB, 2 * GIB, GIB, 0);
	check_cores(&l, 0.5);
}

/* A container without a cgroup namespace: the path named is not under its mount. */
static void test_v1_container(void **state)
{
	(void)state;
	limits l = read_fake("fakeroot_v1");
	check_ram(&l, 6 * GIB, 2 * GIB, 6 * GIB, 4 * GIB);
	check_cores(&l, 0.75);
}

static void test_v1_unlimited(void **state)
{
	(void)state;
	limits l = read_fake("fakeroot_v1_max");
	check_ram(&l, LIMITS_NONE, 0, 16 * GIB, 12 * GIB);
	check_cores(&l, 0);
}

static void check_nothing_limits(const limits *l)
{
	assert_true(l->machine_ram_bytes == LIMITS_NONE);
	assert_true(l->available_ram_bytes == LIMITS_NONE);
	assert_true(l->cgroup_ram_bytes == LIMITS_NONE);
	assert_true(l->ram_bytes == LIMITS_NONE);
	assert_true(l->ram_free_bytes == LIMITS_NONE);
	check_cores(l, 0);
}

static void test_unreadable_does_not_limit(void **state)
{
	limits l = read_fake("fakeroot_garbage");

	(void)state;
	check_nothing_limits(&l);
	limits_read_root(&l, UFM_TESTS_DATA "/no-such-root");
	check_nothing_limits(&l);
}

static void test_a_long_root_is_harmless(void **state)
{
	static char root[10000];
	limits l;

	(void)state;
	memset(root, 'r', sizeof root - 1);
	limits_read_root(&l, root);
	check_nothing_limits(&l);
}

static void test_wsl_is_seen(void **state)
{
	(void)state;
	assert_true(read_fake("fakeroot_wsl").wsl);
	assert_false(read_fake("fakeroot_none").wsl);
}

static void a_virtual_machine_is_known_by_its_processors(void **state)
{
	(void)state;
	assert_true(read_fake("fakeroot_v2").virtual_machine);
	assert_false(read_fake("fakeroot_v1").virtual_machine); /* the word is not among the flags */
	assert_false(read_fake("fakeroot_none").virtual_machine);
}

static void test_this_machine(void **state)
{
	limits l;

	(void)state;
	limits_read(&l);
	assert_true(l.machine_ram_bytes > 64 * MIB && l.machine_ram_bytes != LIMITS_NONE);
	assert_true(l.available_ram_bytes <= l.machine_ram_bytes);
	assert_true(l.ram_bytes <= l.machine_ram_bytes);
	assert_true(l.ram_free_bytes <= l.ram_bytes);
	assert_true(l.cores >= 1 && l.cores <= l.machine_cores && l.cores <= l.affinity_cores);
}

/* In a child, whose affinity and limits may be changed. */
static int run_narrowed(void)
{
	const struct rlimit memlock = {8192, 8192};
	cpu_set_t all, one;
	limits l;
	size_t cpu = 0;

	if (sched_getaffinity(0, sizeof all, &all) != 0)
		return 2;
	while (!CPU_ISSET(cpu, &all))
		cpu++;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	if (sched_setaffinity(0, sizeof one, &one) != 0 || setrlimit(RLIMIT_MEMLOCK, &memlock) != 0)
		return 2;
	limits_read(&l);
	return l.affinity_cores == 1 && l.cores == 1 && l.memlock_bytes == 8192 ? 0 : 1;
}

static void test_affinity_and_memlock_are_seen(void **state)
{
	int wait_status;

	(void)state;
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0)
		_exit(run_narrowed());
	waitpid(child, &wait_status, 0);
	assert_true(WIFEXITED(wait_status));
	if (WEXITSTATUS(wait_status) == 2) {
		print_message("affinity or RLIMIT_MEMLOCK cannot be set here\n");
		skip();
	}
	assert_int_equal(WEXITSTATUS(wait_status), 0);
}

static void test_memory_grows_with_use(void **state)
{
	const size_t size_bytes = 64 * MIB;
	limits_memory before, after;

	(void)state;
	limits_read_memory(&before);
	assert_true(before.process_rss_bytes > 0);
	assert_true(before.system_used_bytes > 0);
	char *memory = alloc_pages(size_bytes);
	assert_non_null(memory);
	memset(memory, 1, size_bytes);
	limits_read_memory(&after);
	/* The kernel's figure may lag by some pages a thread. */
	assert_true(after.process_rss_bytes >= before.process_rss_bytes + size_bytes - 4 * MIB);
	alloc_pages_free(memory, size_bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_cgroup),
		cmocka_unit_test(test_v2_ancestors),
		cmocka_unit_test(test_v2_max_is_no_limit),
		cmocka_unit_test(test_v2_over_its_limit),
		cmocka_unit_test(test_v1_container),
		cmocka_unit_test(test_v1_unlimited),
		cmocka_unit_test(test_unreadable_does_not_limit),
		cmocka_unit_test(test_a_long_root_is_harmless),
		cmocka_unit_test(test_wsl_is_seen),
		cmocka_unit_test(a_virtual_machine_is_known_by_its_processors),
		cmocka_unit_test(test_this_machine),
		cmocka_unit_test(test_affinity_and_memlock_are_seen),
		cmocka_unit_test(test_memory_grows_with_use),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
