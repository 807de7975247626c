"""One simulated scan: tissue, sources and acquisition to a magnitude (or SWI) and phase image.

The steps of :func:`simulate` follow the physics: grid, susceptibility, phase, signal of tissue,
sources, receive coil, noise and faults, image, reader.

Order of draws (a contract: seeds stand for scans, so that a draw that is added, left out or moved
changes every scan and every training slab):

1. the grid's centre and height (``grid.draw_grid``);
2. veins, then crossing vessels, the points that fill them, the susceptibility of their blood, then
   the same of short stretches where there are any; with ``given`` veins only the points that fill
   them;
3. each siderosis: the surface, then its susceptibility and place;
4. signals of the tissues (``Tissues.draw``);
5. one seed of torch's generator, which draws texture, then the jitter of sub-voxels, slab by slab;
6. changes of tissue (``pathology.tissue_factor``), not with ``given``;
7. sources (``placing.Drawing.draw``), not with ``given``;
8. the receive coil (``tissue.coil``);
9. faults (``artefacts.disturb``), then noise of the real and of the imaginary part. The scan with
   bleeds repeats the draws of the scan without.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Sequence

import nibabel as nib
import numpy as np
import torch
from scipy import ndimage

from cmburden.simulate import anatomy as an
from cmburden.simulate import artefacts, pathology, physics, placing, reader, sources, vessels
from cmburden.simulate.acquisition import Acquisition
from cmburden.simulate.grid import SUB_MM, Grid, brain_box, draw_grid, voxel_points
from cmburden.simulate.sources import Box, Findings, Source
from cmburden.simulate.tissue import Tissues, coil, head_field
from cmburden.simulate.volumes import in_memory, nearest_stretched

#: Susceptibility of venous blood against tissue, ppm: about 60 % saturation. By choice.
VEIN_PPM = (0.3, 0.5)
#: Short stretches: susceptibility of their blood, ppm, and the share of its signal that is lost by
#: its own T2*. By choice, so that some are as dark as microbleeds on GRE too.
_STRETCH_PPM, _STRETCH_LOST = (0.3, 1.0), (0.2, 0.95)
#: Siderosis: susceptibility in ppm of a surface, and what each voxel has of it; how far its points
#: lie from voxel centres, in voxels. By choice.
_SIDEROSIS_PPM, _SIDEROSIS_SHARE, _SIDEROSIS_OFFSET = (0.3, 0.9), (0.3, 1.0), 0.3
#: Texture of tissue: distance of its control points, mm, and standard deviation there, as a share
#: of the signal. By eye.
_TEXTURE_MM, _TEXTURE_SD = 3, 0.025
#: Slices whose sub-voxels are looked up at a time, so that they stay within some 100 MB.
_SLICES_AT_A_TIME = 6
#: Slices of a minimum projection: at least this many.
_LEAST_PROJECTED = 2


@dataclasses.dataclass(frozen=True, eq=False)
class Simulated:
    """One scan with its truth.

    ``image`` (x, y, slice) float32 and ``bare``, the same without bleeds; ``phase`` in rad;
    ``affine`` (4, 4) to scanner RAS mm; ``labels`` the anatomy's codes at the voxel centres;
    ``brain`` the true brain mask; ``sources`` all microbleeds and mimics.
    """

    image: np.ndarray
    bare: np.ndarray
    phase: np.ndarray
    affine: np.ndarray
    labels: np.ndarray
    brain: np.ndarray
    sources: list[Source]
    acquisition: Acquisition


@dataclasses.dataclass(frozen=True, eq=False)
class ScanVeins:
    """Veins of one scan.

    ``points_mm`` (n, 3) on their centrelines; ``blood`` the share of each sub-voxel that they fill,
    ``chi`` its susceptibility against tissue, ppm; ``lost`` the share of each sub-voxel's signal
    that dark blood has lost, None for none; ``named`` the vessels across the slices and the short
    stretches, as sources of the truth.
    """

    points_mm: np.ndarray
    blood: torch.Tensor
    chi: torch.Tensor
    lost: torch.Tensor | None
    named: list[Source]


@dataclasses.dataclass(frozen=True, eq=False)
class Given:
    """Veins, sources and changes of tissue that a person has in every session: none is drawn.

    All is in mm of this scan. ``vein_ppm`` is the susceptibility of blood in ``veins``, of which
    the truth names ``crossings``; ``sources`` are the microbleeds and calcifications; ``tissue``
    gives the factor of the signal (see ``pathology``) at points (..., 3).
    """

    veins: vessels.Veins
    vein_ppm: float
    crossings: list[Source]
    sources: list[Source]
    tissue: Callable[[torch.Tensor], torch.Tensor]


@dataclasses.dataclass(frozen=True, eq=False)
class Fields:
    """Sub-voxels of a scan.

    ``shift_ppm`` (x, y, z) is the shift of the field, ``blood`` (x, y, z) the share that veins
    fill and ``lost`` the share of the signal that dark blood has lost, None for none;
    ``radians_per_ppm`` the phase at the echo of a shift of 1 ppm.
    """

    shift_ppm: torch.Tensor
    blood: torch.Tensor
    lost: torch.Tensor | None
    radians_per_ppm: float


@dataclasses.dataclass(frozen=True, eq=False)
class _Head:
    """The head on a scan's grid.

    ``scan_mm`` (x, y, z, 3) are the voxel centres, ``index`` (1, 3, x, y, z) is where they lie
    among the voxels of the label map; ``field_ppm`` (x, y, z) is the shift by air, bone and iron;
    ``brain`` the mask.
    """

    scan_mm: torch.Tensor
    index: torch.Tensor
    anatomy: an.GridAnatomy
    field_ppm: np.ndarray
    brain: np.ndarray

    @classmethod
    def on(cls, anatomy: an.Anatomy, deform: an.PointMap, grid: Grid) -> _Head:
        """The head of ``anatomy`` on ``grid``; ``deform`` takes scan mm to anatomy mm."""
        scan_mm = voxel_points(grid.affine, grid.shape)
        lookup = an.lookup_of(anatomy, deform(scan_mm))
        labels, brain = lookup.nearest(anatomy.labels, anatomy.brain)
        to_ventricle, to_deep_grey, field_ppm = lookup.linear(
            anatomy.to_ventricle, anatomy.to_deep_grey, head_field(anatomy)
        )
        return cls(
            scan_mm,
            lookup.index.permute(3, 0, 1, 2)[None].contiguous(),
            an.GridAnatomy(labels, to_ventricle, to_deep_grey, grid.affine),
            field_ppm,
            brain,
        )


def simulate(
    anatomy: an.Anatomy,
    deform: an.PointMap,
    acquisition: Acquisition,
    rng: np.random.Generator,
    findings: Findings,
    *,
    margin_mm: float = 8.0,
    given: Given | None = None,
    sub_mm: tuple[float, float, float] = SUB_MM,
) -> Simulated:
    """Simulate one scan of one person with ``findings``.

    ``deform`` takes scan mm to mm of ``anatomy``. With ``given`` the person's sources, veins and
    changes of tissue are those, and ``findings`` is not used. A microbleed that this scan shows
    grey rather than dark has the kind 'faint'; a given one that no reader would see is 'unseen'.
    Coarser ``sub_mm`` cost less time and dephase less. The module's docstring has the order of
    draws.
    """
    grid = draw_grid(brain_box(anatomy, deform), acquisition, margin_mm, sub_mm, rng)
    head = _Head.on(anatomy, deform, grid)
    radians = physics.phase_per_ppm(acquisition.field_t, acquisition.echo_time_s)
    if given is None:
        veins = _draw_veins(head.anatomy, grid, findings, rng)
    else:
        veins = _given_veins(given, grid, rng)
    chi = veins.chi
    for _ in range(findings.siderosis if given is None else 0):
        _add_siderosis(chi, head.anatomy, grid, rng)
    shift = physics.dipole_field(chi, grid.sub_mm, grid.b0)
    fields = Fields(shift, veins.blood, veins.lost, radians)
    del chi, shift
    tissues = Tissues.draw(acquisition, rng)
    signal = _tissue_signal(anatomy.labels, head.index, grid, fields, tissues, rng)
    if given is None:
        factor = pathology.tissue_factor(head.anatomy, tissues.fluid, findings, rng)
    else:
        factor = given.tissue(head.scan_mm).numpy()
    if factor is not None:
        signal *= torch.from_numpy(factor)
    level = float(signal.abs()[torch.from_numpy(head.anatomy.tissue)].median())
    losses = _Losses(signal, grid, acquisition, radians, level / acquisition.snr)
    if given is None:
        drawing = placing.Drawing(head.anatomy, acquisition, veins.points_mm, losses.grade, rng)
        drawn = drawing.draw(findings)
    else:
        drawn = [losses.graded(source) for source in given.sources]
    receive = _receive(head.field_ppm, radians, coil(grid.shape, acquisition.shading, rng))
    image, bare, phase = _images(losses, drawn, receive, rng)
    labels, affine = head.anatomy.labels, grid.affine
    parenchyma = an.parenchyma(labels)
    seen = [reader.looked_at(source, image, bare, parenchyma, affine) for source in drawn]
    # These vessels are in the susceptibility map already; the truth names them.
    truth = [*seen, *veins.named]
    return Simulated(image, bare, phase, affine, labels, head.brain, truth, acquisition)


def _draw_veins(
    anatomy: an.GridAnatomy, grid: Grid, findings: Findings, rng: np.random.Generator
) -> ScanVeins:
    """Veins of this person, which grow on a grid of about 1 mm."""
    zoom = grid.voxel_mm
    coarse = nearest_stretched(anatomy.labels, zoom)
    wall = ndimage.zoom(anatomy.to_ventricle, zoom, order=1, grid_mode=True, mode="nearest")
    grown = vessels.grow(coarse, wall.astype(np.float32), findings.veins, rng)
    crossing, middles = vessels.crossing(coarse, findings.crossing_vessels, rng)
    veins = vessels.Veins.joined([grown, *crossing])
    ratio = np.array(anatomy.labels.shape) / np.array(coarse.shape)
    blood = veins.share(grid.sub_shape, grid.sub_mm, ratio * grid.factor, rng)
    ppm = float(rng.uniform(*VEIN_PPM))
    chi = ppm * blood

    def to_mm(points: np.ndarray) -> np.ndarray:
        return nib.affines.apply_affine(anatomy.affine, (points + 0.5) * ratio - 0.5)

    named, lost = vessel_sources(crossing, to_mm(middles), ppm), None
    if findings.stretches:
        pieces, middles = vessels.stretches(coarse, findings.stretches, rng)
        short = vessels.Veins.joined(pieces)
        dark = short.share(grid.sub_shape, grid.sub_mm, ratio * grid.factor, rng)
        ppm = float(rng.uniform(*_STRETCH_PPM))
        chi.add_(dark, alpha=ppm)
        blood.add_(dark).clamp_(max=1.0)
        lost = dark.mul_(float(rng.uniform(*_STRETCH_LOST)))
        named += vessel_sources(pieces, to_mm(middles), ppm)
        veins = vessels.Veins.joined([veins, short])
    return ScanVeins(to_mm(veins.points), blood, chi, lost, named)


def _given_veins(given: Given, grid: Grid, rng: np.random.Generator) -> ScanVeins:
    """A person's veins in this scan; their steps stay 1 mm long."""
    to_steps = np.diag([*grid.voxel_mm, 1.0])
    to_steps[:3, 3] = 0.5 * grid.voxel_mm - 0.5
    in_steps = given.veins.through(to_steps @ np.linalg.inv(grid.affine))
    blood = in_steps.share(grid.sub_shape, grid.sub_mm, 1 / grid.sub_mm, rng)
    return ScanVeins(given.veins.points, blood, given.vein_ppm * blood, None, given.crossings)


