"""Names of the values of a scan's lesion image: number, certainty and place of each microbleed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cmburden.core.files import whole_file, write_json
from cmburden.core.paths import Layout
from cmburden.core.scan import Scan
from cmburden.space import lookup

#: Colours of certainty, which people with any colour vision tell apart (Okabe and Ito 2008).
COLOURS = {"definite": "#e69f00", "possible": "#56b4e9"}
_MORE = ("label", "region", "hemisphere")


def write(scan: Scan, layout: Layout, lesions: Sequence[dict[str, Any]]) -> None:
    """Write dseg.json, dseg.tsv and ITK-SNAP's labels for ``lesions``, rows of `lesions`."""
    names = [_name(lesion) for lesion in lesions]
    texts = {"tsv": lookup.as_tsv(names, _MORE), "itksnap.txt": lookup.as_itksnap(names)}
    for ending, text in texts.items():
        with whole_file(layout.lesion_names(scan, ending), durable=False) as temporary:
            temporary.write_text(text, encoding="utf-8")
    source = f"bids::{layout.preproc(scan).relative_to(layout.root).as_posix()}"
    write_json(
        layout.lesion_names(scan, "json"),
        {
            "Description": "Cerebral microbleeds: a value is a lesion_id of the scan. The .tsv "
            "beside says which are definite and which possible. Research use only.",
            "Manual": False,
            "Sources": [source],
            "SpatialReference": source,
        },
        durable=False,
    )


def _name(lesion: dict[str, Any]) -> lookup.Name:
    side = f"{lesion['hemisphere']} " if lesion["hemisphere"] != "unknown" else ""
    name = f"{lesion['lesion_id']} {lesion['label']}, {side}{lesion['region']}"
    more = {key: lesion[key] for key in _MORE}
    return lookup.Name(int(lesion["lesion_id"]), name, COLOURS[lesion["label"]], more)
