# SPDX-License-Identifier: MIT
"""Layer calls by addresses, compared with float64; from several threads, over several engines."""

import threading

import numpy as np
import pytest

import reference
from conftest import BACKEND
from ufm import errors
from ufm.core import Activation, Bank, Dtype, Engine, ExpertDesc, ExpertKind, Host, Layer, Part, Role
from ufm.layer import layer_of

# Of a result's size: f32 sums of some hundred products, and what is stored in bf16.
NEAR = {Dtype.F32: 2e-5, Dtype.BF16: 8e-3, Dtype.F16: 1.5e-3}


def forward(layer, x, ids=None, gates=None, **options):
    """y of host f32 x, by host routing or the layer's router."""
    y = np.full_like(x, np.nan)
    if ids is not None:
        ids, gates = np.ascontiguousarray(ids, np.int32), np.ascontiguousarray(gates, np.float32)
        options.update(host_ids=ids.ctypes.data, host_gates=gates.ctypes.data)
    layer.forward_raw(len(x), x.ctypes.data, y.ctypes.data, on_device=False, wait=True, **options)
    return y


def routing(rng, tokens, top_k, experts):
    return rng.integers(-1, experts + 1, (tokens, top_k)), rng.random((tokens, top_k), np.float32)


def tokens_of(rng, tokens, d_model=64):
    return rng.standard_normal((tokens, d_model)).astype(np.float32)


def oss_like():
    """Biases everywhere, limits, alpha and offset: all that a description can say."""
    shapes = {Role.GATE: (33, 20), Role.GATE_BIAS: (33, 1), Role.UP: (33, 20), Role.UP_BIAS: (33, 1)}
    shapes |= {Role.DOWN: (20, 33), Role.DOWN_BIAS: (20, 1)}
    parts = tuple(Part(role, Dtype.F32, *shape) for role, shape in shapes.items())
    return ExpertDesc(20, 33, Activation.SILU, parts, act_alpha=1.702, gate_limit=0.3, up_limit=0.2, up_offset=1.0)


def standard(kind, d_model, d_hidden, dtype=Dtype.F32, activation=None):
    desc = ExpertDesc.standard(kind, d_model, d_hidden, dtype)
    return ExpertDesc(d_model, d_hidden, activation or desc.activation, desc.parts)


DESCRIPTIONS = {
    "gated": standard(ExpertKind.GATED, 64, 48),
    "gated bf16": standard(ExpertKind.GATED, 64, 48, Dtype.BF16),
    "gelu": standard(ExpertKind.MLP_BIAS, 37, 65),
    "relu2": standard(ExpertKind.MLP, 37, 65, activation=Activation.RELU2),
    "gelu tanh": standard(ExpertKind.GATED, 20, 3, activation=Activation.GELU_TANH),
    "everything": oss_like(),
    "one": standard(ExpertKind.GATED, 1, 1),
}


@pytest.mark.parametrize("tokens", [1, 2, 16])
@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_a_layer_is_what_the_header_says(make_engine, rng, name, tokens):
    engine = make_engine(DESCRIPTIONS[name], slots_max=5, layers=2, experts=7)
    layer = Layer(engine, 1, 3)
    x = tokens_of(rng, tokens, layer.d_model)
    ids, gates = routing(rng, tokens, 3, 7)
    wanted = reference.routed(engine.host.bank, 1, x, ids, gates)
    assert reference.distance(forward(layer, x, ids, gates), wanted) < NEAR[Dtype.F32]
    counters = engine.counters()
    assert counters["uses"] == counters["resident_uses"] + counters["streamed_uses"] + counters["cpu_uses"]


@pytest.mark.skipif(BACKEND != "cpu", reason="needs the cpu backend")
@pytest.mark.parametrize("id_type", [np.int32, np.int64])
@pytest.mark.parametrize("gate_dtype", list(Dtype))
@pytest.mark.parametrize("dtype", list(Dtype))
def test_routing_and_tokens_on_the_device(make_engine, rng, dtype, gate_dtype, id_type):
    engine = make_engine()
    layer = Layer(engine, 0, 3)

    def encoded(values, kind):
        return (
            {Dtype.F32: np.float32, Dtype.F16: np.float16}[kind](values)
            if kind != Dtype.BF16
            else reference.bf16(values)
        )

    ids, gates = routing(rng, 5, 3, 8)
    x, gates, ids = encoded(tokens_of(rng, 5), dtype), encoded(gates, gate_dtype), ids.astype(id_type)
    y = np.zeros((5, 80), x.dtype)
    layer.forward_raw(
        5,
        x.ctypes.data,
        y.ctypes.data,
        dtype,
        y_stride=80,
        ids=ids.ctypes.data,
        id_bytes=ids.itemsize,
        gates=gates.ctypes.data,
        gate_dtype=gate_dtype,
        wait=True,
    )
    real_x = reference.numbers(x.tobytes(), dtype).reshape(x.shape)
    real_gates = reference.numbers(gates.tobytes(), gate_dtype).reshape(gates.shape)
    found = reference.numbers(np.ascontiguousarray(y[:, :64]).tobytes(), dtype).reshape(5, 64)
    wanted = reference.routed(engine.host.bank, 0, real_x, ids, real_gates)
    assert reference.distance(found, wanted) < NEAR[dtype]
    assert not y[:, 64:].any()


