# SPDX-License-Identifier: MIT
"""Banks whose experts a Python function writes: which are asked for and when, what it raises, and how long it lives."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import threading
import time
import weakref
from pathlib import Path

import numpy as np
import pytest

from ufm.core import Bank, Dtype, Engine, ExpertDesc, ExpertKind, Host
from ufm.errors import Canceled, ExpertReadError, InvalidArgument

LAYERS, EXPERTS = 3, 5
ALL = [(layer, expert) for layer in range(LAYERS) for expert in range(EXPERTS)]
DESC = ExpertDesc.standard(ExpertKind.MLP_BIAS, 5, 7, Dtype.F32)


class Weights:
    """A model's experts, part by part, and a function that copies them and notes what it was asked for."""

    def __init__(self, desc: ExpertDesc = DESC) -> None:
        self.desc = desc
        random = np.random.default_rng(3)
        self.parts = {
            where: [random.integers(1, 256, part.bytes, dtype=np.uint8) for part in desc.parts] for where in ALL
        }
        self.asked: list[tuple[int, int]] = []
        self.threads: set[int] = set()

    def read(self, layer: int, expert: int, block: memoryview) -> None:
        self.asked.append((layer, expert))
        self.threads.add(threading.get_native_id())
        assert len(block) == self.desc.expert_bytes and not block.readonly and block.format == "B"
        for offset, part in zip(self.desc.offsets, self.parts[layer, expert]):
            block[offset : offset + len(part)] = part.data

    def bank(self) -> Bank:
        return Bank.callback(self.desc, self.read, LAYERS, EXPERTS)

    def block(self, layer: int, expert: int) -> bytes:
        """What must be there: zeros between the parts."""
        block = bytearray(self.desc.expert_bytes)
        for offset, part in zip(self.desc.offsets, self.parts[layer, expert]):
            block[offset : offset + len(part)] = part.tobytes()
        return bytes(block)


def loaded(host: Host, layer: int, expert: int) -> bytes:
    """An expert's bytes as an engine sees them; addresses of the cpu backend are the host's."""
    with Engine(host, compute_threads=1) as engine, engine.acquire(layer, [expert], wait_ns=0) as lease:
        stream = engine.open_stream()
        lease.ready(stream)
        engine.sync(stream)
        return ctypes.string_at(lease.view(0), engine.info().expert_bytes)


def open_host(bank: Bank, **options: object) -> Host:
    return Host(bank, backend="cpu", pageable=True, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "desc",
    [
        ExpertDesc.standard(ExpertKind.MLP, 1, 1, Dtype.F32),
        ExpertDesc.standard(ExpertKind.MLP_BIAS, 33, 17, Dtype.BF16),
        ExpertDesc.standard(ExpertKind.GATED, 7, 9, Dtype.BF16),
        DESC,
    ],
)
@pytest.mark.parametrize("threads", [0, 1, 4])
def test_every_expert_is_asked_for_once(desc: ExpertDesc, threads: int) -> None:
    weights = Weights(desc)
    with weights.bank() as bank, open_host(bank, fill_threads=threads) as host:
        assert sorted(weights.asked) == ALL
        for where in ALL:
            assert loaded(host, *where) == weights.block(*where)
        assert len(weights.asked) == len(ALL)


def test_one_thread_asks_in_order() -> None:
    weights = Weights()
    with weights.bank() as bank, open_host(bank, fill_threads=1):
        assert weights.asked == ALL
        assert len(weights.threads) == 1


def test_threads_ask_side_by_side() -> None:
    """As many are in it at once as there are threads: else the barrier would break."""
    barrier = threading.Barrier(3, timeout=60)
    weights = Weights()

    def read(layer: int, expert: int, block: memoryview) -> None:
        barrier.wait()
        weights.read(layer, expert, block)

    with Bank.callback(DESC, read, LAYERS, EXPERTS) as bank, open_host(bank, fill_threads=3):
        assert sorted(weights.asked) == ALL


