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

BUILD = os.environ.get("UFM_BUILD_DIR", "build")
DUMP = os.path.join(BUILD, "tests", "reference", "dump_replay")
RECORDED = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "data", "traces",
                        "gpt-oss-20b-cut.npy")


def replayed(path, layers, experts, events, capacities):
    """{(policy, slots): hits} from the C code. events: (layer, expert ids) each."""
    rows = np.full((len(events), 1 + max(len(ids) for _, ids in events)), -1, np.int32)
    for row, (layer, ids) in zip(rows, events):
        row[0] = layer
        row[1:1 + len(ids)] = ids
    np.save(path, rows)
    ended = subprocess.run([DUMP, str(path), str(layers), str(experts), *map(str, capacities)],
                           text=True, capture_output=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, "")
    found = map(json.loads, ended.stdout.splitlines())
    return {(row["policy"], row["slots"]): row["hits"] for row in found}


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
        capacities = [1, 2, 3, 4, 5, 8, 11, 16, layers * experts]
        assert compare(tmp_path / "events.npy", layers, experts, events, capacities) >= 36


def test_recorded_layers(tmp_path):
    ids = np.load(RECORDED)
    for layer in range(ids.shape[1]):
        events = [(0, chosen) for chosen in ids[:, layer]]
        compare(tmp_path / "events.npy", 1, 32, events, [1, 3, 4, 8, 12, 16, 24, 32])


def test_recorded_pool(tmp_path):
    ids = np.load(RECORDED)[:200]
    events = [(layer, chosen) for token in ids for layer, chosen in enumerate(token)]
    compare(tmp_path / "events.npy", 24, 32, events, [4, 97, 384])


def test_recorded_batches(tmp_path):
    """Tokens stepped together: the union of their sets in order of first appearance."""
    ids = np.load(RECORDED)
    for layer in (0, 11, 23):
        events = [(0, list(dict.fromkeys(batch.ravel().tolist())))
                  for batch in np.split(ids[:608, layer], 76)]
        compare(tmp_path / "events.npy", 1, 32, events, [1, 4, 8, 12, 16, 24, 31])
