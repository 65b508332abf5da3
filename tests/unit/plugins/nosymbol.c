/* SPDX-License-Identifier: MIT */
/* A shared object that is no plugin. */
#include <ufm/ufm.h>

__attribute__((visibility("default"))) int not_a_backend(void);

int not_a_backend(void)
{
	return 0;
}
