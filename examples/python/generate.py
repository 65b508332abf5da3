# SPDX-License-Identifier: MIT
"""Makes a small checkpoint and generates from it, with slots for 30 % of its experts. Needs no GPU.

python generate.py [DIR]        (DIR: where the checkpoint goes; default: a folder that is deleted in the end)
"""

from __future__ import annotations

import sys
import tempfile

import small_checkpoint
from transformers import AutoTokenizer, TextStreamer

import ufm


def main(directory: str) -> None:
    small_checkpoint.make(directory)

    model = ufm.from_pretrained(directory, experts="30%", routing_bytes="1MiB")
    tokenizer = AutoTokenizer.from_pretrained(directory)

    before = ufm.stats(model)
    inputs = tokenizer("the old river", return_tensors="pt").to(model.device)
    model.generate(**inputs, max_new_tokens=40, do_sample=False, pad_token_id=0, streamer=TextStreamer(tokenizer))
    print(ufm.stats(model) - before)

    for trace in ufm.record_trace(model, f"{directory}/routing.npy"):
        print(f"{trace.path.name}: {trace.tokens} tokens through {trace.layers} layers")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(folder)
