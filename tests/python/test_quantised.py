# SPDX-License-Identifier: MIT
"""Experts of checkpoints that are published quantised: every weight bit for bit, also as Transformers dequantises them."""

import numpy as np
import pytest
from support import checkpoints, quantised

from ufm import errors
from ufm.core import Bank, Dtype, Format, Role

torch = pytest.importorskip("torch", reason="not installed: torch")

ROLES = {"gate": Role.GATE, "up": Role.UP, "down": Role.DOWN}
BIASES = {"gate_bias": Role.GATE_BIAS, "up_bias": Role.UP_BIAS, "down_bias": Role.DOWN_BIAS}


def expanded(bank, expert, role):
    desc = bank.info.desc
    part = desc.parts[desc.index(role)]
    values = np.array(desc.expand(bank.read(0, expert), role), np.float32)
    return values if part.cols == 1 else values.reshape(part.rows, part.cols)


def assert_same_bits(found, expected, what):
    assert found.shape == expected.shape, what
    assert np.array_equal(found.view(np.uint32), np.ascontiguousarray(expected).view(np.uint32)), what


@pytest.mark.parametrize("name", quantised.NAMES)
def test_every_weight(tmp_path, rng, name):
    layer = quantised.Quantised(rng, name)
    with Bank.checkpoint(layer.write(tmp_path)) as bank:
        info = bank.info
        assert (info.layers, info.experts, info.desc.d_model, info.desc.d_hidden) == (1, 3, 192, layer.d_hidden)
        for e, parts in enumerate(layer.experts):
            for role, values in parts.items():
                assert_same_bits(expanded(bank, e, (ROLES | BIASES)[role]), values, (e, role))


