/* SPDX-License-Identifier: MIT */
/* A text file by lines, of any size, in a buffer that holds the longest one. */
#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/status.h"
#include "trace/trace_int.h"

#define BUFFER_BYTES_FIRST ((size_t)64 << 10)

void line_reader_begin(line_reader *r, int fd)
{
	memset(r, 0, sizeof *r);
	r->fd = fd;
}

void line_reader_close(line_reader *r)
{
	alloc_free(r->buffer);
	r->buffer = NULL;
}

/* Makes room behind the bytes that are held: by moving them to the front, else by a larger buffer. */
static ufm_status make_room(line_reader *r)
{
	size_t held = r->end - r->begin;
	size_t room = held < r->room / 2 ? r->room : r->room ? 2 * r->room : BUFFER_BYTES_FIRST;
	char *buffer = r->buffer;
	if (held > LINE_BYTES_MAX)
		return status_fail(UFM_EFORMAT,
		                   "line %" PRIu64 ": is longer than %zu bytes, expected one object or row",
		                   r->number + 1, LINE_BYTES_MAX);
	if (room > r->room)
		buffer = alloc_zeroed(room, 1);
	if (!buffer)
		return UFM_ENOMEM;
	if (held)
		memmove(buffer, r->buffer + r->begin, held);
	if (buffer != r->buffer)
		alloc_free(r->buffer);
	r->buffer = buffer;
	r->room = room;
	r->begin = 0;
	r->end = held;
	return UFM_OK;
}

static ufm_status read_more(line_reader *r)
{
	uint64_t got;
	ufm_status status = make_room(r);
	if (!status)
		status = file_read(r->fd, r->buffer + r->end, r->room - r->end, r->offset_bytes, &got);
	if (status)
		return status;
	r->ended = got < r->room - r->end;
	r->end += got;
	r->offset_bytes += got;
	return UFM_OK;
}

static void give_out(line_reader *r, size_t size, size_t skipped, char **text, size_t *size_bytes)
{
	*text = r->buffer + r->begin;
	*size_bytes = size;
	r->begin += size + skipped;
	r->number++;
}

ufm_status line_reader_next(line_reader *r, char **text, size_t *size_bytes)
{
	size_t searched = 0;
	*text = NULL;
	*size_bytes = 0;
	for (;;) {
		size_t held = r->end - r->begin;
		const char *newline =
			held > searched ? memchr(r->buffer + r->begin + searched, '\n', held - searched) : NULL;
		if (newline) {
			give_out(r, (size_t)(newline - (r->buffer + r->begin)), 1, text, size_bytes);
			return UFM_OK;
		}
		if (r->ended) {
			if (held)
				give_out(r, held, 0, text, size_bytes);
			return UFM_OK;
		}
		searched = held;
		ufm_status status = read_more(r);
		if (status)
			return status;
	}
}
