# SPDX-License-Identifier: MIT
"""A paged model of a family, made in one of the ways in which people come to one."""

import dataclasses
import itertools
import os

import layouts
import tiny_models

import ufm

WAYS = ("attach", *layouts.LAYOUTS)
RESIDENCIES = ("10%", "50%", "100%")
SIZES = (1, 4)


@dataclasses.dataclass(frozen=True)
class Run:
    """One point of the product: how a paged model is made, how much of it is resident, how many texts it makes."""

    way: str
    residency: str
    size: int

    def __str__(self):
        return f"{self.way}-{self.residency}-{self.size}"


def product():
    return [Run(*axes) for axes in itertools.product(WAYS, RESIDENCIES, SIZES)]


def chosen(number):
    """Every way, every residency and every size at least once; other pairs of them for the next number."""
    return [
        Run(way, RESIDENCIES[(number + place) % len(RESIDENCIES)], SIZES[(number // 3 + place) % len(SIZES)])
        for place, way in enumerate(WAYS)
    ]


def runs(number):
    """The runs of the family that has this number: with UFM_TEST_FAMILIES=all every one."""
    return product() if os.environ.get("UFM_TEST_FAMILIES") == "all" else chosen(number)


def make(family, run, folder, eager):
    """The paged model of a run; checkpoints of `eager`, the family's model, lie in `folder` by layout."""
    options = {"experts": run.residency, "cpu_assist": "off"}
    if run.way == "attach":
        model = ufm.attach(tiny_models.tiny_model(family), **options)
    else:
        if not (folder / run.way).exists():
            layouts.write(eager, folder / run.way, run.way)
        model = ufm.from_pretrained(folder / run.way, **options)
    tiny_models.quiet_generation(model)
    return model
