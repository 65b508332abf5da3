# SPDX-License-Identifier: MIT
"""bench/peers/trace_model.py: the model routes as the trace, in both formats."""
import json
import struct

import numpy as np
import pytest

from peers_on_a_trace import ATTENTION, D_MODEL, EXPERTS, LAYERS, SHAPE, TOKENS, TOP_K, lacking, random_ids, script


@pytest.fixture(name="trace")
def trace_fixture(tmp_path):
    np.save(tmp_path / "trace.npy", random_ids())
    return tmp_path / "trace.npy"


# ---- a reader of both formats that shares nothing with the writer

def from_bf16(raw):
    return (np.frombuffer(raw, np.uint16).astype(np.uint32) << 16).view(np.float32)


class Gguf:
    """Metadata and tensors of a file, by the format's description."""

    def __init__(self, path):
        self.raw, self.at = path.read_bytes(), 0
        assert self.take("4s") == b"GGUF" and self.take("<I") == 3
        tensors, pairs = self.take("<Q"), self.take("<Q")
        self.metadata = {self.text(): self.value() for _ in range(pairs)}
        places = [(self.text(), [self.take("<Q") for _ in range(self.take("<I"))][::-1], self.take("<I"),
                   self.take("<Q")) for _ in range(tensors)]
        begin = -(-self.at // 32) * 32
        self.tensors, ends = {}, [begin]
        for name, shape, kind, offset in places:
            assert begin + offset == -(-ends[-1] // 32) * 32, "tensors follow one another, 32 bytes aligned"
            size = int(np.prod(shape)) * {0: 4, 30: 2}[kind]
            raw = self.raw[begin + offset:begin + offset + size]
            values = np.frombuffer(raw, np.float32) if kind == 0 else from_bf16(raw)
            self.tensors[name] = values.reshape(shape)
            ends.append(begin + offset + size)
        assert len(self.raw) == -(-ends[-1] // 32) * 32

    def take(self, form):
        values = struct.unpack_from(form, self.raw, self.at)
        self.at += struct.calcsize(form)
        return values[0]

    def text(self):
        return self.take(f"{self.take('<Q')}s").decode()

    def value(self):
        kind = self.take("<I")
        return self.text() if kind == 8 else self.take({4: "<I", 6: "<f"}[kind])


def safetensors(path):
    raw = path.read_bytes()
    size = struct.unpack_from("<Q", raw)[0]
    header = json.loads(raw[8:8 + size])
    header.pop("__metadata__")
    tensors, end = {}, 0
    for name, entry in header.items():
        begin, after = entry["data_offsets"]
        assert begin == end and entry["dtype"] == "BF16"
        tensors[name], end = from_bf16(raw[8 + size + begin:8 + size + after]).reshape(entry["shape"]), after
    assert len(raw) == 8 + size + end
    return tensors


def walk(tensors, layers, top_k):
    """(routing [token, layer, rank], answer of every token) of the GGUF model without its attention."""
    x = tensors["token_embd.weight"]
    chosen = []
    for layer in range(layers):
        def own(name, layer=layer):
            return tensors[f"blk.{layer}.{name}.weight"]

        assert not own("attn_output").any(), "attention writes nothing"
        normed = x / np.sqrt(np.square(x).mean(-1, keepdims=True) + 1e-6) * own("ffn_norm")
        logits = normed @ own("ffn_gate_inp").T
        ids = np.argsort(-logits, axis=-1)[:, :top_k]
        gates = np.exp(np.take_along_axis(logits, ids, -1))
        gates /= gates.sum(-1, keepdims=True)
        added = np.zeros_like(x)
        for token, experts in enumerate(ids):
            for rank, e in enumerate(experts):
                gate, up = own("ffn_gate_exps")[e] @ normed[token], own("ffn_up_exps")[e] @ normed[token]
                added[token] += gates[token, rank] * (own("ffn_down_exps")[e] @ (gate / (1 + np.exp(-gate)) * up))
        x = x + added
        chosen.append(ids)
    return np.stack(chosen, 1), (x @ tensors["output.weight"].T).argmax(-1)


@pytest.mark.parametrize("tokens, layers, top_k, kind", [
    (TOKENS, LAYERS, TOP_K, np.uint8), (1, 1, 1, np.int64), (D_MODEL, 2, EXPERTS, np.int32),
])
def test_the_model_routes_as_the_trace_and_walks_it(tmp_path, tokens, layers, top_k, kind):
    ids = random_ids(tokens, layers, EXPERTS, top_k).astype(kind)
    np.save(tmp_path / "trace.npy", ids)
    ended = script("trace_model.py", "--trace", tmp_path / "trace.npy", "--gguf", tmp_path / "m.gguf", *SHAPE, *ATTENTION)
    assert ended.returncode == 0, ended.stderr
    model = Gguf(tmp_path / "m.gguf")
    routed, answers = walk(model.tensors, layers, top_k)
    assert (routed == ids).all()
    assert (answers == (np.arange(tokens) + 1) % tokens).all()
    assert model.metadata["qwen3moe.block_count"] == layers and model.metadata["qwen3moe.expert_count"] == EXPERTS
    assert model.metadata["qwen3moe.expert_used_count"] == top_k and model.metadata["qwen3moe.vocab_size"] == tokens


def test_the_folder_holds_what_the_file_holds(tmp_path, trace):
    ended = script("trace_model.py", "--trace", trace, "--gguf", tmp_path / "m.gguf", "--folder", tmp_path / "hf",
                   "--layers", 2, "--tokens", 11, *SHAPE, *ATTENTION)
    assert ended.returncode == 0, ended.stderr
    gguf = Gguf(tmp_path / "m.gguf").tensors
    index = json.loads((tmp_path / "hf" / "model.safetensors.index.json").read_text())["weight_map"]
    found = {}
    for name in sorted(set(index.values())):
        found |= safetensors(tmp_path / "hf" / name)
    assert set(found) == set(index)
    experts = set()
    for layer in range(2):
        router = found[f"model.layers.{layer}.mlp.gate.weight"]
        assert np.abs(router - gguf[f"blk.{layer}.ffn_gate_inp.weight"]).max() < 0.03
        for part in ("gate", "up", "down"):
            stacked = [found[f"model.layers.{layer}.mlp.experts.{e}.{part}_proj.weight"] for e in range(EXPERTS)]
            assert (np.stack(stacked) == gguf[f"blk.{layer}.ffn_{part}_exps.weight"]).all()
            experts |= {matrix.tobytes() for matrix in stacked}
    assert len(experts) == 2 * 3 * EXPERTS, "no two matrices are the same"
    config = json.loads((tmp_path / "hf" / "config.json").read_text())
    assert (config["num_hidden_layers"], config["vocab_size"]) == (2, 11)


@lacking("transformers")
@lacking("torch")
def test_transformers_follows_the_trace(tmp_path, trace):
    import torch
    from transformers import AutoModelForCausalLM
    ended = script("trace_model.py", "--trace", trace, "--folder", tmp_path / "hf", *SHAPE, *ATTENTION)
    assert ended.returncode == 0, ended.stderr
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "hf", dtype=torch.bfloat16)
    chosen = []
    for layer in model.model.layers:
        layer.mlp.gate.register_forward_hook(lambda _, given, made: chosen.append(made[-1].tolist()))
    with torch.no_grad():
        answers = model(torch.arange(TOKENS)[None]).logits[0].argmax(-1)
    assert answers.tolist() == [(token + 1) % TOKENS for token in range(TOKENS)]
    assert (np.array(chosen).transpose(1, 0, 2) == random_ids()).all()


@pytest.mark.parametrize("ids, more, word", [
    (random_ids(33), [], "expected at most --d-model 32"),
    (random_ids(experts=9), [], "expected 0 to 6"),
    (random_ids().astype(float), [], "found float64"),
    (random_ids()[0], [], "expected integers [token, layer, rank]"),
    (random_ids()[:0], [], "expected integers [token, layer, rank]"),
    (np.zeros((3, 1, 2), np.int32), [], "an expert twice"),
    (np.full((3, 1, 1), -1, np.int32), [], "found expert -1"),
    (random_ids(), ["--layers", 4], "--layers: found 4, expected at most the trace's 3"),
])
def test_a_wrong_trace_is_one_line(tmp_path, ids, more, word):
    np.save(tmp_path / "t.npy", ids)
    ended = script("trace_model.py", "--trace", tmp_path / "t.npy", "--gguf", tmp_path / "m", *SHAPE, *more)
    assert ended.returncode == 1 and word in ended.stderr and len(ended.stderr.splitlines()) == 1
    assert not (tmp_path / "m").exists()


def test_a_missing_trace_and_no_format(tmp_path):
    ended = script("trace_model.py", "--trace", tmp_path / "none.npy", "--gguf", tmp_path / "m")
    assert ended.returncode == 1 and "none.npy" in ended.stderr
    ended = script("trace_model.py", "--trace", tmp_path / "none.npy")
    assert ended.returncode == 2 and "neither --gguf nor --folder" in ended.stderr
