# SPDX-License-Identifier: MIT
"""What a model takes of device memory beside its experts, from its config and its skeleton."""

from __future__ import annotations

from typing import Any

from torch import nn


def dense_bytes(model: nn.Module) -> int:
    """Parameters and buffers that are no paged experts; a tensor that two modules share counts once."""
    tensors = [*model.parameters(), *model.buffers()]
    return sum({id(t): t.numel() * t.element_size() for t in tensors}.values())


def cache_bytes_per_token(config: Any, item_bytes: int) -> int:
    """Bytes of keys and values that Transformers' cache keeps for one token of one sequence, of all layers.

    Of layers with a sliding window as if they had none, and of layers without a cache that grows (linear attention,
    convolutions) as if they had one: an upper bound. Models with latent attention keep keys and values of all heads.
    """
    text = config.get_text_config(decoder=True)
    layers = _number(text, "num_hidden_layers", "n_layer", "n_layers")
    heads = _number(text, "num_attention_heads", "n_head", "n_heads")
    width = _number(text, "hidden_size", "d_model", "n_embd")
    key_heads = _number(text, "num_key_value_heads", "n_head_kv") or heads
    head = _number(text, "head_dim") or (width // heads if heads else 0)
    key, value = head, head
    if _number(text, "kv_lora_rank"):
        key_heads = heads
        key = _number(text, "qk_nope_head_dim") + _number(text, "qk_rope_head_dim") or head
        value = _number(text, "v_head_dim") or head
    return layers * key_heads * (key + value) * item_bytes


def _number(config: Any, *names: str) -> int:
    """The first of these that the config has as a whole number above 0, else 0."""
    for name in names:
        value = getattr(config, name, None)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return 0


def measured_cache_bytes(cache: Any) -> tuple[int, int]:
    """(bytes, tokens) that a cache holds now; (0, 0) for what is none of Transformers'."""
    layers = getattr(cache, "layers", None) or ()
    tensors = [getattr(layer, name, None) for layer in layers for name in ("keys", "values")]
    held = sum(t.numel() * t.element_size() for t in tensors if t is not None and hasattr(t, "element_size"))
    try:
        tokens = int(cache.get_seq_length()) if held else 0
    except (AttributeError, TypeError, ValueError):
        tokens = 0
    return held, tokens
