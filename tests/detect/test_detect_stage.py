"""The stage detect on a scan that preprocess left behind."""

import prepared
import pytest
import tiny_models

from cmburden.core import config
from cmburden.core.paths import Layout
from cmburden.core.scan import Outcome
from cmburden.detect import stage as detect
from cmburden.images.prepared import UnreadableDerivative


def test_our_own_torn_file_stops_the_bucket_and_is_no_fault_of_the_scan(tmp_path):
    layout = Layout(tmp_path / "out")
    scans = prepared.write(tmp_path / "bids", layout, 1)
    models = tiny_models.write(tmp_path / "models", kinds=("detector",))
    settings = config.load({})["detect"] | {"model": str(models / "detector"), "device": "cpu"}
    volume = layout.preproc(scans[0])
    volume.write_bytes(volume.read_bytes()[:-40])
    with pytest.raises(UnreadableDerivative, match=f"{volume.name}: cannot be read"):
        detect.run(scans, layout, settings, 0)
    assert not layout.record("detect", scans[0].scan_id).exists()
    assert Outcome.read(layout.record("preprocess", scans[0].scan_id)).ok
