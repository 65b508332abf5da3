/* SPDX-License-Identifier: MIT */
/* A text as tokens: runs of letters in lower case, runs of digits, and single other marks. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/status.h"
#include "cli/bench/workload_int.h"

#define TEXT_BYTES_MAX ((uint64_t)1 << 30)

typedef enum char_class { CLASS_SPACE, CLASS_LETTER, CLASS_DIGIT, CLASS_MARK } char_class;

/* Bytes of UTF-8 sequences count as letters. */
static char_class class_of(unsigned char c)
{
	if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c >= 0x80)
		return CLASS_LETTER;
	if (c >= '0' && c <= '9')
		return CLASS_DIGIT;
	return c <= ' ' || c == 0x7f ? CLASS_SPACE : CLASS_MARK;
}

static void lower(unsigned char *text, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (text[i] >= 'A' && text[i] <= 'Z')
			text[i] = (unsigned char)(text[i] - 'A' + 'a');
}

/* Writes the tokens if `tokens` is not NULL; returns how many there are. */
static uint64_t split(const unsigned char *text, size_t size, uint64_t *tokens)
{
	uint64_t count = 0;
	for (size_t i = 0; i < size;) {
		char_class class = class_of(text[i]);
		size_t end = i + 1;
		while (end < size && class != CLASS_MARK && class_of(text[end]) == class)
			end++;
		if (class != CLASS_SPACE) {
			if (tokens)
				tokens[count] = hash_bytes(HASH_SEED, text + i, end - i);
			count++;
		}
		i = end;
	}
	return count;
}

static ufm_status read_all(int file, const char *path, unsigned char *text, size_t size)
{
	size_t done = 0;
	while (done < size) {
		ssize_t got = read(file, text + done, size - done);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return status_fail(UFM_EFILE, "%s: cannot read: %s", path, strerror(errno));
		if (got == 0)
			return status_fail(UFM_EFILE, "%s: ended after %zu bytes, expected %zu", path, done,
			                   size);
		done += (size_t)got;
	}
	return UFM_OK;
}

static ufm_status tokenise(const char *path, unsigned char *text, size_t size, token_list *out)
{
	uint64_t count = split(text, size, NULL);
	uint64_t *tokens;
	if (count == 0)
		return status_fail(UFM_EFORMAT, "%s: found no word in %zu bytes, expected a text", path,
		                   size);
	tokens = alloc_zeroed(count, sizeof *tokens);
	if (!tokens)
		return UFM_ENOMEM;
	lower(text, size);
	split(text, size, tokens);
	out->tokens = tokens;
	out->count = count;
	return UFM_OK;
}

ufm_status text_open(const char *path, token_list *out)
{
	unsigned char *text = NULL;
	uint64_t size;
	int file;
	ufm_status status = file_open(path, &file, &size);
	if (status)
		return status_prefix(status, "%s", path);
	if (size > TEXT_BYTES_MAX)
		status = status_fail(UFM_EFORMAT, "%s: %" PRIu64 " bytes, expected a text of at most 1 GiB",
		                     path, size);
	if (!status) {
		text = alloc_zeroed(size, 1);
		status = text ? read_all(file, path, text, size) : UFM_ENOMEM;
	}
	if (!status)
		status = tokenise(path, text, size, out);
	alloc_free(text);
	close(file);
	return status;
}

void text_close(token_list *list)
{
	alloc_free(list->tokens);
	list->tokens = NULL;
}
