/* SPDX-License-Identifier: MIT */
/* One line a message; the progress line is wiped before anything else is written. */
#include "cli/message.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/columns.h"
#include "cli/exit.h"
#include "cli/interrupt.h"

#define MESSAGE_BYTES 1024

bool message_terminal(FILE *to)
{
	const char *term = getenv("TERM");
	return term && *term && strcmp(term, "dumb") != 0 && isatty(fileno(to)) == 1;
}

bool message_colour(FILE *to)
{
	const char *no_color = getenv("NO_COLOR");
	return !(no_color && *no_color) && message_terminal(to);
}

static void one_line(char *text)
{
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;
		if (c < 0x20 || c == 0x7f)
			*text = '?';
	}
}

static void print_line(const char *command, const char *kind, const char *colour, const char *text)
{
	bool coloured = *kind && message_colour(stderr);
	message_progress_clear();
	fprintf(stderr, "ufm%s%s: %s%s%s%s\n", command ? " " : "", command ? command : "",
	        coloured ? colour : "", kind, coloured ? "\033[0m" : "", text);
}

static void print_format(const char *command, const char *kind, const char *colour,
                         const char *format, va_list args)
{
	char text[MESSAGE_BYTES];
	vsnprintf(text, sizeof text, format, args);
	one_line(text);
	print_line(command, kind, colour, text);
}

void message_error(const char *command, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	print_format(command, "error: ", "\033[31m", format, args);
	va_end(args);
}

int message_status(const char *command, ufm_status status)
{
	const char *line = ufm_last_error();
	if (status == UFM_ECANCELED)
		return interrupt_end();
	message_error(command, "%s", *line ? line : ufm_strerror(status));
	return exit_of(status);
}

void message_note(const char *command, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	print_format(command, "", "", format, args);
	va_end(args);
}

static void log_line(void *ctx, ufm_log_level level, const char *line)
{
	const bool *notes = ctx;
	char text[MESSAGE_BYTES];
	if (level == UFM_LOG_INFO && !*notes)
		return;
	snprintf(text, sizeof text, "%s", line);
	one_line(text);
	if (level == UFM_LOG_INFO)
		print_line(NULL, "note: ", "\033[2m", text);
	else
		print_line(NULL, "warning: ", "\033[33m", text);
}

void message_log(bool notes)
{
	static const bool yes = true, no = false;
	ufm_set_log(log_line, (void *)(notes ? &yes : &no));
}

void message_progress(const char *format, ...)
{
	char text[512];
	va_list args;
	if (!message_terminal(stderr))
		return;
	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	one_line(text);
	/* Behind the last column some terminals begin a new line. */
	fprintf(stderr, "\r\033[K%s", columns_fit(text, columns_of_stream(stderr) - 1));
	fflush(stderr);
}

void message_progress_clear(void)
{
	if (!message_terminal(stderr))
		return;
	fputs("\r\033[K", stderr);
	fflush(stderr);
}
