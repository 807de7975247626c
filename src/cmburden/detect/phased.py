"""The phase of a scan as its candidates are measured with it, or why it is not used."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from cmburden.core.scan import Scan
from cmburden.detect.local_phase import dipole_correlation
from cmburden.detect.vein_phase import sign_of
from cmburden.images.phase import PhaseNotUsed, read_phase
from cmburden.images.prepared import Prepared

#: The sign of the phase where the field is above B0, as `scans` names it.
SIGNS = {1: "positive", -1: "negative"}
#: Remark on an SWI whose phase is used.
SWI = "The sign of its phase presumes that the mask of the SWI darkened blood."


@dataclasses.dataclass(frozen=True, eq=False)
class ScanPhase:
    """Phase of a scan.

    ``signal`` (x, y, z) complex64 is magnitude x exp(i phase), where a field above B0 has positive
    phase; None where phase is not used. ``measures`` go into the scan's record, ``remark`` too.
    """

    signal: np.ndarray | None = None
    measures: dict[str, Any] = dataclasses.field(default_factory=dict)
    remark: str | None = None

    @classmethod
    def of(cls, scan: Scan, prepared: Prepared) -> ScanPhase:
        """The phase image of ``scan``; no fault of it is a fault of the scan."""
        if scan.phase_path is None:
            return cls()
        try:
            phase = read_phase(scan.phase_path, prepared.volume.shape, prepared.affine)
        except PhaseNotUsed as error:
            return cls(remark=str(error))
        sign = sign_of(prepared.volume, prepared.mask, prepared.affine, phase)
        measures: dict[str, Any] = {"phase_certainty": round(sign.certainty, 6)}
        if not sign.is_clear:
            remark = "Its phase image was not used: its veins do not show the sign of its phase."
            return cls(None, measures, remark)
        measures["phase_sign"] = SIGNS[sign.value]
        signal = np.clip(prepared.volume, 0, None) * phase.known
        turned = signal * np.exp(1j * sign.value * phase.radians)
        return cls(turned.astype(np.complex64), measures, SWI if scan.contrast == "SWI" else None)

    def add(self, rows: list[dict[str, Any]], affine: np.ndarray) -> None:
        """Add the measure of the phase to the ``rows`` of candidates of a grid with ``affine``."""
        if self.signal is None:
            return
        for row in rows:
            centre = np.array([row["x_mm"], row["y_mm"], row["z_mm"]])
            value = dipole_correlation(self.signal, affine, centre, row["diameter_mm"])
            row["dipole_correlation"] = round(value, 4) if np.isfinite(value) else None
