/* SPDX-License-Identifier: MIT */
/* Lines of files and rows on them: what is no regular file, cannot be read on, or was cut. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/lines.h"
#include "cli/row_lines.h"
#include "support/assert_error.h"

static char folder[64], path[128];

static const char *file_of(const char *text)
{
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0 && fclose(file) == 0);
	return path;
}

static int open_folder(void **state)
{
	(void)state;
	snprintf(folder, sizeof folder, "/tmp/ufm_lines_XXXXXX");
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof path, "%s/rows.jsonl", folder);
	return 0;
}

static int close_folder(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(folder);
}

static void lines_with_and_without_an_end(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		unsigned lines;
		bool last_whole;
	} cases[] = {{"", 0, false},      {"\n", 1, true},        {"a", 1, false},
	             {"a\nb\n", 2, true}, {"a\n\nb c", 3, false}, {"a\r\n", 1, true}};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		lines l;
		bool more = true;
		assert_int_equal(lines_open(file_of(cases[i].text), &l), UFM_OK);
		while (more)
			assert_int_equal(lines_next(&l, &more), UFM_OK);
		assert_int_equal(l.number, cases[i].lines);
		assert_int_equal(l.whole, cases[i].last_whole);
		lines_close(&l);
	}
}

/* The file's descriptor becomes a folder's, which cannot be read. */
static void break_reading(const lines *l)
{
	int other = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(other >= 0);
	assert_true(dup2(other, fileno(l->file)) >= 0);
	close(other);
}

static void a_read_error_is_no_end(void **state)
{
	(void)state;
	lines l;
	bool more = true;
	char *text = malloc(1 << 16);
	assert_non_null(text);
	memset(text, 'x', 1 << 16);
	for (size_t i = 99; i < 1 << 16; i += 100)
		text[i] = '\n';
	text[(1 << 16) - 1] = '\0';
	assert_int_equal(lines_open(file_of(text), &l), UFM_OK);
	free(text);
	assert_int_equal(lines_next(&l, &more), UFM_OK);
	assert_true(more);
	break_reading(&l);
	ufm_status status = UFM_OK;
	while (!status && more)
		status = lines_next(&l, &more);
	assert_error(status, UFM_EFILE, "cannot be read: Is a directory");
	assert_true(l.number > 1 && l.number < 600);
	lines_close(&l);
}

static void open_socket(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	snprintf(address.sun_path, sizeof address.sun_path, "%.100s", path);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
	close(fd);
}

static void what_is_no_regular_file_is_refused_at_once(void **state)
{
	(void)state;
	lines l;
	unlink(path);
	assert_error(lines_open(path, &l), UFM_EFILE, "cannot be opened: No such file");
	assert_error(lines_open(folder, &l), UFM_EFILE, "is not a regular file");
	assert_error(lines_open("/dev/zero", &l), UFM_EFILE, "/dev/zero: is not a regular file");
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_error(lines_open(path, &l), UFM_EFILE, "rows.jsonl: is not a regular file");
	unlink(path);
	open_socket();
	assert_error(lines_open(path, &l), UFM_EFILE, "rows.jsonl: cannot be opened");
	unlink(path);
}

/* ---- rows */

typedef struct taken {
	unsigned rows, last_line, fail_at;
} taken;

static ufm_status take(void *ctx, unsigned line, json_t *row)
{
	taken *t = ctx;
	assert_true(json_is_object(row));
	t->rows++;
	t->last_line = line;
	if (line != t->fail_at)
		return UFM_OK;
	ufm_status status = ufm_bank_open("", NULL); /* records a line */
	return status;
}

static unsigned warnings;
static void count_warning(void *ctx, ufm_log_level level, const char *line)
{
	(void)ctx;
	assert_int_equal(level, UFM_LOG_WARN);
	assert_non_null(strstr(line, "cut short, left out"));
	warnings++;
}

static void rows_and_what_is_none(void **state)
{
	(void)state;
	static const struct {
		const char *text, *error; /* NULL: good */
		unsigned rows, last_line, warnings;
	} cases[] = {
		{"{}\n{\"a\":1}\n", NULL, 2, 2, 0},
		{"\n \t\r\n{}", NULL, 1, 3, 0},
		{"{}\n{\"a\":", NULL, 1, 1, 1},
		{"{}\n{\"a\":1}{", NULL, 1, 1, 1},
		{"{}\n{\"a\":\n{}\n", "rows.jsonl: line 2: found ", 1, 1, 0},
		{"{}\n[1]\n", "rows.jsonl: line 2: found JSON that is no object", 1, 1, 0},
		{"{}\n1", NULL, 1, 1, 1},
		{"", "rows.jsonl: found no row, expected those of a test", 0, 0, 0},
		{"{", "found no row", 0, 0, 1},
	};
	ufm_set_log(count_warning, NULL);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		taken t = {0};
		warnings = 0;
		ufm_status status = row_lines_read(file_of(cases[i].text), "a test", take, &t);
		if (cases[i].error)
			assert_error(status, UFM_EFORMAT, cases[i].error);
		else
			assert_int_equal(status, UFM_OK);
		assert_int_equal(t.rows, cases[i].rows);
		assert_int_equal(t.last_line, cases[i].last_line);
		assert_int_equal(warnings, cases[i].warnings);
	}
	ufm_set_log(NULL, NULL);
}

static void what_is_wrong_with_a_row_gets_its_place(void **state)
{
	(void)state;
	taken t = {.fail_at = 3};
	ufm_status status = row_lines_read(file_of("{}\n\n{}\n{}\n"), "a test", take, &t);
	assert_error(status, UFM_EINVAL, "rows.jsonl: line 3: path is empty");
	assert_int_equal(t.rows, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_with_and_without_an_end),
		cmocka_unit_test(a_read_error_is_no_end),
		cmocka_unit_test(what_is_no_regular_file_is_refused_at_once),
		cmocka_unit_test(rows_and_what_is_none),
		cmocka_unit_test(what_is_wrong_with_a_row_gets_its_place),
	};
	return cmocka_run_group_tests(tests, open_folder, close_folder);
}
