# SPDX-License-Identifier: MIT
"""A model as a folder on disk, in each layout in which people find one.

`saved`: what `save_pretrained` makes, with the names of the family's published checkpoints: for most one tensor for
each matrix of each expert. `own`: the model's own names, the experts of a layer in one tensor. `published`: as saved,
with what a published folder has beside that: several shards with an index, and towers that predict more tokens, whose
layers lie beside those of the model and are none of its."""

import json
import re

import torch
from safetensors.torch import load_file, save_file

LAYOUTS = ("saved", "own", "published")

SHARDS = 3
LAYER = re.compile(r"(?P<before>.*?)(?P<stack>layers|blocks|block)\.(?P<number>\d+)\.(?P<rest>.*)")


def write(model, folder, layout):
    """`model` in `folder`, an empty pathlib.Path, as `layout` has it."""
    model.save_pretrained(folder, save_original_format=layout != "own")
    if layout == "published":
        only = folder / "model.safetensors"
        tensors = load_file(only)
        only.unlink()
        write_shards(folder, tensors | further_towers(tensors))


def stacks(tensors):
    """{(what stands before the number of a layer): that of its last layer}, of the stacks with experts."""
    found = {}
    for name in tensors:
        match = LAYER.match(name)
        if match and "expert" in match["rest"]:
            before = match["before"] + match["stack"]
            found[before] = max(found.get(before, 0), int(match["number"]))
    return found


def further_towers(tensors):
    """Each stack's last layer again, with other bytes: as one layer more, and as the first of a tower called mtp."""
    found = {}
    for before, last in stacks(tensors).items():
        for name, tensor in tensors.items():
            if name.startswith(f"{before}.{last}."):
                rest = name.removeprefix(f"{before}.{last}.")
                found[f"{before}.{last + 1}.{rest}"] = other_bytes(tensor)
                found[f"mtp.layers.0.{rest}"] = other_bytes(tensor)
        found[f"{before}.{last + 1}.eh_proj.weight"] = torch.ones(4, 8)
    return found


def other_bytes(tensor):
    return tensor.flip(0).contiguous() if tensor.dim() else tensor.clone()


def write_shards(folder, tensors):
    """The tensors dealt in turn to the shards: an expert's parts lie in several files."""
    files = [f"model-{number + 1:05}-of-{SHARDS:05}.safetensors" for number in range(SHARDS)]
    where = {name: files[place % SHARDS] for place, name in enumerate(sorted(tensors))}
    for file in files:
        part = {name: tensors[name] for name, lies_in in where.items() if lies_in == file}
        save_file(part, folder / file, metadata={"format": "pt"})
    total = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
