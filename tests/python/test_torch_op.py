# SPDX-License-Identifier: MIT
"""Routed layers for tensors, compared with float64: dtypes, strides, lengths, refusals, torch.compile, threads."""

import shutil
import threading

import numpy as np
import pytest

import reference
from conftest import BACKEND
from ufm import errors
from ufm.core import Dtype, ExpertKind, Layer

torch = pytest.importorskip("torch", reason="not installed: torch")
from ufm.torch_op import routed  # noqa: E402

DEVICE = torch.device("cpu") if BACKEND == "cpu" else torch.device("cuda", 0)
NEAR = {torch.float32: 2e-5, torch.bfloat16: 8e-3, torch.float16: 1.5e-3}
BACKENDS = ["eager", "aot_eager", "inductor"]


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


@pytest.fixture
def draw(rng):
    """x, ids and gates of so many tokens on the device; some ids are no expert's, some are twice a token's."""

    def drawn(tokens, top_k=3, d_model=64, experts=8, dtype=torch.float32, ids=torch.int64, gates=torch.float32):
        x = torch.from_numpy(rng.standard_normal((tokens, d_model))).to(DEVICE, dtype)
        chosen = torch.from_numpy(rng.integers(-1, experts + 1, (tokens, top_k))).to(DEVICE, ids)
        return x, chosen, torch.from_numpy(rng.random((tokens, top_k))).to(DEVICE, gates)

    return drawn


def wanted(layer, x, ids, gates, number=0):
    x, ids, gates = x.double().cpu().numpy(), ids.cpu().numpy(), gates.double().cpu().numpy()
    return reference.routed(layer.engine.host.bank, number, x, ids, gates)


def is_near(layer, y, x, ids, gates, number=0):
    assert (y.shape, y.dtype, y.device, y.is_contiguous()) == (x.shape, x.dtype, x.device, True)
    return reference.distance(y.double().cpu().numpy(), wanted(layer, x, ids, gates, number)) < NEAR[x.dtype]


# ---------------------------------------------------------------- what it gives


@pytest.mark.parametrize("gates", list(NEAR))
@pytest.mark.parametrize("ids", [torch.int32, torch.int64])
@pytest.mark.parametrize("dtype", list(NEAR))
def test_dtypes(make_engine, draw, dtype, ids, gates):
    layer = Layer(make_engine(), 0, 3)
    given = draw(5, dtype=dtype, ids=ids, gates=gates)
    before = [each.clone() for each in given]
    assert is_near(layer, routed(layer, *given), *given)
    assert all(torch.equal(one, other) for one, other in zip(given, before))


@pytest.mark.parametrize("slots", [5, 0])
@pytest.mark.parametrize("kind", list(ExpertKind))
def test_experts_in_bf16(make_engine, draw, kind, slots):
    layer = Layer(make_engine(kind=kind, dtype=Dtype.BF16, slots_max=slots, layers=2, math="fp32"), 1, 3)
    given = draw(7, dtype=torch.bfloat16)
    assert is_near(layer, routed(layer, *given), *given, number=1)


