# SPDX-License-Identifier: MIT
"""Prefill and greedy decode of one sequence, timed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, StoppingCriteria, StoppingCriteriaList


@dataclass(frozen=True)
class Timed:
    """A pass of decode.

    Args:
        warmup: tokens before those that were timed.
        steps: tokens that were timed.
        seconds: that they took.
        tokens: all that came after the prompt, in order.
    """

    warmup: int
    steps: int
    seconds: float
    tokens: list[int]

    @property
    def tok_s(self) -> float:
        return self.steps / self.seconds


class Clock:
    """Says when warm-up has ended and when enough was timed. `limit_s` ends either early, after half of it.

    The device is waited for at the two ends alone. `started` is called when the timed part begins.
    """

    def __init__(self, warmup: int, steps: int, limit_s: float, started: Callable[[], None]) -> None:
        self.warmup, self.steps, self.limit_s, self.started = warmup, steps, limit_s, started
        self.opened_s = time.perf_counter()
        self.begin_s = self.end_s = 0.0
        self.begin = self.end = 0

    def tick(self, tokens: int) -> bool:
        """So many tokens came after the prompt; whether that is all."""
        now = time.perf_counter()
        if not self.begin:
            if tokens >= self.warmup or now - self.opened_s > self.limit_s / 2:
                wait()
                self.started()
                self.begin, self.begin_s = tokens, time.perf_counter()
        elif tokens - self.begin >= self.steps or now - self.begin_s > self.limit_s / 2:
            wait()
            self.end, self.end_s = tokens, time.perf_counter()
        return self.end > 0

    def result(self, tokens: list[int]) -> Timed:
        return Timed(self.begin, self.end - self.begin, self.end_s - self.begin_s, tokens)


class _Stopping(StoppingCriteria):  # type: ignore[misc]
    def __init__(self, clock: Clock, prompt: int) -> None:
        self.clock, self.prompt = clock, prompt

    def __call__(self, input_ids: Tensor, scores: Any, **_: Any) -> Tensor:
        done = self.clock.tick(input_ids.shape[1] - self.prompt)
        return torch.full((input_ids.shape[0],), done, dtype=torch.bool, device=input_ids.device)


def wait() -> None:
    """Until the GPU has done all that it was given."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()


def prompt_of(model: Any, tokens: int) -> Tensor:
    """Tokens 0, 1, 2 … as one sequence [1, tokens], on the model's device; after the vocabulary's last comes 0."""
    vocabulary = model.get_input_embeddings().weight.shape[0]
    # Where accelerate keeps the embedding in host memory, its hook takes ids from any device.
    device = "cuda" if model.device.type == "meta" else model.device
    return (torch.arange(tokens) % vocabulary)[None].to(device)


def prefill(model: Any, prompt: Tensor) -> float:
    """Seconds of one forward pass of the prompt with a new cache."""
    wait()
    begin_s = time.perf_counter()
    _forward(model, prompt, None)
    wait()
    return time.perf_counter() - begin_s


def by_generate(model: Any, prompt: Tensor, clock: Clock) -> Timed:
    """Greedy decode by `generate`, which no token ends."""
    model.generation_config = GenerationConfig(do_sample=False, pad_token_id=0)
    out = model.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        max_new_tokens=clock.warmup + clock.steps + 1,
        stopping_criteria=StoppingCriteriaList([_Stopping(clock, prompt.shape[1])]),
    )
    return clock.result(out[0, prompt.shape[1] :].tolist())


def _forward(model: Any, ids: Tensor, cache: Any) -> Any:
    last = {"logits_to_keep": 1} if model._supports_logits_to_keep() else {}
    with torch.no_grad():
        return model(input_ids=ids, past_key_values=cache, use_cache=True, **last)
