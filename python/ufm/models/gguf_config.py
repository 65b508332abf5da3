# SPDX-License-Identifier: MIT
"""A configuration of Transformers from what GGUF files say.

Most of it is Transformers' own loader's. That leaves keys out in silence, and takes one published model's value where
it knows no key; so every key of the architecture has to be known here, and what is missed is filled in.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ..core import Bank
from ..errors import Unsupported
from .gguf_file import Dense
from .gguf_transformers import config_of, version

# Of the config, by the name that Transformers has for the family: how wide an expert is.
_WIDTH_KEYS = {
    "qwen2_moe": "moe_intermediate_size",
    "qwen3_moe": "moe_intermediate_size",
    "gpt_oss": "intermediate_size",
    "minimax_m2": "intermediate_size",
}

# Keys that a file may lack.
_MAY_LACK = ("vocab_size", "sliding_window", "attention.key_length", "expert_gating_func")

# Keys that say in numbers what the family does anyway, and the values with which they do.
_AS_ALWAYS: dict[str, tuple[Any, ...]] = {
    "expert_weights_scale": (0.0, 1.0),
    "expert_group_count": (0, 1),
    "expert_group_used_count": (0, 1),
    "expert_shared_count": (0, 1),
    "rope.scaling.type": ("none",),
    "attention.causal": (True,),
}
_AS_THE_FAMILY: dict[str, dict[str, tuple[Any, ...]]] = {
    "qwen2_moe": {"expert_gating_func": (0, 1), "expert_weights_norm": (False,)},
    "qwen3_moe": {"expert_gating_func": (0, 1), "expert_weights_norm": (True,)},
    "gpt_oss": {"expert_gating_func": (0, 3), "rope.scaling.type": ("none", "yarn")},
    "minimax_m2": {"expert_gating_func": (2,), "expert_weights_norm": (True,)},
}
# Read here, from the tensors, or by libufm.
_READ_HERE = (
    "attention.key_length",
    "attention.value_length",
    "attention.sliding_window",
    "expert_feed_forward_length",
    "expert_shared_feed_forward_length",
    "rope.dimension_count",
    "rope.scaling.factor",
    "rope.scaling.original_context_length",
    "rope.scaling.yarn_beta_fast",
    "rope.scaling.yarn_beta_slow",
)
_IDS = {"bos_token_id": "bos_token_id", "eos_token_id": "eos_token_id", "pad_token_id": "padding_token_id"}


def read_config(dense: Dense, banks: Sequence[Bank]) -> Any:
    """The configuration of a model in GGUF files.

    Args:
        dense: the files.
        banks: their experts (`open_kinds`).

    Raises:
        Unsupported: of an architecture that Transformers loads no routed experts of, or with a key that would be left
            out; the key is named.
    """
    from transformers import AutoConfig

    said = _Said(dense, *_family(dense))
    said.check_keys()
    found = config_of(dense)
    _complete(found, said, banks)
    return AutoConfig.for_model(**found)


def _family(dense: Dense) -> tuple[str, dict[str, Any]]:
    """Transformers' name of the architecture, and its table of the keys that it takes."""
    from transformers.integrations.ggml import GGUF_CONFIG_MAPPING

    routed = {name: keys for name, keys in GGUF_CONFIG_MAPPING.items() if "expert_count" in keys}
    for name, keys in routed.items():
        if _plain(name) == _plain(dense.architecture) and name in _WIDTH_KEYS:
            return name, keys
    raise Unsupported(
        f'{dense.path}: general.architecture is "{dense.architecture}": Transformers {version()} loads no routed '
        f"experts of it from GGUF files: expected one of {', '.join(sorted(set(routed) & set(_WIDTH_KEYS)))}"
    )


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name)


