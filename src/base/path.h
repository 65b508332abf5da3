/* SPDX-License-Identifier: MIT */
/* Paths of files and their folders. */
#ifndef UFM_BASE_PATH_H
#define UFM_BASE_PATH_H

/* The path itself where it leads to a folder, else the folder in which it names something ("." when it names none).
 * NULL without memory; freed by alloc_free, as the next one. */
char *path_folder(const char *path);
/* "folder/name", and one '/' where the folder ends with it. */
char *path_join(const char *folder, const char *name);

#endif
