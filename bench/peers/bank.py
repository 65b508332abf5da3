# SPDX-License-Identifier: MIT
"""The layer that every peer runs: its experts in one host slab, its router, and its output in float64."""
import concurrent.futures
import mmap
import os
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

PAGE = 4096
# A card refuses one registration of everything; drivers take pieces of this size.
PIECE_BYTES_MAX = 2**30
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Geometry:
    """Two matrices with biases and GELU, `top_k` of `experts` for each token."""
    d_model: int
    d_hidden: int
    experts: int
    top_k: int
    tokens: int
    dtype: str

    @property
    def part_shapes(self):
        return ((self.d_hidden, self.d_model), (self.d_hidden,), (self.d_model, self.d_hidden), (self.d_model,))

    @property
    def expert_bytes(self):
        return sum(int(np.prod(shape)) for shape in self.part_shapes) * DTYPES[self.dtype].itemsize

    @property
    def block_bytes(self):
        return -(-self.expert_bytes // PAGE) * PAGE

    @property
    def block_items(self):
        return self.block_bytes // DTYPES[self.dtype].itemsize

    def parts(self, block):
        """The four tensors of an expert as views of its block."""
        views, at = [], 0
        for shape in self.part_shapes:
            size = int(np.prod(shape))
            views.append(block[at:at + size].view(shape))
            at += size
        return views

    @staticmethod
    def activation(hidden):
        return functional.gelu(hidden)

    def expert(self, parts, x):
        up, up_bias, down, down_bias = parts
        return functional.linear(self.activation(functional.linear(x, up, up_bias)), down, down_bias)


class Gated(Geometry):
    """Gate and up as one matrix, SiLU, and down: the experts of Qwen3 and many others."""

    @property
    def part_shapes(self):
        return (2 * self.d_hidden, self.d_model), (self.d_model, self.d_hidden)

    @staticmethod
    def activation(hidden):
        gate, up = hidden.chunk(2, -1)
        return functional.silu(gate) * up

    def expert(self, parts, x):
        return functional.linear(self.activation(functional.linear(x, parts[0])), parts[1])


class Bank:
    """The blocks of `most` experts in one slab of host memory, pageable until `lock`.

    Weights are one random block, taken from another place for every expert: each differs, and the fill
    runs at the speed of memory.
    """

    def __init__(self, geometry, most, seed):
        self.geometry, self.most = geometry, most
        self.bytes = most * geometry.block_bytes
        self._map = mmap.mmap(-1, self.bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        if hasattr(mmap, "MADV_HUGEPAGE"):
            self._map.madvise(mmap.MADV_HUGEPAGE)
        self._bytes = np.frombuffer(self._map, np.uint8)
        self._fill(seed)
        self._slab = torch.from_numpy(self._bytes).view(DTYPES[geometry.dtype]).view(most, geometry.block_items)
        self._locked = []

    def _fill(self, seed):
        geometry = self.geometry
        step = 64  # bytes between the beginnings of two experts' weights
        items = (geometry.block_bytes + step * self.most) // 4
        values = np.random.default_rng(seed).standard_normal(items, dtype=np.float32)
        scaled = torch.from_numpy(values).mul_(geometry.d_model ** -0.5)
        if geometry.dtype == "bf16":
            scaled = torch.cat((scaled, scaled)).to(torch.bfloat16).view(torch.int16)
        source = scaled.numpy().view(np.uint8)

        def put(expert):
            begin = expert * geometry.block_bytes
            self._bytes[begin:begin + geometry.block_bytes] = source[expert * step:][:geometry.block_bytes]

        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(put, range(self.most)))

    def block(self, expert):
        return self._slab[expert]

    def parts(self, expert):
        return self.geometry.parts(self._slab[expert])

    @property
    def locked(self):
        return bool(self._locked)

    def lock(self):
        """Page-locks the slab, in pieces that end where a block ends: no copy crosses two of them."""
        step = max(1, PIECE_BYTES_MAX // self.geometry.block_bytes)
        for first in range(0, self.most, step):
            count = min(step, self.most - first)
            address = self._slab[first].data_ptr()
            _check(torch.cuda.cudart().cudaHostRegister(address, count * self.geometry.block_bytes, 0))
            self._locked.append(address)

    def unlock(self):
        while self._locked:
            _check(torch.cuda.cudart().cudaHostUnregister(self._locked.pop()))


def _check(result):
    if int(result) != 0:
        raise RuntimeError(f"page-locking the experts failed: CUDA error {int(result)}")


class Layer:
    """x + the gated sum of `top_k` experts of rmsnorm(x), with the experts wherever `placement` has them."""

    def __init__(self, geometry, device, seed):
        self.geometry, self.device = geometry, device
        source = np.random.default_rng((seed, 1))
        self._router = source.standard_normal((geometry.experts, geometry.d_model)) * geometry.d_model ** -0.5
        self._norm = 1 + 0.1 * source.standard_normal(geometry.d_model)
        dtype = DTYPES[geometry.dtype]
        self.router = torch.tensor(self._router, dtype=torch.float32, device=device)
        self.norm = torch.tensor(self._norm, dtype=torch.float32, device=device)
        self.dtype = dtype

    def tokens(self, seed, step):
        """Hidden states that no other step has, in f32 on the device."""
        source = torch.Generator(self.device)
        source.manual_seed(seed * 1_000_003 + step)
        shape = (self.geometry.tokens, self.geometry.d_model)
        return torch.randn(shape, generator=source, device=self.device)

    def forward(self, x, placement):
        """The output, and how many distinct experts it took."""
        normed = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * self.norm
        gates, ids = torch.softmax(normed @ self.router.T, -1).topk(self.geometry.top_k, -1)
        rows, begins, gates = self._group(ids, gates)
        used = [e for e in range(self.geometry.experts) if begins[e] < begins[e + 1]]
        normed, out = normed.to(self.dtype), x.clone()
        placement.begin(used)
        for expert in used:
            mine = slice(begins[expert], begins[expert + 1])
            y = placement.run(expert, normed[rows[mine]])
            out.index_add_(0, rows[mine], y.float() * gates[mine, None])
        return out, len(used)

    def _group(self, ids, gates):
        """Token rows and gates by expert, and where each expert's begin: one wait for the device a step."""
        flat = ids.flatten()
        order = torch.argsort(flat, stable=True)
        counts = torch.bincount(flat, minlength=self.geometry.experts).tolist()
        begins = [0]
        for count in counts:
            begins.append(begins[-1] + count)
        return order // self.geometry.top_k, begins, gates.flatten()[order]

    def error(self, x, y, bank, most=2):
        """max|y - ref| / max|ref| of the layer's own part in float64, over the first clear tokens."""
        x, y = x.cpu().double().numpy(), y.cpu().double().numpy()
        normed = x / np.sqrt(np.square(x).mean(-1, keepdims=True) + 1e-6) * self._norm
        logits = normed @ self._router.T
        best = np.sort(logits, -1)[:, ::-1]
        k = self.geometry.top_k
        # A token whose choice is a matter of the last digits proves nothing.
        clear = (best[:, k - 1] - best[:, k] > 1e-4) if k < self.geometry.experts else np.ones(len(x), bool)
        worst = largest = 0.0
        for token in np.flatnonzero(clear)[:most]:
            want = self._token(normed[token], logits[token], bank)
            worst = max(worst, np.abs(y[token] - x[token] - want).max())
            largest = max(largest, np.abs(want).max())
        return worst / largest if largest else float("nan")

    def _token(self, normed, logits, bank):
        weights = np.exp(logits - logits.max())
        weights /= weights.sum()
        out = np.zeros(self.geometry.d_model)
        for expert in np.argsort(-logits)[:self.geometry.top_k]:
            up, up_bias, down, down_bias = (part.double() for part in bank.parts(expert))
            hidden = torch.nn.functional.gelu(up @ torch.from_numpy(normed) + up_bias)
            out += weights[expert] * (down @ hidden + down_bias).numpy()
        return out
