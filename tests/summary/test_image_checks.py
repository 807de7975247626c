"""Outlying scans, scans outside of the model's domain, and what to look at first."""

import base64
import io

import numpy as np
import pandas as pd
from PIL import Image

from cmburden.core.tables import LESIONS, SCANS
from cmburden.report import brain_picture
from cmburden.summary import image_checks, lesion_map
from cmburden.summary.reading_list import reading_list


def scans(number=12, **columns):
    rows = [
        {
            "scan_id": f"sub-{place:02d}_swi",
            "cohort": "A",
            "participant_id": f"sub-{place:02d}",
            "contrast": "SWI",
            "status": "ok",
            "n_cmb": 0,
            "snr": 18.0 + (place % 3 - 1),
            "echo_time_s": 0.02,
            "field_strength_t": 3.0,
            "slice_mm": 2.0,
        }
        | {name: values[place] for name, values in columns.items() if place in values}
        for place in range(number)
    ]
    return SCANS.frame(rows)


def test_robust_z_is_that_of_iglewicz_and_hoaglin():
    z = image_checks.robust_z(scans(snr={5: 38.0}))["snr"]
    # Median 18, median absolute deviation 1: (38 - 18) / 1.4826.
    assert abs(z[5] - 20 / 1.4826) < 1e-9
    assert (z.drop(5).abs() < image_checks.OUTLYING).all()


def test_few_scans_or_no_spread_are_not_judged():
    assert image_checks.robust_z(scans(9, snr={5: 99.0}))["snr"].isna().all()
    assert image_checks.robust_z(scans(snr=dict.fromkeys(range(12), 5.0)))["snr"].isna().all()


def test_another_contrast_is_another_kind():
    both = scans(
        24, contrast=dict.fromkeys(range(12), "GRE"), snr={n: 90.0 + n % 3 for n in range(12)}
    )
    assert (image_checks.robust_z(both)["snr"].abs() < 2).all()


def test_domain_holds_its_ends_and_what_is_unknown_is_null():
    ranges = image_checks.domain_of(
        {
            "domain": {
                "contrast": ["SWI"],
                "field_strength_t": [1.5, 3.0],
                "echo_time_s": [0.01, 0.04],
            }
        }
    )
    assert set(ranges) == {"field_strength_t", "echo_time_s"}
    table = scans(4, field_strength_t={0: 2.89, 1: 7.0, 2: None}, echo_time_s={3: 0.06})
    outside = image_checks.outside(table, ranges)
    assert outside["field_strength_t"].tolist() == [False, True, pd.NA, False]
    assert outside["echo_time_s"].tolist() == [False, False, False, True]
    assert image_checks.domain_of(None) == image_checks.domain_of({}) == {}


def test_reading_list_says_why_and_puts_the_scan_with_most_reasons_first():
    table = scans(n_cmb={2: 30, 4: 1}, snr={2: 60.0, 7: 70.0})
    lesions = LESIONS.frame(
        [
            {
                "scan_id": scan,
                "participant_id": scan[:6],
                "lesion_id": 1,
                "x_mm": 0.0,
                "y_mm": 0.0,
                "z_mm": 0.0,
                "p_cnn": 0.5,
                "probability": p,
                "label": label,
                "region": "frontal",
                "group": "lobar",
                "hemisphere": "left",
                "macrohaemorrhage": False,
            }
            for scan, p, label in (
                ("sub-02_swi", 0.99, "definite"),
                ("sub-04_swi", 0.95, "definite"),
                ("sub-05_swi", 0.58, "possible"),
            )
        ]
    )
    nothing = image_checks.outside(table, {})
    found = reading_list(table, lesions, 0.6, nothing).set_index("scan_id")
    assert found.index[0] == "sub-02_swi"
    assert found.loc["sub-02_swi", "reasons"] == ["highest count", "outlying quality"]
    assert found.loc["sub-04_swi", "reasons"] == ["highest count"]
    assert found.loc["sub-05_swi", "reasons"] == ["borderline"]
    assert found.loc["sub-07_swi", "measure"] == "snr" and len(found) == 4
    without = reading_list(table, lesions, None, nothing)
    assert not any("borderline" in reasons for reasons in without["reasons"])


def test_cells_count_every_point_once_in_the_cell_that_holds_it():
    points = pd.DataFrame(
        {
            "mni_x": [-0.1, 0.0, 9.99, None],
            "mni_y": [-1.0, 0.0, 3.0, 1.0],
            "mni_z": [-60.0, -40.1, 70.0, 1.0],
        }
    )
    assert lesion_map.cells(points) == {(-5, -5, -50): 1, (5, 5, -50): 1, (5, 5, 70): 1}
    drawn = np.array(lesion_map.SLABS)
    assert set(np.diff(drawn)) == {lesion_map.CELL_MM[2]}


def test_the_map_s_slice_lies_in_its_field_of_view():
    (x0, x1), (y0, y1) = lesion_map.EXTENT
    nothing = brain_picture.density({}, 10)
    picture = base64.b64decode(brain_picture.slice_picture(10, nothing).partition(",")[2])
    grey = np.asarray(Image.open(io.BytesIO(picture)).convert("LA"), float)
    assert grey.shape[:2] == ((y1 - y0) // 2, (x1 - x0) // 2)
    brain = np.argwhere(grey[..., 1] > 0)
    top, bottom = brain[:, 0].min(), brain[:, 0].max()
    # The brain at z = 10 reaches from about y = 70 (front, up) to -105.
    assert abs((y1 - 2 * top) - 72) < 8 and abs((y1 - 2 * bottom) + 105) < 8
