/* SPDX-License-Identifier: MIT */
/* Page-locked host memory: in which pieces, when, how much, and what is undone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/rng.h"
#include "base/status.h"
#include "device/registry.h"
#include "pager/host.h"
#include "pager/pinned.h"
#include "support/assert_error.h"

#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)
#define PIECES_MAX 64

/* A backend that writes down what is registered; registration number `fail_at` fails. */
static struct {
	struct {
		uint8_t *memory;
		uint64_t size_bytes;
	} pieces[PIECES_MAX];
	uint32_t count, asked, fail_at;
	const ufm_bank *bank; /* its blocks must be there by then; NULL: not looked at */
	uint64_t block_bytes;
} seen;

static void check_filled(const uint8_t *memory, uint64_t size_bytes, uint64_t first_key)
{
	ufm_bank_info info = {.struct_size = sizeof info};
	ufm_bank_get_info(seen.bank, &info);
	uint8_t *block = alloc_zeroed(1, info.desc->expert_bytes);
	assert_non_null(block);
	for (uint64_t i = 0; i < size_bytes / seen.block_bytes; i++) {
		uint32_t key = (uint32_t)(first_key + i);
		assert_int_equal(ufm_bank_read(seen.bank, key / info.experts, key % info.experts, block),
		                 UFM_OK);
		assert_memory_equal(memory + i * seen.block_bytes, block, info.desc->expert_bytes);
	}
	alloc_free(block);
}

static ufm_status note_register(void *memory, uint64_t size_bytes)
{
	if (seen.asked++ == seen.fail_at)
		return status_fail(UFM_EDEVICE, "planted failure");
	assert_true(size_bytes > 0 && size_bytes <= GIB && seen.count < PIECES_MAX);
	if (seen.bank)
		check_filled(memory, size_bytes,
		             seen.count
		                 ? (uint64_t)((uint8_t *)memory - seen.pieces[0].memory) / seen.block_bytes
		                 : 0);
	seen.pieces[seen.count].memory = memory;
	seen.pieces[seen.count++].size_bytes = size_bytes;
	return UFM_OK;
}

/* Exactly what was registered may be unregistered. */
static void note_unregister(void *memory, uint64_t size_bytes)
{
	for (uint32_t i = 0; i < seen.count; i++) {
		if (seen.pieces[i].memory != memory)
			continue;
		assert_int_equal(seen.pieces[i].size_bytes, size_bytes);
		seen.pieces[i] = seen.pieces[--seen.count];
		return;
	}
	fail_msg("%llu bytes at %p were not registered", (unsigned long long)size_bytes, memory);
}

static ufm_backend recorder(uint32_t fail_at)
{
	ufm_backend b = cpu_backend;
	b.host_register = note_register;
	b.host_unregister = note_unregister;
	memset(&seen, 0, sizeof seen);
	seen.fail_at = fail_at;
	return b;
}

/* The memory is never touched, so its size costs nothing. */
static void check_pieces(uint64_t blocks, uint64_t block_bytes)
{
	ufm_backend b = recorder(UINT32_MAX);
	pinned p;
	uint64_t covered = 0, size_bytes = blocks * block_bytes;
	assert_int_equal(pinned_map(size_bytes, block_bytes, &p), UFM_OK);
	assert_int_equal(seen.count, 0);
	assert_int_equal(pinned_register(&b, &p), UFM_OK);
	for (uint32_t i = 0; i < seen.count; i++) {
		assert_ptr_equal(seen.pieces[i].memory, p.memory + covered);
		covered += seen.pieces[i].size_bytes;
		if (block_bytes <= GIB)
			assert_int_equal(covered % block_bytes, 0);
	}
	assert_int_equal(covered, size_bytes);
	/* no piece could have been joined to the next */
	for (uint32_t i = 0; i + 2 < seen.count; i++)
		assert_true(seen.pieces[i].size_bytes + (block_bytes < GIB ? block_bytes : GIB) > GIB);
	pinned_close(&b, &p);
	assert_int_equal(seen.count, 0);
	assert_null(p.memory);
	pinned_close(&b, &p);
}

static void pieces_end_where_blocks_end(void **state)
{
	(void)state;
	check_pieces(1, 4096);
	check_pieces(5, 300 * MIB); /* 3 and 2 */
	check_pieces(2, GIB);
	check_pieces(3, GIB - 4096);
	check_pieces(2, GIB + 4096); /* cut inside a block: it cannot be otherwise */
	check_pieces(7, GIB / 2);
	uint64_t seed = clock_now_ns();
	rng r;
	rng_seed(&r, seed);
	print_message("seed %llu\n", (unsigned long long)seed);
	for (uint32_t i = 0; i < 20; i++)
		check_pieces(1 + rng_below(&r, 6), (1 + rng_below(&r, 150000)) * 4096ull);
}

