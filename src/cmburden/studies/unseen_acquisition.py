"""A cohort of an acquisition that no network has seen: ``make tuning`` tunes on it.

``python -m cmburden.studies.unseen_acquisition BIDS [--participants 24]``. Echo time, voxels,
slices, noise, shading and the weight of CSF lie outside of what training draws
(``acquisition.random_acquisition``, the contract's ``domain``): an old 1.5 T protocol with thick
slices. The truth goes beside BIDS.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cmburden.core.errors import exit_code
from cmburden.simulate import cohort, command
from cmburden.simulate.acquisition import Acquisition
from cmburden.simulate.cohort import ParticipantPlan

#: Drawn in training: echo 10-40 ms, 0.4-1.2 mm in plane, slices up to 6 mm, signal-to-noise 12-45,
#: shading up to 0.3, weight of CSF up to 1.6. Slices are below preprocess.max_voxel_mm.
UNSEEN = Acquisition(
    "UNSEEN",
    "GRE",
    (1.35, 1.35, 6.5),
    0.050,
    1.5,
    csf=1.8,
    snr=9.0,
    shading=0.35,
)


def write_participant(plan: ParticipantPlan, root: Path) -> list[dict[str, Any]]:
    """Simulate one participant's scan below ``root``; returns its truth rows."""
    return cohort.write_participant(plan, root, preset=UNSEEN)


def main(arguments: list[str] | None = None) -> int:
    """``python -m cmburden.studies.unseen_acquisition BIDS [--anatomy FOLDER]``."""
    return command.simulate_as(
        "python -m cmburden.studies.unseen_acquisition",
        [UNSEEN.name],
        24,
        write_participant,
        arguments,
    )


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