@pytest.mark.parametrize("tokens", [0, 1, 15, 16, 17, 53])
def test_any_number_of_tokens(make_engine, draw, tokens):
    """The engine takes 16 a call: more are computed in pieces."""
    layer = Layer(make_engine(), 0, 3)
    given = draw(tokens)
    assert is_near(layer, routed(layer, *given), *given)
    assert layer.engine.counters()["calls"] == -(-tokens // 16)


def test_one_of_everything(make_engine, draw):
    layer = Layer(make_engine(d_model=1, d_hidden=1, experts=1), 0, 1)
    given = draw(3, top_k=1, d_model=1, experts=1)
    assert is_near(layer, routed(layer, *given), *given)


def test_tensors_that_lie_otherwise(make_engine, draw):
    layer = Layer(make_engine(), 0, 3)
    x, ids, gates = draw(6)
    plain = routed(layer, x, ids, gates)
    wide = torch.zeros(6, 100, device=DEVICE)
    wide[:, 10:74] = x
    twice = torch.zeros(12, 64, device=DEVICE)
    twice[::2] = x
    columns = torch.zeros(6, 128, device=DEVICE)
    columns[:, ::2] = x
    for other in (wide[:, 10:74], twice[::2], columns[:, ::2], x.t().contiguous().t()):
        assert not other.is_contiguous() and torch.equal(routed(layer, other, ids, gates), plain)
    assert torch.equal(routed(layer, x, ids.t().contiguous().t(), gates.t().contiguous().t()), plain)
    assert torch.equal(routed(layer, x.flip(0), ids.flip(0), gates.flip(0)), plain.flip(0))
    one = x[:1].expand(6, 64)
    assert torch.equal(routed(layer, one, ids, gates), routed(layer, one.contiguous(), ids, gates))
    assert torch.equal(routed(layer, x[2:], ids[2:], gates[2:]), plain[2:])
    assert torch.equal(routed(layer, torch.nn.Parameter(x), ids, gates), plain)


def test_a_call_after_another_reads_what_it_left(make_engine, draw):
    """A chain of layers, without a wait between: the order is the stream's."""
    engine = make_engine(layers=3, slots_max=6)
    layers = [Layer(engine, i, 3) for i in range(3)]
    x, ids, gates = draw(9)
    y = x
    for layer in layers:
        y = routed(layer, y + 1, ids, gates)
    found = x.double().cpu().numpy()
    for i, layer in enumerate(layers):
        found = reference.routed(layer.engine.host.bank, i, found + 1, ids.cpu().numpy(), gates.cpu().numpy())
    assert reference.distance(y.cpu().numpy(), found) < 6 * NEAR[torch.float32]


def test_inference_mode(make_engine, draw):
    layer = Layer(make_engine(), 0, 3)
    given = draw(4)
    plain = routed(layer, *given)
    with torch.inference_mode():
        assert torch.equal(routed(layer, *given), plain)


# ---------------------------------------------------------------- refusals


def test_what_is_refused(make_engine, draw):
    layer = Layer(make_engine(), 0, 3)
    x, ids, gates = draw(4)
    cases = (
        ("x is float64, expected one of float32, bfloat16, float16", (x.double(), ids, gates)),
        ("ids is float32, expected one of int32, int64", (x, gates, gates)),
        ("ids is int16", (x, ids.short(), gates)),
        ("gates is int64", (x, ids, ids)),
        (r"x has the shape \[4, 63\], expected \[4, 64\]", (x[:, :63], ids, gates)),
        (r"x has the shape \[1, 4, 64\], expected \[1, 64\]", (x[None], ids, gates)),
        (r"x has the shape \[64\]", (x[0], ids, gates)),
        (r"x has the shape \[\]", (x[0, 0], ids, gates)),
        (r"ids has the shape \[4, 2\], expected \[4, 3\]", (x, ids[:, :2], gates)),
        (r"ids has the shape \[3, 3\], expected \[4, 3\]", (x, ids[:3], gates)),
        (r"gates has the shape \[4, 4\], expected \[4, 3\]", (x, ids, torch.ones(4, 4, device=DEVICE))),
        (r"gates has the shape \[12\]", (x, ids, gates.reshape(-1))),
        (f"x is on meta, expected {DEVICE}", (x.to("meta"), ids, gates)),
        (f"gates is on meta, expected {DEVICE}", (x, ids, gates.to("meta"))),
    )
    for told, given in cases:
        with pytest.raises(errors.InvalidArgument, match=told):
            routed(layer, *given)


@pytest.mark.parametrize("of", ["x", "gates"])
def test_gradients_are_refused(make_engine, draw, of):
    layer = Layer(make_engine(), 0, 3)
    given = dict(zip(("x", "ids", "gates"), draw(4)))
    plain = routed(layer, **given)
    given[of].requires_grad_()
    assert torch.equal(routed(layer, **given), plain)
    with torch.enable_grad():
        with pytest.raises(errors.Unsupported, match="UFM has no backward pass"):
            routed(layer, **given)
        for options in ({"fullgraph": True}, {}):
            torch._dynamo.reset()
            compiled = torch.compile(lambda **more: routed(layer, **more), backend="eager", **options)
            with pytest.raises(Exception, match="no backward pass"):
                compiled(**given)


@pytest.mark.parametrize("tokens", [0, 2, 40])
def test_a_closed_layer(make_engine, draw, tokens):
    layer = Layer(make_engine(), 0, 3)
    layer.engine.close()
    with pytest.raises(errors.InvalidArgument, match="this Layer is closed"):
        routed(layer, *draw(tokens))


def test_a_layer_that_is_gone(make_engine, draw):
    layer = Layer(make_engine(), 0, 3)
    number = layer.number
    del layer
    with pytest.raises(errors.InvalidArgument, match="no such layer, or it is gone"):
        torch.ops.ufm.routed(*draw(2), number)


# ---------------------------------------------------------------- torch.compile


class Block(torch.nn.Module):
    """What stands around a routed layer."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x, ids, gates):
        return routed(self.layer, x * 2, ids, gates) + x


@pytest.mark.parametrize("backend", BACKENDS)
def test_compiled_is_the_same(make_engine, draw, backend):
    if backend == "inductor" and not shutil.which("g++"):
        pytest.skip("not installed: g++")
    torch._dynamo.reset()
    engine = make_engine(layers=2, slots_max=6)
    for layer in (Layer(engine, 0, 3), Layer(engine, 1, 3)):
        block = Block(layer)
        compiled = torch.compile(block, backend=backend, fullgraph=True)
        for tokens in (1, 5, 21, 0):
            given = draw(tokens)
            assert torch.equal(compiled(*given), block(*given))


class Stack(torch.nn.Module):
    """Blocks one after the other."""

    def __init__(self, layers):
        super().__init__()
        self.blocks = torch.nn.ModuleList(Block(layer) for layer in layers)

    def forward(self, x, ids, gates):
        for block in self.blocks:
            x = torch.tanh(block(x, ids, gates))
        return x


class Graphs(list):
    """A backend that keeps what it is given."""

    def __call__(self, graph, _):
        self.append(graph)
        return graph.forward


def test_a_model_is_one_graph(make_engine, draw):
    torch._dynamo.reset()
    engine = make_engine(layers=6)
    stack, given, graphs = Stack([Layer(engine, i, 3) for i in range(6)]), draw(4), Graphs()
    assert torch.equal(torch.compile(stack, backend=graphs, fullgraph=True)(*given), stack(*given))
    assert len(graphs) == 1


def test_blocks_that_are_compiled_apart_can_share_a_graph(make_engine, draw):
    torch._dynamo.reset()
    engine, graphs = make_engine(layers=6), Graphs()
    with torch._dynamo.config.patch(allow_unspec_int_on_nn_module=True):
        for i in range(6):
            block, given = Block(Layer(engine, i, 3)), draw(4)
            assert torch.equal(torch.compile(block, backend=graphs, fullgraph=True)(*given), block(*given))
    assert len(graphs) == 2


def test_the_operator_stands_for_itself(make_engine, draw):
    layer = Layer(make_engine(), 0, 3)
    given = draw(4)
    torch.library.opcheck(
        torch.ops.ufm.routed.default, (*given, layer.number), test_utils=("test_schema", "test_faketensor")
    )
    assert torch.Tag.cudagraph_unsafe in torch.ops.ufm.routed.default.tags
    assert torch.equal(torch.ops.ufm.routed(*given, layer.number), routed(layer, *given))


# ---------------------------------------------------------------- threads


def test_threads(make_engine, draw):
    """Three threads over one engine, each with tensors of its own."""
    layer = Layer(make_engine(slots_max=6), 0, 3)
    given = [draw(1 + 9 * i) for i in range(3)]
    plain, wrong = [routed(layer, *each) for each in given], []

    def work(index):
        with torch.no_grad():
            for _ in range(40):
                if not torch.equal(routed(layer, *given[index]), plain[index]):
                    wrong.append(index)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.skipif(BACKEND == "cpu", reason="no GPU")
def test_another_stream(make_engine, draw):
    layer = Layer(make_engine(slots_max=6), 0, 3)
    given = draw(9)
    plain, side = routed(layer, *given), torch.cuda.Stream()
    torch.cuda.synchronize()
    with torch.cuda.stream(side):
        found = [routed(layer, *(each.clone() for each in given)) for _ in range(20)]
    side.synchronize()
    assert all(torch.equal(each, plain) for each in found)


def test_what_numpy_says(make_engine, draw):
    """The comparison itself can fail."""
    layer = Layer(make_engine(), 0, 3)
    x, ids, gates = draw(4)
    ids = torch.zeros_like(ids)
    assert not is_near(layer, routed(layer, x, ids, gates), x, ids, gates * 1.001)
    assert np.isfinite(wanted(layer, x, ids, gates)).all()