static void failures_leave_nothing_registered(void **state)
{
	(void)state;
	for (uint32_t fail_at = 0; fail_at < 4; fail_at++) {
		ufm_backend b = recorder(fail_at);
		pinned p;
		assert_int_equal(pinned_map(4 * 700 * MIB, 700 * MIB, &p), UFM_OK);
		assert_int_equal(pinned_register(&b, &p), UFM_EDEVICE);
		assert_int_equal(seen.count, 0);
		assert_non_null(strstr(ufm_last_error(), "734003200 bytes"));
		assert_non_null(strstr(ufm_last_error(), "of 2936012800: planted failure"));
		/* and it can be tried again */
		assert_int_equal(pinned_register(&b, &p), UFM_OK);
		assert_int_equal(seen.count, 4);
		pinned_close(&b, &p);
		assert_int_equal(seen.count, 0);
	}
}

/* Four fifths of what is available may be page-locked, all of it may be taken. */
static void shares_of_the_memory(void **state)
{
	(void)state;
	limits now = {.ram_free_bytes = 10 * GIB};
	assert_int_equal(pinned_check(&now, "the bank", 8 * GIB, false), UFM_OK);
	assert_int_equal(pinned_check(&now, "the bank", 8 * GIB + 1, false), UFM_ENOMEM);
	assert_string_equal(ufm_last_error(),
	                    "the bank: 8.00 GiB of page-locked host memory asked, 10.00 GiB available, "
	                    "of which 80 % (8.00 GiB) may be page-locked: free memory, or use fewer or "
	                    "smaller experts or shorter calls");
	now.wsl = true;
	assert_int_equal(pinned_check(&now, "the bank", 9 * GIB, false), UFM_ENOMEM);
	assert_non_null(strstr(ufm_last_error(), "WSL2 lets only a part"));
	assert_int_equal(pinned_check(&now, "the bank", 10 * GIB, true), UFM_OK);
	assert_int_equal(pinned_check(&now, "the bank", 10 * GIB + 1, true), UFM_ENOMEM);
	assert_non_null(strstr(ufm_last_error(), "10.00 GiB available: free memory"));
	assert_null(strstr(ufm_last_error(), "80 %"));
	now.ram_free_bytes = 0;
	assert_int_equal(pinned_check(&now, "x", 1, false), UFM_ENOMEM);
	now.ram_free_bytes = LIMITS_NONE;
	assert_int_equal(pinned_check(&now, "x", UINT64_MAX - 1, false), UFM_OK);
}

static ufm_bank *small_bank(uint32_t experts)
{
	ufm_bank_synthetic_config config;
	ufm_expert_desc desc = {.struct_size = sizeof desc};
	ufm_bank *bank;
	UFM_STRUCT_INIT(&config);
	config.desc = &desc;
	config.layers = 2;
	config.experts = experts;
	config.seed = 5;
	assert_int_equal(ufm_expert_desc_init(&desc, UFM_EXPERT_MLP, 33, 50, UFM_F32), UFM_OK);
	assert_int_equal(ufm_bank_synthetic(&config, &bank), UFM_OK);
	return bank;
}

/* When the host tier registers a piece, every byte of it has been read. */
static void blocks_are_filled_before_they_are_registered(void **state)
{
	(void)state;
	for (uint32_t experts = 1; experts <= 9; experts += 4) {
		ufm_backend b = recorder(UINT32_MAX);
		ufm_bank *bank = small_bank(experts);
		ufm_bank_info info = {.struct_size = sizeof info};
		ufm_host_config config;
		ufm_host *host;
		ufm_bank_get_info(bank, &info);
		seen.bank = bank;
		seen.block_bytes = info.desc->block_bytes;
		UFM_STRUCT_INIT(&config);
		config.fill_threads = 3;
		assert_int_equal(host_open_on(&b, bank, &config, &host), UFM_OK);
		assert_int_equal(seen.count, 1);
		assert_int_equal(seen.pieces[0].size_bytes, 2 * experts * info.desc->block_bytes);
		ufm_host_close(host);
		assert_int_equal(seen.count, 0);
		config.pageable = 1;
		seen.asked = 0;
		assert_int_equal(host_open_on(&b, bank, &config, &host), UFM_OK);
		assert_int_equal(seen.asked, 0);
		ufm_host_close(host);
		config.pageable = 0;
		seen.fail_at = 0;
		assert_int_equal(host_open_on(&b, bank, &config, &host), UFM_EDEVICE);
		assert_int_equal(seen.count, 0);
		/* an expert that cannot be read ends it before anything is registered */
		seen.asked = 0;
		config.debug = &(ufm_host_debug){.struct_size = sizeof(ufm_host_debug),
		                                 .store_filter = "fault:layer=0,expert=0"};
		assert_int_equal(host_open_on(&b, bank, &config, &host), UFM_EEXPERT_IO);
		assert_int_equal(seen.asked, 0);
		ufm_bank_close(bank);
	}
}

