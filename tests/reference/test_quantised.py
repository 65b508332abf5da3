# SPDX-License-Identifier: MIT
"""`ufm forward` on quantised experts against NumPy in float64, on checkpoints as others publish them."""
import numpy as np
import pytest
from support import oracle, quantised

NUMBER, TOP_K = 3, 2
GPT_OSS = oracle.Gating("silu", act_alpha=np.float64(np.float32(1.702)), gate_limit=7.0, up_limit=7.0, up_offset=1.0)


@pytest.mark.parametrize("name", quantised.NAMES)
def test_layer_agrees_with_float64(tmp_path, forward, rng, name):
    """With room for the smallest working set, and for all: one set of bits, near the truth."""
    layer = quantised.Quantised(rng, name, NUMBER, experts=5)
    run = forward(layer.write(tmp_path / "model"), NUMBER)
    experts = [{role: values.astype(np.float64) for role, values in parts.items()} for parts in layer.experts]
    for tokens in (1, 9, 70):
        x = rng.standard_normal((tokens, layer.d_model)).astype(np.float32)
        ids = np.array([rng.permutation(len(experts))[:TOP_K] for _ in range(tokens)])
        gates = rng.random((tokens, TOP_K)).astype(np.float32)
        want = oracle.layer(x, ids, gates, experts, GPT_OSS if name == "mxfp4" else "silu")
        few, report = run(x, "--vram-target", run.least_target(x, routing=(ids, gates)), routing=(ids, gates))
        assert report["dtype"] == layer.storage and report["experts"] == 5
        assert oracle.distance(few, want) <= 1e-5
        for more in (["--vram-target", 64 << 20], ["--mode", "baseline"], ["--mode", "naive_offload"]):
            y, _ = run(x, *more, routing=(ids, gates))
            assert y.tobytes() == few.tobytes(), more
