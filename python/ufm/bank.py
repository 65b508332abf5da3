# SPDX-License-Identifier: MIT
"""Banks: what the experts are, and where their bytes come from."""

from __future__ import annotations

import ctypes
import itertools
import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from ._enums import Activation, Dtype
from ._fields import fill, member, text, whole
from ._handle import Handle, Owner
from ._library import check, lib
from ._reader import Reader, ReadFn
from ._structs import (
    ufm_bank_callback_config,
    ufm_bank_checkpoint_config,
    ufm_bank_files_config,
    ufm_bank_info,
    ufm_bank_memory_config,
    ufm_bank_synthetic_config,
    ufm_extent,
)
from .description import ExpertDesc
from .errors import InvalidArgument, error_of

__all__ = ["Bank", "BankInfo", "Extent"]


class Extent(NamedTuple):
    """Where one part of one expert lies in a file.

    Element (row, col) is at offset_bytes + (row * row_stride + col * col_stride) * bytes of an element of `dtype`.
    Strides are in elements; both 0: rows one after the other. `file` is an index into the bank's paths.

    Of a part with a format `dtype` is None: its bytes lie there as they are, strides count bytes, `row_stride` from one
    row to the next and `col_stride` 1 (or 0).
    """

    file: int
    dtype: Dtype | None
    offset_bytes: int
    row_stride: int = 0
    col_stride: int = 0


class BankInfo(NamedTuple):
    """Geometry of a bank: routed layers, experts a layer, the expert, and layers * experts * expert_bytes.

    geometries: of a GGUF file how many kinds of layers it was opened from (`Bank.checkpoint`); else 1.
    """

    layers: int
    experts: int
    desc: ExpertDesc
    bank_bytes: int
    geometries: int = 1


# An extent as libufm reads it: packing tuples is several times as fast as making structs of them.
_pack_extent = struct.Struct("@IiQQQ").pack


def _fields(extent: Extent) -> tuple[int, ...]:
    """With 0 where it has no dtype."""
    return (*extent[:1], *(0 if dtype is None else dtype for dtype in extent[1:2]), *extent[2:])


def _packed(extents: Sequence[Extent], count: int) -> bytes:
    if len(extents) != count:
        raise InvalidArgument(
            f"extents: there are {len(extents)}, expected {count} (layers * experts * parts, in that order)"
        )
    try:
        if any(extent[1] is None for extent in extents):
            return b"".join(_pack_extent(*_fields(extent)) for extent in extents)
        return b"".join(itertools.starmap(_pack_extent, extents))
    except (struct.error, TypeError, IndexError):
        raise InvalidArgument(_wrong_extent(extents)) from None


def _wrong_extent(extents: Sequence[Extent]) -> str:
    for index, extent in enumerate(extents):
        try:
            _pack_extent(*_fields(extent))
        except (struct.error, TypeError) as error:
            return f"extents[{index}] is {tuple(extent)!r}: {error}"
    return "extents: what is no whole number stands there"


