# SPDX-License-Identifier: MIT
"""Every family of the installed Transformers with its experts paged, against the same model with Transformers' own.

Each family's tiny model is made in every way (from memory, and from each layout on disk), at every residency, for one
text and for a padded batch, though not in all combinations; two models at once are those of a third of the families a
day. UFM_TEST_FAMILIES=all runs all. Nothing here is a matter of luck: what may differ is held against what rounding
alone would move."""

import concurrent.futures
import functools

import pytest

pytest.importorskip("torch", reason="not installed: torch")
transformers = pytest.importorskip("transformers", reason="not installed: transformers")

import families  # noqa: E402
import paged_models  # noqa: E402
import parity  # noqa: E402
import tiny_models  # noqa: E402

import ufm  # noqa: E402
from ufm.models.experts import PagedExperts  # noqa: E402

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

PAGED = [family for family in families.runnable() if family not in families.REFUSED]
CASES = [(family, run) for number, family in enumerate(PAGED) for run in paged_models.runs(number)]
TEXTS = [family for family in PAGED if family not in families.NO_TEXT]


@functools.cache
def reference_of(family):
    return parity.Reference(family)


def uses_of(paged):
    """What libufm has counted for the model: uses in all, and those whose experts were not resident."""
    counted = [engine.counters() for engine in ufm.paging_of(paged).engines]
    return sum(c["uses"] for c in counted), sum(c["streamed_uses"] for c in counted)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return functools.cache(lambda family: tmp_path_factory.mktemp(family))


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case[0]}-{case[1]}")
def case(request, folders):
    """(reference, run, paged model)."""
    family, run = request.param
    reference = reference_of(family)
    return reference, run, paged_models.make(family, run, folders(family), reference.model)


def test_every_routed_layer_is_paged(case):
    reference, _, paged = case
    names = [name for name, _ in tiny_models.experts_modules(reference.model)]
    assert names
    assert all(isinstance(paged.get_submodule(name), PagedExperts) for name in names)
    assert not [name for name, _ in paged.named_parameters() if any(name.startswith(f"{part}.") for part in names)]


def test_experts_give_what_eager_gives(case):
    reference, run, paged = case
    before, streamed_before = uses_of(paged)
    assert parity.experts_error(reference, paged, run.size) <= parity.EXPERTS_TOLERANCE
    uses, streamed = uses_of(paged)
    assert uses > before, "libufm computed them"
    assert run.residency != "10%" or streamed > streamed_before, "some of them were not resident"


def test_logits_are_as_near_as_rounding_leaves_them(case):
    reference, run, paged = case
    assert parity.logits_error(reference, paged, run.size) <= parity.SENSITIVITIES


def test_greedy_tokens_are_eagers(case):
    reference, run, paged = case
    if not reference.makes_text:
        assert families.NO_TEXT[reference.family]
        return
    assert parity.unexplained(reference, parity.generate(paged, reference.batch(run.size)), run.size) == []


@pytest.mark.parametrize("family", families.in_turn(TEXTS))
def test_two_models_at_once(family, folders):
    """Two paged models of one process, each in a thread of its own, do not disturb each other."""
    reference = reference_of(family)
    pair = [paged_models.Run("attach", "50%", 1), paged_models.Run("saved", "10%", 4)]
    models = [paged_models.make(family, run, folders(family), reference.model) for run in pair]
    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        made = list(threads.map(lambda run, model: parity.generate(model, reference.batch(run.size), 16), pair, models))
    assert [parity.unexplained(reference, text, run.size) for run, text in zip(pair, made, strict=True)] == [[], []]
