"""One simulated scan: tissue, sources and acquisition to a magnitude (or SWI) and phase image."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from functools import lru_cache

import nibabel as nib
import numpy as np
import torch
from scipy import ndimage

from cmburden.simulate import anatomy as an
from cmburden.simulate import artefacts, pathology, physics, reader, sources, vessels
from cmburden.simulate.acquisition import Acquisition
from cmburden.simulate.sources import Findings, Source

#: Sub-voxels are about this large: the grid on which spins dephase.
SUB_MM = (0.47, 0.47, 0.65)
#: T2* at 3 T in ms (FreeSurfer code -> value; others TISSUE_T2STAR): after Peters et al., MRI
#: 2007;25:748 and Siemonsen et al., Radiology 2008;248:979, rounded.
TISSUE_T2STAR = 55.0
T2STAR_MS = {
    **dict.fromkeys(an.WHITE, 52.0),
    **dict.fromkeys(an.CORTEX, 62.0),
    **dict.fromkeys((4, 43, 14, 15, 24, 5, 44), 250.0),
    **dict.fromkeys(an.PALLIDUM, 30.0),
    **dict.fromkeys(an.VENTRAL_DC, 38.0),
    **dict.fromkeys((12, 51), 46.0),
    507: 28.0, 515: 2.0, 516: 12.0, 511: 1.0, 0: 1.0,
}  # fmt: skip
#: Proton density and T1 weight, white matter 0.70; CSF comes from the acquisition.
DENSITY = {
    **dict.fromkeys(an.WHITE, 0.70),
    **dict.fromkeys(an.CORTEX, 0.80),
    507: 0.55, 515: 0.10, 516: 0.75, 511: 0.0, 0: 0.0,
}  # fmt: skip
#: Susceptibility in ppm against water (air 9.4; bone, marrow fat and iron as in QSM literature:
#: Schweser et al., NeuroImage 2011;54:2789; Langkammer et al., NeuroImage 2012;62:1593).
SUSCEPTIBILITY = {
    0: 9.4, 511: 9.4, 515: -2.0, 516: 0.6,
    **dict.fromkeys(an.PALLIDUM, 0.16),
    **dict.fromkeys((12, 51, 11, 50), 0.06),
    **dict.fromkeys(an.VENTRAL_DC, 0.10),
    **dict.fromkeys(an.WHITE, -0.03),
}  # fmt: skip


#: Susceptibility of venous blood against tissue; its T2* at 3 T in ms (R2* 40/s at 0.62 saturation:
#: Zhao et al., MRM 2007;58:592) and the power of the field by which that shortens.
VEIN_PPM = (0.3, 0.5)
VEIN_T2STAR_MS, VEIN_T2STAR_POWER = 25.0, 1.25


@dataclasses.dataclass(frozen=True)
class Simulated:
    """``image`` (x, y, slice) float32, ``bare`` the same without bleeds; ``phase`` rad; ``affine``
    to scanner RAS mm; ``labels`` the anatomy's codes at the voxel centres; ``brain`` the true brain
    mask."""

    image: np.ndarray
    bare: np.ndarray
    phase: np.ndarray
    affine: np.ndarray
    labels: np.ndarray
    brain: np.ndarray
    sources: list[Source]
    acquisition: Acquisition


@dataclasses.dataclass(frozen=True)
class Given:
    """What a person has in every session, so that a scan does not draw it: all in its scan mm.

    ``veins`` (points in mm) of ``vein_ppm`` with ``crossings``, those that the truth names;
    ``sources`` the microbleeds and calcifications; ``tissue`` gives the factor of the signal (see
    ``pathology``) at points (..., 3) in mm.
    """

    veins: vessels.Veins
    vein_ppm: float
    crossings: list[Source]
    sources: list[Source]
    tissue: Callable[[torch.Tensor], torch.Tensor]


def _lookup(table: dict[int, float], default: float) -> np.ndarray:
    values = np.full(600, default, np.float32)
    for code, value in table.items():
        values[code] = value
    return values


@lru_cache(maxsize=16)
def _head_field(anatomy: an.Anatomy) -> np.ndarray:
    """Field of air, bone and iron-rich nuclei (ppm) on the anatomy's grid; B0 along its z."""
    chi = _lookup(SUSCEPTIBILITY, 0.0)[anatomy.labels]
    # Label maps hold specks of air and bone; real cavities are larger, and only they count here.
    air = chi > 9
    chi[air & ~ndimage.binary_opening(air, iterations=2)] = 0.0
    chi = torch.from_numpy(chi)
    # Outside the map is air as well: subtracting it everywhere lets the grid wrap harmlessly.
    field = physics.dipole_field(chi - 9.4, (1, 1, 1), np.array([0, 0, 1.0])).numpy()
    brain = (anatomy.labels > 0) & (anatomy.labels < 500)
    index = np.argwhere(brain)[::50]
    terms = _shim_terms((index - np.array(brain.shape) / 2) / 100.0)
    fit, *_ = np.linalg.lstsq(terms, field[tuple(index.T)], rcond=None)
    grid = np.indices(brain.shape).reshape(3, -1).T
    for part in np.array_split(np.arange(len(grid)), 16):
        at = grid[part]
        field[tuple(at.T)] -= _shim_terms((at - np.array(brain.shape) / 2) / 100.0) @ fit
    return field.astype(np.float16)


