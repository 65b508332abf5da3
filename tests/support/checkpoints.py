# SPDX-License-Identifier: MIT
"""Checkpoints as others write them: named arrays, through the `safetensors` package, in one file or in
shards with an index."""
import json
import os
import struct

import numpy as np
import pytest

SCHEMES = ("gated", "letters", "fused", "plain", "biases")
DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}


def layer(random, scheme, prefix, experts, d_model, d_hidden):
    """One routed layer's tensors by name, and its experts as {gate, up, down, up_bias, down_bias}."""
    tensors, parts = {}, []
    words = dict(gate="w1", up="w3", down="w2") if scheme == "letters" else \
        dict(gate="gate_proj", up="up_proj", down="down_proj")
    for e in range(experts):
        own = {"up": random.standard_normal((d_hidden, d_model)) / d_model ** 0.5,
               "down": random.standard_normal((d_model, d_hidden)) / d_hidden ** 0.5}
        if scheme in ("gated", "letters", "fused"):
            own["gate"] = random.standard_normal((d_hidden, d_model)) / d_model ** 0.5
        if scheme == "biases":
            own["up_bias"] = random.standard_normal(d_hidden)
            own["down_bias"] = random.standard_normal(d_model)
        own = {name: values.astype(np.float32) for name, values in own.items()}
        parts.append(own)
        for name, values in own.items() if scheme != "fused" else ():
            matrix, _, bias = name.partition("_")
            tensors[f"{prefix}.experts.{e}.{words[matrix]}.{bias or 'weight'}"] = values
    if scheme == "fused":
        tensors[f"{prefix}.experts.gate_up_proj"] = np.stack(
            [np.concatenate([p["gate"], p["up"]]) for p in parts])
        tensors[f"{prefix}.experts.down_proj"] = np.stack([p["down"] for p in parts])
    return tensors, parts


class Routed:
    """A routed layer with its router: tensors by name and, in float64, what a file of that type keeps."""

    def __init__(self, random, scheme, number, experts, d_model, d_hidden, dtype):
        word = "block_sparse_moe" if scheme == "letters" else "mlp"
        self.dtype, block = dtype, f"model.layers.{number}.{word}"
        self.tensors, parts = layer(random, scheme, block, experts, d_model, d_hidden)
        self.router_name = f"{block}.gate.weight"
        router = random.standard_normal((experts, d_model)) / d_model ** 0.5
        self.tensors[self.router_name] = router
        self.router = exact(router, dtype)
        self.experts = [{name: exact(values, dtype) for name, values in p.items()} for p in parts]

    def write(self, folder, config=None):
        """model.safetensors and, when there is one, config.json; gives the folder."""
        os.makedirs(folder, exist_ok=True)
        write(os.path.join(folder, "model.safetensors"), self.tensors, self.dtype)
        if config is not None:
            write_config(folder, **config)
        return folder


def stored(values, dtype):
    """The array in a file's own type; bfloat16, which NumPy lacks, as its bits."""
    values = np.ascontiguousarray(values).astype(np.float16 if dtype == "F16" else np.float32)
    if dtype != "BF16":
        return values
    bits = values.view(np.uint32)
    nearest = (bits + 0x7fff + (bits >> 16 & 1)) >> 16  # ties to even
    return np.where(np.isnan(values), bits >> 16 | 0x40, nearest).astype(np.uint16)


def exact(values, dtype):
    """What a file of that type keeps of the values, in float64."""
    kept = stored(values, dtype)
    if dtype == "BF16":
        kept = (kept.astype(np.uint32) << 16).view(np.float32)
    return kept.astype(np.float64)


def write(path, tensors, dtype="F32"):
    """One file. dtype: of all tensors, or a function of the name."""
    safetensors = pytest.importorskip("safetensors", reason="not installed: safetensors in ./.venv")
    choose = dtype if callable(dtype) else lambda name: dtype
    arrays = {name: stored(values, choose(name)) for name, values in tensors.items()}
    specs = {name: safetensors.TensorSpec(dtype=DTYPES[choose(name)], shape=list(array.shape),
                                          data_ptr=array.ctypes.data, data_len=array.nbytes)
             for name, array in arrays.items()}
    safetensors.serialize_file(specs, str(path), {"format": "pt"})


def write_shards(folder, tensors, dtype="F32", shards=3):
    """Files and their index; tensors go round."""
    names = [f"model-{i + 1:05}-of-{shards:05}.safetensors" for i in range(shards)]
    where = {tensor: names[i % shards] for i, tensor in enumerate(tensors)}
    for name in names:
        write(os.path.join(folder, name), {t: tensors[t] for t in tensors if where[t] == name},
              dtype)
    index = {"metadata": {"total_size": 0}, "weight_map": where}
    with open(os.path.join(folder, "model.safetensors.index.json"), "w") as file:
        json.dump(index, file)


def write_config(folder, **fields):
    with open(os.path.join(folder, "config.json"), "w") as file:
        json.dump(fields, file)


def raw(header, payload=0):
    """A file's bytes with any header (text, bytes, or what json makes of it), well formed or not."""
    if not isinstance(header, (str, bytes)):
        header = json.dumps(header)
    text = header if isinstance(header, bytes) else header.encode()
    return struct.pack("<Q", len(text)) + text + bytes(payload)
