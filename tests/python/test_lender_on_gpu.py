# SPDX-License-Identifier: MIT
"""PyTorch's allocator on a GPU, with segments from a lender: one limit by the driver's count."""

from __future__ import annotations

import ctypes
import gc

import pytest

torch = pytest.importorskip("torch", reason="not installed: torch")

from ufm.core import Bank, Dtype, Engine, ExpertDesc, ExpertKind, Host, Layer, Lender  # noqa: E402

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")

MIB = 1 << 20
DESC = ExpertDesc.standard(ExpertKind.GATED, 1024, 1024, Dtype.F32)  # 12 MiB
EXPERTS = 64


@pytest.fixture
def engine():
    with Engine(
        Host(Bank.synthetic(DESC, 1, EXPERTS, 7), "cuda"), max_tokens=8, top_k_max=2, cpu_assist="off"
    ) as engine:
        yield engine


def used():
    free, total = torch.cuda.mem_get_info()
    return total - free


def output(engine, layer):
    torch.manual_seed(1)
    x, y = torch.randn(8, 1024, device="cuda"), torch.zeros(8, 1024, device="cuda")
    ids, gates = torch.arange(16, device="cuda") * 5 % EXPERTS, torch.ones(16, device="cuda")
    torch.cuda.synchronize()
    layer.forward_raw(8, x.data_ptr(), y.data_ptr(), ids=ids.data_ptr(), gates=gates.data_ptr(), wait=True)
    return y.cpu()


def test_segments_are_lent_and_come_back(engine):
    layer = Layer(engine, 0, 2)
    want, most = output(engine, layer), engine.bounds().now_bytes
    limit = used()
    with Lender([engine], limit) as lender:
        pool = torch.cuda.MemPool(torch._C._cuda_customAllocator(*lender.addresses()))
        with torch.cuda.use_mem_pool(pool):
            grown = [torch.full((16 * MIB,), step, dtype=torch.uint8, device="cuda") for step in range(12)]
            assert used() <= limit and lender.info().lent_bytes >= 12 * 16 * MIB
            assert engine.bounds().now_bytes < most and lender.info().rooms > 0
            assert torch.equal(output(engine, layer), want)
            assert all(int(each[-1]) == step for step, each in enumerate(grown))
            with pytest.raises(torch.OutOfMemoryError):
                torch.empty(most + limit, dtype=torch.uint8, device="cuda")
            assert used() <= limit
            lender.settle(keep_free_bytes=64 * MIB)
            assert limit - used() >= 64 * MIB - lender.info().limit_bytes // 256
        del grown, pool
        gc.collect()
        torch.cuda.empty_cache()
        assert lender.info().lent_bytes == 0
        lender.settle()
        assert used() <= limit and engine.bounds().now_bytes > most - 64 * MIB
        assert torch.equal(output(engine, layer), want)


def test_segments_outlive_their_lender(engine):
    lender = Lender([engine], used() + 64 * MIB)
    pool = torch.cuda.MemPool(torch._C._cuda_customAllocator(*lender.addresses()))
    with torch.cuda.use_mem_pool(pool):
        kept = torch.full((16 * MIB,), 3, dtype=torch.uint8, device="cuda")
    lender.close()
    alloc = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int, ctypes.c_void_p)(lender.addresses()[0])
    assert alloc(MIB, 0, None) is None and int(kept.min()) == 3
    before = used()
    del kept, pool
    gc.collect()
    torch.cuda.empty_cache()
    assert before - used() >= 16 * MIB
