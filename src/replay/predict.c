/* SPDX-License-Identifier: MIT */
/* Guesses ranked by score, counted at several lengths at once. */
#include "replay/predict.h"

#include <string.h>

#include "base/alloc.h"
#include "base/status.h"
#include "policy/shares.h"

#define DECAY 0.96f
/* After so many events of a predecessor half of what followed it is forgotten. */
#define FOLLOWED_MAX 1024.0f

struct predictor {
	predict_kind kind;
	uint32_t layers, experts, count, most;
	uint32_t guesses[PREDICT_GUESSES_MAX];
	predict_count counts[PREDICT_GUESSES_MAX];
	shares shares;    /* popularity */
	float *followed;  /* [layers][experts before][experts]; coactivation */
	float *preceded;  /* [layers][experts before]; events that followed it */
	uint32_t *before; /* [experts]; members of the event before */
	uint32_t before_count;
	float *score;    /* [experts] */
	uint32_t *place; /* [experts]; of a ranking: from 0, UINT32_MAX beyond */
};

/* ------------------------------------------------------------------ open and close */

static ufm_status take_memory(predictor *p)
{
	size_t pairs = (size_t)p->layers * p->experts;

	p->before = alloc_zeroed(p->experts, sizeof *p->before);
	p->score = alloc_zeroed(p->experts, sizeof *p->score);
	p->place = alloc_zeroed(p->experts, sizeof *p->place);
	if (!p->before || !p->score || !p->place)
		return UFM_ENOMEM;
	if (p->kind == PREDICT_POPULARITY)
		return shares_init(&p->shares, p->layers, p->experts, DECAY);
	p->followed = alloc_zeroed(pairs * p->experts, sizeof *p->followed);
	p->preceded = alloc_zeroed(pairs, sizeof *p->preceded);
	return p->followed && p->preceded ? UFM_OK : UFM_ENOMEM;
}

static ufm_status set_guesses(predictor *p, const uint32_t *guesses, uint32_t count)
{
	if (count < 1 || count > PREDICT_GUESSES_MAX)
		return status_fail(UFM_EINVAL, "guesses: %u numbers, expected 1 to %u", count,
		                   PREDICT_GUESSES_MAX);
	p->count = count;
	for (uint32_t i = 0; i < count; i++) {
		if (guesses[i] < 1 || guesses[i] > PREDICT_GUESSES_MAX)
			return status_fail(UFM_EINVAL, "guesses: %u, expected 1 to %u", guesses[i],
			                   PREDICT_GUESSES_MAX);
		p->guesses[i] = guesses[i];
		p->most = guesses[i] > p->most ? guesses[i] : p->most;
	}
	return UFM_OK;
}

ufm_status predictor_open(predict_kind kind, const trace *t, const uint32_t *guesses,
                          uint32_t count, predictor **out)
{
	predictor *p = alloc_zeroed(1, sizeof *p);
	ufm_status status;

	if (!p)
		return UFM_ENOMEM;
	p->kind = kind;
	p->layers = t->layers;
	p->experts = t->experts;
	status = set_guesses(p, guesses, count);
	if (status == UFM_OK)
		status = take_memory(p);
	if (status != UFM_OK) {
		predictor_close(p);
		return status;
	}
	*out = p;
	return UFM_OK;
}

void predictor_close(predictor *p)
{
	if (!p)
		return;
	shares_free(&p->shares);
	alloc_free(p->followed);
	alloc_free(p->preceded);
	alloc_free(p->before);
	alloc_free(p->score);
	alloc_free(p->place);
	alloc_free(p);
}

/* ------------------------------------------------------------------ what is learnt */

static float *followers_of(const predictor *p, uint32_t layer, uint32_t before)
{
	return p->followed + ((size_t)layer * p->experts + before) * p->experts;
}

static void forget(predictor *p, uint32_t layer, uint32_t before)
{
	float *followers = followers_of(p, layer, before);

	for (uint32_t i = 0; i < p->experts; i++)
		followers[i] /= 2;
	p->preceded[(size_t)layer * p->experts + before] /= 2;
}