def test_rows_that_lie_apart(make_engine, rng):
    layer = Layer(make_engine(), 0, 2)
    wide, (ids, gates) = tokens_of(rng, 6, 100), routing(rng, 6, 2, 8)
    y = np.full((6, 70), 7, np.float32)
    x = np.ascontiguousarray(wide[:, :64])
    options = {"host_ids": np.ascontiguousarray(ids, np.int32), "host_gates": gates}
    addresses = {name: value.ctypes.data for name, value in options.items()}
    layer.forward_raw(
        6, wide.ctypes.data, y.ctypes.data, x_stride=100, y_stride=70, on_device=False, wait=True, **addresses
    )
    assert np.array_equal(y[:, :64], forward(layer, x, ids, gates)) and (y[:, 64:] == 7).all()


def test_tickets(make_engine, rng):
    engine = make_engine()
    layer = Layer(engine, 0, 2)
    x, (ids, gates) = tokens_of(rng, 4), routing(rng, 4, 2, 8)
    y, ids = np.zeros_like(x), np.ascontiguousarray(ids, np.int32)
    routed = {"host_ids": ids.ctypes.data, "host_gates": gates.ctypes.data}
    tickets = [layer.forward_raw(4, x.ctypes.data, y.ctypes.data, on_device=False, **routed) for _ in range(3)]
    assert tickets == sorted(set(tickets))
    engine.wait(tickets[-1])
    assert np.array_equal(y, forward(layer, x, ids, gates))


def test_no_tokens(make_engine):
    layer = Layer(make_engine(), 0, 2)
    assert forward(layer, np.zeros((0, 64), np.float32), np.zeros((0, 2)), np.zeros((0, 2))).shape == (0, 64)


@pytest.mark.parametrize("scoring", ["softmax", "sigmoid"])
@pytest.mark.parametrize("norm_topk", [False, True])
def test_a_router_and_a_norm(make_engine, rng, scoring, norm_topk):
    bank = Bank.synthetic(standard(ExpertKind.GATED, 64, 48), 1, 8)
    arena = Layer.arena_bytes(bank, router=True, norm=True)
    assert arena > 8 * 64 * 4 and Layer.arena_bytes(bank) == 0
    engine = make_engine(arena_bytes=arena)
    router, norm = tokens_of(rng, 8) / 8, 1 + tokens_of(rng, 1)[0] / 10
    options = {"router_weight": router, "norm_weight": norm, "norm_eps": 1e-5, "scoring": scoring}
    layer = Layer(engine, 0, 3, norm_topk=norm_topk, residual=True, **options)
    x, ids, gates = tokens_of(rng, 9), np.zeros((9, 3), np.int32), np.zeros((9, 3), np.float32)
    y = forward(layer, x, ids_out=ids.ctypes.data, gates_out=gates.ctypes.data)
    normed = x / np.sqrt((x.astype(np.float64) ** 2).mean(1, keepdims=True) + 1e-5) * norm
    logits = normed @ router.astype(np.float64).T
    scores = 1 / (1 + np.exp(-logits))
    if scoring == "softmax":
        scores = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    wanted_ids = np.argsort(-scores, axis=1, kind="stable")[:, :3]
    wanted_gates = np.take_along_axis(scores, wanted_ids, 1)
    if norm_topk:
        wanted_gates = wanted_gates / wanted_gates.sum(1, keepdims=True)
    assert np.array_equal(ids, wanted_ids) and reference.distance(gates, wanted_gates) < NEAR[Dtype.F32]
    wanted = x + reference.routed(engine.host.bank, 0, normed, wanted_ids, wanted_gates)
    assert reference.distance(y, wanted) < NEAR[Dtype.F32]


def test_a_slice_of_the_experts(make_engine, rng):
    engine = make_engine(experts=4)
    layer = Layer(engine, 0, 4, expert_begin=6)
    x, (ids, gates) = tokens_of(rng, 8), routing(rng, 8, 4, 16)
    wanted = reference.routed(engine.host.bank, 0, x, ids, gates, expert_begin=6)
    assert reference.distance(forward(layer, x, ids, gates), wanted) < NEAR[Dtype.F32]


def test_the_same_bits_however_many_slots(make_engine, rng):
    x, (ids, gates) = tokens_of(rng, 16), routing(rng, 16, 4, 12)
    bank = Bank.synthetic(standard(ExpertKind.GATED, 64, 48), 1, 12, 5)
    host, found = Host(bank, BACKEND), []
    for slots in (4, 7, 12):
        with Engine(host, max_tokens=16, top_k_max=4, slots_max=slots, cpu_assist="off") as engine:
            found.append(forward(Layer(engine, 0, 4), x, ids, gates))
    assert np.array_equal(found[0], found[1]) and np.array_equal(found[0], found[2])


# ---------------------------------------------------------------- refusals


