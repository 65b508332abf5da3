# SPDX-License-Identifier: MIT
"""Small random checkpoints, written by the `safetensors` package under the names that models use."""
import json

import numpy as np
import safetensors

DTYPES = {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}

# How published models name one layer's experts: the block, and a name for each matrix.
BLOCKS = {
    "proj": ("model.layers.{}.mlp", {"gate": "gate_proj", "up": "up_proj", "down": "down_proj"}),
    "w123": ("model.layers.{}.block_sparse_moe", {"gate": "w1", "up": "w3", "down": "w2"}),
    "bias": ("model.layers.{}.mlp", {"up": "up_proj", "down": "down_proj"}),
    "fused": ("model.layers.{}.mlp", {"gate": "gate_proj", "up": "up_proj", "down": "down_proj"}),
}


def store(values, dtype):
    """The values as that dtype keeps them: (array of bits, the same values in float64)."""
    values = np.ascontiguousarray(values, np.float32)
    if dtype == "f32":
        return values, values.astype(np.float64)
    if dtype == "f16":
        half = values.astype(np.float16)
        return half, half.astype(np.float64)
    bits = values.view(np.uint32)
    bits = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16
    return bits.astype(np.uint16), (bits << 16).view(np.float32).astype(np.float64)


class Layer:
    """A layer's tensors by name and, in float64, what they hold."""

    def __init__(self, rng, scheme, number, experts, d_model, d_hidden, dtype):
        self.dtype, self.tensors = dtype, {}
        block, names = BLOCKS[scheme]
        self.block = block.format(number)
        self.router = self._keep(f"{self.block}.gate.weight",
                                 rng.standard_normal((experts, d_model)) / np.sqrt(d_model))
        self.experts = [self._parts(rng, names, d_model, d_hidden, scheme == "bias")
                        for _ in range(experts)]
        if scheme == "fused":
            self._fuse()
        else:
            for e, parts in enumerate(self.experts):
                for role, values in parts.items():
                    kind = "bias" if role.endswith("_bias") else "weight"
                    name = names[role.removesuffix("_bias")]
                    self._keep(f"{self.block}.experts.{e}.{name}.{kind}", values)

    def _keep(self, name, values):
        self.tensors[name], exact = store(values, self.dtype)
        return exact

    def _parts(self, rng, names, d_model, d_hidden, biases):
        shapes = {role: (d_model, d_hidden) if role == "down" else (d_hidden, d_model)
                  for role in names}
        parts = {role: rng.standard_normal(shape) / np.sqrt(shape[1])
                 for role, shape in shapes.items()}
        if biases:
            parts |= {f"{role}_bias": 0.1 * rng.standard_normal(shape[0])
                      for role, shape in shapes.items()}
        return {role: store(values, self.dtype)[1] for role, values in parts.items()}

    def _fuse(self):
        self._keep(f"{self.block}.experts.gate_up_proj", np.stack(
            [np.concatenate([parts["gate"], parts["up"]]) for parts in self.experts]))
        self._keep(f"{self.block}.experts.down_proj",
                   np.stack([parts["down"] for parts in self.experts]))


def write_file(path, tensors, dtype):
    specs = {name: safetensors.TensorSpec(dtype=DTYPES[dtype], shape=list(array.shape),
                                          data_ptr=array.ctypes.data, data_len=array.nbytes)
             for name, array in tensors.items()}
    safetensors.serialize_file(specs, str(path))


def write(folder, tensors, dtype, config=None, shards=1):
    """model.safetensors, or shards and their index; and config.json when there is one."""
    folder.mkdir(parents=True, exist_ok=True)
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    if shards == 1:
        write_file(folder / "model.safetensors", tensors, dtype)
        return folder
    places = {}
    for i in range(shards):
        file = f"model-{i + 1:05}-of-{shards:05}.safetensors"
        part = dict(list(tensors.items())[i::shards])
        write_file(folder / file, part, dtype)
        places |= dict.fromkeys(part, file)
    index = {"metadata": {"total_size": sum(a.nbytes for a in tensors.values())},
             "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder
