"""Tissue of a scan: its signal by label code, and the static field of the head.

Literature values are rounded; each person's values differ by draws of :meth:`Tissues.draw`.
"""

from __future__ import annotations

import dataclasses
from functools import lru_cache

import numpy as np
import torch

from cmburden.simulate import anatomy as an
from cmburden.simulate import physics
from cmburden.simulate.acquisition import Acquisition
from cmburden.simulate.volumes import dilated, eroded, stretched

_FLUID_CODES = (4, 5, 14, 15, 24, 43, 44)
#: T2* at 3 T in ms (FreeSurfer code -> value; other codes TISSUE_T2STAR_MS): after Peters et al.,
#: MRI 2007;25:748 and Siemonsen et al., Radiology 2008;248:979, rounded.
TISSUE_T2STAR_MS = 55.0
T2STAR_MS = {
    **dict.fromkeys(an.WHITE, 52.0),
    **dict.fromkeys(an.CORTEX, 62.0),
    **dict.fromkeys(_FLUID_CODES, 250.0),
    **dict.fromkeys(an.PALLIDUM, 30.0),
    **dict.fromkeys(an.VENTRAL_DC, 38.0),
    **dict.fromkeys(an.PUTAMEN, 46.0),
    an.SOFT: 28.0,
    an.BONE: 2.0,
    an.MARROW: 12.0,
    an.AIR: 1.0,
    0: 1.0,
}
#: Proton density with T1 weight, white matter 0.70; other codes TISSUE_DENSITY, CSF this value
#: times that of the acquisition. By eye.
TISSUE_DENSITY, FLUID_DENSITY = 0.74, 0.72
DENSITY = {
    **dict.fromkeys(an.WHITE, 0.70),
    **dict.fromkeys(an.CORTEX, 0.80),
    an.SOFT: 0.55,
    an.BONE: 0.10,
    an.MARROW: 0.75,
    an.AIR: 0.0,
    0: 0.0,
}
#: Susceptibility in ppm against water (air 9.4; bone, marrow fat and iron as in QSM literature:
#: Schweser et al., NeuroImage 2011;54:2789; Langkammer et al., NeuroImage 2012;62:1593).
AIR_PPM = 9.4
SUSCEPTIBILITY_PPM = {
    0: AIR_PPM,
    an.AIR: AIR_PPM,
    an.BONE: -2.0,
    an.MARROW: 0.6,
    **dict.fromkeys(an.PALLIDUM, 0.16),
    **dict.fromkeys(an.PUTAMEN + an.CAUDATE, 0.06),
    **dict.fromkeys(an.VENTRAL_DC, 0.10),
    **dict.fromkeys(an.WHITE, -0.03),
}
#: Every susceptibility above this is air's, ppm.
_AIR_ABOVE_PPM = 9.0
#: Label maps hold specks of air and bone: an opening of so many voxels of 1 mm removes specks of
#: air. By eye.
_AIR_OPENING = 2
#: The shim is fitted to every n-th voxel of the brain, with coordinates in units of so many voxels.
_SHIM_EVERY, _SHIM_SCALE = 50, 100.0

#: Field at which the T2* values hold, T, and the power of the field by which T2* of tissue falls.
#: The power is rounded; unmeasured.
REFERENCE_FIELD_T, TISSUE_T2STAR_POWER = 3.0, 0.7
#: Venous blood: T2* at 3 T in ms (R2* 40/s at 0.62 saturation: Zhao et al., MRM 2007;58:592) and
#: the power of the field by which it falls.
VEIN_T2STAR_MS, VEIN_T2STAR_POWER = 25.0, 1.25
#: Standard deviation of log T2* against that of log density (``Acquisition.tissue_spread``), and of
#: log T2* of each deep nucleus, where iron differs most between people. By choice.
_T2STAR_SPREAD, _IRON_SD = 2.0, 0.2
#: Control points of the receive sensitivity along each axis. By choice.
_COIL_POINTS = 3


def by_code(table: dict[int, float], default: float) -> np.ndarray:
    """Values of all label codes (``anatomy.CODES_END``,) float32."""
    values = np.full(an.CODES_END, default, np.float32)
    for code, value in table.items():
        values[code] = value
    return values


