# SPDX-License-Identifier: MIT
"""Lenders in Python: one limit for engines and an allocator that calls two addresses, over a driver made of Python."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import threading

import numpy as np
import pytest

from ufm import _library, errors
from ufm._structs import DriverAllocFn, DriverMemoryFn, DriverReleaseFn
from ufm.core import Bank, DriverFunctions, Dtype, Engine, ExpertDesc, ExpertKind, Host, Layer, Lender

TOTAL, OTHERS = 1 << 30, 3 << 20 | 5
MIB = 1 << 20
DESC = ExpertDesc.standard(ExpertKind.GATED, 128, 256, Dtype.F32)  # 384 KiB

allocator = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int, ctypes.c_void_p)
releaser = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int, ctypes.c_void_p)


class Driver:
    """Keeps account of what engines really hold and of what was lent."""

    def __init__(self, *engines: Engine) -> None:
        self.engines = engines
        self.lent: dict[int, int] = {}
        self.refusals = self.made_current = 0
        self.depth = 0
        self._next = 1 << 20
        self._kept = DriverAllocFn(self._alloc), DriverReleaseFn(self._release), DriverMemoryFn(self._memory)
        alloc, release, memory = (ctypes.cast(each, ctypes.c_void_p).value for each in self._kept)
        self.functions = DriverFunctions(alloc, release, memory, self._current)

    @property
    def used(self) -> int:
        return sum(engine.memory().held_bytes for engine in self.engines) + sum(self.lent.values())

    def _alloc(self, out, size):
        if self.refusals:
            self.refusals -= 1
            return 2
        self._next += MIB
        self.lent[self._next] = size
        out[0] = self._next
        return 0

    def _release(self, memory):
        return 0 if self.lent.pop(memory, None) else 1

    def _memory(self, free, total):
        total[0], free[0] = TOTAL, TOTAL - OTHERS - self.used
        return 0

    @contextlib.contextmanager
    def _current(self):
        self.made_current += 1
        self.depth += 1
        try:
            yield
        finally:
            self.depth -= 1


def open_engine(experts=16, **options):
    bank = Bank.synthetic(DESC, 1, experts, 7)
    options = {"max_tokens": 4, "top_k_max": 2, "cpu_assist": "off", "compute_threads": 1, **options}
    return Engine(Host(bank, "cpu"), **options)


@pytest.fixture
def engine():
    with open_engine() as engine:
        yield engine


def gives(engine):
    bounds = engine.bounds()
    return bounds.now_bytes - bounds.least_bytes


def test_room_is_made_and_taken_again(engine):
    layer, driver = Layer(engine, 0, 2), Driver(engine)
    x = np.random.default_rng(1).standard_normal((4, 128), dtype=np.float32)
    ids, gates = np.array([[0, 5], [7, 15], [3, 9], [11, 1]], np.int32), np.full((4, 2), 0.5, np.float32)

    def output():
        y = np.zeros_like(x)
        routing = {"ids": ids.ctypes.data, "id_bytes": 4, "gates": gates.ctypes.data}
        layer.forward_raw(4, x.ctypes.data, y.ctypes.data, wait=True, **routing)
        return y.tobytes()

    want, most, limit = output(), engine.bounds().now_bytes, driver.used
    with Lender([engine], limit, OTHERS, functions=driver.functions) as lender:
        memory = lender.alloc(3 * MIB)
        assert driver.used <= limit and engine.bounds().now_bytes < most
        info = lender.info()
        assert (info.limit_bytes, info.used_bytes, info.lent_bytes, info.lent_count) == (limit, driver.used, 3 * MIB, 1)
        assert info.rooms == 1 and info.room_bytes >= 3 * MIB and info.gives_bytes == gives(engine)
        assert output() == want
        with pytest.raises(errors.BudgetError, match=f"{TOTAL} bytes asked, {driver.used} used of a limit of {limit}"):
            lender.alloc(TOTAL)
        lender.free(memory)
        lender.settle()
        assert engine.bounds().now_bytes == most and lender.info().grown == 1
        lender.settle(keep_free_bytes=2 * MIB)
        assert limit - driver.used >= 2 * MIB
        assert output() == want
        with pytest.raises(errors.BudgetError, match="bytes to keep free"):
            lender.settle(TOTAL)
        driver.refusals = 2
        with pytest.raises(errors.DeviceMemoryError, match="the driver refused"):
            lender.alloc(1)
        with pytest.raises(errors.InvalidArgument, match="memory: 0x"):
            lender.free(memory)
        assert lender.info().refused == 2 and driver.made_current > 8 and driver.depth == 0


def test_an_allocator_calls_the_addresses(engine):
    driver = Driver(engine)
    alloc, free = (kind(at) for kind, at in zip((allocator, releaser), Lender.addresses()))
    assert alloc(MIB, 0, None) is None and "no open lender" in _library.last_error()
    lender = Lender([engine], driver.used, OTHERS, functions=driver.functions)
    first, second = alloc(MIB, 0, None), alloc(2 * MIB, 0, 77)
    assert sorted(driver.lent) == [first, second] and alloc(MIB, 1, None) is None
    assert alloc(TOTAL, 0, None) is None and lender.info().refused == 1
    free(second, 2 * MIB, 0, None)
    assert driver.lent == {first: MIB}
    lender.close()
    assert alloc(MIB, 0, None) is None
    free(first, MIB, 0, None)
    free(first, MIB, 0, None)
    assert not driver.lent
    with pytest.raises(errors.InvalidArgument, match="this Lender is closed"):
        lender.settle()


def test_threads_borrow_while_layers_run(engine):
    layer, driver = Layer(engine, 0, 2), Driver(engine)
    alloc, free = (kind(at) for kind, at in zip((allocator, releaser), Lender.addresses()))
    x, y = np.ones((4, 128), np.float32), np.zeros((4, 128), np.float32)
    limit, passed = driver.used, []

    def borrow():
        for size in range(40):
            memory = alloc(1 + size * 50_000, 0, None)
            passed.append(lender.info().used_bytes > limit or memory is None)
            free(memory, 0, 0, None)
            lender.settle()

    with Lender([engine], limit, OTHERS, functions=driver.functions) as lender:
        threads = [threading.Thread(target=borrow) for _ in range(2)]
        for thread in threads:
            thread.start()
        results, running = set(), True
        while running:  # once more after the threads have ended, however fast they were
            running = any(thread.is_alive() for thread in threads)
            ids, gates = np.arange(8, dtype=np.int64), np.ones(8, np.float32)
            layer.forward_raw(4, x.ctypes.data, y.ctypes.data, ids=ids.ctypes.data, gates=gates.ctypes.data, wait=True)
            results.add(y.tobytes())
        for thread in threads:
            thread.join()
        assert len(passed) == 80 and not any(passed) and len(results) == 1 and not driver.lent


def test_a_lender_closes_before_any_of_its_engines():
    for closed_first in (0, 1):
        engines = open_engine(), open_engine()
        driver = Driver(*engines)
        lender = Lender(engines, driver.used, OTHERS, functions=driver.functions)
        assert lender.info().gives_bytes == gives(engines[0]) + gives(engines[1])
        engines[closed_first].close()
        assert lender.closed
        engines[1 - closed_first].close()
        lender.close()


def test_a_dropped_lender_closes_and_leaves_its_engines(engine):
    driver = Driver(engine)
    lender = Lender([engine], driver.used, OTHERS, functions=driver.functions)
    alloc = allocator(lender.addresses()[0])
    handle = lender._handle
    assert handle in engine._handle._dependents
    del lender
    gc.collect()
    assert alloc(1, 0, None) is None and handle not in engine._handle._dependents
    engine.resize(engine.bounds().most_bytes)


def test_without_a_count_of_the_drivers(engine):
    driver = Driver(engine)
    functions = DriverFunctions(driver.functions.alloc, driver.functions.release)
    with Lender([engine], driver.used, functions=functions) as lender:
        memory = lender.alloc(MIB)
        assert lender.info().used_bytes == driver.used <= lender.info().limit_bytes
        lender.free(memory)
    with pytest.raises(errors.InvalidArgument, match="others_bytes"):
        Lender([engine], driver.used, OTHERS, functions=functions)


def test_what_is_refused(engine):
    driver = Driver(engine)
    with pytest.raises(errors.InvalidArgument, match="functions is None, expected those of a driver"):
        Lender([engine], 1)
    for engines, why in (([], "engines"), ([engine, engine], "engines\\[1\\]: NULL or given twice")):
        with pytest.raises(errors.InvalidArgument, match=why):
            Lender(engines, 1, functions=driver.functions)
    for limit, why in ((0, "limit_bytes: 0"), (-1, "limit_bytes is -1"), (1.5, "limit_bytes is 1.5")):
        with pytest.raises(errors.InvalidArgument, match=why):
            Lender([engine], limit, functions=driver.functions)
    with Lender([engine], 1, functions=driver.functions) as lender:
        with pytest.raises(errors.InvalidArgument, match="keep_free_bytes is -1"):
            lender.settle(-1)
        with pytest.raises(errors.InvalidArgument, match="size_bytes: 0"):
            lender.alloc(0)
    engine.close()
    with pytest.raises(errors.InvalidArgument, match="this Engine is closed"):
        Lender([engine], 1, functions=driver.functions)


def test_a_child_process_has_no_lender(engine):
    driver = Driver(engine)
    with Lender([engine], driver.used, OTHERS, functions=driver.functions) as lender:
        memory = lender.alloc(MIB)
        alloc, free = (kind(at) for kind, at in zip((allocator, releaser), lender.addresses()))
        child = os.fork()
        if child == 0:
            wrong = 0 if alloc(1, 0, None) is None else 1
            try:
                lender.settle()
                wrong |= 2
            except errors.InvalidArgument:
                pass
            free(memory, MIB, 0, None)
            wrong |= 0 if driver.lent == {memory: MIB} else 4
            lender.close()
            os._exit(wrong)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        lender.free(memory)
        assert not driver.lent


def test_the_cuda_driver_or_why_not():
    """A machine without a GPU says so; with one the functions' addresses are the driver's."""
    try:
        functions = DriverFunctions.cuda()
    except errors.BackendError as error:
        assert "libcuda.so.1" in str(error)
        return
    memory = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(functions.memory)
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    with functions.current():
        assert memory(ctypes.addressof(free), ctypes.addressof(total)) == 0
    assert 0 < free.value <= total.value
