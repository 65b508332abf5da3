# SPDX-License-Identifier: MIT
"""GGUF files as others write them: random blocks of any type through the `gguf` package, whole or split, and what they
are worth in float64 by the same package."""
import os

import gguf
import numpy as np

TYPES = ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q5_0", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS", "MXFP4")
# Scales that give matrices of random blocks a norm about that of trained ones; where they stand in a block.
SCALES = {"Q8_0": (1e-3, [0]), "Q4_0": (1e-2, [0]), "Q5_0": (5e-3, [0]), "Q4_K": (2e-4, [0, 2]), "Q5_K": (1e-4, [0, 2]),
          "Q6_K": (5e-5, [208]), "IQ4_NL": (1e-3, [0]), "IQ4_XS": (5e-5, [0])}


def number(name):
    return getattr(gguf.GGMLQuantizationType, name)


def blocks(random, name, rows, cols):
    """Random bytes [rows, bytes of a row] of a type, and their values in float64."""
    elements, size = gguf.GGML_QUANT_SIZES[number(name)]
    assert cols % elements == 0
    if elements == 1:
        values = (random.standard_normal((rows, cols)) / cols**0.5).astype(np.float32)
        data = {"F32": values, "F16": values.astype(np.float16),
                "BF16": (values.view(np.uint32) >> 16).astype(np.uint16)}[name]
        return data.view(np.uint8), worth(name, data.view(np.uint8))
    data = random.integers(0, 256, (rows, cols // elements, size), dtype=np.uint8)
    if name == "MXFP4":
        data[:, :, 0] = random.integers(118, 122, data.shape[:2])
    for at in SCALES.get(name, (0, []))[1]:
        scales = (SCALES[name][0] * random.uniform(0.5, 1, data.shape[:2])).astype(np.float16)
        data[:, :, at:at + 2] = scales.view(np.uint8).reshape(*data.shape[:2], 2)
    data = data.reshape(rows, -1)
    return data, worth(name, data)


def worth(name, data):
    """What bytes [..., bytes of a row] are worth, in float64."""
    return gguf.quants.dequantize(data, number(name)).astype(np.float64)


class Layer:
    """A routed layer: `tensors` {name: (bytes, type)}, `experts` as tests/support/oracle.py takes them, its `router`.

    types: of gate (None: experts without one), up and down. scheme: "stacked", "fused" (gate and up in one tensor) or
    "single" (a tensor for each expert). biases: with one for each matrix.
    """

    def __init__(self, random, at, types, experts, d_model, d_hidden, scheme="stacked", biases=False):
        self.number, self.tensors, self.experts = at, {}, [{} for _ in range(experts)]
        self.prefix = f"blk.{at}"
        shapes = {"gate": (d_hidden, d_model), "up": (d_hidden, d_model), "down": (d_model, d_hidden)}
        stored = {}
        for matrix, name in types.items():
            both = [blocks(random, name, *shapes[matrix]) for _ in range(experts)]
            stored[matrix] = np.stack([data for data, _ in both])
            for expert, (_, values) in zip(self.experts, both, strict=True):
                expert[matrix] = values
        self.name_matrices(stored, types, scheme)
        for matrix in types if biases else ():
            values = random.standard_normal((experts, shapes[matrix][0])).astype(np.float32)
            self.add(f"ffn_{matrix}_exps.bias", values, "F32")
            for expert, own in zip(self.experts, values, strict=True):
                expert[f"{matrix}_bias"] = own.astype(np.float64)
        router = (random.standard_normal((experts, d_model)) / d_model**0.5).astype(np.float32)
        self.router = router.astype(np.float64)
        self.add("ffn_gate_inp.weight", router, "F32")
        self.add("ffn_norm.weight", np.ones(d_model, np.float32), "F32")
        self.add("ffn_up_shexp.weight", np.ones((3, 32), np.float32), "F32")

    def add(self, name, data, kind):
        self.tensors[f"{self.prefix}.{name}"] = (np.ascontiguousarray(data), kind)

    def name_matrices(self, stored, types, scheme):
        stored = dict(stored)
        if scheme == "fused":
            self.add("ffn_gate_up_exps.weight", np.concatenate([stored.pop("gate"), stored.pop("up")], 1), types["up"])
        for matrix, data in stored.items():
            if scheme == "single":
                for e, own in enumerate(data):
                    self.add(f"ffn_{matrix}.{e}.weight", own, types[matrix])
            else:
                self.add(f"ffn_{matrix}_exps.weight", data, types[matrix])


def keys(layers, top_k=2, **more):
    """Key-values of a model with these layers, without their architecture's name."""
    down = layers[0].experts[0]["down"]
    return {"block_count": max(one.number for one in layers) + 1, "expert_count": len(layers[0].experts),
            "expert_used_count": top_k, "embedding_length": down.shape[0],
            "expert_feed_forward_length": down.shape[1]} | more


def add_value(writer, key, value):
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    else:
        writer.add_array(key, value)


def write(path, architecture, said, layers, tokens=0, shards=1, alignment=None):
    """Writes a model. tokens: words of a tokenizer beside it. Gives the path of the (first) file.

    said: values under the architecture's name, and whole keys where they have a dot.
    """
    tensors = {name: tensor for one in layers for name, tensor in one.tensors.items()}
    options = {"split_max_tensors": -(-len(tensors) // shards)} if shards > 1 else {}
    writer = gguf.GGUFWriter(os.fspath(path), architecture, **options)
    if alignment:
        writer.add_custom_alignment(alignment)
    for key, value in said.items():
        add_value(writer, key if "." in key else f"{architecture}.{key}", value)
    if tokens:
        writer.add_token_list([f"token {i}" for i in range(tokens)])
        writer.add_token_scores([float(-i) for i in range(tokens)])
        writer.add_token_types([1] * tokens)
    for name, (data, kind) in tensors.items():
        if kind == "F32" and data.dtype == np.float32:
            writer.add_tensor(name, data)
        else:
            writer.add_tensor(name, data.view(np.uint8), raw_dtype=number(kind))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    if shards == 1:
        return path
    stem = os.fspath(path)[:-len(".gguf")]
    return f"{stem}-00001-of-{shards:05}.gguf"