def test_single_experts_and_packed_files(tmp_path: Path) -> None:
    weights = Weights()
    with weights.bank() as bank:
        for where in ALL:
            assert bytes(bank.read(*where)) == weights.block(*where)
        assert weights.asked == ALL
        bank.save(tmp_path / "bank.ufm")
        assert weights.asked == ALL + ALL
    with Bank.open(tmp_path / "bank.ufm") as back:
        assert back.info.desc.parts == DESC.parts
        for where in ALL:
            assert bytes(back.read(*where)) == weights.block(*where)


def test_a_layer_can_be_given_up_when_all_of_it_was_asked_for() -> None:
    """What an attached model does: while the last layers are read the first are gone."""
    weights = Weights()
    wanted = {where: weights.block(*where) for where in ALL}
    left = dict.fromkeys(range(LAYERS), EXPERTS)
    most_layers_begun: list[int] = []
    lock = threading.Lock()

    def read(layer: int, expert: int, block: memoryview) -> None:
        weights.read(layer, expert, block)
        with lock:
            left[layer] -= 1
            if not left[layer]:
                for each in range(EXPERTS):
                    del weights.parts[layer, each]
            most_layers_begun.append(sum(0 < count < EXPERTS for count in left.values()))

    with Bank.callback(DESC, read, LAYERS, EXPERTS) as bank, open_host(bank, fill_threads=2) as host:
        assert not weights.parts
        # of two threads one alone can be in a layer that the other has left
        assert max(most_layers_begun) <= 2
        for where, block in wanted.items():
            assert loaded(host, *where) == block


def test_the_function_asks_by_the_banks_own_numbers() -> None:
    weights = Weights()
    with Bank.callback(DESC, weights.read, LAYERS, EXPERTS, layer_numbers=[3, 11, 40]) as bank:
        assert [bank.layer_number(layer) for layer in range(LAYERS)] == [3, 11, 40]
        bank.read(1, 2)
        assert weights.asked == [(1, 2)]


# ---------------------------------------------------------------- what it raises


class Broken(Exception):
    """Nothing that this package or libufm knows."""


class Failing(Weights):
    """Raises for one expert."""

    def __init__(self, error: BaseException, where: tuple[int, int] = (1, 3)) -> None:
        super().__init__()
        self.error: BaseException | None = error
        self.where = where

    def read(self, layer: int, expert: int, block: memoryview) -> None:
        view = np.frombuffer(block, np.uint8)
        if self.error is not None and (layer, expert) == self.where:
            raise self.error
        super().read(layer, expert, block)
        assert view.any()


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("where", [(0, 0), (1, 3), (2, 4)])
def test_an_exception_ends_the_load_and_is_raised_as_it_is(threads: int, where: tuple[int, int]) -> None:
    error = Broken("no such tensor", 7)
    error.__cause__ = KeyError("down_proj")
    weights = Failing(error, where)
    with weights.bank() as bank:
        with pytest.raises(Broken) as caught:
            open_host(bank, fill_threads=threads)
        assert caught.value is error
        assert isinstance(error.__cause__, KeyError) and error.__context__ is None
        assert where not in weights.asked
        assert caught.traceback[-1].name == "read"
        if threads == 1:
            assert weights.asked == ALL[: ALL.index(where)]
        # the same bank, once it goes well
        weights.error = None
        weights.asked.clear()
        with open_host(bank, fill_threads=threads) as host:
            assert sorted(weights.asked) == ALL
            assert loaded(host, *where) == weights.block(*where)


@pytest.mark.parametrize("error", [SystemExit(3), MemoryError(), Canceled("enough"), ExpertReadError("disk")])
def test_exceptions_of_every_kind(error: BaseException) -> None:
    with Failing(error).bank() as bank, pytest.raises(type(error)) as caught:
        open_host(bank)
    assert caught.value is error