def test_calls_that_are_refused(make_engine):
    layer = Layer(make_engine(call_tokens_max=20), 0, 2)
    x = np.zeros((32, 64), np.float32)
    at, routed = x.ctypes.data, {"host_ids": 1, "host_gates": 1}
    cases = (
        ("tokens is 21, expected 0 … 20", (21, at, at), routed),
        ("tokens is -1", (-1, at, at), routed),
        ("no router", (1, at, at), {}),
        ("one is NULL", (1, at, at), {"host_ids": at}),
        ("one is 0", (1, at, at), {"ids": at}),
        ("id_bytes: 2", (1, at, at), {"ids": at, "gates": at, "id_bytes": 2}),
        ("gate_dtype: 9", (1, at, at), {"ids": at, "gates": at, "gate_dtype": 9}),
        ("x: no address", (1, 0, at), {**routed, "on_device": False}),
        ("y: no address", (1, at, 0), {**routed, "on_device": False}),
        ("x: no address", (1, 0, at), routed),
        ("dtype", (1, at, at, 9), routed),
        ("stride", (2, at, at), {**routed, "x_stride": 1 << 62}),
    )
    for told, arguments, options in cases:
        with pytest.raises(errors.InvalidArgument, match=told):
            layer.forward_raw(*arguments, **options)
    layer.close()
    with pytest.raises(errors.InvalidArgument, match="this Layer is closed"):
        layer.forward_raw(1, at, at, **routed)


@pytest.mark.parametrize(
    ("told", "arguments", "options"),
    [
        ("layer: 1, expected less than 1", (1, 2), {}),
        ("top_k: 5", (0, 5), {}),
        ("top_k: 0", (0, 0), {}),
        ("top_k is -1", (0, -1), {}),
        ("scoring is 'max', expected one of", (0, 2), {"scoring": "max"}),
        ("router_weight is a list, expected a buffer", (0, 2), {"router_weight": [1.0]}),
        ("router_weight is .* expected 512 contiguous", (0, 2), {"router_weight": np.zeros((8, 63), np.float32)}),
        ("router_weight is .* expected 512 contiguous", (0, 2), {"router_weight": np.zeros((8, 64))}),
        ("norm_weight is .* expected 64 contiguous", (0, 2), {"norm_weight": np.zeros(128, np.float32)[::2]}),
        ("expert_begin", (0, 2), {"expert_begin": 1, "router_weight": np.zeros((8, 64), np.float32)}),
    ],
)
def test_layers_that_are_refused(make_engine, told, arguments, options):
    with pytest.raises(errors.InvalidArgument, match=told):
        Layer(make_engine(arena_bytes=1 << 14), *arguments, **options)


def test_an_engine_for_leases_alone_has_no_layers(make_engine):
    with pytest.raises(errors.InvalidArgument, match="max_tokens"):
        Layer(make_engine(max_tokens=0), 0, 1)


def test_an_arena_too_small_for_a_router(make_engine):
    with pytest.raises(errors.BudgetError, match="arena"):
        Layer(make_engine(), 0, 1, router_weight=np.zeros((8, 64), np.float32))


def test_layers_have_numbers(make_engine):
    engine = make_engine()
    one, two = Layer(engine, 0, 1), Layer(engine, 0, 2)
    assert one.number != two.number and layer_of(two.number) is two
    number = two.number
    del two
    with pytest.raises(errors.InvalidArgument, match=f"layer number {number}: no such layer"):
        layer_of(number)


# ---------------------------------------------------------------- threads


def test_threads_and_engines_side_by_side(make_engine, rng):
    """Four threads, each over both engines in turns: every result is its own."""
    engines = [make_engine(experts=8, slots_max=5, layers=2) for _ in range(2)]
    layers = [Layer(engine, i, 3) for i, engine in enumerate(engines)]
    inputs = [(tokens_of(rng, 1 + i), *routing(rng, 1 + i, 3, 8)) for i in range(4)]
    wanted = [[reference.routed(one.engine.host.bank, i, *each) for i, one in enumerate(layers)] for each in inputs]
    wrong = []

    def work(index):
        for round_ in range(60):
            which = (index + round_) % 2
            far = reference.distance(forward(layers[which], *inputs[index]), wanted[index][which])
            if not far < NEAR[Dtype.F32]:
                wrong.append((index, round_, far))

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.skipif(BACKEND != "cpu", reason="needs the cpu backend")
def test_python_runs_on_while_a_call_computes(make_engine, rng):
    """A call of some tenths of a second holds no lock of the interpreter's."""
    engine = make_engine(d_model=512, d_hidden=1024, experts=8, max_tokens=1024, compute_threads=1)
    layer = Layer(engine, 0, 2)
    x, (ids, gates) = tokens_of(rng, 1024, 512), routing(rng, 1024, 2, 8)
    ended, turns = threading.Event(), 0

    def work():
        forward(layer, x, ids, gates)
        ended.set()

    thread = threading.Thread(target=work)
    thread.start()
    while not ended.wait(0.001):
        turns += 1
    thread.join()
    assert turns > 5
