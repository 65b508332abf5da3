# SPDX-License-Identifier: MIT
"""No family of the installed Transformers is left out silently."""

import pathlib

import pytest

pytest.importorskip("torch", reason="not installed: torch")
pytest.importorskip("transformers", reason="not installed: transformers")

import families
import families_page


def test_each_family_is_run_or_says_why():
    installed = set(families.installed())
    tables = (families.PART_OF, families.NOT_ROUTED, families.CANNOT_BUILD)
    for table in tables:
        assert set(table) <= installed, "a family that is not installed"
    assert sum(map(len, tables)) + len(families.runnable()) == len(installed), "a family in two tables"
    assert len(families.runnable()) >= 70


def test_a_part_belongs_to_a_family_that_is_run():
    assert set(families.PART_OF.values()) <= set(families.runnable())


def test_every_folder_whose_code_has_experts_belongs_to_a_family():
    assert set(families.folders_with_experts()) <= {families.folder_of(name) for name in families.installed()}


def test_families_that_make_no_text_are_run_all_the_same():
    assert set(families.NO_TEXT) <= set(families.runnable())


def test_the_page_of_families_is_current():
    written = (pathlib.Path(__file__).resolve().parents[2] / "docs" / "families.md").read_text()
    assert written == families_page.page(), "renew it: tests/python/families_page.py says how"
