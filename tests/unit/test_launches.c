/* SPDX-License-Identifier: MIT */
/* The cursor over a layer's demand: order, awkward sizes, slots that run out, and the CPU's share. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "schedule/launches.h"

#define DEMANDS_MAX 64

typedef struct drive {
	schedule_demand demands[DEMANDS_MAX];
	launches at;
	uint32_t n, together;
	uint32_t started[DEMANDS_MAX], launched[DEMANDS_MAX]; /* times */
	char order[1024]; /* what happened: "s4.2" two starts from 4 on, "r" residents, "m" misses */
} drive;

static void open_drive(drive *d, uint32_t residents, uint32_t in_ring, uint32_t misses,
                       uint32_t together)
{
	memset(d, 0, sizeof *d);
	d->n = residents + misses;
	d->together = together;
	for (uint32_t i = 0; i < d->n; i++)
		d->demands[i] = (schedule_demand){
			.expert = i, .tokens = 1, .resident = i < residents, .refilled_next = i < in_ring};
	d->at = launches_of(d->demands, schedule_layer(d->demands, d->n, together), together);
}

static void note(drive *d, char what, const launch_step *step)
{
	size_t used = strlen(d->order);
	snprintf(d->order + used, sizeof d->order - used, "%s%c%u.%u", used ? " " : "", what,
	         step->first, step->n);
}

static void launch(drive *d, const launch_step *step)
{
	note(d, step->kind == LAUNCH_RESIDENTS ? 'r' : 'm', step);
	for (uint32_t i = step->first; i < step->first + step->n; i++) {
		d->launched[i]++;
		assert_true(d->demands[i].resident || d->started[i]);
	}
	launches_launched(&d->at, step);
}

static void start(drive *d, const launch_step *step, uint32_t got)
{
	note(d, 's', step);
	for (uint32_t i = step->first; i < step->first + got; i++) {
		assert_false(d->demands[i].resident);
		d->started[i]++;
	}
	launches_started(&d->at, step, got);
}

/* As a device alone does it. */
static launch_kind run(drive *d)
{
	for (;;) {
		launch_step next = launches_next(&d->at);
		if (next.kind == LAUNCH_DONE || next.kind == LAUNCH_STUCK)
			return next.kind;
		if (next.kind == LAUNCH_START)
			start(d, &next, next.n);
		else
			launch(d, &next);
	}
}

static void orders_that_are_known(void **state)
{
	static const struct {
		uint32_t residents, in_ring, misses, together;
		const char *order;
	} cases[] = {
		{0, 0, 0, 1, ""},
		{3, 0, 0, 1, "r0.3"},
		{0, 0, 1, 1, "s0.1 m0.1"},
		{0, 0, 3, 1, "s0.1 s1.1 m0.1 s2.1 m1.1 m2.1"},
		{2, 0, 1, 1, "s2.1 r0.2 m2.1"},
		/* those in the ring go one by one before the first copy is read */
		{3, 2, 2, 1, "s3.1 s4.1 r0.1 r1.1 r2.1 m3.1 m4.1"},
		/* three to a copy, the last one short */
		{1, 0, 7, 3, "s1.3 s4.3 r0.1 m1.3 s7.1 m4.3 m7.1"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		drive d;
		open_drive(&d, cases[i].residents, cases[i].in_ring, cases[i].misses, cases[i].together);
		assert_int_equal(run(&d), LAUNCH_DONE);
		assert_string_equal(d.order, cases[i].order);
	}
}

/* Two slots, both of residents that copies wait for: each launch frees one. */
static void a_start_that_found_no_slot_waits_for_a_launch(void **state)
{
	drive d;
	launch_step next;
	(void)state;
	open_drive(&d, 2, 2, 2, 1);
	next = launches_next(&d.at);
	start(&d, &next, 0);
	next = launches_next(&d.at);
	assert_int_equal(next.kind, LAUNCH_RESIDENTS);
	assert_int_equal(next.n, 1);
	launch(&d, &next);
	assert_int_equal(launches_next(&d.at).kind, LAUNCH_START); /* asked again after each launch */
	assert_int_equal(run(&d), LAUNCH_DONE);
}

static void nothing_to_launch_and_no_slot_is_stuck(void **state)
{
	drive d;
	launch_step next;
	(void)state;
	open_drive(&d, 0, 0, 2, 2);
	next = launches_next(&d.at);
	assert_int_equal(next.n, 2);
	start(&d, &next, 1); /* one of two */
	next = launches_next(&d.at);
	assert_int_equal(next.kind, LAUNCH_STREAMED);
	launch(&d, &next);
	next = launches_next(&d.at);
	start(&d, &next, 0);
	assert_int_equal(launches_next(&d.at).kind, LAUNCH_STUCK);
	assert_int_equal(launches_take(&d.at), 1); /* but the CPU may have it */
	assert_int_equal(launches_next(&d.at).kind, LAUNCH_DONE);
}

/* Whatever is late, short of slots or the CPU's: each demand once, by one of them, in one order. */
static void every_demand_once(void **state)
{
	(void)state;
	for (uint64_t seed = 0; seed < 2000; seed++) {
		drive d;
		rng r;
		rng_seed(&r, seed);
		uint32_t residents = rng_below(&r, 12),
				 in_ring = residents ? rng_below(&r, residents + 1) : 0;
		open_drive(&d, residents, in_ring, rng_below(&r, 40), 1 + rng_below(&r, 5));
		for (uint32_t turn = 0; turn < 10000; turn++) {
			launch_step next = launches_next(&d.at), other = launches_next_launch(&d.at);
			uint32_t dice = rng_below(&r, 6);
			if (next.kind == LAUNCH_DONE)
				break;
			if (dice == 0 && launches_left(&d.at))
				launches_take(&d.at);
			else if (dice == 1 && other.kind != LAUNCH_DONE)
				launch(&d, &other); /* the start has to wait */
			else if (next.kind == LAUNCH_START)
				start(&d, &next, rng_below(&r, next.n + 1));
			else if (next.kind != LAUNCH_STUCK)
				launch(&d, &next);
			else if (launches_left(&d.at))
				launches_take(&d.at);
		}
		assert_int_equal(launches_next(&d.at).kind, LAUNCH_DONE);
		uint32_t taken = launches_taken(&d.at);
		for (uint32_t i = 0; i < d.n; i++) {
			bool cpu = i >= d.n - taken;
			assert_int_equal(d.launched[i], !cpu);
			assert_int_equal(d.started[i], !cpu && !d.demands[i].resident);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(orders_that_are_known),
		cmocka_unit_test(a_start_that_found_no_slot_waits_for_a_launch),
		cmocka_unit_test(nothing_to_launch_and_no_slot_is_stuck),
		cmocka_unit_test(every_demand_once),
	};
	return cmocka_run_group_tests_name("launches", tests, NULL, NULL);
}
