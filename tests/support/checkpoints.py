# SPDX-License-Identifier: MIT
"""Checkpoints as others write them: named arrays, through the `safetensors` package, in one file or in
shards with an index."""
import json
import os
import struct

import numpy as np
import pytest

SCHEMES = ("gated", "letters", "fused", "plain", "biases")


def needed(module, package):
    return pytest.importorskip(module, reason=f"not installed: {package} in ./.venv")


def layer(random, scheme, prefix, experts, d_model, d_hidden):
    """One routed layer's tensors by name, and its experts as {gate, up, down, up_bias, down_bias}."""
    tensors, parts = {}, []
    words = dict(gate="w1", up="w3", down="w2") if scheme == "letters" else \
        dict(gate="gate_proj", up="up_proj", down="down_proj")
    for e in range(experts):
        own = {"up": random.standard_normal((d_hidden, d_model)),
               "down": random.standard_normal((d_model, d_hidden))}
        if scheme in ("gated", "letters", "fused"):
            own["gate"] = random.standard_normal((d_hidden, d_model))
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


def stored(values, dtype):
    """The array in a file's own type."""
    if dtype == "BF16":
        own = needed("ml_dtypes", "ml_dtypes").bfloat16
    else:
        own = {"F32": np.float32, "F16": np.float16}[dtype]
    return np.ascontiguousarray(values).astype(own)


def write(path, tensors, dtype="F32"):
    """One file. dtype: of all tensors, or a function of the name."""
    writer = needed("safetensors.numpy", "safetensors")
    choose = dtype if callable(dtype) else lambda name: dtype
    writer.save_file({name: stored(values, choose(name)) for name, values in tensors.items()},
                     str(path), {"format": "pt"})


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
