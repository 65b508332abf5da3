/* SPDX-License-Identifier: MIT */
/* What a figure's files and gnuplot can fail with: who is hurt is never a lease. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/plot/gnuplot.h"
#include "support/assert_error.h"

typedef struct place {
	char folder[64], program[128];
} place;

/* A folder that is all of PATH, with a gnuplot of these lines in it, unless they are NULL. */
static place make_place(const char *lines, mode_t mode)
{
	place p = {.folder = "/tmp/ufm_gnuplot_XXXXXX"};
	assert_non_null(mkdtemp(p.folder));
	snprintf(p.program, sizeof p.program, "%s/gnuplot", p.folder);
	setenv("PATH", p.folder, 1);
	if (!lines)
		return p;
	FILE *file = fopen(p.program, "w");
	assert_non_null(file);
	fprintf(file, "#!/bin/sh\n%s\n", lines);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(chmod(p.program, mode), 0);
	return p;
}

static void remove_place(const place *p)
{
	unlink(p->program);
	assert_int_equal(rmdir(p->folder), 0);
}

static void a_missing_program_is_not_supported(void **state)
{
	(void)state;
	place p = make_place(NULL, 0);
	assert_error(gnuplot_draw(p.folder, "memory"), UFM_EUNSUPPORTED, "gnuplot is missing");
	remove_place(&p);
}

static void a_program_that_may_not_run_is_not_supported(void **state)
{
	(void)state;
	place p = make_place("exit 0", 0644);
	assert_error(gnuplot_draw(p.folder, "memory"), UFM_EUNSUPPORTED,
	             "gnuplot cannot be run: Permission denied; scripts and data are kept in /tmp");
	remove_place(&p);
}

static void a_script_that_fails_is_a_file_that_is_not_made(void **state)
{
	(void)state;
	place p = make_place("echo no such terminal >&2\nexit 3", 0755);
	assert_error(gnuplot_draw(p.folder, "memory"), UFM_EFILE,
	             "memory.gp: gnuplot failed on it: no such terminal");
	remove_place(&p);
}

static void a_figure_that_is_missing_after_it_is_a_file_that_is_not_made(void **state)
{
	(void)state;
	place p = make_place("exit 0", 0755);
	assert_error(gnuplot_draw(p.folder, "memory"), UFM_EFILE, "memory.png: found it cut off");
	remove_place(&p);
}

static void a_folder_that_is_missing(void **state)
{
	(void)state;
	gnuplot_file o;
	assert_error(gnuplot_open(&o, "/tmp/no/such/folder", "memory", "dat"), UFM_EFILE, "memory.dat");
}

static void a_file_that_cannot_be_closed_is_left_as_it_was(void **state)
{
	(void)state;
	place p = make_place(NULL, 0);
	gnuplot_file o;
	assert_int_equal(gnuplot_open(&o, p.folder, "memory", "dat"), UFM_OK);
	close(fileno(o.file));
	fputs("lost", o.file);
	assert_error(gnuplot_close(&o), UFM_EFILE, "memory.dat: cannot write");
	remove_place(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_missing_program_is_not_supported),
		cmocka_unit_test(a_program_that_may_not_run_is_not_supported),
		cmocka_unit_test(a_script_that_fails_is_a_file_that_is_not_made),
		cmocka_unit_test(a_figure_that_is_missing_after_it_is_a_file_that_is_not_made),
		cmocka_unit_test(a_folder_that_is_missing),
		cmocka_unit_test(a_file_that_cannot_be_closed_is_left_as_it_was),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
