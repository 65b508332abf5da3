/* SPDX-License-Identifier: MIT */
/*
 * Filling a host tier from files beside what the disk gives: how much of the disk's rate is left when the
 * bytes end in a bank's host memory.
 *
 *   fill [--file BANK | --dir DIR --gib N --expert-mib N] [--runs N] [--threads N[,N…]]
 *        [--piece-mib N[,N…]] [--fill-threads N[,N…]] [--memory ready|found]
 *
 * BANK is what ufm_bank_open takes; without it a packed file is made in DIR and removed afterwards. A run
 * measures every case once, and runs alternate, so that what else happens on the machine meets all:
 *   disk   every byte of the files by O_DIRECT, in aligned pieces, kept nowhere
 *   cold   ufm_host_open, pageable, with none of the files in the page cache (looked at, not assumed)
 *   warm   the same with the files in the page cache, as far as they fit
 * One JSON line for each case: the median over the runs, and its fraction of the disk's best median. 0 of
 * --threads means the cores that this process may use, 0 of --fill-threads the host tier's default.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bank/bank.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/median.h"
#include "base/pool.h"

#define RUNS_MAX 64u
#define LIST_MAX 8u
#define CASES_MAX (LIST_MAX * LIST_MAX + 2 * LIST_MAX)
#define FILES_MAX 1024u
#define MIB ((uint64_t)1 << 20)
#define D_MODEL 2048u
#define SETTLE_NS 2500000000u

typedef struct list {
	uint32_t count, values[LIST_MAX];
} list;

typedef struct options {
	const char *file, *dir;
	double gib;
	uint32_t expert_mib, runs;
	bool ready;
	list threads, piece_mib, fill_threads;
} options;

typedef struct bench_file {
	int fd, direct_fd;
	uint64_t size_bytes;
} bench_file;

typedef struct bench {
	options o;
	ufm_bank *bank;
	uint32_t file_count;
	bench_file files[FILES_MAX];
	uint64_t file_bytes, fill_bytes; /* of all files; of those what a fill reads */
} bench;

typedef enum case_kind { CASE_DISK, CASE_COLD, CASE_WARM } case_kind;
static const char *const kind_names[] = {"disk", "cold", "warm"};

typedef struct bench_case {
	case_kind kind;
	uint32_t threads, piece_mib; /* piece_mib 0: not of this case */
	double gbps[RUNS_MAX], sorted[RUNS_MAX], median_gbps;
} bench_case;

static char made_path[4096]; /* of the bank that is removed at the end, or "" */

static void remove_made(void)
{
	if (*made_path)
		unlink(made_path);
}

static void fail(const char *what, const char *why)
{
	fprintf(stderr, "fill: %s: %s\n", what, why);
	exit(1);
}

static void must(ufm_status status, const char *what)
{
	if (status != UFM_OK)
		fail(what, ufm_last_error());
}

/* ------------------------------------------------------------------ the files */

/* Bytes that differ everywhere, so that no layer below can save itself a read. */
static void make_bank(const options *o)
{
	ufm_bank_synthetic_config config;
	ufm_expert_desc desc = {.struct_size = sizeof desc};
	ufm_bank *bank;
	uint32_t d_hidden = (uint32_t)(o->expert_mib * MIB / (2 * D_MODEL * sizeof(float)));

	UFM_STRUCT_INIT(&config);
	config.desc = &desc;
	config.seed = 1;
	must(ufm_expert_desc_init(&desc, UFM_EXPERT_MLP, D_MODEL, d_hidden, UFM_F32), "--expert-mib");
	config.experts = (uint32_t)(o->gib * 1024 * MIB / (double)desc.block_bytes);
	must(ufm_bank_synthetic(&config, &bank), "--gib");
	snprintf(made_path, sizeof made_path, "%s/fill-%d.ufm", o->dir, (int)getpid());
	atexit(remove_made);
	must(ufm_bank_save(bank, made_path), "making a bank");
	ufm_bank_close(bank);
}

