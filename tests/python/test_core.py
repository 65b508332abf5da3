# SPDX-License-Identifier: MIT
"""Host tiers and engines as Python objects: what they give and refuse."""

import array
import ctypes
import gc
import os
import signal
import sys
import time

import numpy as np
import pytest

from conftest import BACKEND, ROOT
from ufm import errors
from ufm.core import Bank, Dtype, ExpertDesc, ExpertKind, Host, Layer, divide

CHILD_ENV = {**os.environ, "PYTHONPATH": str(ROOT / "python")}

GATED = ExpertDesc.standard(ExpertKind.GATED, 24, 10, Dtype.F32)


def synthetic(desc=GATED, layers=2, experts=3, seed=1):
    return Bank.synthetic(desc, layers, experts, seed)


# ---------------------------------------------------------------- host tiers


def test_progress_rises_to_the_total():
    told = []
    slow = {"store_filter": "delay:ns=60000000", "fill_threads": 1}
    host = Host(synthetic(), BACKEND, progress=lambda *at: told.append(at), **slow)
    total = 6 * GATED.block_bytes
    assert told[0] == (0, total) and told[-1] == (total, total) and len(told) > 2
    assert [at for at, _ in told] == sorted({at for at, _ in told})
    host.close()


def test_what_progress_and_stop_raise_ends_the_load():
    class Mine(Exception):
        pass

    def fail(*_):
        raise Mine("here")

    for callback in ("progress", "stop"):
        begin = time.monotonic()
        with pytest.raises(Mine, match="here"):
            Host(synthetic(), BACKEND, store_filter="delay:ns=300000000", fill_threads=1, **{callback: fail})
        assert time.monotonic() - begin < 1.5


def test_stop_ends_the_load():
    with pytest.raises(errors.Canceled, match="stop: loading the bank was ended after"):
        Host(synthetic(), BACKEND, store_filter="delay:ns=100000000", fill_threads=1, stop=lambda: True)


def test_an_expert_that_cannot_be_read():
    with pytest.raises(errors.ExpertReadError, match="layer 1 expert 2") as caught:
        Host(synthetic(), BACKEND, store_filter="fault:layer=1,expert=2")
    assert isinstance(caught.value, OSError)


@pytest.mark.parametrize(
    ("error", "told", "options"),
    [
        (errors.BackendError, "no_such", {"backend": "no_such"}),
        (errors.InvalidArgument, "fill_threads is -1", {"fill_threads": -1}),
        (errors.InvalidArgument, "store filter", {"store_filter": "no such"}),
        (errors.InvalidArgument, "backend is 3", {"backend": 3}),
    ],
)
def test_a_host_tier_that_is_refused(error, told, options):
    with pytest.raises(error, match=told):
        Host(synthetic(), **options)


INTERRUPTED = """
import sys, time, ufm
from ufm.core import *
bank = Bank.synthetic(ExpertDesc.standard(ExpertKind.GATED, 64, 64, Dtype.F32), 1, 400)
began = []
def progress(done, total):
    if not began:
        print("loading", flush=True)
    began.append(done)
try:
    Host(bank, "cpu", store_filter="delay:ns=200000000", fill_threads=1, progress=progress)
except KeyboardInterrupt:
    print("interrupted", flush=True)
Host(bank, "cpu").close()
print("loaded", flush=True)
"""


def test_an_interrupt_ends_the_load_within_a_second(start):
    child = start([sys.executable, "-c", INTERRUPTED], env=CHILD_ENV)
    assert child.stdout.readline() == "loading\n"
    begin = time.monotonic()
    child.send_signal(signal.SIGINT)
    assert child.stdout.readline() == "interrupted\n"
    assert time.monotonic() - begin < 1
    assert child.communicate(timeout=30)[0] == "loaded\n" and child.returncode == 0


# ---------------------------------------------------------------- engines