/* Piece after piece, whatever the steps in which more is allowed; never one that is not whole. */
static void a_part_can_be_registered_first(void **state)
{
	(void)state;
	const uint64_t block_bytes = 400 * MIB, size_bytes = 7 * block_bytes; /* pieces of 2 blocks */
	for (uint64_t step = 1; step <= 8; step++) {
		ufm_backend b = recorder(UINT32_MAX);
		pinned p;
		assert_int_equal(pinned_map(size_bytes, block_bytes, &p), UFM_OK);
		for (uint64_t blocks = 0; blocks < 7; blocks += step) {
			assert_int_equal(pinned_register_first(&b, &p, blocks * block_bytes + 4096), UFM_OK);
			assert_int_equal(seen.count, blocks / 2);
			assert_int_equal(p.registered_bytes, blocks / 2 * 2 * block_bytes);
		}
		assert_int_equal(pinned_register(&b, &p), UFM_OK);
		assert_int_equal(seen.count, 4);
		assert_int_equal(p.registered_bytes, size_bytes);
		assert_int_equal(pinned_register(&b, &p), UFM_OK);
		assert_int_equal(seen.count, 4);
		pinned_close(&b, &p);
		assert_int_equal(seen.count, 0);
	}
}

/* ---- a bank of more than one piece */

#define LARGE_BLOCKS 18u
#define LARGE_BYTES (64 * MIB)

/* Every block is a copy of one, whose ends are not 0. */
static ufm_bank *large_bank(uint8_t **block)
{
	static const void *blocks[LARGE_BLOCKS]; /* must outlive the bank */
	ufm_bank_memory_config config;
	ufm_expert_desc desc = {.struct_size = sizeof desc};
	ufm_bank *bank;
	UFM_STRUCT_INIT(&config);
	config.desc = &desc;
	config.experts = LARGE_BLOCKS;
	assert_int_equal(ufm_expert_desc_init(&desc, UFM_EXPERT_MLP, 4096, 2048, UFM_F32), UFM_OK);
	assert_int_equal(desc.block_bytes, LARGE_BYTES);
	*block = alloc_pages(LARGE_BYTES);
	assert_non_null(*block);
	memset(*block, 0x5a, LARGE_BYTES);
	for (uint32_t i = 0; i < LARGE_BLOCKS; i++)
		blocks[i] = *block;
	config.blocks = blocks;
	assert_int_equal(ufm_bank_memory(&config, &bank), UFM_OK);
	return bank;
}

static ufm_status register_filled(void *memory, uint64_t size_bytes)
{
	const uint8_t *at = memory;
	for (uint64_t i = 0; i < size_bytes; i += LARGE_BYTES) {
		if (at[i] != 0x5a || at[i + LARGE_BYTES - 1] != 0x5a)
			return status_fail(UFM_EINVAL, "registered before it was filled");
	}
	return note_register(memory, size_bytes);
}

static void a_large_bank_is_registered_while_it_is_filled(void **state)
{
	(void)state;
	for (uint32_t fail_at = 0; fail_at <= 2; fail_at += 2) {
		ufm_backend b = recorder(fail_at);
		uint8_t *block;
		ufm_bank *bank = large_bank(&block);
		ufm_host_config config;
		ufm_host *host = NULL;
		UFM_STRUCT_INIT(&config);
		config.fill_threads = 4;
		b.host_register = register_filled;
		ufm_status status = host_open_on(&b, bank, &config, &host);
		if (fail_at < 2) {
			assert_int_equal(status, UFM_EDEVICE);
			assert_non_null(strstr(ufm_last_error(), "planted failure"));
		} else {
			assert_int_equal(status, UFM_OK);
			assert_int_equal(seen.count, 2);
			assert_int_equal(seen.pieces[0].size_bytes, GIB);
			assert_int_equal(seen.pieces[1].size_bytes, 2 * LARGE_BYTES);
			assert_memory_equal(host_block(host, LARGE_BLOCKS - 1), block, LARGE_BYTES);
		}
		ufm_host_close(host);
		assert_int_equal(seen.count, 0);
		ufm_bank_close(bank);
		alloc_pages_free(block, LARGE_BYTES);
	}
}