def vessel_sources(
    crossing: list[vessels.Veins], middles_mm: np.ndarray, ppm: float
) -> list[Source]:
    """Short vessels as the truth names them: one source at the middle of each."""
    named = []
    for vessel, centre in zip(crossing, middles_mm, strict=True):
        if len(vessel.points):
            radius = float(vessel.radius_mm[0])
            named.append(Source("vessel", centre, radius, ppm, radius, None, "unknown"))
    return named


def _add_siderosis(
    chi: torch.Tensor, anatomy: an.GridAnatomy, grid: Grid, rng: np.random.Generator
) -> None:
    """Add haemosiderin on a stretch of cortex to ``chi``, one sub-voxel thick, unevenly."""
    index = np.argwhere(placing.siderosis(anatomy.labels, anatomy.affine, rng))
    if not len(index):
        return
    value = rng.uniform(*_SIDEROSIS_PPM) * rng.uniform(*_SIDEROSIS_SHARE, len(index))
    offset = rng.uniform(-_SIDEROSIS_OFFSET, _SIDEROSIS_OFFSET, index.shape)
    at = np.round(grid.sub_index(index + offset)).astype(int)
    at = np.clip(at, 0, np.array(chi.shape) - 1)
    chi[tuple(at.T)] += torch.from_numpy(value.astype(np.float32))


