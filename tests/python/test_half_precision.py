# SPDX-License-Identifier: MIT
"""In bfloat16 and float16 paged experts are no further from float32 than Transformers' own."""

import pytest

torch = pytest.importorskip("torch", reason="not installed: torch")
transformers = pytest.importorskip("transformers", reason="not installed: transformers")

import layouts  # noqa: E402
import parity  # noqa: E402
import tiny_models  # noqa: E402

import ufm  # noqa: E402

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

# Plain gates; transposed with biases, limits and every second row a gate; no gate at all; tanh GELU.
FAMILIES = ("qwen3_moe", "gpt_oss", "nemotron_h", "gemma4_text")


def rms(x):
    return float(x.double().square().mean().sqrt())


def errors(exact, paged, call):
    """How far eager's and the paged outputs are from those of `exact`, the same weights in float32."""
    hidden, ids, weights = call.given
    expected = exact(hidden.float(), ids, weights.float())
    ours = paged(hidden, ids, weights)
    assert ours.dtype == call.output.dtype == hidden.dtype
    return rms(call.output - expected), rms(ours - expected)


def paged_model(family, way, dtype, folder):
    options = {"experts": "50%", "cpu_assist": "off"}
    if way == "attach":
        return ufm.attach(tiny_models.tiny_model(family, dtype=dtype), **options)
    if way == "rounded":  # on disk in float32
        layouts.write(tiny_models.tiny_model(family), folder, "saved")
        return ufm.from_pretrained(folder, dtype=dtype, **options)
    layouts.write(tiny_models.tiny_model(family, dtype=dtype), folder, way)
    return ufm.from_pretrained(folder, **options)


@torch.no_grad()
@pytest.mark.parametrize("way", ["attach", "saved", "rounded"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bfloat16", "float16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_no_further_from_float32_than_eager(tmp_path, family, dtype, way):
    eager = tiny_models.tiny_model(family, dtype=dtype)
    exact = dict(tiny_models.experts_modules(tiny_models.tiny_model(family, dtype=dtype).float()))
    paged = paged_model(family, way, dtype, tmp_path)
    sequence = parity.Batch.of(4, seed=6).followed_by(torch.arange(3, 67).repeat(4, 1))
    for name, calls in parity.calls(eager, lambda: parity.forward(eager, sequence)).items():
        theirs, ours = errors(exact[name], paged.get_submodule(name), calls[0])
        assert 0 < ours <= theirs, name