static void open_file(bench_file *f, const char *path)
{
	struct stat st;

	f->fd = open(path, O_RDONLY | O_CLOEXEC);
	f->direct_fd = open(path, O_RDONLY | O_CLOEXEC | O_DIRECT);
	if (f->fd < 0 || f->direct_fd < 0 || fstat(f->fd, &st) != 0)
		fail(path, strerror(errno));
	f->size_bytes = (uint64_t)st.st_size;
}

static void open_files(bench *b)
{
	b->file_count = bank_file_count(b->bank);
	if (b->file_count == 0 || b->file_count > FILES_MAX)
		fail("the bank", "expected 1 to 1024 files");
	for (uint32_t i = 0; i < b->file_count; i++) {
		open_file(&b->files[i], bank_file_path(b->bank, i));
		b->file_bytes += b->files[i].size_bytes;
	}
}

static void count_fill_bytes(bench *b)
{
	bank_extent extents[BANK_EXTENTS_MAX];

	for (uint32_t key = 0; key < bank_key_count(b->bank); key++) {
		uint32_t count = bank_extents(b->bank, key, extents);
		for (uint32_t i = 0; i < count; i++)
			b->fill_bytes += bank_extent_file_bytes(&extents[i]);
	}
}

static uint64_t cached_pages(const bench_file *f)
{
	uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE), cached = 0;
	uint64_t pages = (f->size_bytes + page_bytes - 1) / page_bytes;
	unsigned char *resident = malloc(pages + 1);
	void *map = mmap(NULL, f->size_bytes, PROT_READ, MAP_SHARED, f->fd, 0);

	if (!resident || map == MAP_FAILED || mincore(map, f->size_bytes, resident) != 0)
		fail("looking at the page cache", strerror(errno));
	for (uint64_t i = 0; i < pages; i++)
		cached += resident[i] & 1;
	munmap(map, f->size_bytes);
	free(resident);
	return cached;
}

static void make_cold(bench *b)
{
	for (uint32_t i = 0; i < b->file_count; i++) {
		if (fsync(b->files[i].fd) != 0 ||
		    posix_fadvise(b->files[i].fd, 0, 0, POSIX_FADV_DONTNEED) != 0)
			fail("emptying the page cache", strerror(errno));
		if (cached_pages(&b->files[i]) != 0)
			fail("emptying the page cache", "pages of the files stay in it, so nothing is cold");
	}
}

static void make_warm(bench *b)
{
	char *piece = malloc(MIB);

	if (!piece)
		fail("reading the files", strerror(errno));
	for (uint32_t i = 0; i < b->file_count; i++)
		for (uint64_t at = 0; at < b->files[i].size_bytes; at += MIB)
			if (pread(b->files[i].fd, piece, MIB, (off_t)at) < 0)
				fail("reading the files", strerror(errno));
	free(piece);
}

/* A guest whose idle memory goes back to its host pays for every page that it takes again, whatever it
 * does with it. So as much as a fill takes, page cache included, is taken and freed just before. Linux
 * hands over what is free 2 s after something was freed: the wait lets what went before pass. */
static void make_memory_ready(const bench *b)
{
	uint64_t size_bytes = b->file_bytes + b->fill_bytes;
	uint8_t *memory = alloc_pages(size_bytes);

	if (!memory)
		fail("memory", ufm_last_error());
	for (uint64_t at = 0; at < size_bytes; at += 4096)
		memory[at] = 1;
	clock_sleep_until_ns(clock_now_ns() + SETTLE_NS);
	alloc_pages_free(memory, size_bytes);
}

/* ------------------------------------------------------------------ the disk alone */

typedef struct disk_pass {
	bench *b;
	uint64_t piece_bytes;
	uint8_t *buffers; /* one a thread */
} disk_pass;