/* ---- progress */

typedef struct told {
	uint32_t calls, inside;
	uint64_t done_bytes, total_bytes;
	bool rising, whole; /* whole: the last was the total */
} told;

static void note_progress(void *ctx, uint64_t done_bytes, uint64_t total_bytes)
{
	told *t = ctx;
	bool first = t->calls++ == 0;
	t->rising = t->rising && t->inside++ == 0 && !t->whole &&
	            (first ? done_bytes == 0 : done_bytes > t->done_bytes);
	t->done_bytes = done_bytes;
	t->total_bytes = total_bytes;
	t->whole = done_bytes == total_bytes;
	t->inside--;
}

static void progress_rises_to_the_whole(void **state)
{
	(void)state;
	for (uint32_t experts = 1; experts <= 200; experts += 66) {
		for (uint32_t threads = 1; threads <= 8; threads += 7) {
			ufm_backend b = recorder(UINT32_MAX);
			ufm_bank *bank = small_bank(experts);
			ufm_bank_info info = {.struct_size = sizeof info};
			ufm_host_config config;
			ufm_host *host;
			told t = {.rising = true};
			ufm_bank_get_info(bank, &info);
			UFM_STRUCT_INIT(&config);
			config.fill_threads = threads;
			config.pageable = experts == 67;
			config.progress = note_progress;
			config.progress_ctx = &t;
			assert_int_equal(host_open_on(&b, bank, &config, &host), UFM_OK);
			assert_true(t.rising && t.whole);
			assert_int_equal(t.total_bytes, 2 * experts * info.desc->block_bytes);
			if (threads == 1)
				assert_int_equal(t.calls, 2 * experts + 1);
			ufm_host_close(host);
			t = (told){.rising = true};
			config.debug = &(ufm_host_debug){.struct_size = sizeof(ufm_host_debug),
			                                 .store_filter = "fault:layer=1,expert=0"};
			assert_int_equal(host_open_on(&b, bank, &config, &host), UFM_EEXPERT_IO);
			assert_true(t.rising && !t.whole);
			ufm_bank_close(bank);
		}
	}
}

/* ---- stopping */

static int stop_after(void *ctx)
{
	_Atomic uint32_t *left = ctx;
	return atomic_fetch_sub(left, 1) <= 1;
}

static void a_caller_can_stop_the_loading(void **state)
{
	(void)state;
	for (uint32_t asked = 1; asked <= 200; asked += 33) {
		ufm_backend b = recorder(UINT32_MAX);
		ufm_bank *bank = small_bank(200);
		_Atomic uint32_t left = asked;
		told t = {.rising = true};
		ufm_host_config config;
		ufm_host *host = NULL;
		UFM_STRUCT_INIT(&config);
		config.fill_threads = asked % 2 ? 1 : 8;
		config.progress = note_progress;
		config.progress_ctx = &t;
		config.stop = stop_after;
		config.stop_ctx = &left;
		assert_error(host_open_on(&b, bank, &config, &host), UFM_ECANCELED, "stop: ");
		assert_null(host);
		assert_int_equal(seen.count, 0);
		assert_true(t.rising && !t.whole && t.calls <= asked);
		ufm_bank_close(bank);
	}
}

/* All is filled by then: 400 blocks are asked for, and then each registration. */
static void a_caller_can_stop_the_page_locking(void **state)
{
	(void)state;
	ufm_backend b = recorder(UINT32_MAX);
	ufm_bank *bank = small_bank(200);
	_Atomic uint32_t left = 401;
	ufm_host_config config;
	ufm_host *host = NULL;
	UFM_STRUCT_INIT(&config);
	config.stop = stop_after;
	config.stop_ctx = &left;
	assert_int_equal(host_open_on(&b, bank, &config, &host), UFM_ECANCELED);
	assert_int_equal(seen.asked, 0);
	ufm_bank_close(bank);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pieces_end_where_blocks_end),
		cmocka_unit_test(failures_leave_nothing_registered),
		cmocka_unit_test(shares_of_the_memory),
		cmocka_unit_test(blocks_are_filled_before_they_are_registered),
		cmocka_unit_test(a_part_can_be_registered_first),
		cmocka_unit_test(a_large_bank_is_registered_while_it_is_filled),
		cmocka_unit_test(progress_rises_to_the_whole),
		cmocka_unit_test(a_caller_can_stop_the_loading),
		cmocka_unit_test(a_caller_can_stop_the_page_locking),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