class Bank(Owner):
    """The experts of some routed layers, read-only. Opening reads headers at most. Usable from any thread, also after
    a fork.

    Made by one of the class methods. May be closed as soon as a `Host` of it is open.
    """

    __slots__ = ("_info", "_reader")

    def __init__(self, pointer: int, keep: Any = None) -> None:
        """Takes over a `ufm_bank *`; the class methods make one. `keep` lives as long as the bank or a host tier of
        it.
        """
        self._own(Handle(pointer, lib.ufm_bank_close, keep=keep))
        self._info: BankInfo | None = None
        # Of a bank whose experts a Python function writes. It is asked through this object alone and may refer to it,
        # so it is no `keep` of the handle, which outlives both.
        self._reader: Reader | None = None

    @classmethod
    def _of(cls, opened: int, out: ctypes.c_void_p, keep: Any = None) -> Bank:
        check(opened)
        return cls(out.value or 0, keep)

    @classmethod
    def synthetic(cls, desc: ExpertDesc, layers: int, experts: int, seed: int = 0) -> Bank:
        """Weights made from the seed: uniform with variance 1/fan_in; with a format random bits whose scales give that
        variance. The same bytes on every machine.
        """
        config, out = ufm_bank_synthetic_config(), ctypes.c_void_p()
        fill(config, layers=layers, experts=experts, seed=seed)
        config.desc = ctypes.pointer(desc.struct())
        return cls._of(lib.ufm_bank_synthetic(ctypes.byref(config), ctypes.byref(out)), out)

    @classmethod
    def memory(cls, desc: ExpertDesc, blocks: Iterable[int], layers: int, experts: int, keep: Any = None) -> Bank:
        """Experts that lie in memory: `blocks[layer * experts + expert]` is the address of `desc.expert_bytes` bytes.

        They are read while a host tier is loaded, and must stay where they are as long as the bank or a host tier of
        it is open: give what owns them as `keep`.
        """
        config, out = ufm_bank_memory_config(), ctypes.c_void_p()
        fill(config, layers=layers, experts=experts)
        addresses = [whole("blocks", block, 64) for block in blocks]
        if len(addresses) != config.layers * config.experts:
            raise InvalidArgument(
                f"blocks: there are {len(addresses)}, expected {config.layers * config.experts} (layers * experts)"
            )
        array = (ctypes.c_void_p * len(addresses))(*addresses)
        config.desc = ctypes.pointer(desc.struct())
        config.blocks = ctypes.addressof(array)
        opened = lib.ufm_bank_memory(ctypes.byref(config), ctypes.byref(out))
        return cls._of(opened, out, (array, keep))

    @classmethod
    def files(
        cls,
        desc: ExpertDesc,
        paths: Sequence[Any],
        extents: Sequence[Extent],
        layers: int,
        experts: int,
        layer_numbers: Sequence[int] | None = None,
    ) -> Bank:
        """Experts whose bytes lie where the caller says.

        `extents` in the order [layers][experts][parts], the parts in the order of `desc.parts`; from F32, BF16 and
        F16 to F32 or BF16, from F16 to F16, and what has a format as it is. `layer_numbers`: the model's own numbers
        of the layers, for messages; default 0 … layers - 1. The files must stay until a host tier of the bank is
        loaded, and are opened here for their sizes alone. FileError: what is no file that can be opened; FormatError:
        an extent that ends beyond its file; InvalidArgument.
        """
        config, out = ufm_bank_files_config(), ctypes.c_void_p()
        fill(config, layers=layers, experts=experts, path_count=len(paths), extent_bytes=ctypes.sizeof(ufm_extent))
        packed = _packed(extents, config.layers * config.experts * len(desc.parts))
        array = (ctypes.c_char_p * len(paths))(*(text("paths", path) for path in paths))
        config.desc = ctypes.pointer(desc.struct())
        config.paths = ctypes.cast(array, ctypes.POINTER(ctypes.c_char_p))
        config.extents = ctypes.cast(ctypes.c_char_p(packed), ctypes.c_void_p)
        numbers = _layer_numbers(layer_numbers, config.layers)
        config.layer_numbers = ctypes.addressof(numbers) if numbers is not None else None
        return cls._of(lib.ufm_bank_files(ctypes.byref(config), ctypes.byref(out)), out)

    @classmethod
    def callback(
        cls,
        desc: ExpertDesc,
        read: ReadFn,
        layers: int,
        experts: int,
        layer_numbers: Sequence[int] | None = None,
    ) -> Bank:
        """Experts that a function writes, for weights in memory of the caller's that need not stay.

        `read(layer, expert, block)` writes an expert's parts into `block`, a writable memoryview of
        `desc.expert_bytes` bytes, each where `desc.offsets` says; what lies between them is zero already.
        `layer` counts from 0, whatever `layer_numbers` (as in `files`) says. Neither `block` nor a view of it may be
        used after the call.

        Opening a `Host` calls it once for each expert, `save` too, `Bank.read` for the one, and nothing else does: once
        the last host tier is open, what it reads from may go. `close` gives the function up, with all that it refers
        to, while host tiers and engines go on.

        A `Host` calls it from `fill_threads` threads side by side, which take the experts in the order of layers and,
        within a layer, of experts. Calls may end in another order: a layer is done with when as many of its calls
        have ended as it has experts. With fill_threads=1 the whole order holds.

        What it raises ends the load, `save` or `Bank.read`, and is raised there as it is, but that the variables in
        the frames of its traceback are gone: they may be views of memory that is gone too.
        """
        config, out = ufm_bank_callback_config(), ctypes.c_void_p()
        if not callable(read):
            raise InvalidArgument(f"read is {read!r}, expected a function of layer, expert and block")
        fill(config, layers=layers, experts=experts)
        config.desc = ctypes.pointer(desc.struct())
        reader = Reader(read, desc.expert_bytes)
        config.read = reader.function
        numbers = _layer_numbers(layer_numbers, config.layers)
        config.layer_numbers = ctypes.addressof(numbers) if numbers is not None else None
        bank = cls._of(lib.ufm_bank_callback(ctypes.byref(config), ctypes.byref(out)), out)
        bank._reader = reader
        return bank

    @classmethod
    def open(cls, path: Any) -> Bank:
        """A packed file, or what `checkpoint` opens with its defaults. FileError, FormatError."""
        out = ctypes.c_void_p()
        return cls._of(lib.ufm_bank_open(text("path", path), ctypes.byref(out)), out)

    @classmethod
    def checkpoint(
        cls,
        path: Any,
        *,
        f16_as: Dtype | None = None,
        activation: Activation | None = None,
        layer_begin: int = 0,
        layer_end: int = 0,
        prefix: str | None = None,
        geometry: int = 0,
    ) -> Bank:
        """The routed experts of a checkpoint: a .safetensors file, an index of shards, a GGUF file, or a folder of one.

        `f16_as`: what F16 weights become, F32, BF16 or F16; default: F32, but those of GGUF files stay what they are.
        `activation`: GELU or SILU; default: what config.json or the GGUF file's architecture says. Layers whose number
        in the model is in [layer_begin, layer_end); both 0: all. `prefix`: of several stacks of layers the one whose
        tensors' names begin so; default: the one of most routed layers.

        GGUF files store layers in different types, and a bank has one description. `geometry` n: the layers of the
        n-th kind, in the order of each kind's first layer (`info.geometries` says how many there are, `layer_number`
        which layers a bank has); 0: all layers must be alike, else InvalidArgument lists the kinds.
        """
        config, out = ufm_bank_checkpoint_config(), ctypes.c_void_p()
        fill(config, layer_begin=layer_begin, layer_end=layer_end, prefix=prefix, geometry=geometry)
        config.f16_as = 0 if f16_as is None else int(member("f16_as", f16_as, Dtype))
        config.activation = 0 if activation is None else int(member("activation", activation, Activation))
        return cls._of(lib.ufm_bank_checkpoint(text("path", path), ctypes.byref(config), ctypes.byref(out)), out)

    @property
    def info(self) -> BankInfo:
        """Geometry; also of a bank that is closed, if it was asked before."""
        if self._info is None:
            found = ufm_bank_info()
            check(lib.ufm_bank_get_info(self.pointer, ctypes.byref(found)))
            desc = ExpertDesc.from_struct(found.desc.contents)
            self._info = BankInfo(found.layers, found.experts, desc, found.bank_bytes, found.geometries)
        return self._info

    def layer_number(self, layer: int) -> int:
        """The model's own number of a layer 0 … layers - 1."""
        if not 0 <= layer < self.info.layers:
            raise InvalidArgument(f"layer is {layer}, expected 0 … {self.info.layers - 1}")
        return int(lib.ufm_bank_layer_number(self.pointer, layer))

    def read(self, layer: int, expert: int) -> bytearray:
        """A copy of one expert's `desc.expert_bytes` bytes."""
        block = bytearray(self.info.desc.expert_bytes)
        memory = (ctypes.c_char * len(block)).from_buffer(block)
        where = self.pointer, whole("layer", layer), whole("expert", expert)
        self._check_reading(lambda: int(lib.ufm_bank_read(*where, ctypes.addressof(memory))))
        return block

    def save(self, path: Any) -> None:
        """Writes the bank as a packed file, whole or not at all. FileError."""
        pointer, name = self.pointer, text("path", path)
        self._check_reading(lambda: int(lib.ufm_bank_save(pointer, name)))

    def close(self) -> None:
        """Closes the bank. Host tiers of it go on; may be called again, and does nothing then."""
        super().close()
        self._reader = None

    def _check_reading(self, call: Callable[[], int]) -> None:
        """Raises what a call that reads experts came to: the reader's own exception, if that is what it was."""
        reader = self._reader
        if reader is None:
            check(call())
            return
        status, why, raised = reader.call_aside(call)
        if status:
            try:
                raise raised if raised is not None else error_of(status, why)
            finally:
                del raised  # its traceback knows this frame


def _layer_numbers(numbers: Sequence[int] | None, layers: int) -> ctypes.Array[ctypes.c_uint32] | None:
    if numbers is None:
        return None
    if len(numbers) != layers:
        raise InvalidArgument(f"layer_numbers: there are {len(numbers)}, expected {layers}, one a layer")
    return (ctypes.c_uint32 * layers)(*(whole("layer_numbers", number) for number in numbers))