static void learn_followers(predictor *p, const replay_event *e)
{
	for (uint32_t b = 0; b < p->before_count; b++) {
		uint32_t before = p->before[b];
		float *followers = followers_of(p, e->layer, before);
		float *preceded = &p->preceded[(size_t)e->layer * p->experts + before];

		for (uint32_t i = 0; i < e->count; i++)
			followers[e->members[i].expert] += 1;
		*preceded += 1;
		if (*preceded > FOLLOWED_MAX)
			forget(p, e->layer, before);
	}
}

static void learn(predictor *p, const replay_event *e)
{
	if (p->kind == PREDICT_POPULARITY) {
		(void)shares_event(&p->shares, e->layer);
		for (uint32_t i = 0; i < e->count; i++)
			shares_use(&p->shares, e->layer * p->experts + e->members[i].expert);
		return;
	}
	learn_followers(p, e);
	p->before_count = e->count;
	for (uint32_t i = 0; i < e->count; i++)
		p->before[i] = e->members[i].expert;
}

/* ------------------------------------------------------------------ guesses */

static void score_followers(predictor *p, uint32_t layer)
{
	memset(p->score, 0, p->experts * sizeof *p->score);
	for (uint32_t b = 0; b < p->before_count; b++) {
		uint32_t before = p->before[b];
		const float *followers = followers_of(p, layer, before);
		float preceded = p->preceded[(size_t)layer * p->experts + before];

		for (uint32_t i = 0; preceded > 0 && i < p->experts; i++)
			p->score[i] += followers[i] / preceded;
	}
}

static void score(predictor *p, uint32_t layer)
{
	if (p->kind == PREDICT_COACTIVATION) {
		score_followers(p, layer);
		return;
	}
	memcpy(p->score, p->shares.score + (size_t)layer * p->experts, p->experts * sizeof *p->score);
}

/* The places of the best `most` experts that are not resident (absent) or of all; nobody guesses what has no
 * score. Returns how many there are. */
static uint32_t rank(predictor *p, const replay_event *e, bool absent)
{
	uint32_t best[PREDICT_GUESSES_MAX] = {0}, n = 0;

	for (uint32_t i = 0; i < p->experts; i++) {
		uint32_t at = n;

		p->place[i] = UINT32_MAX;
		if (!(p->score[i] > 0) || (n == p->most && p->score[i] <= p->score[best[n - 1]]))
			continue;
		if (absent && cache_find(e->cache, e->first_key + i) != SLOT_NONE)
			continue;
		if (n == p->most)
			at = n - 1;
		else
			n++;
		for (; at && p->score[best[at - 1]] < p->score[i]; at--)
			best[at] = best[at - 1];
		best[at] = i;
	}
	for (uint32_t i = 0; i < n; i++)
		p->place[best[i]] = i;
	return n;
}

static void count_uses(predictor *p, const replay_event *e)
{
	rank(p, e, false);
	for (uint32_t g = 0; g < p->count; g++) {
		p->counts[g].uses += e->count;
		for (uint32_t i = 0; i < e->count; i++)
			p->counts[g].guessed += p->place[e->members[i].expert] < p->guesses[g];
	}
}

static void count_misses(predictor *p, const replay_event *e)
{
	uint32_t ranked = rank(p, e, true);

	for (uint32_t g = 0; g < p->count; g++) {
		predict_count *count = &p->counts[g];

		count->guesses += ranked < p->guesses[g] ? ranked : p->guesses[g];
		for (uint32_t i = 0; i < e->count; i++) {
			uint32_t expert = e->members[i].expert;

			count->misses += cache_find(e->cache, e->first_key + expert) == SLOT_NONE;
			count->fetched += p->place[expert] < p->guesses[g];
		}
	}
}

static void guess_and_learn(void *self, const replay_event *e)
{
	predictor *p = self;

	if (e->counted) {
		score(p, e->layer);
		count_uses(p, e);
		count_misses(p, e);
	}
	learn(p, e);
}

replay_observer predictor_observer(predictor *p)
{
	return (replay_observer){.event = guess_and_learn, .self = p};
}

predict_count predictor_count(const predictor *p, uint32_t index)
{
	return p->counts[index];
}
