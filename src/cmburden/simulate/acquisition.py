"""Acquisitions to simulate: presets like the four cohorts' and random ones for training.

The presets follow published protocols in voxel size, echo time and field; everything else is this
project's choice. They are *like* those cohorts' acquisitions and hold none of their data.
"""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Acquisition:
    """One T2*-weighted acquisition.

    ``voxel_mm`` is (x, y, slice); ``extent_mm`` the height covered, None for the whole brain.
    ``csf`` is the proton-density-and-T1 weight of CSF against tissue's: above 1 for long TR (2D
    GRE), below for short TR (3D SWI). ``mask_power`` is that of the SWI phase mask.
    """

    name: str
    contrast: str
    voxel_mm: tuple[float, float, float]
    echo_time_s: float
    field_t: float
    suffix: str = "T2starw"
    csf: float = 1.3
    snr: float = 30.0
    mask_power: int = 4
    filter_size: int = 64
    tilt_deg: float = 8.0
    extent_mm: float | None = None


PRESETS = {
    "ADNI": Acquisition("ADNI", "GRE", (0.86, 0.86, 4.0), 0.020, 3.0, csf=1.25),
    "AIBL": Acquisition("AIBL", "SWI", (0.93, 0.93, 1.75), 0.020, 3.0, suffix="swi", csf=0.9),
    "MAS": Acquisition("MAS", "SWI", (0.5, 0.5, 2.0), 0.020, 3.0, suffix="swi", csf=0.85, snr=22),
    "OATS": Acquisition("OATS", "GRE", (0.9, 0.9, 5.0), 0.025, 1.5, csf=1.3, snr=25),
}


def vary(preset: Acquisition, rng: np.random.Generator) -> Acquisition:
    """The preset as one scanner visit would have it: other noise, tilt and weighting."""
    return dataclasses.replace(
        preset,
        csf=preset.csf * rng.uniform(0.9, 1.1),
        snr=preset.snr * rng.uniform(0.75, 1.4),
        tilt_deg=rng.uniform(-12, 12),
    )


def random_acquisition(rng: np.random.Generator) -> Acquisition:
    """An acquisition drawn for training: field 1.5-7 T, TE 10-40 ms, 0.45-1.1 mm, 0.8-6 mm."""
    field = float(rng.choice([1.5, 3.0, 7.0], p=[0.3, 0.6, 0.1]))
    swi = rng.random() < 0.5
    plane = rng.uniform(0.45, 1.1)
    thick = rng.uniform(0.8, 3.0) if swi else rng.uniform(1.5, 6.0)
    echo = {1.5: (0.02, 0.04), 3.0: (0.014, 0.03), 7.0: (0.010, 0.018)}[field]
    return Acquisition(
        "random",
        "SWI" if swi else "GRE",
        (plane, plane * rng.uniform(0.95, 1.05), max(thick, plane)),
        rng.uniform(*echo),
        field,
        suffix="swi" if swi else "T2starw",
        csf=rng.uniform(0.6, 1.05) if swi else rng.uniform(0.8, 1.5),
        snr=rng.uniform(12, 45),
        mask_power=int(rng.integers(2, 6)),
        filter_size=int(rng.choice([32, 48, 64, 96])),
        tilt_deg=rng.uniform(-20, 20),
    )
