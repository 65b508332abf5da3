/* SPDX-License-Identifier: MIT */
/* What a command says on stderr: one line a message, colour and progress on a terminal only. */
#ifndef CLI_MESSAGE_H
#define CLI_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <ufm/ufm.h>

/* A terminal that knows how to move the cursor and clear a line: TERM is set and not "dumb". */
bool message_terminal(FILE *to);
/* A terminal that shows colour: NO_COLOR is unset or empty, too. */
bool message_colour(FILE *to);

/* "ufm COMMAND: text". command NULL: "ufm: text". Control characters are shown as '?', so that a
 * message is always one line. */
void message_error(const char *command, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* The same for what is no failure, without a word before it. */
void message_note(const char *command, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Prints ufm_last_error() and returns the exit code of `status`; of UFM_ECANCELED, ends as
 * interrupt_end does. */
int message_status(const char *command, ufm_status status);

/* Library notes and warnings go to stderr from now on; notes only if `notes`. */
void message_log(bool notes);

/* Rewrites the progress line, no longer than the terminal is wide, with '?' for control characters;
 * nothing unless stderr is a terminal that can clear it. message_error clears it. */
void message_progress(const char *format, ...) __attribute__((format(printf, 1, 2)));
void message_progress_clear(void);

#endif
