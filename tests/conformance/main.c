/* SPDX-License-Identifier: MIT */
/* Runs every case against the backend named by UFM_TEST_BACKEND, `cpu` by default. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/rng.h"
#include "conformance.h"
#include "device/registry.h"

static const case_list *const lists[] = {
	&memory_cases,       &copy_cases,   &event_cases,      &gather_cases, &router_cases,
	&route_tokens_cases, &expert_cases, &arithmetic_cases, &coded_cases,  &combine_cases,
	&group_cases,        &adopt_cases,  &read_cases,       &peak_cases,   &refusal_cases};

/* What only one backend promises. */
static const struct {
	const char *backend;
	const case_list *list;
} own_lists[] = {{"cpu", &cpu_cases}, {"cpu", &cpu_short_cases}, {"cuda", &cuda_cases}};

#define CASES_MAX 128

static struct CMUnitTest tests[CASES_MAX];
static size_t count;

/* UFM_TEST_LEAVE_OUT: beginnings of names, separated by blanks. A tool that takes device memory for
 * itself breaks the cases that count it. */
static bool left_out(const char *name)
{
	const char *at = getenv("UFM_TEST_LEAVE_OUT");

	for (size_t length; at && *(at += strspn(at, " ")); at += length) {
		length = strcspn(at, " ");
		if (strncmp(name, at, length) == 0)
			return true;
	}
	return false;
}

static void add(const case_list *list)
{
	assert_true(count + list->count <= CASES_MAX);
	for (size_t i = 0; i < list->count; i++)
		if (!left_out(list->cases[i].name))
			tests[count++] = list->cases[i];
}

int main(void)
{
	const char *name = getenv("UFM_TEST_BACKEND");

	if (!name || !*name)
		name = "cpu";
	if (registry_find(name, &the.backend) != UFM_OK) {
		fprintf(stderr, "UFM_TEST_BACKEND=%s: %s\n", name, ufm_last_error());
		return 1;
	}
	the.is_cpu = the.backend == &cpu_backend;
	the.seed = rng_mix((uint64_t)time(NULL), 3);
	for (size_t l = 0; l < sizeof lists / sizeof lists[0]; l++)
		add(lists[l]);
	for (size_t l = 0; l < sizeof own_lists / sizeof own_lists[0]; l++)
		if (strcmp(own_lists[l].backend, the.backend->name) == 0)
			add(own_lists[l].list);
	print_message("backend %s, seed %llu\n", the.backend->name, (unsigned long long)the.seed);
	/* The macro takes the count from the array's type. */
	return _cmocka_run_group_tests(the.backend->name, tests, count, NULL, NULL);
}
