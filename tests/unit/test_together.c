/* SPDX-License-Identifier: MIT */
/* Small blocks: one copy brings several, and nothing else changes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/fixture.h"

/* The fixture's backend; experts that came one by one, and together. */
static struct {
	uint64_t expert_bytes;
	_Atomic uint64_t alone, copies, together, most;
} seen;
static const ufm_backend *real;

static ufm_status counted_copy(ufm_stream *s, ufm_copy_kind kind, ufm_devptr to, ufm_devptr from,
                               uint64_t size_bytes)
{
	if (kind == UFM_COPY_H2D && size_bytes == seen.expert_bytes)
		atomic_fetch_add(&seen.alone, 1);
	return real->copy(s, kind, to, from, size_bytes);
}

static ufm_status counted_copies(ufm_stream *s, const ufm_copies_args *a)
{
	atomic_fetch_add(&seen.copies, 1);
	atomic_fetch_add(&seen.together, a->count);
	if (a->count > atomic_load(&seen.most))
		atomic_store(&seen.most, a->count);
	assert_int_equal(a->kind, UFM_COPY_H2D);
	assert_int_equal(a->size_bytes, seen.expert_bytes);
	return real->copies(s, a);
}

static ufm_backend counting_backend(void)
{
	ufm_backend b = *fixture_backend();
	real = fixture_backend();
	b.copy = counted_copy;
	b.copies = counted_copies;
	return b;
}

static void open_counted(fixture *f, const fixture_config *c)
{
	ufm_engine_info info = {.struct_size = sizeof info};
	if (fixture_open(f, c) != UFM_OK)
		fail_msg("open: %s", ufm_last_error());
	ufm_engine_get_info(f->engine, &info);
	memset(&seen, 0, sizeof seen);
	seen.expert_bytes = info.expert_bytes;
}

static uint64_t loads(fixture *f)
{
	return fixture_counter(f, "streamed_uses") + fixture_counter(f, "prefetch_loads");
}

static void check_counts(fixture *f)
{
	assert_int_equal(seen.alone + seen.together, loads(f));
	assert_int_equal(seen.alone + seen.copies, fixture_counter(f, "copies"));
	assert_int_equal(fixture_counter(f, "h2d_weight_bytes"), loads(f) * seen.expert_bytes);
	assert_int_equal(fixture_identities(f), 0);
}

static uint64_t hash_of_residents(fixture_config c, uint64_t step)
{
	fixture f;
	c.resident_all = 1;
	c.slots_max = c.ring_slots = c.cpu_assist = c.cpu_threads = c.cpu_share_percent = 0;
	c.backend = NULL;
	assert_int_equal(fixture_open(&f, &c), UFM_OK);
	assert_int_equal(fixture_run(&f, step), UFM_OK);
	uint64_t hash = fixture_hash(&f);
	fixture_close(&f);
	return hash;
}

/* Steps through a ring of every size, and what a copy brings at most. */
static void same_bits_in_fewer_copies(void **state)
{
	(void)state;
	static const struct {
		uint32_t slots, ring, most;
	} cases[] = {{24, 2, 1}, {24, 7, 1}, {24, 8, 2}, {24, 11, 2}, {24, 12, 3}, {47, 20, 5}};
	static const char *const policies[] = {"lru", "cycle"};
	ufm_backend b = counting_backend();
	fixture_config c = {
		.experts = 48, .tokens = 30, .top_k = 3, .max_tokens = 7, .layers = 2, .backend = &b};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0] * 2; i++) {
		fixture f;
		c.slots_max = cases[i / 2].slots;
		c.ring_slots = cases[i / 2].ring;
		c.policy = policies[i % 2];
		open_counted(&f, &c);
		for (uint64_t step = 0; step < 4; step++) {
			assert_int_equal(fixture_run(&f, step), UFM_OK);
			assert_int_equal(fixture_hash(&f), hash_of_residents(c, step));
		}
		check_counts(&f);
		assert_int_equal(seen.most, cases[i / 2].most > 1 ? cases[i / 2].most : 0);
		fixture_close(&f);
	}
}

static uint32_t ring_of(fixture_config c)
{
	fixture f;
	ufm_engine_info info = {.struct_size = sizeof info};
	assert_int_equal(fixture_open(&f, &c), UFM_OK);
	ufm_engine_get_info(f.engine, &info);
	fixture_close(&f);
	return info.ring_slots;
}

/* By default the ring has room for four copies, and leaves seven eighths to the policy. */
static void the_ring_suits_the_blocks(void **state)
{
	(void)state;
	fixture_config tiny = {.experts = 600};
	static const uint32_t slots[] = {3, 8, 32, 40, 256, 511, 512, 599};
	static const uint32_t rings[] = {2, 4, 4, 5, 32, 63, 64, 64};
	for (size_t i = 0; i < sizeof slots / sizeof slots[0]; i++) {
		tiny.slots_max = slots[i];
		assert_int_equal(ring_of(tiny), rings[i]);
	}
	fixture_config half_mib = {.experts = 150, .slots_max = 140, .d_model = 256, .d_hidden = 256};
	assert_int_equal(ring_of(half_mib), 17);
	fixture_config large = {.experts = 80, .slots_max = 70, .d_model = 512, .d_hidden = 1024};
	assert_int_equal(ring_of(large), 4);
}

