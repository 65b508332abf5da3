# SPDX-License-Identifier: MIT
"""Writes docs/families.md: which families of the installed Transformers UFM pages, and how their experts lie on disk.

UFM_LIBRARY=build/libufm.so.2 PYTHONPATH=python .venv/bin/python tests/python/families_page.py > docs/families.md
"""

import itertools
import re
import sys

import families
import tiny_models
import transformers
from transformers.core_model_loading import revert_weight_conversion

from ufm.errors import Unsupported
from ufm.models.sites import find_sites

HEAD = """\
# Families of Transformers and their experts

What `ufm.from_pretrained` and `ufm.attach` make of every family of Transformers {version} with routed experts. The
page is written by `tests/python/families_page.py`, and a test holds it to what is installed. Each family that is paged
is run against Transformers' own experts in `tests/python/test_families.py`, on a tiny model: the outputs of its routed
layers, its logits and 64 greedy tokens; from memory, and from a checkpoint with the names below, with the model's own
names, and in shards with towers that predict more tokens.

*On disk*: the names of experts' parameters in the family's checkpoints, as Transformers saves and reads them; N is the
number of an expert. Checkpoints with the model's own names (one tensor for all experts of a layer) are read as well.
Of quantised checkpoints [python.md](python.md#quantised-checkpoints) says which are read.

## Paged

| family | class | an expert computes | on disk |
|---|---|---|---|
"""
REFUSED = """
## Refused

| family | class | why |
|---|---|---|
"""
OTHERS = """
## Neither

| family | why |
|---|---|
"""
ACTIVATIONS = {"silu": "SiLU", "gelu": "GELU", "gelu_tanh": "tanh GELU", "relu2": "squared ReLU"}


def arithmetic_text(arithmetic):
    """What an expert computes, in words."""
    activation = ACTIVATIONS[arithmetic.activation]
    if arithmetic.act_alpha:
        activation = f"x · sigmoid({arithmetic.act_alpha:g} x)"
    words = [f"{activation} gate" if arithmetic.gated else f"{activation}, no gate"]
    if arithmetic.gate_limit or arithmetic.activated_limit or arithmetic.up_limit:
        words.append("limits")
    if arithmetic.up_offset:
        words.append(f"up + {arithmetic.up_offset:g}")
    if arithmetic.biased:
        words.append("biases")
    return ", ".join(words)


def names_on_disk(model):
    """What the parameters of routed experts are called in a saved checkpoint, after the number of their layer."""
    modules = [name for name, _ in tiny_models.experts_modules(model)]
    state = {
        name: tensor
        for name, tensor in model.state_dict().items()
        if any(name.startswith(f"{module}.") for module in modules)
    }
    names = {re.sub(r"^.*(?:layers|blocks|block)\.\d+\.", "", name) for name in revert_weight_conversion(model, state)}
    return f"`{in_one({re.sub(r'[.][0-9]+[.]', '.N.', name) for name in names})}`"


def in_one(names):
    """a.{b,c}.d for a.b.d and a.c.d."""
    first, last = min(names).split("."), max(names).split(".")
    alike = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
    stem = "".join(f"{part}." for part, _ in alike)
    end = ".weight" if all(name.endswith(".weight") for name in names) else ""
    return f"{stem}{{{','.join(sorted(name.removeprefix(stem).removesuffix(end) for name in names))}}}{end}"


def paged_row(family, model):
    found = {arithmetic_text(site.geometry.arithmetic) for site in find_sites(model)}
    return f"| {family} | {type(model).__name__} | {'; '.join(sorted(found))} | {names_on_disk(model)} |\n"


def refused_row(family, model):
    try:
        find_sites(model)
    except Unsupported:
        named, reason = families.REFUSED[family]
        return f"| {family} | {type(model).__name__} | its experts ({named}) {reason} |\n"
    raise AssertionError(f"{family} is no longer refused")


def other_rows():
    for family in families.installed():
        if family in families.PART_OF:
            yield f"| {family} | a part of {families.PART_OF[family]} |\n"
        elif family in families.NOT_ROUTED:
            yield f"| {family} | {families.NOT_ROUTED[family]} |\n"
        elif family in families.CANNOT_BUILD:
            yield f"| {family} | Transformers cannot make its model: {families.CANNOT_BUILD[family]} |\n"


def page():
    transformers.logging.set_verbosity_error()
    paged, refused = [], []
    for family in families.runnable():
        model = tiny_models.tiny_model(family)
        if family in families.REFUSED:
            refused.append(refused_row(family, model))
        else:
            paged.append(paged_row(family, model))
    version = transformers.__version__
    return "".join([HEAD.format(version=version), *paged, REFUSED, *refused, OTHERS, *other_rows()])


if __name__ == "__main__":
    sys.stdout.write(page())
