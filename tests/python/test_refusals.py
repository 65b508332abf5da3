# SPDX-License-Identifier: MIT
"""Models whose experts UFM does not page are refused by name, whole, and before anything has changed."""

import json
import logging

import pytest

torch = pytest.importorskip("torch", reason="not installed: torch")
transformers = pytest.importorskip("transformers", reason="not installed: transformers")

import families  # noqa: E402
import layouts  # noqa: E402
import tiny_configs  # noqa: E402
import tiny_models  # noqa: E402

import ufm  # noqa: E402
from ufm.errors import Unsupported  # noqa: E402
from ufm.models.sites import find_sites  # noqa: E402

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

OPTIONS = {"experts": "50%", "cpu_assist": "off"}


def check_line(refusal, family):
    named, reason = families.REFUSED[family]
    assert named in str(refusal.value) and reason in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("family", sorted(families.REFUSED))
def test_a_family_without_the_interface_is_refused(tmp_path, family):
    model = tiny_models.tiny_model(family)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(Unsupported) as refusal:
        ufm.attach(model, **OPTIONS)
    check_line(refusal, family)
    after = model.state_dict()
    assert after.keys() == before.keys() and all(torch.equal(after[name], before[name]) for name in before)
    layouts.write(model, tmp_path / "saved", "saved")
    with pytest.raises(Unsupported) as refusal:
        ufm.from_pretrained(tmp_path / "saved", **OPTIONS)
    check_line(refusal, family)


@pytest.mark.parametrize("family", sorted(families.CANNOT_BUILD))
def test_a_family_that_cannot_be_built_cannot(family):
    """As soon as it can, it belongs among those that are run or refused."""
    with pytest.raises(AttributeError, match="rope_theta"):
        tiny_models.tiny_model(family)


def test_experts_of_dbrx_are_refused():
    config = tiny_configs.tiny_config("dbrx")
    layers = torch.nn.ModuleList([transformers.models.dbrx.modeling_dbrx.DbrxFFN(config)])
    with pytest.raises(Unsupported, match="DbrxExperts"):
        find_sites(layers)


def test_a_model_whose_experts_are_an_embeddings_rows_is_left_as_it_is(caplog):
    config = transformers.DogeConfig(
        vocab_size=tiny_configs.VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, is_moe=True, num_experts=64, num_experts_per_tok=4,
        eos_token_id=None, pad_token_id=0,
    )  # fmt: skip
    model = transformers.DogeForCausalLM(config)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with caplog.at_level(logging.WARNING):
        ufm.attach(model, **OPTIONS)
    assert "nothing is paged" in caplog.text
    after = model.state_dict()
    assert after.keys() == before.keys() and all(torch.equal(after[name], before[name]) for name in before)


QUANTISED = {
    "awq": {"bits": 4},
    "bitsandbytes": {"load_in_4bit": True},
    "compressed-tensors": {"format": "pack-quantized"},
    "fp8": {"weight_block_size": [128, 128]},
    "gptq": {"bits": 4, "group_size": 128},
    "mxfp4": {"modules_to_not_convert": ["lm_head"]},
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Folders of checkpoints that are not quantised: the config at the top, and nested."""
    folder = tmp_path_factory.mktemp("plain")
    for family in ("qwen3_moe", "qwen3_5_moe"):
        layouts.write(tiny_models.tiny_model(family), folder / family, "saved")
    return folder


@pytest.mark.parametrize("method", sorted(QUANTISED))
@pytest.mark.parametrize("family, nested", [("qwen3_moe", False), ("qwen3_5_moe", False), ("qwen3_5_moe", True)])
def test_a_quantised_checkpoint_is_refused_by_name(plain, family, method, nested):
    path = plain / family / "config.json"
    whole = path.read_text()
    config = json.loads(whole)
    part = config["text_config"] if nested else config
    part["quantization_config"] = {"quant_method": method, **QUANTISED[method]}
    path.write_text(json.dumps(config))
    try:
        with pytest.raises(Unsupported) as refusal:
            ufm.from_pretrained(plain / family, **OPTIONS)
    finally:
        path.write_text(whole)
    assert method in str(refusal.value) and str(plain / family) in str(refusal.value)
    assert "\n" not in str(refusal.value)
