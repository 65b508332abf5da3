# SPDX-License-Identifier: MIT
"""Who closes what, and when: by hand, by the garbage collector, when a process ends, and in a child; log and errors."""

import copy
import ctypes
import gc
import os
import pickle
import threading
import weakref

import pytest

from conftest import BACKEND
from ufm import errors
from ufm._enums import Status
from ufm._structs import ufm_expert_desc
from ufm.core import Bank, Dtype, Engine, ExpertDesc, ExpertKind, Host, Layer

GATED = ExpertDesc.standard(ExpertKind.GATED, 24, 10, Dtype.F32)


def synthetic(desc=GATED, layers=2, experts=3, seed=1):
    return Bank.synthetic(desc, layers, experts, seed)


# ---------------------------------------------------------------- ownership


def test_objects_are_context_managers_and_close_once(make_engine):
    with synthetic() as bank, Host(bank, BACKEND) as host, Engine(host) as engine:
        assert not engine.closed
    assert bank.closed and host.closed and engine.closed
    for each in (engine, host, bank):
        each.close()
    with pytest.raises(errors.InvalidArgument, match="this Engine is closed"):
        engine.info()
    with pytest.raises(errors.InvalidArgument, match="this Bank is closed"):
        bank.read(0, 0)
    with pytest.raises(errors.InvalidArgument, match="this Host is closed"):
        Engine(host)
    with pytest.raises(errors.InvalidArgument, match="this Bank is closed"):
        Host(bank)


def test_bank_and_host_may_close_before_the_engine():
    bank = synthetic()
    host = Host(bank, BACKEND)
    engine = Engine(host, max_tokens=1, top_k_max=1, cpu_assist="off")
    bank.close()
    host.close()
    assert Layer(engine, 1, 1).d_model == 24
    engine.close()


def test_an_engine_closes_what_must_close_before_it(make_engine):
    engine = make_engine()
    layer, lease, stream = Layer(engine, 0, 2), engine.acquire(0, [1]), engine.open_stream()
    lease.ready(stream)
    engine.close()
    assert layer.closed and lease.closed
    for each in (layer, lease, engine):
        each.close()
    with pytest.raises(errors.InvalidArgument, match="this Layer is closed"):
        layer.forward_raw(1, 1, 1)
    with pytest.raises(errors.InvalidArgument, match="this Engine is closed"):
        Layer(engine, 0, 1)


def test_the_garbage_collector_closes_cycles_in_order():
    """An engine, its layer and its lease in one cycle, which the collector takes apart as it likes."""

    class Model:
        pass

    for _ in range(20):
        model = Model()
        model.me = model
        model.engine = Engine(Host(synthetic(), BACKEND), max_tokens=1, top_k_max=1, cpu_assist="off")
        model.layers = [Layer(model.engine, 0, 1), Layer(model.engine, 1, 1)]
        model.lease = model.engine.acquire(0, [0])
        handles = [weakref.ref(each._handle) for each in (model.engine, *model.layers, model.lease)]
        del model
        gc.collect()
        assert [handle() for handle in handles] == [None] * 4


def test_threads_that_drop_layers_while_engines_close():
    """Layers are collected on one thread while their engines are closed on another."""
    bank = synthetic()
    host, failed = Host(bank, BACKEND), []
    for _ in range(100):
        engine = Engine(host, max_tokens=1, top_k_max=1, cpu_assist="off")
        layers = [Layer(engine, i % 2, 1) for i in range(8)]
        thread = threading.Thread(target=layers.clear)
        thread.start()
        engine.close()
        thread.join()
        failed += [layer for layer in layers if not layer.closed]
    assert failed == []


@pytest.mark.parametrize("copy_of", [copy.copy, copy.deepcopy, pickle.dumps])
def test_objects_are_not_copied(copy_of):
    bank = synthetic()
    with pytest.raises(TypeError, match="a Bank cannot be copied or pickled"):
        copy_of(bank)
    assert bank.read(0, 0)


def test_a_process_may_end_with_everything_open(python):
    code = """
from ufm.core import *
desc = ExpertDesc.standard(ExpertKind.MLP, 8, 8, Dtype.F32)
engine = Engine(Host(Bank.synthetic(desc, 1, 2), "cpu"), max_tokens=1, top_k_max=1)
layer, lease = Layer(engine, 0, 1), engine.acquire(0, [0])
set_log(lambda level, line: None)
"""
    ended = python(code)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_child_process_gets_an_error_and_the_parent_goes_on(make_engine):
    engine = make_engine()
    layer, lease = Layer(engine, 0, 1), engine.acquire(0, [1])
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        said = []
        of_parts = (lambda: layer.forward_raw(0, 0, 0), lambda: lease.ready(1), lambda: engine.resize(0))
        for call in (engine.info, engine.counters, *of_parts):
            try:
                call()
                said.append("nothing")
            except errors.InvalidArgument as error:
                said.append("fork" if "fork" in str(error) else str(error))
        engine.close()
        said.append(str(len(synthetic().read(0, 0))))
        os.write(writing, ",".join(said).encode())
        os._exit(0)
    os.close(writing)
    assert os.waitpid(child, 0)[1] == 0
    said = os.read(reading, 10000).decode().split(",")
    os.close(reading)
    assert said == ["fork"] * 5 + [str(GATED.expert_bytes)]
    assert engine.info().slots and layer.forward_raw(0, 0, 0, wait=True, host_ids=1, host_gates=1) >= 0
    lease.release()


# ---------------------------------------------------------------- the log


def test_the_log_is_told(python, tmp_path):
    """Of a plugin that is none, which is refused with a warning."""
    (tmp_path / "libufm_cuda.so").write_text("no library\n")
    code = """
from ufm.core import *
lines = []
set_log(lambda level, line: lines.append((level.name, line)))
bank = Bank.synthetic(ExpertDesc.standard(ExpertKind.MLP, 8, 8, Dtype.F32), 1, 2)
Host(bank)
told = len(lines)
print(any(level == "WARN" and "libufm_cuda.so" in line for level, line in lines))
set_log(None)
Host(bank)
print(len(lines) == told)
set_log(lambda level, line: 1 / 0)
Host(bank)
"""
    ended = python(code, env={"UFM_BACKEND_PATH": str(tmp_path)})
    assert (ended.returncode, ended.stdout.split()) == (0, ["True", "True"])
    assert "ZeroDivisionError" in ended.stderr


# ---------------------------------------------------------------- errors


def test_every_status_has_its_exception():
    for status in Status:
        if status != Status.OK:
            error = errors.error_of(status, "line")
            assert type(error) is not errors.UfmError and error.status is status and str(error) == "line"
    unknown = errors.error_of(-99, "line")
    assert type(unknown) is errors.UfmError and str(unknown) == "line (status -99, which this package does not know)"


def test_exceptions_are_those_that_python_knows():
    kin = {
        errors.InvalidArgument: ValueError,
        errors.FileError: OSError,
        errors.HostMemoryError: MemoryError,
        errors.TimedOut: TimeoutError,
        errors.DeviceMemoryError: RuntimeError,
    }
    for error, base in kin.items():
        assert issubclass(error, base) and issubclass(error, errors.UfmError)


def test_a_struct_has_its_size():
    assert ufm_expert_desc().struct_size == ctypes.sizeof(ufm_expert_desc)