def test_several_that_raise_at_once_are_one_exception() -> None:
    barrier = threading.Barrier(3, timeout=60)
    raised: list[Broken] = []

    def read(layer: int, expert: int, block: memoryview) -> None:
        barrier.wait()
        raised.append(Broken(layer, expert))
        raise raised[-1]

    with Bank.callback(DESC, read, LAYERS, EXPERTS) as bank:
        with pytest.raises(Broken) as caught:
            open_host(bank, fill_threads=3)
        assert len(raised) == 3 and caught.value in raised


def test_reading_and_saving_raise_it_too(tmp_path: Path) -> None:
    error = Broken()
    weights = Failing(error)
    with weights.bank() as bank:
        with pytest.raises(Broken) as caught:
            bank.read(1, 3)
        assert caught.value is error
        assert bytes(bank.read(1, 2)) == weights.block(1, 2)
        with pytest.raises(Broken):
            bank.save(tmp_path / "bank.ufm")
        assert os.listdir(tmp_path) == []


def test_no_variable_of_the_traceback_refers_to_memory_that_is_gone() -> None:
    with Failing(Broken()).bank() as bank, pytest.raises(Broken) as caught:
        open_host(bank, fill_threads=1)
    frames = {entry.name: entry.frame.f_locals for entry in caught.traceback}
    assert "view" not in frames["read"] and "block" not in frames["read"]


def test_a_block_is_of_no_use_after_the_call() -> None:
    kept: list[memoryview] = []

    def read(_layer: int, _expert: int, block: memoryview) -> None:
        kept.append(block)

    with Bank.callback(DESC, read, LAYERS, EXPERTS) as bank:
        bank.read(0, 0)
    with pytest.raises(ValueError, match="released"):
        kept[0][0]


def test_a_failure_that_is_not_the_functions_is_libufms() -> None:
    weights = Weights()
    with weights.bank() as bank, pytest.raises(ExpertReadError, match="layer 1 expert 2: read failed on request"):
        open_host(bank, store_filter="fault:layer=1,expert=2")


def test_a_failure_of_one_load_is_none_of_another() -> None:
    """One host tier fails while another, of the same bank, is loaded and comes to be."""
    weights = Weights()
    begun, failed = threading.Event(), threading.Event()
    first = threading.local()
    results: list[object] = []

    def read(layer: int, expert: int, block: memoryview) -> None:
        weights.read(layer, expert, block)
        if not begun.is_set():
            first.here = True
            begun.set()
            assert failed.wait(60)
        elif not getattr(first, "here", False):
            raise Broken

    with Bank.callback(DESC, read, LAYERS, EXPERTS) as bank:
        loader = threading.Thread(target=lambda: results.append(open_host(bank, fill_threads=1)))
        loader.start()
        assert begun.wait(60)
        with pytest.raises(Broken):
            open_host(bank, fill_threads=1)
        failed.set()
        loader.join()
        (host,) = results
        assert isinstance(host, Host)
        assert loaded(host, 2, 4) == weights.block(2, 4)
        host.close()


def test_a_load_is_stopped() -> None:
    weights = Weights()

    def read(layer: int, expert: int, block: memoryview) -> None:
        weights.read(layer, expert, block)
        time.sleep(0.05)

    with Bank.callback(DESC, read, LAYERS, EXPERTS) as bank, pytest.raises(Canceled, match="of 15 blocks"):
        open_host(bank, fill_threads=1, stop=lambda: len(weights.asked) >= 2)
    assert 2 <= len(weights.asked) < len(ALL)


def test_a_load_is_interrupted() -> None:
    weights = Weights()

    def read(layer: int, expert: int, block: memoryview) -> None:
        weights.read(layer, expert, block)
        if (layer, expert) == (0, 1):
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)

    with Bank.callback(DESC, read, LAYERS, EXPERTS) as bank, pytest.raises(KeyboardInterrupt):
        open_host(bank, fill_threads=1)
    assert len(weights.asked) < len(ALL)


