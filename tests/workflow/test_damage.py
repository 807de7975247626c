"""Files of our own that are damaged between two runs: the run says so, the next makes them anew."""

import pandas as pd
import prepared
import pytest
import tiny_models
from steps import jobs, run

from cmburden.core import remake
from cmburden.core.paths import Layout

pytestmark = pytest.mark.long


def test_damaged_scans_are_rows_and_are_made_anew_by_the_next_run(tmp_path, capsys):
    layout = Layout(tmp_path / "out")
    scans = torn, unknown, *others = prepared.write(tmp_path / "bids", layout, 4)
    prepared.add_marks(layout, list(scans), buckets=2)
    tiny_models.write(tmp_path / "models")
    volume = layout.preproc(torn)
    volume.write_bytes(volume.read_bytes()[:-50])
    layout.record("register", unknown.scan_id).write_text("{")
    options = ["--set", "threads=1", "--set", "detect.max_candidates=2"]
    options += tiny_models.settings(tmp_path / "models")

    def rows() -> dict[str, list]:
        scans = pd.read_parquet(layout.table("scans")).set_index("scan_id")
        told = scans[["reason", "stage"]].astype(object)
        return told.where(told.notna(), None).T.to_dict("list")

    sound = {scan.scan_id: [None, None] for scan in others}
    assert run(tmp_path, *options) == 0
    assert rows() == sound | {
        torn.scan_id: ["damaged", "detect"],
        unknown.scan_id: ["not_run", "register"],
    }
    assert remake.marked(layout) == [torn.scan_id, unknown.scan_id]
    capsys.readouterr()
    # These images are none: that both are read again shows that their work began anew.
    assert run(tmp_path, *options) == 0
    assert "2 scans are made anew" in capsys.readouterr().out
    again = ["unreadable", "preprocess"]
    assert rows() == sound | {torn.scan_id: again, unknown.scan_id: again}
    assert jobs(tmp_path, *options) == {}
