# SPDX-License-Identifier: MIT
"""The checkpoints of the parity suite are sound: stock Transformers loads each layout of each family bit by bit."""

import pytest

torch = pytest.importorskip("torch", reason="not installed: torch")
transformers = pytest.importorskip("transformers", reason="not installed: transformers")

import families  # noqa: E402
import layouts  # noqa: E402
import parity  # noqa: E402
import tiny_models  # noqa: E402

transformers.logging.set_verbosity_error()


def differing(model, other):
    theirs = other.state_dict()
    return [name for name, tensor in model.state_dict().items() if not torch.equal(tensor, theirs[name])]


@pytest.mark.parametrize("family", families.in_turn(families.runnable()))
def test_stock_transformers_loads_every_layout(tmp_path, family):
    model = tiny_models.tiny_model(family)
    for layout in layouts.LAYOUTS:
        layouts.write(model, tmp_path / layout, layout)
        options = {"dtype": torch.float32, "output_loading_info": True, "experts_implementation": "eager"}
        loaded, info = type(model).from_pretrained(tmp_path / layout, **options)
        assert differing(model, loaded) == [], layout
        assert not info["missing_keys"] and not info["mismatched_keys"], layout
    if family not in families.REFUSED:
        # What no checkpoint holds, as frequencies, is the same, too; weights that lie otherwise are summed otherwise.
        batch = parity.Batch.of(4, seed=4)
        expected = parity.forward(model, batch)
        assert float((parity.forward(loaded, batch) - expected).abs().max()) < 1e-5 * float(expected.abs().max())