@pytest.mark.parametrize("where", [(0, 0), (1, 3), (2, 4)])
def test_saving_is_interrupted(where: tuple[int, int], tmp_path: Path) -> None:
    """Whenever the signal comes: nothing is saved, and nothing that was not written is taken for an expert."""
    weights = Weights()

    def read(layer: int, expert: int, block: memoryview) -> None:
        weights.read(layer, expert, block)
        if (layer, expert) == where:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.2)  # until the main thread has noticed

    with Bank.callback(DESC, read, LAYERS, EXPERTS) as bank:
        with pytest.raises(KeyboardInterrupt):
            bank.save(tmp_path / "bank.ufm")
        if where != ALL[-1]:
            assert os.listdir(tmp_path) == []
            assert weights.asked == ALL[: ALL.index(where) + 1]
        with pytest.raises(KeyboardInterrupt):
            bank.read(*where)


def test_the_main_thread_is_never_asked(tmp_path: Path) -> None:
    weights = Weights()
    with weights.bank() as bank:
        bank.read(0, 0)
        bank.save(tmp_path / "bank.ufm")
        open_host(bank).close()
    assert threading.get_native_id() not in weights.threads


# ---------------------------------------------------------------- making and keeping one


def test_wrong_arguments() -> None:
    read = Weights().read
    with pytest.raises(InvalidArgument, match="read is None, expected a function"):
        Bank.callback(DESC, None, LAYERS, EXPERTS)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="experts is 0"):
        Bank.callback(DESC, read, LAYERS, 0)
    with pytest.raises(InvalidArgument, match="layers is -1"):
        Bank.callback(DESC, read, -1, EXPERTS)
    with pytest.raises(InvalidArgument, match="layer_numbers: there are 2, expected 3"):
        Bank.callback(DESC, read, LAYERS, EXPERTS, layer_numbers=[1, 2])
    with Weights().bank() as bank, pytest.raises(InvalidArgument, match="expert 5, expected below"):
        bank.read(0, 5)


def test_a_closed_bank_gives_the_function_up() -> None:
    weights = Weights()
    wanted = weights.block(2, 4)
    alive = weakref.ref(weights)
    bank = weights.bank()
    del weights
    host = open_host(bank)
    gc.collect()
    assert alive() is not None
    bank.close()
    gc.collect()
    assert alive() is None
    assert host.bank is bank
    assert loaded(host, 2, 4) == wanted
    host.close()


class Attached(Weights):
    """Refers to its bank, and by its function the bank to it."""

    def __init__(self) -> None:
        super().__init__()
        self.own_bank = self.bank()
        self.own_bank.read(0, 0)


@pytest.mark.parametrize("closes", [True, False])
def test_a_function_may_refer_to_its_bank(closes: bool) -> None:
    attached = Attached()
    alive, bank = weakref.ref(attached), weakref.ref(attached.own_bank)
    if closes:
        attached.own_bank.close()
    del attached
    gc.collect()
    assert alive() is None and bank() is None


def test_a_failed_load_keeps_nothing_alive() -> None:
    """Also where the exception is kept by the function itself."""
    weights = Failing(Broken())
    alive, caught = weakref.ref(weights), False
    bank = weights.bank()
    try:
        open_host(bank)
    except Broken:  # pytest.raises would keep the traceback
        caught = True
    assert caught
    del weights, bank
    gc.collect()
    assert alive() is None


def test_closing_while_it_is_loaded() -> None:
    weights = Weights()
    closed = threading.Event()
    bank: Bank

    def read(layer: int, expert: int, block: memoryview) -> None:
        bank.close()
        closed.set()
        gc.collect()
        weights.read(layer, expert, block)

    bank = Bank.callback(DESC, read, LAYERS, EXPERTS)
    with open_host(bank) as host:
        assert closed.is_set() and bank.closed
        assert loaded(host, 1, 1) == weights.block(1, 1)