def _shim_terms(p: np.ndarray) -> np.ndarray:
    x, y, z = p.T
    return np.stack([np.ones_like(x), x, y, z, x * y, x * z, y * z, x**2, y**2, z**2], 1)


def simulate(
    anatomy: an.Anatomy,
    deform: an.Deformation,
    acquisition: Acquisition,
    rng: np.random.Generator,
    findings: Findings,
    *,
    margin_mm: float = 8.0,
    given: Given | None = None,
    sub_mm: tuple[float, float, float] = SUB_MM,
) -> Simulated:
    """Simulate one scan of one person with ``findings``.

    The grid holds the head's width and the brain's height (or ``acquisition.extent_mm`` of it),
    turned by ``acquisition.turn_deg``. Sources are drawn by ``rng``; where they are ``given``
    nothing of ``findings`` is. A microbleed that in this scan is grey rather than dark has the
    kind 'faint', one that no reader would see 'unseen'. Coarser ``sub_mm`` cost less and
    dephase less.
    """
    voxel = np.array(acquisition.voxel_mm)
    factor = tuple(max(1, round(v / s)) for v, s in zip(voxel, sub_mm, strict=True))
    rotation = _rotation(acquisition.turn_deg)
    affine, shape = _grid(anatomy, deform, acquisition, rotation, margin_mm, rng)
    b0 = rotation.T @ np.array([0, 0, 1.0])
    radians = physics.phase_per_ppm(acquisition.field_t, acquisition.echo_time_s)
    labels, to_ventricle, to_grey, macro, brain = _on_scan(anatomy, deform, affine, shape)
    tissue = (labels > 0) & (labels < 100)

    sub = voxel / factor
    chi = torch.zeros(tuple(shape * factor))
    if given is None:
        veins, blood, ppm, crossings = _draw_veins(
            labels, to_ventricle, affine, sub, factor, findings, rng
        )  # fmt: skip
    else:
        to_steps = np.diag([*voxel, 1.0])
        to_steps[:3, 3] = 0.5 * voxel - 0.5
        veins = given.veins.through(to_steps @ np.linalg.inv(affine))
        blood = veins.share(tuple(chi.shape), sub, 1 / sub, rng)
        ppm, crossings = given.vein_ppm, given.crossings
    chi += ppm * blood
    for _ in range(findings.siderosis if given is None else 0):
        _line_surface(chi, sources.siderosis(labels, affine, rng), factor, rng)
    field = physics.dipole_field(chi, sub, b0)
    del chi
    tissues = Tissues.draw(acquisition, rng)
    signal = _signal(anatomy, deform, affine, shape, factor, field, blood, tissues, radians, rng)
    del field, blood
    if given is None:
        changed = pathology.tissue_factor(
            labels, to_ventricle, affine, tissues.fluid, findings, rng
        )  # fmt: skip
    else:
        changed = given.tissue(_points(affine, shape)).numpy()
    if changed is not None:
        signal *= torch.from_numpy(changed)
    level = float(signal.abs()[torch.from_numpy(tissue)].median())
    sigma = level / acquisition.snr

    # What seen sources leave, by their centres: they are not integrated twice.
    known: dict[bytes, tuple] = {}

    def seen(source: Source) -> str:
        box, left = sources.source_signal(source, affine, signal.shape, b0, radians)
        local = float(signal[box].abs().median()) if left.size else 0.0
        call = sources.grade(sources.darkest_loss(left, acquisition), local, sigma)
        if call != "unseen":
            known[source.centre.tobytes()] = box, left
        return call

    if given is None:
        drawing = sources.Drawing(
            (labels, to_ventricle, to_grey, affine), acquisition, veins, seen, rng
        )  # fmt: skip
        drawn = drawing.draw(findings)
    else:
        drawn = [
            dataclasses.replace(source, kind=seen(source))
            if source.kind == "microbleed"
            else source
            for source in given.sources
        ]
    factor = physics.through_voxel_dephasing(torch.from_numpy(macro), radians)
    factor = torch.polar(factor, (torch.from_numpy(macro) * radians).remainder(2 * np.pi))
    factor *= torch.from_numpy(_coil(shape, acquisition.shading, rng))

    bleeds = [source for source in drawn if source.is_bleed]
    others = [source for source in drawn if not source.is_bleed]

    def taken(own: list[Source], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        for source in own:
            box, left = known.get(source.centre.tobytes()) or sources.source_signal(
                source, affine, signal.shape, b0, radians
            )
            signal[box] *= torch.from_numpy(left)
        return _taken(signal * factor, sigma, acquisition, rng)

    # The same noise and faults without bleeds: what bleeds alone have darkened is what readers see.
    again = copy.deepcopy(rng)
    bare, phase = taken(others, rng)
    image, phase = taken(bleeds, again) if bleeds else (bare, phase)
    parenchyma = an.parenchyma(labels)
    drawn = [reader.looked_at(source, image, bare, parenchyma, affine) for source in drawn]
    return Simulated(
        image,
        bare,
        phase,
        affine,
        labels,
        brain,
        # Vessels are in the susceptibility map already; here they are named for the truth.
        [*drawn, *crossings],
        acquisition,
    )


def _taken(
    signal: torch.Tensor, sigma: float, acquisition: Acquisition, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Image and phase, float32, as the scanner stores them: of a complex signal, with noise of
    standard deviation ``sigma`` in both its parts."""
    signal = artefacts.disturb(signal, acquisition, rng)
    noise = torch.from_numpy(rng.normal(0, sigma, (2, *signal.shape)).astype(np.float32))
    signal = signal + torch.complex(noise[0], noise[1])
    magnitude = signal.abs()
    if acquisition.contrast == "SWI":
        high_pass = physics.homodyne_phase(signal, acquisition.filter_size)
        magnitude = physics.susceptibility_weighted(
            magnitude, high_pass, acquisition.mask_power, acquisition.mask_shape
        )
    image = magnitude.numpy().astype(np.float32)
    if acquisition.minip_mm:
        span = max(2, round(acquisition.minip_mm / acquisition.voxel_mm[2]))
        image = ndimage.minimum_filter1d(image, span, axis=2, mode="nearest")
    return artefacts.store(image, acquisition), torch.angle(signal).numpy().astype(np.float32)


def _rotation(turn_deg) -> np.ndarray:
    return nib.eulerangles.euler2mat(*np.deg2rad(turn_deg)[::-1])


def _grid(anatomy, deform, acquisition: Acquisition, rotation, margin_mm, rng):
    """Affine and shape of the scan: the brain with a margin, or a part of its height."""
    voxel = np.array(acquisition.voxel_mm)
    low, high = brain_box(anatomy, deform)
    extent = (high - low) + np.array([2 * margin_mm + 8, 2 * margin_mm + 8, margin_mm + 6])
    if acquisition.extent_mm is not None:
        extent[2] = min(extent[2], acquisition.extent_mm)
    shape = np.ceil(extent / voxel).astype(int)
    shape[:2] += shape[:2] % 2
    centre = (low + high) / 2 + rng.uniform(-2, 2, 3)
    if acquisition.extent_mm is not None:
        room = max(0.0, (high - low)[2] - shape[2] * voxel[2]) / 2
        centre[2] += rng.uniform(-room, room)
    affine = np.eye(4)
    affine[:3, :3] = rotation * voxel
    affine[:3, 3] = centre - affine[:3, :3] @ ((shape - 1) / 2)
    return affine, shape


def brain_box(anatomy: an.Anatomy, deform: an.Deformation) -> tuple[np.ndarray, np.ndarray]:
    """Corners of the brain in scan mm, on a coarse grid: the map is only known forwards."""
    axis = [torch.arange(-110.0, 111.0, 4.0)] * 3
    points = torch.stack(torch.meshgrid(*axis, indexing="ij"), -1)
    labels = an.sample(anatomy.labels, anatomy.affine, deform(points), nearest=True)
    inside = points[(labels > 0) & (labels < 100) & (labels != an.CSF)]
    return inside.min(0).values.numpy(), inside.max(0).values.numpy()


def _points(affine: np.ndarray, shape) -> torch.Tensor:
    """mm of voxel centres, (x, y, z, 3)."""
    axes = [torch.arange(n, dtype=torch.float32) for n in shape]
    index = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
    matrix = torch.as_tensor(affine, dtype=torch.float32)
    return index @ matrix[:3, :3].T + matrix[:3, 3]


def _on_scan(anatomy, deform, affine, shape):
    points = deform(_points(affine, shape))
    labels = an.sample(anatomy.labels, anatomy.affine, points, nearest=True).numpy()
    ventricle, grey, macro = (
        an.sample(volume, anatomy.affine, points).numpy()
        for volume in (anatomy.to_ventricle, anatomy.to_deep_grey, _head_field(anatomy))
    )
    brain = an.sample(anatomy.brain, anatomy.affine, points, nearest=True).numpy() > 0.5
    return labels.astype(np.int16), ventricle, grey, macro, brain


def _to_sub(points_voxel: np.ndarray, factor) -> np.ndarray:
    """Voxel indices to sub-voxel indices (both of centres)."""
    factor = np.array(factor)
    return points_voxel * factor + (factor - 1) / 2


def _draw_veins(labels, to_ventricle, affine, sub, factor, findings: Findings, rng):
    """Veins of this person: points on them (n, 3) in scan mm, the share of each sub-voxel that they
    fill, their susceptibility in ppm, and a source for each vessel across the slices."""
    voxel = sub * np.array(factor)
    coarse = ndimage.zoom(labels, voxel, order=0, grid_mode=True, mode="nearest")
    wall = ndimage.zoom(to_ventricle, voxel, order=1, grid_mode=True, mode="nearest")
    grown = vessels.grow(coarse, wall.astype(np.float32), findings.veins, rng)
    crossing, middles = vessels.crossing(coarse, findings.crossing_vessels, rng)
    veins = vessels.Veins.joined([grown, *crossing])
    ratio = np.array(labels.shape) / np.array(coarse.shape)
    blood = veins.share(tuple(np.array(labels.shape) * factor), sub, ratio * factor, rng)
    ppm = float(rng.uniform(*VEIN_PPM))

    def to_mm(points: np.ndarray) -> np.ndarray:
        return nib.affines.apply_affine(affine, (points + 0.5) * ratio - 0.5)

    return to_mm(veins.points), blood, ppm, vessel_sources(crossing, to_mm(middles), ppm)


def vessel_sources(
    crossing: list[vessels.Veins], middles_mm: np.ndarray, ppm: float
) -> list[Source]:
    """What the truth names of vessels across the slices: one source at the middle of each."""
    return [
        Source("vessel", centre, float(one.radius_mm[0]), ppm, float(one.radius_mm[0]), None,
               "unknown")
        for one, centre in zip(crossing, middles_mm, strict=True)
        if len(one.points)
    ]  # fmt: skip


def _line_surface(chi, surface: np.ndarray, factor, rng: np.random.Generator) -> None:
    """Haemosiderin on the voxels ``surface``: half a millimetre thick, unevenly."""
    index = np.argwhere(surface)
    if not len(index):
        return
    value = rng.uniform(0.3, 0.9) * rng.uniform(0.3, 1.0, len(index))
    at = _to_sub(index + rng.uniform(-0.3, 0.3, index.shape), factor)
    at = np.clip(np.round(at).astype(int), 0, np.array(chi.shape) - 1)
    chi[tuple(at.T)] += torch.from_numpy(value.astype(np.float32))


@dataclasses.dataclass(frozen=True)
class Tissues:
    """Signal of each label code (600,) at this acquisition, that of fluid against white matter, and
    that of venous blood."""

    weight: np.ndarray
    fluid: float
    blood: float

    @classmethod
    def draw(cls, acquisition: Acquisition, rng: np.random.Generator) -> Tissues:
        density = _lookup(DENSITY, 0.74)
        for code in (4, 5, 14, 15, 24, 43, 44):
            density[code] = 0.72 * acquisition.csf
        t2star = _lookup(T2STAR_MS, TISSUE_T2STAR) * (3.0 / acquisition.field_t) ** 0.7
        # Each person's tissue differs a little, and iron in the deep nuclei a lot.
        density *= np.exp(rng.normal(0, acquisition.tissue_spread, 600)).astype(np.float32)
        t2star *= np.exp(rng.normal(0, 2 * acquisition.tissue_spread, 600)).astype(np.float32)
        for left, right in zip(an.BASAL_GANGLIA[:4], an.BASAL_GANGLIA[4:], strict=True):
            t2star[[left, right]] *= np.exp(rng.normal(0, 0.2))
        echo_ms = 1000 * acquisition.echo_time_s
        weight = density * np.exp(-echo_ms / t2star)
        vein = VEIN_T2STAR_MS * (3.0 / acquisition.field_t) ** VEIN_T2STAR_POWER
        return cls(
            weight.astype(np.float32),
            float(weight[24] / weight[2]),
            float(DENSITY[an.CORTEX[0]] * np.exp(-echo_ms / vein)),
        )


def _signal(anatomy, deform, affine, shape, factor, field, blood, tissues, radians, rng):
    """Complex signal of each voxel: the mean over sub-voxels of tissue signal x exp(i phase), where
    ``blood`` is the share of each that veins fill."""
    weight = torch.from_numpy(tissues.weight)
    voxel = np.linalg.norm(affine[:3, :3], axis=0)
    noise = torch.Generator().manual_seed(int(rng.integers(2**62)))
    texture = torch.nn.functional.interpolate(
        torch.randn(
            (
                1,
                1,
                *(int(max(2, n * v / 3)) for n, v in zip(shape, voxel, strict=True)),
            ),
            generator=noise,
        ),
        size=tuple(int(n) for n in shape),
        mode="trilinear",
    )[0, 0]
    # Where each voxel lies in the anatomy, in its voxels; sub-voxels by linear interpolation.
    inverse = torch.as_tensor(np.linalg.inv(anatomy.affine), dtype=torch.float32)
    place = deform(_points(affine, shape)) @ inverse[:3, :3].T + inverse[:3, 3]
    place = place.permute(3, 0, 1, 2)[None].contiguous()
    amplitudes = weight[torch.from_numpy(anatomy.labels.astype(np.int64))]
    nx, ny, nz = anatomy.labels.shape
    parts = []
    for start in range(0, int(shape[2]), 6):
        stop = min(start + 6, int(shape[2]))
        # One slice more on each side, so that the interpolation is the same at every border.
        low, high = max(start - 1, 0), min(stop + 1, int(shape[2]))
        index = torch.nn.functional.interpolate(
            place[..., low:high], scale_factor=tuple(map(float, factor)), mode="trilinear"
        )[0]
        index = index[..., (start - low) * factor[2] : (stop - low) * factor[2]]
        # Jitter by half a label voxel: means over sub-voxels then show smooth borders, not steps.
        index = (index + torch.rand(index.shape, generator=noise)).floor_().long()
        flat = (index[0].clamp_(0, nx - 1) * ny + index[1].clamp_(0, ny - 1)) * nz
        flat += index[2].clamp_(0, nz - 1)
        box = slice(start * factor[2], stop * factor[2])
        amplitude = torch.take(amplitudes, flat)
        amplitude += blood[:, :, box] * (tissues.blood - amplitude)
        phase = field[:, :, box] * radians
        real = physics.block_mean(amplitude * torch.cos(phase), factor)
        imaginary = physics.block_mean(amplitude * torch.sin(phase), factor)
        parts.append(torch.complex(real, imaginary))
    return torch.cat(parts, 2) * (1 + 0.025 * texture)


def _coil(shape, spread: float, rng: np.random.Generator) -> np.ndarray:
    """Receive sensitivity: smooth, lognormal with ``spread`` (0.18: about 0.7 to 1.4)."""
    control = rng.normal(0, spread, (3, 3, 3))
    zoomed = ndimage.zoom(control, np.array(shape) / 3, order=2, mode="nearest", grid_mode=True)
    return np.exp(zoomed).astype(np.float32)
