"""Simulated lesions beside published ones, on truth tables whose figures are known."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cmburden.core.errors import CMBurdenError
from cmburden.core.tables import TRUTH
from cmburden.studies import distributions

GROUPS = ["lobar"] * 7 + ["deep"] * 2 + ["infratentorial"]


def truth_of(counts, radius=lambda n: 1.0, group=lambda n: "lobar"):
    """Scans with ``counts`` microbleeds each; ``radius`` and ``group`` of the nth."""
    rows, n = [], 0
    for scan, count in enumerate(counts):
        base = {"scan_id": f"sub-{scan:03d}_swi", "cohort": "MAS", "participant_id": f"sub-{scan}"}
        for number in range(count):
            place = {"x_mm": 0.0, "y_mm": 0.0, "z_mm": 0.0, "group": group(n)}
            source = {"source_id": number + 1, "kind": "microbleed", "radius_mm": radius(n)}
            rows.append(base | source | place)
            n += 1
        rows.append(base | {"source_id": 99, "kind": "vessel" if count else "none"})
        rows[-1]["radius_mm"] = 0.8 if count else None
    return TRUTH.frame(rows)


@pytest.mark.slow
def test_known_figures():
    # 2 scans of 10 in a row of ten groups, radii 0.1 to 2.0; a third scan without any.
    truth = truth_of([10, 10, 0], radius=lambda n: (n + 1) / 10, group=lambda n: GROUPS[n % 10])
    rows = {(row.about, row.name): row for row in distributions.compare(truth)}
    share = "group of a microbleed, share"
    assert [rows[share, g].simulated for g in distributions.GROUPS] == [0.7, 0.2, 0.1]
    # Both scans have the same groups: so has every draw.
    assert rows[share, "deep"].low == rows[share, "deep"].high == 0.2
    assert rows["positive scans with one there, share", "deep"].simulated == 1
    radii = np.arange(1, 21) / 10
    for q in distributions.RADIUS_MM:
        row = rows["apparent radius, mm", f"{q:.0%}"]
        assert row.simulated == pytest.approx(np.quantile(radii, q))
        assert row.published == distributions.RADIUS_MM[q]
        assert row.low <= row.simulated <= row.high
    # A scan without any is no positive scan.
    assert rows["microbleeds of a positive scan", "10%"].simulated == 10


def test_published_figures_are_those_of_the_source():
    shares = distributions.published_shares()
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["lobar"] == pytest.approx(73 / 98)
    assert list(distributions.RADIUS_MM.values()) == [0.7, 1.2, 1.4, 1.6, 2.4]
    assert distributions.PER_POSITIVE_SCAN == {0.10: 1, 0.50: 2, 0.90: 11, 0.99: 38}


@pytest.mark.slow
def test_command_writes_table_and_picture(tmp_path, capsys):
    truth = truth_of([1, 2, 5, 0, 12], lambda n: 1 + n % 5 / 4, lambda n: GROUPS[n % 10])
    path, out = tmp_path / "truth.tsv", tmp_path / "out"
    # Columns to come do not disturb.
    truth.assign(painted=0.5).to_csv(path, sep="\t", index=False, na_rep="n/a")
    assert distributions.main([str(path), str(out)]) == 0
    page = (out / "distributions.md").read_text()
    assert page == capsys.readouterr().out
    assert "20 microbleeds in 4 of 5 simulated scans" in page
    assert "| MAS | 20 |" in page and "| vessel | 4 |" in page and "simulated | published" in page
    assert (out / "distributions.png").stat().st_size < 120_000
    with Image.open(out / "distributions.png") as picture:
        assert picture.width >= 700
    first = (out / "distributions.md").read_bytes(), (out / "distributions.png").read_bytes()
    distributions.run(path, out)
    assert first == (
        (out / "distributions.md").read_bytes(),
        (out / "distributions.png").read_bytes(),
    )


def test_mistakes_are_told(tmp_path):
    with pytest.raises(CMBurdenError, match="no microbleed"):
        distributions.compare(truth_of([0, 0]))
    pd.DataFrame({"a": [1]}).to_csv(tmp_path / "a.tsv", sep="\t")
    with pytest.raises(CMBurdenError, match="are missing"):
        distributions.run(tmp_path / "a.tsv", tmp_path)