@dataclasses.dataclass(frozen=True, eq=False)
class Tissues:
    """A person's signals at an acquisition.

    ``weight`` (``anatomy.CODES_END``,) float32 by label code; ``fluid`` the signal of CSF against
    white matter's; ``blood`` that of venous blood.
    """

    weight: np.ndarray
    fluid: float
    blood: float

    @classmethod
    def draw(cls, acquisition: Acquisition, rng: np.random.Generator) -> Tissues:
        """Signals with the differences between people.

        Draws: the density of every code, T2* of every code, then T2* of each deep nucleus.
        """
        density = by_code(DENSITY, TISSUE_DENSITY)
        for code in _FLUID_CODES:
            density[code] = FLUID_DENSITY * acquisition.csf
        weaker = REFERENCE_FIELD_T / acquisition.field_t
        t2star = by_code(T2STAR_MS, TISSUE_T2STAR_MS) * weaker**TISSUE_T2STAR_POWER
        spread = acquisition.tissue_spread
        density *= np.exp(rng.normal(0, spread, an.CODES_END)).astype(np.float32)
        t2star *= np.exp(rng.normal(0, _T2STAR_SPREAD * spread, an.CODES_END)).astype(np.float32)
        for left, right in zip(an.BASAL_GANGLIA[:4], an.BASAL_GANGLIA[4:], strict=True):
            t2star[[left, right]] *= np.exp(rng.normal(0, _IRON_SD))
        echo_ms = 1000 * acquisition.echo_time_s
        weight = density * np.exp(-echo_ms / t2star)
        vein = VEIN_T2STAR_MS * weaker**VEIN_T2STAR_POWER
        return cls(
            weight.astype(np.float32),
            float(weight[an.CSF] / weight[an.WHITE[0]]),
            float(DENSITY[an.CORTEX[0]] * np.exp(-echo_ms / vein)),
        )


@lru_cache(maxsize=16)
def head_field(anatomy: an.Anatomy) -> np.ndarray:
    """Field shift (x, y, z) float16, ppm, of air, bone and iron-rich nuclei on the anatomy's grid.

    B0 lies along z. A second-order shim of the brain is subtracted, as scanners do.
    """
    chi = by_code(SUSCEPTIBILITY_PPM, 0.0)[anatomy.labels]
    air = chi > _AIR_ABOVE_PPM
    chi[air & ~dilated(eroded(air, _AIR_OPENING), _AIR_OPENING)] = 0.0
    # Outside the map is air as well: with air as the reference the grid wraps without an edge.
    field = physics.dipole_field(
        torch.from_numpy(chi) - AIR_PPM, (1.0, 1.0, 1.0), np.array([0, 0, 1.0])
    ).numpy()
    brain = (anatomy.labels > 0) & (anatomy.labels < an.OUTSIDE_CODES_START)
    middle = np.array(brain.shape) / 2
    index = np.argwhere(brain)[::_SHIM_EVERY]
    terms = _shim_terms((index - middle) / _SHIM_SCALE)
    fit, *_ = np.linalg.lstsq(terms, field[tuple(index.T)], rcond=None)
    x, y, z = ((np.arange(n) - m) / _SHIM_SCALE for n, m in zip(brain.shape, middle, strict=True))
    one = np.ones_like
    # The terms of _shim_terms as a product over the axes.
    along_z = np.stack([one(z), z, z**2], 1)
    for plane, at in zip(field, x, strict=True):
        flat = np.stack(
            [
                fit[0]
                + fit[1] * at
                + fit[7] * at**2
                + fit[2] * y
                + fit[4] * at * y
                + fit[8] * y**2,
                fit[3] + fit[5] * at + fit[6] * y,
                fit[9] * one(y),
            ],
            1,
        )
        plane -= flat @ along_z.T
    return field.astype(np.float16)


def _shim_terms(points: np.ndarray) -> np.ndarray:
    """Polynomials up to the second order (n, 10) of ``points`` (n, 3)."""
    x, y, z = points.T
    return np.stack([np.ones_like(x), x, y, z, x * y, x * z, y * z, x**2, y**2, z**2], 1)


def coil(shape: np.ndarray, spread: float, rng: np.random.Generator) -> np.ndarray:
    """Receive sensitivity (x, y, z) float32: smooth, lognormal.

    ``spread`` is the standard deviation of its logarithm (0.18: about 0.7 to 1.4). Draws: 27
    control points.
    """
    control = rng.normal(0, spread, (_COIL_POINTS,) * 3)
    zoomed = stretched(control, tuple(shape), order=2)
    return np.exp(zoomed, out=zoomed).astype(np.float32)
