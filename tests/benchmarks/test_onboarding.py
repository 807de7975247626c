"""The benchmark of onboarding, on a few series. The ratio itself is measured on an idle machine."""

from __future__ import annotations

import pytest

pytest.importorskip("cmburden.onboard.truth")


def test_both_convert_every_series(tmp_path) -> None:
    from cmburden.benchmarks import onboarding

    result = onboarding.measured(3)
    assert result["series"] == 3
    assert result["dcm2niix_s"] > 0 and result["ratio"] > 0
