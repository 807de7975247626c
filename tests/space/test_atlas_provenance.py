"""The committed atlas has a provenance, and the provenance is of this file and this code."""

import json

import numpy as np

from cmburden.core.files import sha256_of_file
from cmburden.space import atlas as space_atlas
from cmburden.space import template
from cmburden.studies import build_atlas as atlas

PROVENANCE = json.loads(space_atlas.PROVENANCE.read_text())


def test_the_provenance_is_of_the_committed_file():
    assert PROVENANCE["sha256"] == sha256_of_file(space_atlas.ATLAS)
    labels, affine = space_atlas.load()
    assert {str(value) for value in np.unique(labels)} - {"0"} == set(PROVENANCE["values"])
    mask, grid = template.mask()
    assert labels.shape == mask.shape and np.array_equal(affine, grid)


def test_values_and_limits_are_those_of_the_code():
    assert PROVENANCE["values"] == atlas.label_map()
    assert PROVENANCE["limits_mm"] == atlas.LIMITS_MM


def test_every_source_has_place_licence_and_use():
    assert len(PROVENANCE["sources"]) == 3
    for source in PROVENANCE["sources"]:
        assert all(source[key] for key in ("name", "where", "licence", "used_for")), source
    # A checksum that nobody took is null and is said to be unknown: it is not made up.
    unknown = [s["name"] for s in PROVENANCE["sources"] if s.get("sha256", "template") is None]
    assert len(unknown) == 2 and "Unknown (null)" in PROVENANCE["note"]
