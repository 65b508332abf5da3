/* SPDX-License-Identifier: MIT */
/* Memory of jansson, whose calls seldom tell that there was none: what they then make lacks members or is not there. */
#ifndef CLI_JSON_MEMORY_H
#define CLI_JSON_MEMORY_H

#include <ufm/ufm.h>

/* From now on jansson's memory is ours, and a request that failed is remembered. Before the first value is made. */
void json_memory_watch(void);
/* Remembers that memory lacked for the text of JSON, or for a table, too. */
void json_memory_lose(void);
/* UFM_ENOMEM once a request has failed, for good: nothing made of JSON since then is to be trusted, nor is anything read of
 * it a value. To be asked before it is given away or success is reported. */
ufm_status json_memory_check(void);

#endif
