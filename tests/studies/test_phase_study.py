"""The study of phase: its shares and areas, counted by hand."""

import numpy as np
import pandas as pd

from cmburden.simulate.phase_images import SCALES
from cmburden.studies import phase


def test_shares_and_areas():
    base = {"contrast": "SWI", "scale": "radians", "filtered": True, "masked": False, "read": True}
    images = pd.DataFrame(
        [
            base | {"preset": "A", "sign": 1, "claimed": True, "right": True},
            base | {"preset": "A", "sign": -1, "claimed": True, "right": False},
            base | {"preset": "B", "sign": 1, "claimed": False, "right": False},
            base | {"preset": "B", "sign": 1, "read": False},
        ]
    )
    sources = pd.DataFrame(
        {
            "preset": "A",
            "kind": ["microbleed", "microbleed", "calcification", "calcification", "vessel"],
            "value": [0.5, -0.1, -0.2, 0.0, np.nan],
        }
    )
    told = phase.figures(images, sources)
    assert told["all"] == {"images": 4, "read": 3, "looked_at": 3, "claimed": 2, "right": 1}
    assert told["by"]["preset"]["B"]["claimed"] == 0
    assert told["by"]["sign"]["-1"] | {"right": 0} == told["by"]["sign"]["-1"]
    # Of four pairs a microbleed is above in three.
    assert told["auc"]["A"]["calcification"] == 0.75 and told["auc"]["A"]["vessel"] is None


def test_every_scale_takes_its_turn_with_either_sign():
    images = [one for n in range(14) for one in phase.images_of(n, np.random.default_rng(n))]
    seen = {(one.scale, one.sign, one.filtered) for one in images}
    assert seen == {(scale, sign, f) for scale in SCALES for sign in (1, -1) for f in (True, False)}