/* A block of 4 MiB and more fills the link alone. */
static void large_blocks_come_alone(void **state)
{
	(void)state;
	ufm_backend b = counting_backend();
	fixture_config c = {.experts = 20,
	                    .slots_max = 18,
	                    .ring_slots = 9,
	                    .d_model = 512,
	                    .d_hidden = 1024,
	                    .backend = &b};
	fixture f;
	open_counted(&f, &c);
	assert_int_equal(fixture_run(&f, 1), UFM_OK);
	check_counts(&f);
	assert_true(seen.alone > 1);
	assert_int_equal(seen.copies, 0);
	fixture_close(&f);
}

/* The whole block of each leased expert, as its lease shows it. */
static void download(fixture *f, const ufm_lease *lease, uint32_t n, uint8_t *out)
{
	for (uint32_t i = 0; i < n; i++)
		assert_int_equal(ufm_copy_to_host(f->engine, NULL, out + i * seen.expert_bytes,
		                                  ufm_lease_view(lease, i), seen.expert_bytes),
		                 UFM_OK);
	assert_int_equal(ufm_stream_sync(f->engine, NULL), UFM_OK);
}

static void lease_and_download(fixture *f, const uint32_t *experts, uint32_t n, uint8_t *out)
{
	ufm_lease *lease;
	ufm_stream *stream;
	assert_int_equal(ufm_stream_open(f->engine, NULL, &stream), UFM_OK);
	assert_int_equal(ufm_acquire_begin(f->engine, 0, experts, n, &lease), UFM_OK);
	assert_int_equal(ufm_acquire_ready(lease, stream, UFM_WAIT_FOREVER), UFM_OK);
	assert_int_equal(ufm_stream_sync(f->engine, stream), UFM_OK);
	download(f, lease, n, out);
	assert_int_equal(ufm_release(lease, stream), UFM_OK);
	ufm_stream_close(f->engine, stream);
}

/* Some of them resident before, two copies and a rest: each expert's own bytes. */
static void leases_come_together(void **state)
{
	(void)state;
	static const uint32_t wanted[] = {30, 1, 17, 2, 8, 29, 3, 11, 25}, first[] = {17, 29};
	ufm_backend b = counting_backend();
	fixture_config c = {.experts = 32, .slots_max = 30, .ring_slots = 15, .backend = &b};
	fixture f;
	open_counted(&f, &c);
	uint8_t *got = malloc(9 * seen.expert_bytes), *want = malloc(seen.expert_bytes);
	assert_true(got && want);
	lease_and_download(&f, first, 2, got);
	lease_and_download(&f, wanted, 9, got);
	assert_int_equal(seen.copies, 3); /* 2; 3 and 3 of the seven that were missing */
	assert_int_equal(seen.alone, 1);
	check_counts(&f);
	for (uint32_t i = 0; i < 9; i++) {
		lease_and_download(&f, &wanted[i], 1, want);
		assert_memory_equal(got + i * seen.expert_bytes, want, seen.expert_bytes);
	}
	free(want);
	free(got);
	fixture_close(&f);
}

/* Leases leave fewer slots than a copy would fill: the layer does with what there is. */
static void leases_leave_little_room(void **state)
{
	(void)state;
	ufm_backend b = counting_backend();
	fixture_config c = {
		.experts = 48, .slots_max = 24, .ring_slots = 12, .tokens = 30, .top_k = 3, .backend = &b};
	uint64_t want = hash_of_residents(c, 1);
	fixture f;
	open_counted(&f, &c);
	ufm_engine_info info = {.struct_size = sizeof info};
	ufm_engine_get_info(f.engine, &info);
	for (uint32_t n = 1; n <= info.lease_max; n++) {
		uint32_t experts[24];
		ufm_lease *lease;
		for (uint32_t i = 0; i < n; i++)
			experts[i] = (7 * n + 5 * i) % 48;
		assert_int_equal(ufm_acquire_begin(f.engine, 0, experts, n, &lease), UFM_OK);
		assert_int_equal(fixture_run(&f, 1), UFM_OK);
		assert_int_equal(fixture_hash(&f), want);
		assert_int_equal(ufm_release(lease, NULL), UFM_OK);
	}
	check_counts(&f);
	fixture_close(&f);
}

/* With a fixed share the CPU takes as many as without: only how the rest comes is different. */
static void the_cpu_path_shares_as_before(void **state)
{
	(void)state;
	uint64_t cpu_uses[2], hash[2];
	for (uint32_t i = 0; i < 2; i++) {
		ufm_backend b = counting_backend();
		fixture_config c = {.experts = 48,
		                    .slots_max = 24,
		                    .ring_slots = i ? 12 : 2,
		                    .policy = "lru",
		                    .tokens = 30,
		                    .top_k = 3,
		                    .cpu_assist = UFM_CPU_ON,
		                    .cpu_threads = 2,
		                    .cpu_share_percent = 40,
		                    .backend = &b};
		fixture f;
		open_counted(&f, &c);
		assert_int_equal(fixture_run(&f, 1), UFM_OK);
		hash[i] = fixture_hash(&f);
		cpu_uses[i] = fixture_counter(&f, "cpu_uses");
		check_counts(&f);
		assert_int_equal(seen.most, i ? 3 : 0);
		fixture_close(&f);
	}
	assert_true(cpu_uses[0] > 0);
	assert_int_equal(cpu_uses[0], cpu_uses[1]);
	assert_int_equal(hash[0], hash[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(same_bits_in_fewer_copies),
		cmocka_unit_test(the_ring_suits_the_blocks),
		cmocka_unit_test(large_blocks_come_alone),
		cmocka_unit_test(leases_come_together),
		cmocka_unit_test(leases_leave_little_room),
		cmocka_unit_test(the_cpu_path_shares_as_before),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
