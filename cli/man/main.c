/* SPDX-License-Identifier: MIT */
/*
 * Writes the manual pages; run by the build, not installed.
 *
 *     ufm_man TEMPLATES OUT
 *
 * TEMPLATES holds ufm.1.in, libufm.3.in, ufm-COMMAND.1.in for commands with more to say than their
 * options, and ufm-command.1.in for all others. OUT gets ufm.1, libufm.3 and a page for every
 * command.
 */
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/man/page.h"

static const char *templates, *out;

static bool complain(const char *path, const char *why)
{
	fprintf(stderr, "ufm_man: %s: %s\n", path, why);
	return false;
}

static bool fill_in(FILE *to, FILE *from, const char *from_path, const option_table *table)
{
	char word[32], why[96];
	if (!page_write(to, from, table, word)) {
		snprintf(why, sizeof why, "found @%s@, expected a word of cli/man/page.h", word);
		return complain(from_path, why);
	}
	return ferror(from) ? complain(from_path, "cannot be read") : true;
}

static bool write_page(const char *from_path, const char *to_path, const option_table *table)
{
	FILE *from = fopen(from_path, "re"), *to;
	bool good;
	if (!from)
		return complain(from_path, strerror(errno));
	to = fopen(to_path, "we");
	if (!to) {
		fclose(from);
		return complain(to_path, strerror(errno));
	}
	good = fill_in(to, from, from_path, table);
	fclose(from);
	if (fclose(to) != 0)
		good = complain(to_path, "cannot be written");
	return good;
}

static bool write_plain(const char *name)
{
	char from[PATH_MAX], to[PATH_MAX];
	snprintf(from, sizeof from, "%.3900s/%s.in", templates, name);
	snprintf(to, sizeof to, "%.3900s/%s", out, name);
	return write_page(from, to, NULL);
}

static bool write_command(const option_table *table)
{
	char from[PATH_MAX], to[PATH_MAX];
	snprintf(from, sizeof from, "%.3900s/ufm-%s.1.in", templates, table->command);
	if (access(from, F_OK) != 0)
		snprintf(from, sizeof from, "%.3900s/ufm-command.1.in", templates);
	snprintf(to, sizeof to, "%.3900s/ufm-%s.1", out, table->command);
	return write_page(from, to, table);
}

int main(int argc, char *argv[])
{
	bool good;
	if (argc != 3) {
		fputs("usage: ufm_man TEMPLATES OUT\n", stderr);
		return 2;
	}
	templates = argv[1];
	out = argv[2];
	good = write_plain("ufm.1") && write_plain("libufm.3");
	for (uint32_t i = 0; good && i < command_count; i++)
		good = write_command(commands[i]->options);
	return good ? 0 : 1;
}
