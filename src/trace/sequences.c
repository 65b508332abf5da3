/* SPDX-License-Identifier: MIT */
/* Where sequences begin: a list, and a CSV that holds one (RFC 4180, without newlines in quotes). */
#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "base/status.h"
#include "trace/trace_int.h"

#define NO_COLUMN UINT32_MAX

ufm_status start_list_add(start_list *l, uint64_t token)
{
	uint64_t *starts;
	if (l->count == SEQUENCES_MAX)
		return status_fail(UFM_EFORMAT, "found more than %" PRIu32 " sequences", SEQUENCES_MAX);
	starts = alloc_grow(l->starts, l->count, &l->room, sizeof *starts);
	if (!starts)
		return UFM_ENOMEM;
	l->starts = starts;
	starts[l->count++] = token;
	return UFM_OK;
}

typedef struct csv {
	line_reader lines;
	uint32_t columns, start_column, tokens_column;
	start_list starts;
	uint64_t next;   /* where the sequence before ends, if it says so */
	bool next_known; /* the first one's start is known, too */
} csv;

typedef struct csv_row {
	char *at, *end;
	bool more; /* a field follows */
} csv_row;

static ufm_status fail_row(const csv *c, const char *expected)
{
	return status_fail(UFM_EFORMAT, "line %" PRIu64 ": expected %s", c->lines.number, expected);
}

/* Up to the closing quote, doubled quotes made one; the length, or -1 when it is not closed or something
 * stands between it and the comma. */