static void read_piece(void *ctx, uint32_t item, uint32_t worker)
{
	const disk_pass *pass = ctx;
	const bench_file *f = pass->b->files;
	uint64_t piece = item;

	for (;; f++) {
		uint64_t pieces = (f->size_bytes + pass->piece_bytes - 1) / pass->piece_bytes;
		if (piece < pieces)
			break;
		piece -= pieces;
	}
	uint64_t at = piece * pass->piece_bytes, left = f->size_bytes - at;
	uint64_t wanted = left < pass->piece_bytes ? left : pass->piece_bytes;
	ssize_t n = pread(f->direct_fd, pass->buffers + worker * pass->piece_bytes, pass->piece_bytes,
	                  (off_t)at);
	if (n < 0 || (uint64_t)n != wanted)
		fail("reading by O_DIRECT", n < 0 ? strerror(errno) : "less than asked");
}

static uint64_t read_disk_ns(bench *b, const bench_case *c, uint32_t threads)
{
	disk_pass pass = {.b = b, .piece_bytes = c->piece_mib * MIB};
	size_t buffer_bytes = threads * pass.piece_bytes;
	uint64_t pieces = 0, begin_ns;
	pool *workers;

	pass.buffers = alloc_pages(buffer_bytes);
	if (!pass.buffers)
		fail("buffers", ufm_last_error());
	memset(pass.buffers, 1, buffer_bytes);
	must(pool_open(threads, &workers), "threads");
	for (uint32_t i = 0; i < b->file_count; i++)
		pieces += (b->files[i].size_bytes + pass.piece_bytes - 1) / pass.piece_bytes;
	begin_ns = clock_now_ns();
	pool_run(workers, (uint32_t)pieces, read_piece, &pass);
	begin_ns = clock_now_ns() - begin_ns;
	pool_close(workers);
	alloc_pages_free(pass.buffers, buffer_bytes);
	return begin_ns;
}

/* ------------------------------------------------------------------ the host tier */

static uint64_t fill_ns(bench *b, uint32_t threads)
{
	ufm_host_config config;
	ufm_host *host;
	uint64_t begin_ns = clock_now_ns(), spent_ns;

	UFM_STRUCT_INIT(&config);
	config.backend = "cpu";
	config.fill_threads = threads;
	config.pageable = 1;
	must(ufm_host_open(b->bank, &config, &host), "filling");
	spent_ns = clock_now_ns() - begin_ns;
	ufm_host_close(host);
	return spent_ns;
}

/* ------------------------------------------------------------------ cases */

static double run_gbps(bench *b, const bench_case *c)
{
	limits now;

	if (c->kind == CASE_WARM)
		make_warm(b);
	else
		make_cold(b);
	if (b->o.ready)
		make_memory_ready(b);
	if (c->kind != CASE_DISK)
		return (double)b->fill_bytes / (double)fill_ns(b, c->threads);
	limits_read(&now);
	return (double)b->file_bytes / (double)read_disk_ns(b, c, c->threads ? c->threads : now.cores);
}

static uint32_t list_cases(const options *o, bench_case *cases)
{
	uint32_t n = 0;

	for (uint32_t t = 0; t < o->threads.count; t++)
		for (uint32_t p = 0; p < o->piece_mib.count; p++)
			cases[n++] = (bench_case){.kind = CASE_DISK,
			                          .threads = o->threads.values[t],
			                          .piece_mib = o->piece_mib.values[p]};
	for (case_kind kind = CASE_COLD; kind <= CASE_WARM; kind++)
		for (uint32_t t = 0; t < o->fill_threads.count; t++)
			cases[n++] = (bench_case){.kind = kind, .threads = o->fill_threads.values[t]};
	return n;
}

static void print_case(const bench *b, const bench_case *c, double disk_gbps)
{
	printf("{\"case\": \"%s\", \"threads\": %u, ", kind_names[c->kind], c->threads);
	if (c->piece_mib)
		printf("\"piece_mib\": %u, ", c->piece_mib);
	printf("\"bytes\": %llu, \"block_bytes\": %llu, \"runs\": %u, \"gbps\": %.3f, "
	       "\"of_disk\": %.3f, \"gbps_runs\": [",
	       (unsigned long long)(c->kind == CASE_DISK ? b->file_bytes : b->fill_bytes),
	       (unsigned long long)bank_desc(b->bank)->block_bytes, b->o.runs, c->median_gbps,
	       c->median_gbps / disk_gbps);
	for (uint32_t i = 0; i < b->o.runs; i++)
		printf("%s%.3f", i ? ", " : "", c->gbps[i]);
	printf("]}\n");
}