def test_an_engine_tells_of_itself(make_engine):
    engine = make_engine(slots_max=6, policy="lru", headroom_bytes=4096, vram_target_bytes=1 << 27)
    info, memory, bounds = engine.info(), engine.memory(), engine.bounds()
    assert (info.backend, engine.backend) == (BACKEND, BACKEND)
    assert (info.policy, info.slots, info.headroom_bytes, info.max_tokens, info.top_k_max) == ("lru", 6, 4096, 16, 4)
    assert info.cpu_assist == "off" and info.math.name == "FP32" and info.lease_max <= 6
    assert info.slab_bytes == 6 * info.block_bytes
    assert bounds.least_bytes <= bounds.now_bytes <= bounds.most_bytes
    assert 0 < memory.device_free_bytes < memory.device_total_bytes
    assert engine.cpu_choices() == []
    names = [each.name for each in engine.counter_descriptions()]
    assert list(engine.counters()) == names and len(set(names)) == len(names) and "resident_uses" in names
    assert {each.kind for each in engine.counter_descriptions()} <= {"sum", "max", "gauge"}


@pytest.mark.parametrize(
    ("error", "told", "options"),
    [
        (errors.InvalidArgument, "policy", {"policy": "no such"}),
        (errors.InvalidArgument, 'cpu_assist is .*, expected one of "auto", "on", "off"', {"cpu_assist": "maybe"}),
        (errors.InvalidArgument, 'math is 3, expected one of "fp32", "bf16", "tf32"', {"math": 3}),
        (errors.InvalidArgument, "slots_max is -1, expected 0 … 4294967295", {"slots_max": -1}),
        (errors.InvalidArgument, "max_tokens is 4294967297", {"max_tokens": (1 << 32) + 1}),
        (errors.InvalidArgument, "vram_target_bytes is 1.5", {"vram_target_bytes": 1.5}),
        (errors.InvalidArgument, "link_gbps is 'x'", {"link_gbps": "x"}),
        (errors.BudgetError, "at least", {"vram_target_bytes": 4096}),
    ],
)
def test_an_engine_that_is_refused(make_engine, error, told, options):
    with pytest.raises(error, match=told):
        make_engine(**options)


@pytest.mark.skipif(BACKEND != "cpu", reason="needs the cpu backend")
def test_the_cpu_backend_has_one_arithmetic(make_engine):
    with pytest.raises(errors.Unsupported, match="math"):
        make_engine(math="bf16")
    with pytest.raises(errors.Unsupported):
        make_engine().stream_of(0)


def test_budgets_change(make_engine):
    engine = make_engine(experts=64, d_model=256, d_hidden=256)
    bounds = engine.bounds()
    assert bounds.now_bytes == bounds.most_bytes
    assert engine.make_room(5 * 256 * 256 * 12) >= 5 * 256 * 256 * 12
    assert engine.bounds().now_bytes < bounds.now_bytes and engine.info().slots < 64
    engine.resize(bounds.least_bytes)
    assert engine.bounds().now_bytes == bounds.least_bytes
    engine.resize(0)
    assert engine.info().slots == 64
    for change in (lambda: engine.make_room(bounds.now_bytes), lambda: engine.resize(4096)):
        with pytest.raises(errors.BudgetError):
            change()
    assert engine.info().slots == 64
    with pytest.raises(errors.InvalidArgument, match="size_bytes is -1"):
        engine.make_room(-1)


def test_one_budget_is_divided(make_engine):
    engines = [make_engine(smallest=True, d_model=128 * (i + 1), d_hidden=128, experts=32) for i in range(2)]
    least, most = ([getattr(e.bounds(), name) for e in engines] for name in ("least_bytes", "most_bytes"))
    total = (sum(least) + sum(most)) // 2
    held = divide(engines, total)
    assert sum(held) <= total and all(low <= now <= high for low, now, high in zip(least, held, most))
    assert all(engine.bounds().now_bytes <= now for engine, now in zip(engines, held))
    with pytest.raises(errors.BudgetError):
        divide(engines, sum(least) - 1)
    with pytest.raises(errors.InvalidArgument):
        divide(engines, -1)