static ptrdiff_t take_quoted(csv_row *row)
{
	char *from = ++row->at, *to = from;
	while (row->at < row->end) {
		if (*row->at == '"' && (row->at + 1 == row->end || row->at[1] != '"')) {
			row->at++;
			return row->at == row->end || *row->at == ',' ? to - from : -1;
		}
		row->at += *row->at == '"' ? 2 : 1;
		*to++ = row->at[-1];
	}
	return -1;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

/* The next field, without the blanks around it where it is not quoted; false when a quote is wrong. */
static bool take_field(csv_row *row, const char **field, size_t *length)
{
	*field = row->at;
	if (row->at < row->end && *row->at == '"') {
		ptrdiff_t n = take_quoted(row);
		if (n < 0)
			return false;
		(*field)++;
		*length = (size_t)n;
	} else {
		while (row->at < row->end && *row->at != ',')
			row->at++;
		*length = (size_t)(row->at - *field);
		while (*length && is_blank((*field)[*length - 1]))
			(*length)--;
		for (; *length && is_blank(**field); (*length)--)
			(*field)++;
	}
	row->more = row->at < row->end;
	row->at += row->more;
	return true;
}

/* The end of a line may be written as CR LF. */
static csv_row begin_row(char *text, size_t size)
{
	if (size && text[size - 1] == '\r')
		size--;
	return (csv_row){.at = text, .end = text + size, .more = true};
}

static bool names(const char *field, size_t length, const char *name)
{
	return length == strlen(name) && memcmp(field, name, length) == 0;
}

static ufm_status take_column(csv *c, uint32_t *column)
{
	if (*column != NO_COLUMN)
		return fail_row(c, "each column once, and found 'start' or 'n_tokens' twice");
	*column = c->columns;
	return UFM_OK;
}

static ufm_status read_header(csv *c, char *text, size_t size)
{
	csv_row row = begin_row(text, size);
	const char *field;
	size_t length;
	ufm_status status = UFM_OK;
	c->start_column = c->tokens_column = NO_COLUMN;
	for (; row.more && !status; c->columns++) {
		if (!take_field(&row, &field, &length))
			return fail_row(c, "a closing quote, then a comma or the end of the line");
		if (names(field, length, "start"))
			status = take_column(c, &c->start_column);
		else if (names(field, length, "n_tokens"))
			status = take_column(c, &c->tokens_column);
	}
	if (!status && c->start_column == NO_COLUMN)
		return fail_row(c, "a header that names a column 'start'");
	return status;
}

static ufm_status parse_number(const csv *c, const char *name, const char *field, size_t length,
                               uint64_t *out)
{
	uint64_t value = 0;
	bool good = length > 0;
	for (size_t i = 0; good && i < length; i++)
		good = field[i] >= '0' && field[i] <= '9' && !__builtin_mul_overflow(value, 10, &value) &&
		       !__builtin_add_overflow(value, (uint64_t)(field[i] - '0'), &value);
	if (!good)
		return status_fail(UFM_EFORMAT,
		                   "line %" PRIu64 ": found '%.*s' as %s, expected a whole number",
		                   c->lines.number, length > 60 ? 60 : (int)length, field, name);
	*out = value;
	return UFM_OK;
}

static ufm_status read_fields(const csv *c, csv_row *row, uint64_t *start, uint64_t *tokens)
{
	uint32_t column = 0;
	ufm_status status = UFM_OK;
	for (; row->more && !status; column++) {
		const char *field;
		size_t length;
		if (!take_field(row, &field, &length))
			return fail_row(c, "a closing quote, then a comma or the end of the line");
		if (column == c->start_column)
			status = parse_number(c, "start", field, length, start);
		else if (column == c->tokens_column)
			status = parse_number(c, "n_tokens", field, length, tokens);
	}
	if (!status && column != c->columns)
		return status_fail(UFM_EFORMAT,
		                   "line %" PRIu64 ": found %" PRIu32 " fields, expected %" PRIu32
		                   " as in the header",
		                   c->lines.number, column, c->columns);
	return status;
}

/* Every token belongs to exactly one sequence. */
static ufm_status add_sequence(csv *c, uint64_t start, uint64_t tokens)
{
	uint64_t last = c->starts.count ? c->starts.starts[c->starts.count - 1] : 0;
	if (c->next_known && start != c->next)
		return status_fail(UFM_EFORMAT,
		                   "line %" PRIu64 ": found start %" PRIu64 ", expected %" PRIu64
		                   ", where %s",
		                   c->lines.number, start, c->next,
		                   c->starts.count ? "the sequence before ends" : "the trace begins");
	if (c->starts.count && start <= last)
		return status_fail(UFM_EFORMAT,
		                   "line %" PRIu64 ": found start %" PRIu64 " after %" PRIu64
		                   ", expected ascending ones",
		                   c->lines.number, start, last);
	c->next_known = c->tokens_column != NO_COLUMN;
	if (c->next_known && (tokens == 0 || __builtin_add_overflow(start, tokens, &c->next)))
		return status_fail(UFM_EFORMAT,
		                   "line %" PRIu64 ": found n_tokens %" PRIu64
		                   ", expected at least 1 and no more than the trace has",
		                   c->lines.number, tokens);
	return start_list_add(&c->starts, start);
}

static ufm_status read_rows(csv *c)
{
	char *text;
	size_t size;
	ufm_status status = line_reader_next(&c->lines, &text, &size);
	if (!status && !text)
		return status_fail(UFM_EFORMAT, "is empty, expected a header that names a column 'start'");
	if (!status)
		status = read_header(c, text, size);
	while (!status) {
		uint64_t start = 0, tokens = 0;
		status = line_reader_next(&c->lines, &text, &size);
		if (status || !text)
			break;
		csv_row row = begin_row(text, size);
		status = read_fields(c, &row, &start, &tokens);
		if (!status)
			status = add_sequence(c, start, tokens);
	}
	return status;
}

static ufm_status check_end(const csv *c, uint64_t tokens)
{
	if (c->starts.count == 0)
		return status_fail(UFM_EFORMAT, "found no sequence, expected at least one row");
	if (c->starts.starts[c->starts.count - 1] >= tokens)
		return status_fail(UFM_EFORMAT,
		                   "line %" PRIu64 ": found start %" PRIu64
		                   ", expected less than the trace's %" PRIu64 " tokens",
		                   c->lines.number, c->starts.starts[c->starts.count - 1], tokens);
	if (c->next_known && c->next != tokens)
		return status_fail(UFM_EFORMAT,
		                   "line %" PRIu64 ": the last sequence ends at token %" PRIu64
		                   ", expected %" PRIu64 ", where the trace ends",
		                   c->lines.number, c->next, tokens);
	return UFM_OK;
}

ufm_status trace_read_sequences(int fd, uint64_t tokens, uint64_t **starts, uint32_t *sequences)
{
	csv c = {.next_known = true};
	ufm_status status;
	line_reader_begin(&c.lines, fd);
	status = read_rows(&c);
	if (!status)
		status = check_end(&c, tokens);
	if (!status)
		status = start_list_add(&c.starts, tokens);
	line_reader_close(&c.lines);
	if (status) {
		alloc_free(c.starts.starts);
		return status;
	}
	*starts = c.starts.starts;
	*sequences = c.starts.count - 1;
	return UFM_OK;
}
