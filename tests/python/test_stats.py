# SPDX-License-Identifier: MIT
"""ufm.stats and ufm.record_trace against what a model was made to do."""

import re
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="not installed: torch")
pytest.importorskip("transformers", reason="not installed: transformers")

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples" / "python"))

import numpy as np  # noqa: E402
import small_checkpoint  # noqa: E402
from transformers import Qwen3Config, Qwen3ForCausalLM  # noqa: E402

import ufm  # noqa: E402
from ufm.errors import FileError, InvalidArgument  # noqa: E402

LAYERS, EXPERTS, TOP_K = 4, 32, 4


@pytest.fixture(scope="module", autouse=True)
def without_gpu():
    """What a GPU makes of all this is tested where there is one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUDA_VISIBLE_DEVICES", "")
        patch.setattr(torch.cuda, "is_available", lambda: False)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return small_checkpoint.make(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="module")
def model(folder):
    return ufm.from_pretrained(folder, experts="30%", routing_bytes="1MiB")


@pytest.fixture(scope="module")
def dense():
    config = Qwen3Config(
        vocab_size=64, hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, head_dim=16
    )
    return Qwen3ForCausalLM(config)


def generate(model, prompt, new):
    model.generate(torch.arange(prompt)[None], max_new_tokens=new, min_new_tokens=new, do_sample=False, pad_token_id=0)


def test_counts_are_of_what_was_run(model):
    before = ufm.stats(model)
    generate(model, 5, 8)
    cost = ufm.stats(model) - before
    # The prompt in one pass, and every new token but the last.
    assert cost.tokens == 5 + 7
    assert cost.calls == LAYERS * 8
    assert LAYERS * 7 * TOP_K < cost.uses <= LAYERS * (7 * TOP_K + 5 * TOP_K)
    assert cost.hits + cost.counters["streamed_uses"] == cost.uses
    assert cost.hit_rate == cost.hits / cost.uses
    assert cost.resident_bytes == cost.hits * cost.geometries[0].expert_bytes
    assert cost.link_bytes == cost.counters["streamed_uses"] * cost.geometries[0].expert_bytes
    assert cost.cpu_bytes == 0
    assert cost.seconds > 0


def test_figures_of_the_model(model):
    found = ufm.stats(model)
    (geometry,) = found.geometries
    assert (found.layers, found.experts, geometry.experts) == (LAYERS, LAYERS * EXPERTS, LAYERS * EXPERTS)
    assert (geometry.d_model, geometry.d_hidden, geometry.expert_bytes) == (128, 64, 3 * 128 * 64 * 2)
    assert 0.2 < found.resident_share == found.slots / found.experts < 0.4
    info = ufm.paging_of(model).engines[0].info()
    assert (found.slab_bytes, found.workspace_bytes) == (info.slab_bytes, info.workspace_bytes + info.arena_bytes)
    assert found.seconds is None


def test_nothing_happened(model):
    cost = ufm.stats(model) - ufm.stats(model)
    assert (cost.tokens, cost.uses, cost.hit_rate, cost.link_gbps) == (0, 0, None, None)
    assert "0 uses;" in repr(cost.geometries[0]) and "%" not in repr(cost).splitlines()[0]


def test_a_few_lines_for_people(model):
    generate(model, 3, 4)
    lines = repr(ufm.stats(model)).splitlines()
    assert len(lines) == 3
    assert re.fullmatch(r"\d+ tokens through 4 routed layers: \d+ uses, \d+\.\d% hits", lines[0])
    assert re.search(r"resident, .* over the link \(at .* GB/s\), 0 bytes by the CPU", lines[1])
    assert "slots for 128 experts" in lines[2]


def widths(figure):
    """(of the whole bar, of each part) in the first row of a figure."""
    bars = [rect for rect in ElementTree.fromstring(figure[: figure.index("</svg>") + 6]) if rect.get("height") == "18"]
    row = [float(rect.get("width")) for rect in bars if rect.get("y") == bars[0].get("y")]
    return row[0], row[1:]


def test_the_figure_shows_the_paths(model):
    generate(model, 3, 4)
    found = ufm.stats(model)
    whole, parts = widths(found._repr_html_())
    total = found.resident_bytes + found.link_bytes
    assert parts == pytest.approx([whole * found.resident_bytes / total, whole * found.link_bytes / total], abs=0.1)
    assert repr(found).splitlines()[0] in found._repr_html_()


def test_two_geometries_are_told_apart(model):
    generate(model, 3, 4)
    one = ufm.stats(model).geometries[0]
    other = replace(one, d_hidden=96, counters={name: 2 * value for name, value in one.counters.items()})
    both = ufm.Stats((one, other))
    assert (both.uses, both.layers, both.slots) == (3 * one.uses, 2 * LAYERS, 2 * one.slots)
    assert both.resident_bytes == one.resident_bytes + other.resident_bytes
    assert len(repr(both).splitlines()) == 5
    ElementTree.fromstring(both._repr_html_().partition("<div>")[0])


def test_a_difference_of_different_models_is_refused(model, dense):
    mine = ufm.stats(model)
    with pytest.raises(InvalidArgument, match="of different models"):
        mine - ufm.stats(dense)
    with pytest.raises(InvalidArgument, match="of different models"):
        mine - ufm.Stats((replace(mine.geometries[0], d_hidden=1),))


def test_a_model_without_experts(dense):
    found = ufm.stats(dense)
    assert found.geometries == () and found.hit_rate is None and found.resident_share == 0.0
    assert "nothing is paged" in repr(found) and "nothing is paged" in found._repr_html_()
    with pytest.raises(InvalidArgument, match="nothing is paged"):
        ufm.record_trace(dense, "trace.npy")


@pytest.mark.parametrize("ending", [".npy", ".jsonl"])
def test_the_trace_has_every_token(model, tmp_path, ending):
    generate(model, 6, 5)
    (trace,) = ufm.record_trace(model, tmp_path / f"trace{ending}")
    assert (trace.path, trace.layers, trace.partial_tokens) == (tmp_path / f"trace{ending}", LAYERS, 0)
    if ending == ".npy":
        ids = np.load(trace.path)
        assert ids.shape == (trace.tokens, LAYERS, TOP_K) and trace.tokens == ufm.stats(model).tokens
        assert ids.max() < EXPERTS and all(len(set(row)) == TOP_K for row in ids.reshape(-1, TOP_K))
    else:
        assert trace.path.read_text().count("\n") >= trace.tokens


def test_the_trace_is_what_the_router_said(folder, tmp_path):
    model = ufm.from_pretrained(folder, experts="100%", routing_bytes="1MiB")
    said = []
    block = model.model.layers[0].mlp.experts
    block.register_forward_pre_hook(lambda _, args: said.append(args[1].clone()))
    generate(model, 6, 3)
    (trace,) = ufm.record_trace(model, tmp_path / "trace.npy")
    assert np.array_equal(np.load(trace.path)[:, 0], torch.cat(said).numpy())


def test_traces_that_cannot_be_written(folder, model, tmp_path):
    with pytest.raises(InvalidArgument, match=r"expected a name that ends in \.npy or \.jsonl"):
        ufm.record_trace(model, tmp_path / "trace.txt")
    with pytest.raises(FileError):
        ufm.record_trace(model, tmp_path / "absent" / "trace.npy")
    with pytest.raises(InvalidArgument, match="sequences: 0"):
        ufm.record_trace(model, tmp_path / "trace.npy", sequences=0)
    silent = ufm.from_pretrained(folder, experts="30%")
    with pytest.raises(InvalidArgument, match="records no routing: load it by"):
        ufm.record_trace(silent, tmp_path / "trace.npy")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("given", ["64MB", -1, "much", True])
def test_room_for_routing_is_a_size(folder, given):
    with pytest.raises(InvalidArgument, match="routing_bytes"):
        ufm.from_pretrained(folder, routing_bytes=given)