def _tissue_signal(
    labels: np.ndarray,
    index: torch.Tensor,
    grid: Grid,
    fields: Fields,
    tissues: Tissues,
    rng: np.random.Generator,
) -> torch.Tensor:
    """Complex signal (x, y, z): the mean over sub-voxels of tissue signal x exp(i phase).

    ``labels`` are the anatomy's; ``index`` (1, 3, x, y, z) is where voxels lie among them.
    """
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    texture = _texture(grid, generator)
    flat, steps = in_memory(tissues.weight[labels])
    amplitudes = torch.from_numpy(flat)
    depth, fz = int(grid.shape[2]), grid.factor[2]
    parts = []
    for start in range(0, depth, _SLICES_AT_A_TIME):
        stop = min(start + _SLICES_AT_A_TIME, depth)
        # One slice more on each side, so that the interpolation is the same at every border.
        low, high = max(start - 1, 0), min(stop + 1, depth)
        fine = torch.nn.functional.interpolate(
            index[..., low:high], scale_factor=tuple(map(float, grid.factor)), mode="trilinear"
        )[0]
        fine = fine[..., (start - low) * fz : (stop - low) * fz]
        slab = slice(start * fz, stop * fz)
        at = _jittered(labels.shape, fine, generator)
        where = at[0].mul_(steps[0]).add_(at[1], alpha=steps[1]).add_(at[2], alpha=steps[2])
        amplitude = amplitudes.index_select(0, where.view(-1)).view(where.shape)
        amplitude += fields.blood[:, :, slab] * (tissues.blood - amplitude)
        if fields.lost is not None:
            amplitude *= 1 - fields.lost[:, :, slab]
        phase = fields.shift_ppm[:, :, slab] * fields.radians_per_ppm
        real = physics.block_mean(amplitude * torch.cos(phase), grid.factor)
        imaginary = physics.block_mean(amplitude * torch.sin(phase), grid.factor)
        parts.append(torch.complex(real, imaginary))
    return torch.cat(parts, 2) * (1 + _TEXTURE_SD * texture)


