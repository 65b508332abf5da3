# SPDX-License-Identifier: MIT
"""A family's eager model, and all that a paged model of it is held against."""

import dataclasses
import functools

import families
import tiny_configs
import tiny_models
import torch

NEW_TOKENS = 64
CANVAS = 16
# Texts of these lengths make the batch: it is padded on the left.
LENGTHS = {1: (9,), 4: (9, 5, 12, 3)}
# Some 1e-6 is what sums in another order come to.
EXPERTS_TOLERANCE = 1e-5
SEEDS = 8
# How far logits may be from eager's, in units of what rounding eager's own experts moves them.
SENSITIVITIES = 3


@dataclasses.dataclass
class Batch:
    """Texts of one batch: ids and mask [texts, tokens], padded on the left."""

    ids: torch.Tensor
    mask: torch.Tensor

    @classmethod
    def of(cls, size, seed):
        generator = torch.Generator().manual_seed(seed)
        longest = max(LENGTHS[size])
        # The last ids of the vocabulary stand for images and their like.
        ids = torch.randint(3, tiny_configs.VOCABULARY - 16, (size, longest), generator=generator)
        mask = torch.tensor([[0] * (longest - length) + [1] * length for length in LENGTHS[size]])
        return cls(ids * mask, mask)

    def followed_by(self, tokens):
        return Batch(torch.cat([self.ids, tokens], 1), torch.cat([self.mask, torch.ones_like(tokens)], 1))


@dataclasses.dataclass
class Text:
    """What greedy generation made: new tokens [texts, new], and the logits of each step [texts, new, vocabulary]."""

    tokens: torch.Tensor
    logits: torch.Tensor


def speaker(model):
    """The part of the model that makes text."""
    return getattr(model, "thinker", model)


@torch.no_grad()
def generate(model, batch, new_tokens=NEW_TOKENS):
    made = speaker(model).generate(
        input_ids=batch.ids,
        attention_mask=batch.mask,
        max_new_tokens=new_tokens,
        min_new_tokens=new_tokens,
        do_sample=False,
        pad_token_id=0,
        eos_token_id=None,
        output_logits=True,
        return_dict_in_generate=True,
    )
    return Text(made.sequences[:, -new_tokens:], torch.stack(made.logits, 1))


@torch.no_grad()
def forward(model, batch):
    """Logits of every token of the batch that is none of its padding: [tokens, vocabulary].

    Of a model that refines a canvas beside the text those of the canvas."""
    inputs = {"input_ids": batch.ids, "attention_mask": batch.mask}
    if hasattr(model.config, "canvas_length"):
        canvas = Batch.of(len(batch.ids), seed=5).ids[:, :1].repeat(1, CANVAS) + torch.arange(CANVAS)
        return model(**inputs, decoder_input_ids=canvas).logits.flatten(0, 1)
    return speaker(model)(**inputs, use_cache=False).logits[batch.mask.bool()]


@dataclasses.dataclass
class Call:
    """One call of an experts module."""

    given: tuple
    named: dict
    output: torch.Tensor


def calls(model, run):
    """{name: the calls of that experts module} while `run()` runs."""
    found = {name: [] for name, _ in tiny_models.experts_modules(model)}

    def record(name, module, given, named, output):
        found[name].append(Call(copied(given), {key: copied(value) for key, value in named.items()}, output.clone()))

    hooks = [
        module.register_forward_hook(functools.partial(record, name), with_kwargs=True)
        for name, module in tiny_models.experts_modules(model)
    ]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    return found


def copied(value):
    if isinstance(value, tuple):
        return tuple(copied(part) for part in value)
    return value.clone() if isinstance(value, torch.Tensor) else value


