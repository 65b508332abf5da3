/* SPDX-License-Identifier: MIT */
/* First in, first out. */
#include "base/alloc.h"
#include "policy/key_list.h"
#include "policy/registry.h"

static void fifo_destroy(void *state)
{
	key_list *list = state;

	if (!list)
		return;
	key_list_free(list);
	alloc_free(list);
}

static ufm_status fifo_create(const ufm_policy_config *config, void **state)
{
	key_list *list = alloc_zeroed(1, sizeof *list);

	if (!list)
		return UFM_ENOMEM;
	if (key_list_init(list, config->layers * config->experts) != UFM_OK) {
		alloc_free(list);
		return UFM_ENOMEM;
	}
	*state = list;
	return UFM_OK;
}

static void fifo_event(void *state, uint32_t layer)
{
	(void)state;
	(void)layer;
}

static void fifo_use(void *state, uint32_t key, const ufm_policy_use *use)
{
	(void)state;
	(void)key;
	(void)use;
}

static void fifo_insert(void *state, uint32_t key)
{
	key_list_append(state, key);
}

static void fifo_remove(void *state, uint32_t key)
{
	key_list_unlink(state, key);
}

/* A lingering newcomer came in before anything that is inserted now. Its turn to leave is next, and
 * a use does not change that. */
static uint32_t fifo_victim(void *state, uint32_t newcomer, const uint8_t *locked, bool lingering)
{
	const key_list *list = state;
	uint32_t key = list->oldest;

	(void)newcomer;
	if (lingering)
		return UFM_KEY_NONE;
	while (key != UFM_KEY_NONE && locked[key])
		key = list->younger[key];
	return key;
}

const ufm_policy policy_fifo = {
	UFM_POLICY_HEADER("fifo"),
	.source = "First in, first out; Belady, 1966, compares it with the optimum",
	.create = fifo_create,
	.destroy = fifo_destroy,
	.event = fifo_event,
	.use = fifo_use,
	.insert = fifo_insert,
	.remove = fifo_remove,
	.victim = fifo_victim,
};
