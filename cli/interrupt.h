/* SPDX-License-Identifier: MIT */
/*
 * SIGINT and SIGTERM, for every command. The first one sets a flag that long work looks at, and
 * wakes a thread that ends the process half a second later, if the command has not ended by itself:
 * nothing that a library, a driver or a disk is at holds it up longer. Another one within a fifth
 * of a second is the same wish (`timeout` signals a child and its group); a later one ends the
 * process at once. The exit code is 130 each time.
 */
#ifndef CLI_INTERRUPT_H
#define CLI_INTERRUPT_H

#include <stdbool.h>
#include <ufm/ufm.h>

/* Once, before a command begins; its name is for messages. false: there is no thread for it. */
bool interrupt_install(const char *command);
bool interrupt_seen(void);
int interrupt_stop(void *ctx); /* the same, as the library asks (ufm_host_config.stop) */
/* UFM_ECANCELED once there was a signal. */
ufm_status interrupt_check(void);

/* What that thread calls before it ends the process: it keeps what there is and says so by
 * interrupt_say. NULL: there is nothing to keep. It has the guard, which the command takes while it
 * changes what `keep` reads, and never while it waits for anything but a file. */
typedef void (*interrupt_keep)(void *ctx);
void interrupt_guard(void);
void interrupt_unguard(void);
void interrupt_set_keep(interrupt_keep keep, void *ctx);

/* With the guard: "interrupted" and what is kept, once, whoever comes first. After that `keep` is
 * not called any more. */
void interrupt_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* For a command that has seen the signal itself and undone what it was at: what the thread would
 * do, without the end of the process. Returns the exit code. */
int interrupt_end(void);

/* A file that is removed when a signal ends the process before it has its own name. */
void interrupt_unfinished(const char *path);

#endif
