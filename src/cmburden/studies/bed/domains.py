"""The domains of the test bed: acquisitions, and what they do to the image that training never did.

No domain serves training or calibration. Choices may look at the domains of ``TUNED``; those of
``UNSEEN`` are looked at once, when nothing is left to choose. Numbers without a source are by eye.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from cmburden.simulate.acquisition import Acquisition


@dataclasses.dataclass(frozen=True)
class Domain:
    """An acquisition of the test bed, with what is odd about it.

    ``whole`` and ``short`` are numbers of vessels that go on and that show a short dark stretch.
    ``mask_sign`` is 1 where the SWI mask darkens the phase of veins, -1 where it darkens that of
    calcium. ``lost_lines`` is the share of k-space lines measured while the head had moved, each by
    about ``motion_mm``. ``texture`` is the standard deviation of tissue at all scales, ``nodules``
    the number of bright and of dark blots. ``warp_mm`` is the largest distortion along phase
    encoding, ``blur_mm`` the width of the decay along it (echo-planar reading). ``calcium`` is the
    share of people with calcifications.
    """

    acquisition: Acquisition
    about: str
    whole: int = 25
    short: int = 0
    mask_sign: int = 1
    lost_lines: float = 0.0
    motion_mm: float = 0.0
    texture: float = 0.02
    nodules: int = 0
    warp_mm: float = 0.0
    blur_mm: float = 0.0
    calcium: float = 0.2

    @property
    def name(self) -> str:
        return self.acquisition.name


def _swi(name: str, voxel_mm: tuple[float, float, float], **more: Any) -> Acquisition:
    """An SWI of 3 T; ``more`` replaces fields of the acquisition."""
    plain = Acquisition(name, "SWI", voxel_mm, 0.020, 3.0, suffix="swi", csf=0.85, snr=25.0)
    return dataclasses.replace(plain, **more)


DOMAINS = {
    domain.name: domain
    for domain in (
        Domain(
            Acquisition("GRE4MM", "GRE", (0.86, 0.86, 4.0), 0.020, 3.0, csf=1.2, snr=30.0),
            "ADNI-like GRE of 4 mm",
        ),
        Domain(
            Acquisition("VESSELS", "GRE", (0.9, 0.9, 2.0), 0.020, 3.0, csf=1.2, snr=25.0),
            "GRE of 2 mm with vessels in numbers, whole and short stretches",
            whole=60,
            short=30,
        ),
        Domain(
            _swi("MINIP", (0.7, 0.7, 2.0), minip_mm=8.0),
            "minimum projections of 8 mm given as SWI",
            whole=40,
        ),
        Domain(
            Acquisition("MOTION", "GRE", (0.9, 0.9, 5.0), 0.025, 1.5, csf=1.3, snr=12.0),
            "1.5 T GRE of 5 mm with little signal and motion",
            lost_lines=0.12,
            motion_mm=0.8,
        ),
        Domain(
            _swi("TURNED", (0.8, 0.8, 1.8)),
            "SWI whose mask darkens the other sign of phase",
            whole=40,
            mask_sign=-1,
        ),
        Domain(
            _swi(
                "SWI7T",
                (0.4, 0.4, 1.5),
                field_t=7.0,
                echo_time_s=0.015,
                filter_size=20,
                mask_power=6,
                snr=20.0,
            ),
            "7 T SWI, strongly filtered",
            whole=60,
        ),
        Domain(
            Acquisition("EPI", "GRE", (1.6, 1.6, 3.5), 0.030, 3.0, csf=1.5, snr=35.0),
            "echo-planar T2*-weighted image, distorted and blurred along phase encoding",
            warp_mm=4.0,
            blur_mm=1.6,
        ),
        Domain(
            _swi("TEXTURE", (0.7, 0.7, 1.6)),
            "SWI with texture at all scales, dark and bright blots, calcium in half of the people",
            short=10,
            texture=0.07,
            nodules=60,
            calcium=0.5,
        ),
    )
}
#: Domains that choices may look at, and domains that are looked at once.
TUNED = ("GRE4MM", "VESSELS", "MINIP", "MOTION")
UNSEEN = ("TURNED", "SWI7T", "EPI", "TEXTURE")