def _jittered(
    shape: Sequence[int], index: torch.Tensor, generator: torch.Generator
) -> list[torch.Tensor]:
    """Voxels, an int32 tensor for each axis of ``shape``, at ``index`` (3, ...) with jitter.

    The jitter is half a label voxel: means over sub-voxels then show smooth borders, not steps.
    """
    at = torch.rand(index.shape, generator=generator).add_(index).floor_().to(torch.int32)
    return [one.clamp_(0, size - 1) for one, size in zip(at, shape, strict=True)]


def _texture(grid: Grid, generator: torch.Generator) -> torch.Tensor:
    """Smooth noise (x, y, z) of unit variance at control points 3 mm apart."""
    # Sizes from the affine: with nominal ones, which differ in the last digit, the number of points
    # and thus all later draws would differ.
    sizes = nib.affines.voxel_sizes(grid.affine)
    points = [int(max(2, n * v / _TEXTURE_MM)) for n, v in zip(grid.shape, sizes, strict=True)]
    return torch.nn.functional.interpolate(
        torch.randn((1, 1, *points), generator=generator),
        size=tuple(int(n) for n in grid.shape),
        mode="trilinear",
    )[0, 0]


@dataclasses.dataclass(frozen=True, eq=False)
class _Losses:
    """The signal of tissue, and the sources that take signal from it.

    ``signal`` complex (x, y, z), which :meth:`apply` changes in place; ``radians_per_ppm`` of the
    acquisition; ``sigma`` the standard deviation of the noise. ``factors`` holds the signal factors
    of sources that a reader sees, by centre: they are not integrated twice. Factors of rejected
    sources are not held, as there may be many.
    """

    signal: torch.Tensor
    grid: Grid
    acquisition: Acquisition
    radians_per_ppm: float
    sigma: float
    factors: dict[bytes, tuple[Box, np.ndarray]] = dataclasses.field(default_factory=dict)

    def grade(self, source: Source) -> str:
        """What a reader calls the source in tissue without noise: see ``sources.grade``."""
        box, left = self._factors_of(source)
        local = float(self.signal[box].abs().median()) if left.size else 0.0
        call = sources.grade(sources.darkest_loss(left, self.acquisition), local, self.sigma)
        if call != "unseen":
            self.factors[source.centre.tobytes()] = box, left
        return call

    def graded(self, source: Source) -> Source:
        """The source; a microbleed with the kind that :meth:`grade` gives."""
        if source.kind != "microbleed":
            return source
        return dataclasses.replace(source, kind=self.grade(source))

    def apply(self, taking: list[Source]) -> None:
        """Take the signal of the sources ``taking`` from ``signal``."""
        for source in taking:
            box, left = self.factors.get(source.centre.tobytes()) or self._factors_of(source)
            self.signal[box] *= torch.from_numpy(left)

    def _factors_of(self, source: Source) -> tuple[Box, np.ndarray]:
        return sources.source_signal(
            source, self.grid.affine, self.signal.shape, self.grid.b0, self.radians_per_ppm
        )