@torch.no_grad()
def random_call(module):
    """A call of an experts module that text alone does not reach."""
    generator = torch.Generator().manual_seed(3)
    hidden = torch.randn(7, tiny_configs.HIDDEN, generator=generator)
    ids = torch.rand(7, tiny_configs.EXPERTS, generator=generator).topk(tiny_configs.TOP_K).indices
    weights = torch.rand(7, tiny_configs.TOP_K, generator=generator)
    return Call((hidden, ids, weights), {}, module(hidden, ids, weights))


def rounded(output, generator):
    """An output rounded otherwise: each element half a unit in its last place off, up or down."""
    exact = output.double()
    ulp = (torch.nextafter(output.abs(), torch.tensor(torch.inf)) - output.abs()).double()
    signs = torch.randint(0, 2, output.shape, generator=generator) * 2 - 1
    return (exact + 0.5 * signs * ulp).to(output.dtype)


def roundings(model, run):
    """What `run()` gives when all outputs of all experts modules are rounded otherwise, for each of the seeds."""
    for seed in range(SEEDS):
        generator = torch.Generator().manual_seed(seed)
        hooks = [
            module.register_forward_hook(lambda module, given, output, g=generator: rounded(output, g))
            for _, module in tiny_models.experts_modules(model)
        ]
        try:
            yield run()
        finally:
            for hook in hooks:
                hook.remove()


def kept(method):
    """A method of one argument whose results the object keeps."""

    @functools.wraps(method)
    def known(self, size):
        key = method.__name__, size
        if key not in self.results:
            self.results[key] = method(self, size)
        return self.results[key]

    return known


class Reference:
    """The eager model of a family, what it computes, and how far rounding alone would move that."""

    def __init__(self, family):
        self.family = family
        self.model = tiny_models.tiny_model(family)
        self.results = {}

    @property
    def makes_text(self):
        return self.family not in families.NO_TEXT

    @kept
    def batch(self, size):
        return Batch.of(size, seed=size)

    @kept
    def text(self, size):
        return generate(self.model, self.batch(size))

    @kept
    def sequence(self, size):
        """The batch with the text that eager makes of it."""
        return self.batch(size).followed_by(self.text(size).tokens) if self.makes_text else self.batch(size)

    @kept
    def calls(self, size):
        """{name: calls} of every experts module, over the whole sequence."""
        found = calls(self.model, lambda: forward(self.model, self.sequence(size)))
        modules = dict(tiny_models.experts_modules(self.model))
        return {name: made or [random_call(modules[name])] for name, made in found.items()}

    @kept
    def logits(self, size):
        return forward(self.model, self.sequence(size))

    @kept
    def sensitivity(self, size):
        """The most that rounding the experts' outputs otherwise moves a logit of the sequence."""
        moved = roundings(self.model, lambda: forward(self.model, self.sequence(size)))
        return max(float((logits - self.logits(size)).abs().max()) for logits in moved)


@torch.no_grad()
def experts_error(reference, paged, size):
    """The largest difference of an experts module's output from eager's on the same inputs, over that output's size."""
    worst = 0.0
    for name, made in reference.calls(size).items():
        module = paged.get_submodule(name)
        for call in made:
            error = (module(*call.given, **call.named) - call.output).abs().max()
            worst = max(worst, float(error / call.output.square().mean().sqrt()))
    return worst


def logits_error(reference, paged, size):
    """The largest difference of a logit from eager's over the whole sequence, in units of the sensitivity."""
    error = (forward(paged, reference.sequence(size)) - reference.logits(size)).abs().max()
    return float(error) / reference.sensitivity(size)


def unexplained(reference, text, size):
    """Texts whose tokens differ from eager's where eager was in no doubt: (text, step, eager's margin) of each."""
    eager = reference.text(size)
    found = []
    for row, (ours, theirs) in enumerate(zip(text.tokens, eager.tokens, strict=True)):
        differing = (ours != theirs[: len(ours)]).nonzero()
        if len(differing):
            step = int(differing[0])
            first, second = eager.logits[row, step].topk(2).values
            if first - second >= reference.sensitivity(size):
                found.append((row, step, float(first - second)))
    return found