class _Said:
    """The key-values of a model, by their names without the architecture's.

    Args:
        dense: the files.
        family: Transformers' name of the architecture.
        taken: the keys that Transformers' loader takes, and what of its config they become; None: nothing.
    """

    def __init__(self, dense: Dense, family: str, taken: dict[str, Any]) -> None:
        self.dense, self.family, self.taken = dense, family, taken
        self.prefix = dense.architecture + "."

    def __call__(self, key: str) -> Any:
        return self.dense.said(self.prefix + key)

    def refuse(self, key: str, expected: str) -> Unsupported:
        return Unsupported(f"{self.dense.path}: {self.prefix}{key} is {self(key)}, expected {expected}")

    def check_keys(self) -> None:
        """Unsupported: a key is there that would be left out, or none where one published model's value would do."""
        for whole in self.dense.all_fields:
            if whole.startswith(self.prefix):
                self._check(whole.removeprefix(self.prefix))
        for key, target in self.taken.items():
            if target is not None and key not in _MAY_LACK and self(key) is None:
                raise Unsupported(f"{self.dense.path}: {self.prefix}{key} is not there")

    def _check(self, key: str) -> None:
        value, values = self(key), _AS_THE_FAMILY[self.family].get(key) or _AS_ALWAYS.get(key)
        if isinstance(value, list):
            raise self.refuse(key, "one value for all layers")
        if values is not None:
            if value not in values:
                raise self.refuse(key, f"{' or '.join(str(each) for each in values)} of this architecture")
        elif key not in _READ_HERE and key not in self.taken:
            raise self.refuse(key, f"no such key: Transformers {version()} leaves it out")


def _complete(found: dict[str, Any], said: _Said, banks: Sequence[Bank]) -> None:
    """Fills in what the loader takes from one published model's config."""
    found[_WIDTH_KEYS[said.family]] = banks[0].info.desc.d_hidden
    shared = [t for t in said.dense.tensors if t.name.endswith(".ffn_up_shexp.weight")]
    if shared:
        found["shared_expert_intermediate_size"] = int(shared[0].shape[1])
    if said.family == "gpt_oss":
        found["sliding_window"] = said("attention.sliding_window")
    elif said("attention.sliding_window"):
        raise said.refuse("attention.sliding_window", "none of this architecture")
    _complete_heads(found, said)
    for name, key in _IDS.items():
        value = said.dense.said(f"tokenizer.ggml.{key}")
        found[name] = None if value is None else int(value)


def _complete_heads(found: dict[str, Any], said: _Said) -> None:
    """How wide a head is, and how positions turn it."""
    across = found["hidden_size"] // found["num_attention_heads"]
    head = said("attention.key_length") or across
    if said("attention.value_length") not in (None, head):
        raise said.refuse("attention.value_length", f"{head}, as its keys have it")
    if said.family == "qwen2_moe" and head != across:
        raise said.refuse("attention.key_length", f"{across}, embedding_length by attention.head_count")
    found["head_dim"] = head
    rope = {"rope_type": "default", "rope_theta": found.pop("rope_theta")}
    turned = said("rope.dimension_count") or head
    if turned != head:
        if said.family != "minimax_m2":
            raise said.refuse("rope.dimension_count", f"{head}, as wide as a head")
        rope["partial_rotary_factor"] = turned / head
    found.pop("rope_scaling", None)
    found["rope_parameters"] = rope | _stretched(said)


def _stretched(said: _Said) -> dict[str, Any]:
    """Positions beyond those that a model was first trained with (gpt-oss)."""
    if said("rope.scaling.type") != "yarn":
        return {}
    factor, original = said("rope.scaling.factor"), said("rope.scaling.original_context_length")
    if not factor or not original:
        raise said.refuse("rope.scaling.type", "rope.scaling.factor and original_context_length beside it")
    # The bounds between which yarn mixes: files may leave those of the family out.
    return {
        "rope_type": "yarn",
        "factor": float(factor),
        "original_max_position_embeddings": int(original),
        "beta_fast": float(said("rope.scaling.yarn_beta_fast") or 32.0),
        "beta_slow": float(said("rope.scaling.yarn_beta_slow") or 1.0),
        "truncate": False,
    }
