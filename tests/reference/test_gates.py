# SPDX-License-Identifier: MIT
"""The arithmetic of gates that the oracle knows, against the code of the families that have it in Transformers.

The oracle in turn is what test_reference.py holds the library against."""
import importlib

import numpy as np
import pytest
from support import oracle

try:
    import torch
    import transformers
    from transformers.activations import ACT2FN
    transformers.logging.set_verbosity_error()
    missing = ""
except ImportError as error:
    missing = f"not installed: torch, transformers ({error})"

pytestmark = pytest.mark.skipif(bool(missing), reason=missing)

BOTH = dict(gate_limit=0.7, up_limit=0.7)
OPENAI = oracle.Gating("silu", act_alpha=1.702, up_offset=1.0, **BOTH)
CLAMPED = oracle.Gating("silu", **BOTH)
# The class that computes the gate, what it reads there, and what that is here.
FAMILIES = {
    "gpt_oss": ("GptOssExperts", dict(alpha=1.702, limit=0.7), OPENAI),
    "openai_privacy_filter": ("OpenAIPrivacyFilterExperts", dict(alpha=1.702, limit=0.7), OPENAI),
    "minimax_m3_vl": ("MiniMaxM3VLExperts", dict(swiglu_alpha=1.702, swiglu_limit=0.7), OPENAI),
    "deepseek_v4": ("DeepseekV4Experts", dict(limit=0.7), CLAMPED),
    "glm5_next": ("Glm5NextTextExperts", dict(swiglu_limit=0.7), CLAMPED),
    "hy_v4": ("HYV4Experts", dict(swiglu_limit=0.7), CLAMPED),
    "step3p7": ("Step3p7Experts", dict(limit=0.7), oracle.Gating("silu", activated_limit=0.7, up_limit=0.7)),
}


def bare(family):
    """The family's experts without weights: all that its gate reads."""
    name, attributes, rule = FAMILIES[family]
    try:
        module = importlib.import_module(f"transformers.models.{family}.modeling_{family}")
    except ImportError:
        pytest.skip(f"not installed: transformers.models.{family} ({transformers.__version__} lacks it)")
    kind = getattr(module, name)
    experts = kind.__new__(kind)
    torch.nn.Module.__init__(experts)
    experts.act_fn = ACT2FN["silu"]
    for attribute, value in attributes.items():
        setattr(experts, attribute, value)
    return experts, rule


@pytest.mark.parametrize("family", FAMILIES)
def test_gate_agrees(rng, family):
    experts, rule = bare(family)
    gate, up = 2.0 * rng.standard_normal((2, 50, 64))
    both = np.stack([gate, up], axis=-1).reshape(50, 128) if family == "gpt_oss" else np.concatenate([gate, up], axis=-1)
    want = experts._apply_gate(torch.from_numpy(both)).numpy()
    assert oracle.distance(oracle.gated(rule, gate, up), want) <= 1e-12
    # And no other rule of the table does.
    for other in {OPENAI, CLAMPED, FAMILIES["step3p7"][2]} - {rule}:
        assert oracle.distance(oracle.gated(other, gate, up), want) > 1e-2


@pytest.mark.parametrize("theirs, ours", [("gelu_pytorch_tanh", "gelu-tanh"), ("relu2", "relu2"), ("silu", "silu"),
                                          ("gelu", "gelu")])
def test_activation_agrees(rng, theirs, ours):
    x = 3.0 * rng.standard_normal(1000)
    want = ACT2FN[theirs](torch.from_numpy(x)).numpy()
    assert oracle.distance(oracle.ACTIVATIONS[ours](x), want) <= 1e-12
