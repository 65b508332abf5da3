# SPDX-License-Identifier: MIT
"""Models of Transformers on libufm's objects: how they are loaded, kept within a budget and asked what they cost.

What a program needs of it are names of `ufm` itself (`ufm.from_pretrained`, `ufm.attach`, `ufm.stats` …). It knows the
objects of `ufm.core`, and they know nothing of it. Nothing is imported here: torch and transformers are loaded by the
modules that use them.
"""