static void measure(bench *b)
{
	static bench_case cases[CASES_MAX];
	uint32_t count = list_cases(&b->o, cases);
	double disk_gbps = 0;

	for (uint32_t run = 0; run < b->o.runs; run++)
		for (uint32_t i = 0; i < count; i++)
			cases[i].gbps[run] = cases[i].sorted[run] = run_gbps(b, &cases[i]);
	for (uint32_t i = 0; i < count; i++) {
		cases[i].median_gbps = median_of(cases[i].sorted, b->o.runs);
		if (cases[i].kind == CASE_DISK && cases[i].median_gbps > disk_gbps)
			disk_gbps = cases[i].median_gbps;
	}
	for (uint32_t i = 0; i < count; i++)
		print_case(b, &cases[i], disk_gbps);
}

/* ------------------------------------------------------------------ options */

static double number(const char *name, const char *text, double low, double high)
{
	char *end;
	double value = strtod(text, &end);

	if (end == text || *end || !(value >= low && value <= high))
		fail(name, "expected another number");
	return value;
}

static list numbers(const char *name, const char *text, double low, double high)
{
	list l = {0};
	char copy[256], *rest = copy;

	snprintf(copy, sizeof copy, "%s", text);
	for (char *one; (one = strsep(&rest, ","));) {
		if (l.count == LIST_MAX)
			fail(name, "expected at most 8 numbers");
		l.values[l.count++] = (uint32_t)number(name, one, low, high);
	}
	return l;
}

static bool is_ready(const char *value)
{
	if (strcmp(value, "ready") != 0 && strcmp(value, "found") != 0)
		fail("--memory", "expected ready or found");
	return strcmp(value, "ready") == 0;
}

static void read_option(options *o, const char *name, const char *value)
{
	if (strcmp(name, "--file") == 0)
		o->file = value;
	else if (strcmp(name, "--dir") == 0)
		o->dir = value;
	else if (strcmp(name, "--gib") == 0)
		o->gib = number(name, value, 0.01, 4096);
	else if (strcmp(name, "--expert-mib") == 0)
		o->expert_mib = (uint32_t)number(name, value, 1, 4096);
	else if (strcmp(name, "--runs") == 0)
		o->runs = (uint32_t)number(name, value, 1, RUNS_MAX);
	else if (strcmp(name, "--memory") == 0)
		o->ready = is_ready(value);
	else if (strcmp(name, "--threads") == 0)
		o->threads = numbers(name, value, 0, 256);
	else if (strcmp(name, "--piece-mib") == 0)
		o->piece_mib = numbers(name, value, 1, 1024);
	else if (strcmp(name, "--fill-threads") == 0)
		o->fill_threads = numbers(name, value, 0, 1024);
	else
		fail(name, "unknown option (they stand at the top of fill.c)");
}

static options read_options(int argc, char **argv)
{
	options o = {.dir = ".",
	             .gib = 4,
	             .expert_mib = 16,
	             .runs = 5,
	             .ready = true,
	             .threads = {3, {1, 8, 0}},
	             .piece_mib = {3, {1, 4, 16}},
	             .fill_threads = {1, {0}}};

	for (int i = 1; i < argc; i += 2) {
		if (i + 1 == argc)
			fail(argv[i], "expected a value");
		read_option(&o, argv[i], argv[i + 1]);
	}
	return o;
}

int main(int argc, char **argv)
{
	static bench b;

	b.o = read_options(argc, argv);
	if (!b.o.file) {
		make_bank(&b.o);
		b.o.file = made_path;
	}
	must(ufm_bank_open(b.o.file, &b.bank), b.o.file);
	open_files(&b);
	count_fill_bytes(&b);
	measure(&b);
	return 0;
}