def _receive(field_ppm: np.ndarray, radians: float, sensitivity: np.ndarray) -> torch.Tensor:
    """Complex factor (x, y, z) of the head's field and the receive coil on each voxel's signal."""
    field = torch.from_numpy(field_ppm)
    left = physics.through_voxel_dephasing(field, radians)
    factor = torch.polar(left, (field * radians).remainder(2 * np.pi))
    factor *= torch.from_numpy(sensitivity)
    return factor


def _images(
    losses: _Losses, drawn: list[Source], receive: torch.Tensor, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image, image without bleeds, and phase.

    Both images have the same noise and faults: their difference is due to bleeds alone, as a reader
    sees it.
    """
    bleeds = [source for source in drawn if source.is_bleed]
    acquisition = losses.acquisition
    again = copy.deepcopy(rng)
    losses.apply([source for source in drawn if not source.is_bleed])
    signal = artefacts.disturb(losses.signal * receive, acquisition, rng)
    noise = _noise(losses.sigma, signal.shape, rng)
    signal = signal + noise
    bare = _stored(signal, acquisition)
    if not bleeds:
        return bare, bare, _phase(signal)
    losses.apply(bleeds)
    signal = artefacts.disturb(losses.signal * receive, acquisition, again) + noise
    return _stored(signal, acquisition), bare, _phase(signal)


def _noise(sigma: float, shape: Sequence[int], rng: np.random.Generator) -> torch.Tensor:
    """Complex noise (x, y, slice) of standard deviation ``sigma`` in either part."""
    real, imaginary = (
        torch.from_numpy(rng.normal(0, sigma, shape).astype(np.float32)) for _ in range(2)
    )
    return torch.complex(real, imaginary)


def _phase(signal: torch.Tensor) -> np.ndarray:
    """Phase (x, y, slice) float32, rad."""
    return torch.angle(signal).numpy()


def _stored(signal: torch.Tensor, acquisition: Acquisition) -> np.ndarray:
    """Image (x, y, slice), float32, of a complex signal with noise, as the scanner stores it."""
    magnitude = signal.abs()
    if acquisition.contrast == "SWI":
        high_pass = physics.homodyne_phase(signal, acquisition.filter_size)
        magnitude = physics.susceptibility_weighted(
            magnitude, high_pass, acquisition.mask_power, acquisition.mask_shape
        )
    image = magnitude.numpy()
    if acquisition.minip_mm:
        span = max(_LEAST_PROJECTED, round(acquisition.minip_mm / acquisition.voxel_mm[2]))
        image = ndimage.minimum_filter1d(image, span, axis=2, mode="nearest")
    return artefacts.store(image, acquisition)
