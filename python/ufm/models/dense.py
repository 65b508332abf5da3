# SPDX-License-Identifier: MIT
"""All of a quantised checkpoint that is no routed expert: plain, by Transformers' own quantizers for FP8 and for
compressed-tensors, or refused.

What it is the tensors say. Transformers would take a quantised weight that its quantizers do not handle for a plain
one, or leave it out and draw a random one in its place; here either has its name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.integrations.finegrained_fp8 import Fp8Dequantize
from transformers.quantizers.base import get_keys_to_not_convert
from transformers.quantizers.quantizer_finegrained_fp8 import FineGrainedFP8HfQuantizer
from transformers.utils.quantization_config import CompressedTensorsConfig, FineGrainedFP8Config

from ..errors import Unsupported
from .checkpoint import Names
from .placed import Placed
from .quantised import PLAIN, is_routed, method_of

FP8, COMPRESSED = "fp8", "compressed-tensors"

_FP8 = "F8_E4M3"
_SCALES = ("F32", "F16", "BF16", "F8_E8M0", "U8")


def blocks_of(said: Mapping[str, Any]) -> tuple[int, int] | None:
    """Rows and columns that share a scale, by a quantization_config of FP8; None: all of a matrix."""
    given = said.get("weight_block_size", (128, 128))
    if given is None:
        return None
    if not (isinstance(given, list | tuple) and len(given) == 2 and all(type(n) is int and n > 0 for n in given)):
        raise Unsupported(f"config.json: weight_block_size {given!r}: expected rows and columns")
    return given[0], given[1]


class _Check:
    """Goes through the tensors of a checkpoint that are no routed experts'."""

    def __init__(
        self, tensors: Mapping[str, Placed], names: Names, meta_state: Mapping[str, Any], said: Mapping[str, Any] | None
    ) -> None:
        self.tensors, self.names, self.meta_state = tensors, names, meta_state
        self.method = method_of(said)
        self.block = blocks_of(said) if said is not None and self.method == FP8 else None
        self.kind = ""

    def run(self) -> None:
        for name, tensor in self.tensors.items():
            if not is_routed(name) and tensor.source.dtype not in PLAIN:
                self._odd(name, tensor)

    def _odd(self, name: str, tensor: Placed) -> None:
        """A tensor of no plain elements: integers that the model has as such, FP8 that is known, or neither."""
        there = self.meta_state.get(self.names.target(name))
        if there is not None and not there.is_floating_point():
            return
        if there is not None and tensor.source.dtype == _FP8 and self.method == FP8 and name.endswith(".weight"):
            self._scaled(name, tensor)
        elif there is None and not self._beside_a_weight(name):
            return
        elif self.method == COMPRESSED:
            self.kind = COMPRESSED
        else:
            raise Unsupported(
                f"{name}: {tensor.source.dtype}: quantised ({self.method}), and no routed expert: expected plain "
                f"elements there, FP8 with a weight_scale_inv (fp8), or compressed-tensors"
            )

    def _beside_a_weight(self, name: str) -> bool:
        """Whether it belongs to a weight of the model; scales of one in FP8 have been looked at with it."""
        module = name.rpartition(".")[0]
        weight = self.tensors.get(f"{module}.weight")
        if self.method == FP8 and weight is not None and weight.source.dtype == _FP8:
            return False
        return self.names.target(f"{module}.weight") in self.meta_state

    def _scaled(self, name: str, tensor: Placed) -> None:
        stem = name.removesuffix(".weight")
        key = next((k for k in (f"{stem}.weight_scale_inv", f"{stem}.scale") if k in self.tensors), None)
        if key is None:
            raise Unsupported(f"{name}: {_FP8}: expected {stem}.weight_scale_inv beside it")
        scale = self.tensors[key]
        rows, cols = tensor.shape[-2:]
        by_row, by_col = self.block or (rows, cols)
        expected = (*tensor.shape[:-2], -(-rows // by_row), -(-cols // by_col))
        one = self.block is None and scale.numel() == 1
        if scale.source.dtype not in _SCALES or not (one or tuple(scale.shape) == expected):
            raise Unsupported(
                f"{key}: {list(scale.shape)} {scale.source.dtype}: expected {list(expected)}, a scale for each "
                f"{by_row} × {by_col} of {name} {list(tensor.shape)}"
            )
        self.kind = FP8


def check(
    tensors: Mapping[str, Placed],
    conversions: Sequence[Any],
    model: Any,
    meta_state: Mapping[str, Any],
    said: Mapping[str, Any] | None,
) -> str:
    """Whose quantizer has to load what is no routed expert: "" (nobody's: it is plain), `FP8` or `COMPRESSED`.

    Args:
        tensors: what the checkpoint has (`headers`).
        conversions: the model's weight conversions, none of a quantizer's among them.
        model: on the meta device; its lists of tied and optional parameters are read.
        meta_state: all its parameters by name.
        said: what config.json says of quantisation.

    Raises:
        Unsupported: a tensor is quantised otherwise, or a parameter is not there.
    """
    names = Names(conversions, model.base_model_prefix, meta_state)
    found = _Check(tensors, names, meta_state, said)
    found.run()
    if said is not None and found.kind != COMPRESSED:
        _refuse_missing(model, meta_state, _reached(tensors, names), found.method)
    return found.kind


def _reached(tensors: Mapping[str, Placed], names: Names) -> set[str]:
    return {names.target(name) for name in tensors if not is_routed(name)}


def _refuse_missing(model: Any, meta_state: Mapping[str, Any], reached: set[str], method: str) -> None:
    """Where it has other names than Transformers knows, it would be drawn at random."""
    may_lack = set(getattr(model, "all_tied_weights_keys", None) or ()) | reached
    parameters = {name for name, _ in model.named_parameters()}
    for name in meta_state:
        if name in parameters and name not in may_lack and not is_routed(name):
            raise Unsupported(
                f"{name}: not in the checkpoint, which is quantised ({method}): a shard is missing, or it is there in "
                f"a way that is not read"
            )


class DenseInFp8(FineGrainedFP8HfQuantizer):  # type: ignore[misc]
    """Transformers' quantizer for what is no routed expert.

    Where its kernels can run, weights stay in FP8; on the CPU they become what the model's dtype is. Transformers takes
    the number of scales for that of equal blocks; here a block is as large as config.json says, and the last is cut.

    Args:
        said: the checkpoint's quantization_config.
        tensors: what the checkpoint has (`headers`).
        device: of the model.
    """

    def __init__(self, said: Mapping[str, Any], tensors: Mapping[str, Placed], device: torch.device) -> None:
        config = FineGrainedFP8Config(**said)
        config.dequantize = device.type == "cpu"
        super().__init__(config, pre_quantized=True)
        self.codes = {name: tensor for name, tensor in tensors.items() if tensor.source.dtype == _FP8}
        if not config.dequantize:
            self._ask_environment(device)

    def _ask_environment(self, device: torch.device) -> None:
        try:
            self.validate_environment(device_map={"": device})
        except ImportError as error:
            raise Unsupported(f"weights in FP8 on {device}: {error}") from error

    def prepare(self, model: Any, experts: Iterable[str], conversions: list[Any]) -> None:
        """Replaces modules, but for those by name that are routed experts. Unsupported: the checkpoint has others."""
        listed = self.quantization_config.modules_to_not_convert
        listed = get_keys_to_not_convert(model) if listed is None else listed
        self.quantization_config.modules_to_not_convert = [*listed, *experts]
        self._process_model_before_weight_loading(model)
        if not self.quantization_config.dequantize:
            state = model.state_dict()
            names = Names(super().update_weight_conversions(conversions), model.base_model_prefix, state)
            _refuse_untaken(state, names, self.codes)
        self.codes = {}  # the loader copies its quantizer for every tensor

    def finish(self, model: Any) -> None:
        """After the weights are loaded."""
        self._process_model_after_weight_loading(model)

    def update_weight_conversions(self, weight_conversions: list[Any]) -> list[Any]:
        """Transformers', with blocks as they are."""
        made: list[Any] = super().update_weight_conversions(weight_conversions)
        for entry in made:
            operations = getattr(entry, "operations", None)
            if operations:
                entry.operations = [_Dequantize(self) if type(op) is Fp8Dequantize else op for op in operations]
        return made


class _Dequantize(Fp8Dequantize):  # type: ignore[misc]
    """Weights in FP8 times their scales, in float32, as the model's dtype."""

    def _dequantize_one(self, quantized: Tensor, scales: Tensor, output_dtype: torch.dtype | None = None) -> Tensor:
        rows, cols = quantized.shape[-2:]
        by_row, by_col = self.hf_quantizer.quantization_config.weight_block_size or (rows, cols)
        scale = (scales.float() - 127).exp2() if scales.dtype == torch.uint8 else scales.float()
        if scale.numel() > 1:
            scale = scale.repeat_interleave(by_row, -2)[..., :rows, :].repeat_interleave(by_col, -1)[..., :cols]
        return (quantized.float() * scale).to(output_dtype or torch.bfloat16)


class DenseCompressed:
    """Transformers' quantizer for what compressed-tensors has made, which needs the package of that name. Weights
    become what the model's dtype is.

    Args:
        said: the checkpoint's quantization_config.
        tensors: what the checkpoint has (`headers`).
    """

    def __init__(self, said: Mapping[str, Any], tensors: Mapping[str, Placed]) -> None:
        from transformers.quantizers.quantizer_compressed_tensors import CompressedTensorsHfQuantizer

        self.tensors = tensors
        try:
            config = CompressedTensorsConfig.from_dict({**said, "dequantize": True})
            self.inner = CompressedTensorsHfQuantizer(config, pre_quantized=True)
            self.inner.validate_environment()
        except ImportError as error:
            raise Unsupported(
                "layers beside the routed experts are quantised (compressed-tensors): expected the package "
                f"compressed-tensors: {error}"
            ) from error

    def prepare(self, model: Any, experts: Iterable[str], conversions: list[Any]) -> None:
        """Replaces parameters; routed experts are none any more. Unsupported: the checkpoint has others."""
        self.inner._process_model_before_weight_loading(model)
        state = model.state_dict()
        names = Names(conversions, model.base_model_prefix, state)
        _refuse_untaken(state, names, {n: t for n, t in self.tensors.items() if t.source.dtype not in PLAIN})
        _refuse_missing(model, state, _reached(self.tensors, names), COMPRESSED)

    def update_weight_conversions(self, weight_conversions: list[Any]) -> list[Any]:
        """As they are."""
        return weight_conversions

    def finish(self, model: Any) -> None:
        """After the weights are loaded."""
        self.inner._process_model_after_weight_loading(model)


def _refuse_untaken(state: Mapping[str, Tensor], names: Names, tensors: Mapping[str, Placed]) -> None:
    """Quantised tensors of layers for which nothing of that kind has been prepared: they would be taken for plain."""
    modules = {name.rpartition(".")[0] for name in state}
    for name, tensor in tensors.items():
        target = names.target(name)
        found = state.get(target)
        taken = found is not None and not (found.is_floating_point() and found.element_size() > 1)
        if not taken and not is_routed(name) and target.rpartition(".")[0] in modules:
            raise Unsupported(f"{name}: {tensor.source.dtype}: not what quantization_config says of that layer")


def quantizer_of(
    kind: str, said: Mapping[str, Any], tensors: Mapping[str, Placed], device: torch.device
) -> DenseInFp8 | DenseCompressed:
    """For what `check` has found."""
    return DenseInFp8(said, tensors, device) if kind == FP8 else DenseCompressed(said, tensors)
