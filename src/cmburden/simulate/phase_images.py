"""Phase images as scanners give them: either sign, filtered or not, masked or not, in any scale.

Order of draws (a contract, by a generator of its own, so that the scan's seed stands for the same
scan with and without phase): whether there is a phase image; sign, filter, mask, scale; then of the
background the constant, three linear and three quadratic terms.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch

from cmburden.core.files import write_json
from cmburden.core.keys import seed_of
from cmburden.images import volume as images
from cmburden.simulate import physics
from cmburden.simulate.acquisition import Acquisition
from cmburden.simulate.scan import Simulated

#: Shares of phase images that are filtered, and that are blank outside the brain. By choice.
_FILTERED_SHARE, _MASKED_SHARE = 0.5, 0.25
#: Phase of receive coil and shim: standard deviation of the linear and of the quadratic terms over
#: half the field of view, rad. By choice.
_LINEAR_RAD, _QUADRATIC_RAD = 4.0, 1.5


@dataclasses.dataclass(frozen=True)
class Scale:
    """How phase is stored: the lowest value and the values of a turn, after the header's scaling.

    ``slope`` and ``intercept`` stand in the header of integers; None leaves the header without.
    """

    kind: type[np.integer] | type[np.floating]
    low: float
    turn: float
    slope: float | None = None
    intercept: float = 0.0

    def stored(self, radians: np.ndarray) -> np.ndarray:
        """Values (any shape) of ``radians``, -pi to pi, as the file holds them."""
        values = self.low + (radians / (2 * np.pi) + 0.5) * self.turn
        if not np.issubdtype(self.kind, np.integer):
            return values.astype(self.kind)
        slope = self.slope or 1.0
        # A turn's end is its beginning: the highest step is one below it.
        steps = np.floor((values - self.intercept) / slope)
        least = np.ceil((self.low - self.intercept) / slope)
        most = np.ceil((self.low + self.turn - self.intercept) / slope) - 1
        return np.clip(steps, least, most).astype(self.kind)


#: Scales by name, as converters write those of scanners: Siemens has 4096 steps, which dcm2niix
#: gives a slope of 2; GE thousandths of a radian; Philips steps with a slope to radians.
SCALES = {
    "radians": Scale(np.float32, -np.pi, 2 * np.pi),
    "radians from 0": Scale(np.float32, 0.0, 2 * np.pi),
    "4096 steps": Scale(np.int16, 0.0, 4096.0),
    "4096 steps with slope": Scale(np.int16, -4096.0, 8192.0, 2.0, -4096.0),
    "8192 steps": Scale(np.int16, -4096.0, 8192.0),
    "thousandths of a radian": Scale(np.int16, -1000 * np.pi, 2000 * np.pi),
    "radians with slope": Scale(np.int16, -np.pi, 2 * np.pi, np.pi / 32768, 0.0),
}


@dataclasses.dataclass(frozen=True)
class PhaseImage:
    """A phase image of a scan.

    ``sign`` is 1 where a field above B0 has positive phase, -1 in the other convention;
    ``filtered`` by the high-pass of SWI; ``masked``: blank outside the brain; ``scale`` is one of
    :data:`SCALES`. ``background`` (7,) rad: constant, linear and quadratic terms of the phase of
    coil and shim.
    """

    sign: int
    filtered: bool
    masked: bool
    scale: str
    background: tuple[float, ...]

    @classmethod
    def draw(cls, rng: np.random.Generator) -> PhaseImage:
        """A phase image in the order of the module's docstring."""
        return cls(
            int(rng.choice([1, -1])),
            bool(rng.random() < _FILTERED_SHARE),
            bool(rng.random() < _MASKED_SHARE),
            str(rng.choice(list(SCALES))),
            (
                float(rng.uniform(-np.pi, np.pi)),
                *(float(value) for value in rng.normal(0, _LINEAR_RAD, 3)),
                *(float(value) for value in rng.normal(0, _QUADRATIC_RAD, 3)),
            ),
        )

    def stored(self, scan: Simulated) -> np.ndarray:
        """Values (x, y, slice) of the phase of ``scan`` as the file holds them."""
        phase = scan.phase
        if self.filtered:
            signal = torch.polar(torch.from_numpy(scan.image), torch.from_numpy(phase))
            phase = physics.homodyne_phase(signal, scan.acquisition.filter_size).numpy()
        else:
            phase = phase + _smooth(phase.shape, self.background)
        turned = np.angle(np.exp(1j * self.sign * phase))
        values = SCALES[self.scale].stored(turned)
        return np.where(scan.brain, values, 0).astype(values.dtype) if self.masked else values


def _smooth(shape: tuple[int, ...], terms: tuple[float, ...]) -> np.ndarray:
    """Phase (x, y, z) float32 of the seven ``terms`` over a grid of ``shape``."""
    axes = np.meshgrid(*(np.linspace(-1, 1, n, dtype=np.float32) for n in shape), indexing="ij")
    linear = sum(term * axis for term, axis in zip(terms[1:4], axes, strict=True))
    quadratic = sum(term * axis**2 for term, axis in zip(terms[4:], axes, strict=True))
    return np.asarray(terms[0] + linear + quadratic, np.float32)


def of_participant(seed: int, share: float) -> PhaseImage | None:
    """The phase image of the scan with ``seed``, or None: the ``share`` of scans has one."""
    rng = np.random.default_rng(seed_of("phase image", seed))
    return PhaseImage.draw(rng) if rng.random() < share else None


def write(
    root: Path, folder: Path, stem: str, scan: Simulated, image: PhaseImage, compression: int
) -> None:
    """Write the phase image of ``stem`` beside the scan, and below ``root`` how it was made."""
    before, _, suffix = stem.rpartition("_")
    name = f"{before}_part-phase_{suffix}"
    scale, acquisition = SCALES[image.scale], scan.acquisition
    images.save_volume(
        folder / f"{name}.nii.gz",
        image.stored(scan),
        scan.affine,
        scale.kind,
        compression=compression,
        scaling=None if scale.slope is None else (scale.slope, scale.intercept),
    )
    write_json(folder / f"{name}.json", _sidecar(acquisition, image.scale))
    truth = dataclasses.asdict(image)
    del truth["background"]
    write_json(root / "sourcedata" / "truth" / f"{stem}_phase.json", truth)


def _sidecar(acquisition: Acquisition, scale: str) -> dict[str, object]:
    return {
        "EchoTime": acquisition.echo_time_s,
        "MagneticFieldStrength": acquisition.field_t,
        "Manufacturer": "Simulated",
        "Units": "rad" if scale.startswith("radians") else "arbitrary",
    }
