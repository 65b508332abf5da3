# SPDX-License-Identifier: MIT
"""Hits of a replayed trace, counted again in plain Python: lru, fifo and the offline bounds.

One cache without a ring, events of several members. The other policies are compared with their
definitions in tests/property.
"""
import json
import os
import subprocess

import numpy as np
import pytest
from support import plain_cache

UFM = os.path.abspath(os.path.join(os.environ.get("UFM_BUILD_DIR", "build"), "ufm"))
RECORDED = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "data", "traces",
                        "gpt-oss-20b-cut.npy")


def replayed(path, layers, experts, events, capacities):
    """{(policy, slots): hits} of `ufm replay`. events: (layer, expert ids) each; an event is a token of a
    trace that demands nothing of the other layers."""
    with open(path, "w", encoding="utf-8") as out:
        for token, (own, ids) in enumerate(events):
            for layer in range(layers):
                experts_there = [int(i) for i in ids] if layer == own else []
                out.write(json.dumps({"token": token, "layer": layer, "experts": experts_there}) + "\n")
    ended = subprocess.run([UFM, "replay", path, "--experts", str(experts), "--scope", "pool", "--capacity",
                            ",".join(map(str, capacities)), "--policy", ",".join(plain_cache.POLICIES),
                            "-o", "json"], text=True, capture_output=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, "")
    return {(row["policy"], row["capacity"]): row["hits"] for row in json.loads(ended.stdout)}


def compare(path, layers, experts, events, capacities):
    """Returns the number of hit counts that were compared."""
    keys = [[layer * experts + int(expert) for expert in ids] for layer, ids in events]
    found = replayed(path, layers, experts, events, capacities)
    for policy, count in plain_cache.POLICIES.items():
        for slots in capacities:
            assert found[policy, slots] == count(keys, slots), (policy, slots)
    return len(found)


def random_events(rng, layers, experts, most, length):
    """Sets of 1 to `most` experts; some are popular, and some stay for the layer's next event."""
    share = rng.permutation(np.arange(1, experts + 1.0)) ** -rng.choice([0.0, 0.5, 1.2])
    last = [[] for _ in range(layers)]
    events = []
    for _ in range(length):
        layer = int(rng.integers(layers))
        size = int(rng.integers(1, most + 1))
        kept = [expert for expert in last[layer] if rng.random() < 0.4][:size]
        others = [e for e in range(experts) if e not in kept]
        odds = share[others] / share[others].sum()
        drawn = rng.choice(others, size - len(kept), replace=False, p=odds)
        last[layer] = list(rng.permutation(np.concatenate([kept, drawn]).astype(int)))
        events.append((layer, last[layer]))
    return events


@pytest.mark.parametrize("most", [1, 2, 4, 10, 16])
@pytest.mark.parametrize("layers, experts", [(1, 16), (3, 16), (1, 40)])
def test_random_traces(tmp_path, rng, layers, experts, most):
    for _ in range(6):
        events = random_events(rng, layers, experts, most, 200)
        capacities = sorted({1, 2, 3, 4, 5, 8, 11, 16, layers * experts})
        compared = compare(tmp_path / "events.jsonl", layers, experts, events, capacities)
        assert compared == len(plain_cache.POLICIES) * len(capacities)


def test_recorded_layers(tmp_path):
    ids = np.load(RECORDED)
    for layer in range(ids.shape[1]):
        events = [(0, chosen) for chosen in ids[:, layer]]
        compare(tmp_path / "events.jsonl", 1, 32, events, [1, 3, 4, 8, 12, 16, 24, 32])


def test_recorded_pool(tmp_path):
    ids = np.load(RECORDED)[:200]
    events = [(layer, chosen) for token in ids for layer, chosen in enumerate(token)]
    compare(tmp_path / "events.jsonl", 24, 32, events, [4, 97, 384])


def test_recorded_batches(tmp_path):
    """Tokens stepped together: the union of their sets in order of first appearance."""
    ids = np.load(RECORDED)
    for layer in (0, 11, 23):
        events = [(0, list(dict.fromkeys(batch.ravel().tolist())))
                  for batch in np.split(ids[:608, layer], 76)]
        compare(tmp_path / "events.jsonl", 1, 32, events, [1, 4, 8, 12, 16, 24, 31])