def test_leases(make_engine):
    engine = make_engine(slots_max=8, max_tokens=0, experts=16)
    bank, stream = engine.host.bank, engine.open_stream()
    as_many_as_may = list(range(6, 6 + engine.lease_max()))
    with engine.acquire(0, [5, 2]) as lease:
        assert len(lease) == 2
        lease.ready(stream)
        block = bytearray(bank.info.desc.expert_bytes)
        target = (ctypes.c_char * len(block)).from_buffer(block)
        engine.copy_to_host(ctypes.addressof(target), lease.view(1), len(block), stream)
        engine.sync(stream)
        assert block == bank.read(0, 2)
        with pytest.raises(errors.InvalidArgument, match="index is 2, expected 0 … 1"):
            lease.view(2)
        with pytest.raises(errors.Busy):
            engine.acquire(0, as_many_as_may)
        begin = time.monotonic()
        with pytest.raises(errors.TimedOut):
            engine.acquire(0, as_many_as_may, wait_ns=50_000_000)
        assert time.monotonic() - begin >= 0.05
    assert lease.closed
    with pytest.raises(errors.InvalidArgument, match="Lease is closed"):
        lease.view(0)
    lease.release()
    engine.acquire(0, as_many_as_may).release(stream)
    engine.prefetch(0, [7])
    engine.prefetch(0, [])
    for wrong in ([16], [1, 1], [-1], [], list(range(9))):
        with pytest.raises(errors.InvalidArgument):
            engine.acquire(0, wrong)
    with pytest.raises(errors.InvalidArgument):
        engine.acquire(1, [0])


def test_a_lease_that_is_dropped_is_released(make_engine):
    engine = make_engine(slots_max=8, max_tokens=0, experts=16)
    as_many_as_may = list(range(engine.lease_max()))
    lease = engine.acquire(0, as_many_as_may)
    with pytest.raises(errors.Busy):
        engine.acquire(0, [15])
    del lease
    gc.collect()
    engine.acquire(0, [15]).release()


def test_device_memory(make_engine):
    engine = make_engine(arena_bytes=1 << 16)
    sent, back = array.array("I", range(1000)), array.array("I", bytes(4000))
    device = engine.alloc(4000)
    assert device % 256 == 0
    engine.copy_to_device(device, sent.buffer_info()[0], 4000)
    engine.copy_to_host(back.buffer_info()[0], device, 4000)
    engine.sync()
    assert back == sent
    with pytest.raises(errors.BudgetError):
        engine.alloc(1 << 16)


def test_files_of_an_engine(make_engine, tmp_path):
    engine = make_engine(timeline_events=100, routing_bytes=1 << 16)
    layer = Layer(engine, 0, 2)
    x, ids, gates = np.ones((3, 64), np.float32), np.array([[1, 2]] * 3, np.int32), np.ones((3, 2), np.float32)
    routing = {"host_ids": ids.ctypes.data, "host_gates": gates.ctypes.data}
    layer.forward_raw(3, x.ctypes.data, x.ctypes.data, on_device=False, wait=True, **routing)
    engine.write_timeline(tmp_path / "timeline.json")
    assert (tmp_path / "timeline.json").stat().st_size > 100
    info = engine.write_routing(tmp_path / "routing.npy")
    assert (info.tokens, info.dropped_tokens, info.partial_tokens) == (3, 0, 0)
    assert np.load(tmp_path / "routing.npy").tolist() == [[[1, 2]]] * 3
    for path, sequences in ((tmp_path / "routing.txt", 1), (tmp_path / "routing.npy", 0)):
        with pytest.raises(errors.InvalidArgument):
            engine.write_routing(path, sequences)
    with pytest.raises(errors.FileError):
        engine.write_timeline(tmp_path / "absent" / "timeline.json")
    with pytest.raises(errors.InvalidArgument):
        make_engine().write_timeline(tmp_path / "none.json")
