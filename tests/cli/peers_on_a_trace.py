# SPDX-License-Identifier: MIT
"""What the tests of bench/peers over a trace share: small shapes, and a trace of them."""
import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PEERS = os.path.join(ROOT, "bench", "peers")
TOKENS, LAYERS, EXPERTS, TOP_K, D_MODEL, D_HIDDEN = 20, 3, 7, 2, 32, 24
EXPERT_BYTES = 3 * D_MODEL * D_HIDDEN * 2
SHAPE = ["--experts", EXPERTS, "--d-model", D_MODEL, "--d-hidden", D_HIDDEN]
ATTENTION = ["--heads", 3, "--kv-heads", 1, "--head-dim", 16]


def lacking(module):
    return pytest.mark.skipif(importlib.util.find_spec(module) is None, reason=f"not installed: {module}")


def script(name, *arguments, env=None, timeout=100):
    command = [] if name.endswith(".sh") else [sys.executable, "-B"]
    return subprocess.run([*command, os.path.join(PEERS, name), *map(str, arguments)], text=True,
                          capture_output=True, timeout=timeout,
                          env={**os.environ, "OMP_NUM_THREADS": "1", **(env or {})})


def random_ids(tokens=TOKENS, layers=LAYERS, experts=EXPERTS, top_k=TOP_K):
    source = np.random.default_rng(5)
    return np.argsort(source.random((tokens, layers, experts)), axis=2)[:, :, :top_k].astype(np.uint8)
