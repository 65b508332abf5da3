/* SPDX-License-Identifier: MIT */
/* Where plugins are looked for: $UFM_BACKEND_PATH, the folder of this library or executable, and the
 * library folder. */
#ifndef UFM_DEVICE_SEARCH_H
#define UFM_DEVICE_SEARCH_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#define SEARCH_NAME_MAX 64

/* The index-th folder; false past the last. A folder that comes up again is given once. Folders of
 * $UFM_BACKEND_PATH come first; *from_path tells. They need not exist. */
bool search_folder(uint32_t index, char folder[PATH_MAX], bool *from_path);

/* The backend name of the first libufm_NAME.so of a folder, in alphabetical order, that comes after
 * `name`; replaces it. Start with "". false when there is none. */
bool search_next_plugin(const char *folder, char name[SEARCH_NAME_MAX]);

/* folder/libufm_NAME.so; false when that is too long. */
bool search_plugin_path(const char *folder, const char *name, char path[PATH_MAX]);

/* All folders, separated by ", "; cut at the buffer's size. Returns text. */
char *search_describe(char *text, uint32_t text_size);

#endif
