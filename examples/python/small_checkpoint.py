# SPDX-License-Identifier: MIT
"""A checkpoint to try things on: a mixture-of-experts model of 7 MB with random weights, and a tokenizer of words.

    python small_checkpoint.py DIR

What it says means nothing; how it is loaded and run is as with any other.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen3MoeConfig, Qwen3MoeForCausalLM

_WORDS = """
a and are as at away bird blue boat bright by calm child cloud cold come day deep door down dream earth evening far
field fire fish flower fly forest from garden go gold grass green grow hand he hear high hill home house in is it
island keep lake last leaf light like little long look love moon morning mountain near never new night not of old on
one open over path quiet rain read red river road run sand sea see she silver sing sky sleep slow small snow soft song
spring star stay still stone storm story summer sun that the they tide to tower town tree under up valley wait walk
warm water wave we white who wide wild wind window winter with word yellow you young
"""
WORDS = _WORDS.split()


def make(directory: str | Path) -> Path:
    """Writes the checkpoint to a folder, which is made; returns the folder."""
    directory = Path(directory)
    vocabulary = {word: number for number, word in enumerate(["<unknown>", *WORDS])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<unknown>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unknown>").save_pretrained(directory)
    torch.manual_seed(1)
    model = Qwen3MoeForCausalLM(
        Qwen3MoeConfig(
            vocab_size=len(vocabulary),
            hidden_size=128,
            intermediate_size=256,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=32,
            num_experts=32,
            num_experts_per_tok=4,
            moe_intermediate_size=64,
            max_position_embeddings=2048,
        )
    )
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=1.5 / parameter.shape[-1] ** 0.5)
    model.to(torch.bfloat16).save_pretrained(directory)
    return directory


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python small_checkpoint.py DIR")
    print(make(sys.argv[1]))
