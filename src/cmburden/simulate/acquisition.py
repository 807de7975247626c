"""Acquisitions to simulate: presets like the four cohorts' and random ones for training.

The presets follow published protocols in voxel size, echo time and field. All else, with the ranges
of random acquisitions, is this project's choice. A preset is *like* the acquisition of a cohort and
holds none of its data.
"""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Acquisition:
    """One T2*-weighted acquisition.

    ``voxel_mm`` is (x, y, slice); ``extent_mm`` the height covered, None for the whole brain.
    ``csf`` is the proton-density-and-T1 weight of CSF against tissue's: above 1 for long TR (2D
    GRE), below for short TR (3D SWI). ``snr`` is the signal of tissue against the noise's standard
    deviation. ``mask_power``, ``mask_shape`` and ``filter_size`` are those of the SWI phase mask;
    ``minip_mm`` above 0 gives a sliding minimum projection of that thickness instead of the slices.
    ``turn_deg`` are rotations about x, y, z. ``shading`` is the standard deviation of the coil's
    log sensitivity, ``tissue_spread`` that of the tissues' log density between people.

    The last fields are faults (see ``artefacts``): ``crosstalk`` is the share of each neighbour's
    signal in a slice, ``ghost`` the ghost's share of the signal, ``ringing`` the share of k-space
    that is missing, ``motion_mm`` the shift of the head, ``ceiling`` the brightness at which values
    are clipped (0: none) and ``levels`` the number of integer steps (0: not rounded).
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
    mask_shape: str = "linear"
    filter_size: int = 64
    minip_mm: float = 0.0
    turn_deg: tuple[float, float, float] = (8.0, 0.0, 0.0)
    extent_mm: float | None = None
    shading: float = 0.18
    tissue_spread: float = 0.04
    crosstalk: float = 0.0
    ghost: float = 0.0
    ringing: float = 0.0
    motion_mm: float = 0.0
    ceiling: float = 0.0
    levels: int = 0


PRESETS = {
    "ADNI": Acquisition("ADNI", "GRE", (0.86, 0.86, 4.0), 0.020, 3.0, csf=1.25),
    "AIBL": Acquisition("AIBL", "SWI", (0.93, 0.93, 1.75), 0.020, 3.0, suffix="swi", csf=0.9),
    "MAS": Acquisition("MAS", "SWI", (0.5, 0.5, 2.0), 0.020, 3.0, suffix="swi", csf=0.85, snr=22),
    "OATS": Acquisition("OATS", "GRE", (0.9, 0.9, 5.0), 0.025, 1.5, csf=1.3, snr=25),
}
#: Name of a preset that is drawn anew for each scan.
RANDOM = "RANDOM"

#: Echo times of random acquisitions by field (T), s.
_ECHO_TIME_S = {1.5: (0.015, 0.04), 3.0: (0.012, 0.035), 7.0: (0.010, 0.020)}
#: Shares of the SWI masks of training (``physics.susceptibility_weighted``), and of minimum
#: projections given instead of the slices, with their thickness in mm. By choice: more of each than
#: scanners give, so that networks read the void rather than one mask's pattern.
MASKS = {"linear": 0.5, "sigmoid": 0.15, "both": 0.1, "turned": 0.2, "none": 0.05}
_PROJECTED_SHARE, _PROJECTED_MM = 0.12, (3.0, 10.0)
#: Acquisitions are alike if each voxel size differs by less than this factor.
_ALIKE = 7 / 6


def vary(preset: Acquisition, rng: np.random.Generator) -> Acquisition:
    """The preset at one visit to a scanner: noise, angle, contrast and small faults differ.

    The order of draws is the order of the fields below; of a fault and whether it is there the
    fault is drawn first.
    """
    thick = preset.contrast == "GRE"
    return dataclasses.replace(
        preset,
        csf=preset.csf * rng.uniform(0.9, 1.1),
        snr=preset.snr * rng.uniform(0.75, 1.4),
        turn_deg=(rng.uniform(-12, 12), rng.normal(0, 2), rng.normal(0, 2)),
        crosstalk=rng.uniform(0, 0.06) if thick else 0.0,
        ghost=rng.uniform(0, 0.03) * (rng.random() < 0.3),
        ringing=rng.uniform(0.05, 0.15) * (rng.random() < 0.3),
        motion_mm=rng.uniform(0.2, 0.8) * (rng.random() < 0.15),
        levels=int(rng.integers(800, 3000)),
    )


def reprocessed(acquisition: Acquisition, rng: np.random.Generator) -> Acquisition:
    """An SWI with a mask drawn from those of training, at times as a minimum projection.

    Draws: the mask, the projection's thickness, whether it is one. A GRE stays as it is.
    """
    if acquisition.contrast != "SWI":
        return acquisition
    return dataclasses.replace(
        acquisition,
        mask_shape=str(rng.choice(list(MASKS), p=list(MASKS.values()))),
        minip_mm=rng.uniform(*_PROJECTED_MM) * (rng.random() < _PROJECTED_SHARE),
    )


def random_acquisition(
    rng: np.random.Generator, avoid: tuple[Acquisition, ...] = ()
) -> Acquisition:
    """An acquisition drawn for training: field 1.5-7 T, TE 10-40 ms, 0.4-1.2 mm, 0.8-6 mm.

    Draws that are :func:`like` an acquisition of ``avoid`` are rejected, so that a network can be
    tested on an acquisition that it has not seen. Order of draws: field, contrast, voxel in plane,
    slice, then the order of the fields below.
    """
    while True:
        field = float(rng.choice([1.5, 3.0, 7.0], p=[0.35, 0.55, 0.1]))
        swi = rng.random() < 0.5
        plane = rng.uniform(0.4, 1.2)
        thick = rng.uniform(0.8, 3.0) if swi else rng.uniform(0.8, 6.0)
        drawn = Acquisition(
            "random",
            "SWI" if swi else "GRE",
            (plane, plane * rng.uniform(0.92, 1.08), max(thick, plane)),
            rng.uniform(*_ECHO_TIME_S[field]),
            field,
            suffix="swi" if swi else "T2starw",
            csf=rng.uniform(0.5, 1.1) if swi else rng.uniform(0.7, 1.6),
            snr=rng.uniform(12, 45),
            mask_power=int(rng.integers(1, 7)),
            mask_shape=str(rng.choice(list(MASKS), p=list(MASKS.values()))),
            filter_size=int(rng.choice([24, 32, 48, 64, 96])),
            minip_mm=rng.uniform(*_PROJECTED_MM) * (swi and rng.random() < _PROJECTED_SHARE),
            turn_deg=(rng.uniform(-25, 25), rng.normal(0, 6), rng.normal(0, 6)),
            shading=rng.uniform(0.05, 0.3),
            tissue_spread=float(rng.choice([0.04, 0.15], p=[0.6, 0.4])),
            crosstalk=rng.uniform(0, 0.12) * (rng.random() < 0.6),
            ghost=rng.uniform(0.01, 0.08) * (rng.random() < 0.3),
            ringing=rng.uniform(0.05, 0.35) * (rng.random() < 0.4),
            motion_mm=rng.uniform(0.3, 2.0) * (rng.random() < 0.2),
            ceiling=rng.uniform(1.2, 2.0) * (rng.random() < 0.1),
            levels=int(np.exp(rng.uniform(np.log(60), np.log(4000)))),
        )
        if not any(like(drawn, other) for other in avoid):
            return drawn


def like(one: Acquisition, other: Acquisition) -> bool:
    """Whether two acquisitions are so near that leaving out one means leaving out both.

    They have the same contrast and field, and voxels within a sixth along each axis.
    """
    sizes = np.log(np.array(one.voxel_mm) / np.array(other.voxel_mm))
    return (
        one.contrast == other.contrast
        and one.field_t == other.field_t
        and bool((np.abs(sizes) < np.log(_ALIKE)).all())
    )
