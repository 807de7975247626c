"""One simulated scan: tissue, sources and acquisition to a magnitude (or SWI) and phase image."""

from __future__ import annotations

import dataclasses
from functools import lru_cache

import numpy as np
import torch
from scipy import ndimage

from cmburden.simulate import anatomy as an
from cmburden.simulate import physics, vessels
from cmburden.simulate.acquisition import Acquisition

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
#: Where microbleeds are (957 of five published sets): class -> share.
PLACES = {
    "subcortical white": 0.40, "cortex": 0.33, "cerebellum": 0.08, "basal ganglia": 0.08,
    "thalamus": 0.05, "brainstem": 0.04, "deep white": 0.02,
}  # fmt: skip
#: Apparent radius at 3 T and 20 ms: lognormal, 5/50/95 % = 0.75, 1.35, 2.4 mm.
RADIUS_MM, RADIUS_LOG_SD = 1.35, 0.35


@dataclasses.dataclass(frozen=True)
class Source:
    """A sphere of other susceptibility: a microbleed or a mimic; ``centre`` in scan mm."""

    kind: str
    centre: np.ndarray
    radius_mm: float
    chi_ppm: float
    visible_mm: float
    region: str | None
    group: str


@dataclasses.dataclass(frozen=True)
class Simulated:
    """``image`` (x, y, slice) float32; ``phase`` rad; ``affine`` to scanner RAS mm;
    ``labels`` the anatomy's codes at the voxel centres; ``brain`` the true brain mask."""

    image: np.ndarray
    phase: np.ndarray
    affine: np.ndarray
    labels: np.ndarray
    brain: np.ndarray
    sources: list[Source]
    acquisition: Acquisition


def _lookup(table: dict[int, float], default: float) -> np.ndarray:
    values = np.full(600, default, np.float32)
    for code, value in table.items():
        values[code] = value
    return values


@lru_cache(maxsize=2)
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
    *,
    n_microbleeds: int,
    n_mimics: int = 6,
    veins: float = 1.0,
    margin_mm: float = 8.0,
) -> Simulated:
    """Simulate one scan of one person.

    The grid holds the head's width and the brain's height (or ``acquisition.extent_mm`` of it),
    tilted by ``acquisition.tilt_deg`` about the left-right axis. Sources are drawn by ``rng``.
    """
    voxel = np.array(acquisition.voxel_mm)
    factor = tuple(max(1, round(v / s)) for v, s in zip(voxel, SUB_MM, strict=True))
    low, high = _brain_box(anatomy, deform)
    tilt = np.deg2rad(acquisition.tilt_deg)
    rotation = np.array(
        [[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]]
    )
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

    b0 = rotation.T @ np.array([0, 0, 1.0])
    radians = physics.phase_per_ppm(acquisition.field_t, acquisition.echo_time_s)
    coarse_labels, to_ventricle, to_grey, macro, brain = _on_scan(anatomy, deform, affine, shape)
    sources = _draw_sources(
        coarse_labels, to_ventricle, to_grey, affine, acquisition, n_microbleeds, n_mimics, rng
    )

    sub = voxel / factor
    sub_shape = shape * factor
    chi = torch.zeros(tuple(sub_shape))
    _draw_veins(chi, coarse_labels, to_ventricle, affine, sub, factor, veins, rng)
    field = physics.dipole_field(chi, sub, b0)
    del chi
    signal = _signal(anatomy, deform, affine, shape, factor, field, acquisition, radians, rng)
    del field
    for source in sources:
        box, left = source_signal(source, affine, signal.shape, b0, radians)
        signal[box] *= torch.from_numpy(left)

    macro = torch.from_numpy(macro)
    signal *= physics.through_voxel_dephasing(macro, radians)
    signal = signal * torch.polar(torch.ones_like(macro), (macro * radians).remainder(2 * np.pi))
    signal *= torch.from_numpy(_coil(shape, rng))
    tissue = (coarse_labels > 0) & (coarse_labels < 100)
    sigma = float(signal.abs()[torch.from_numpy(tissue)].median()) / acquisition.snr
    noise = torch.from_numpy(rng.normal(0, sigma, (2, *shape)).astype(np.float32))
    signal = signal + torch.complex(noise[0], noise[1])
    magnitude, phase = signal.abs(), torch.angle(signal)
    if acquisition.contrast == "SWI":
        high_pass = physics.homodyne_phase(signal, acquisition.filter_size)
        magnitude = physics.susceptibility_weighted(magnitude, high_pass, acquisition.mask_power)
    return Simulated(
        magnitude.numpy().astype(np.float32),
        phase.numpy().astype(np.float32),
        affine,
        coarse_labels,
        brain,
        sources,
        acquisition,
    )


def _brain_box(anatomy: an.Anatomy, deform: an.Deformation) -> tuple[np.ndarray, np.ndarray]:
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


def place_masks(labels, to_ventricle, to_grey) -> dict[str, np.ndarray]:
    """Voxels of each class of ``PLACES`` and its MARS group by the anatomy's own labels."""
    white = np.isin(labels, an.WHITE)
    deep = white & ((to_ventricle < an.PERIVENTRICULAR_MM) | (to_grey < an.CAPSULE_MM))
    return {
        "subcortical white": white & ~deep,
        "cortex": np.isin(labels, an.CORTEX),
        "cerebellum": np.isin(labels, an.CEREBELLUM),
        "basal ganglia": np.isin(labels, an.BASAL_GANGLIA),
        "thalamus": np.isin(labels, an.THALAMUS),
        "brainstem": np.isin(labels, an.BRAINSTEM),
        "deep white": deep,
    }


GROUP_OF_PLACE = {
    "subcortical white": "lobar", "cortex": "lobar", "cerebellum": "infratentorial",
    "brainstem": "infratentorial", "basal ganglia": "deep", "thalamus": "deep",
    "deep white": "deep",
}  # fmt: skip


def _draw_sources(labels, to_ventricle, to_grey, affine, acquisition, n_cmb, n_mimics, rng):
    masks = {k: np.flatnonzero(v) for k, v in place_masks(labels, to_ventricle, to_grey).items()}
    masks = {k: v for k, v in masks.items() if len(v)}
    choroid = np.flatnonzero(np.isin(labels, (4, 43)) & (to_grey < 15))
    pallidum = np.flatnonzero(np.isin(labels, an.PALLIDUM))
    surface = np.flatnonzero((labels == an.CSF) & (to_ventricle > 15))
    sources: list[Source] = []

    def add(kind, flat, place, visible, chi):
        # `visible` is meant at 3 T and 20 ms; blooming at this acquisition follows from physics.
        radius = visible / float(physics.visible_radius(1.0, chi, 3.0, 0.020))
        shown = float(
            physics.visible_radius(radius, chi, acquisition.field_t, acquisition.echo_time_s)
        )
        for _ in range(20):
            index = np.array(np.unravel_index(rng.choice(flat), labels.shape), float)
            centre = affine[:3, :3] @ (index + rng.uniform(-0.5, 0.5, 3)) + affine[:3, 3]
            if all(np.linalg.norm(centre - s.centre) > 1.5 + shown + s.visible_mm for s in sources):
                region = place if place in ("cerebellum", "brainstem", "thalamus") else None
                region = "basal ganglia" if place == "basal ganglia" else region
                group = GROUP_OF_PLACE.get(place, "unknown")
                sources.append(Source(kind, centre, radius, chi, shown, region, group))
                return

    names = list(masks)
    share = np.array([PLACES[name] for name in names])
    for _ in range(n_cmb if names else 0):
        place = names[rng.choice(len(names), p=share / share.sum())]
        visible = np.clip(RADIUS_MM * np.exp(rng.normal(0, RADIUS_LOG_SD)), 0.6, 4.5)
        add("microbleed", masks[place], place, visible, float(rng.uniform(0.6, 2.5)))
    for _ in range(n_mimics):
        kind = rng.choice(
            ["calcification", "pallidal", "choroid", "surface"], p=[0.4, 0.2, 0.2, 0.2]
        )
        flat = {"pallidal": pallidum, "choroid": choroid, "surface": surface}.get(kind)
        place = names[rng.choice(len(names), p=share / share.sum())] if names else None
        flat = masks.get(place) if flat is None else flat
        if flat is None or not len(flat):
            continue
        size = float(np.exp(rng.uniform(np.log(0.8), np.log(2.8))))
        if kind == "surface":
            # A short vessel knot on the surface: paramagnetic, but outside the brain.
            add("vessel", flat, None, size, float(rng.uniform(0.4, 1.0)))
        else:
            add("calcification", flat, None, size, float(-rng.uniform(0.8, 2.5)))
    return sources


def _to_sub(points_voxel: np.ndarray, factor) -> np.ndarray:
    """Voxel indices to sub-voxel indices (both of centres)."""
    factor = np.array(factor)
    return points_voxel * factor + (factor - 1) / 2


#: A source is followed to where its phase falls below this (rad).
_FAINT_RAD = 0.03
#: Integration over a voxel by its distance from the source's surface: (from, up to, step), mm. At
#: the surface the phase turns many times, so there the step is also at most a sixth of the radius.
_STEPS_MM = ((-np.inf, 0.5, 0.1), (0.5, 2.5, 0.2), (2.5, np.inf, 0.5))


def source_signal(
    source: Source, affine: np.ndarray, shape, b0: np.ndarray, radians_per_ppm: float
) -> tuple[tuple[slice, ...], np.ndarray]:
    """What a sphere leaves of each voxel's signal: the mean of exp(i phase) over its points.

    The sphere's field is the analytic one, and no signal comes from inside it (haemosiderin and
    calcium have none left at these echo times); tissue is taken to be even over the voxel.
    ``affine`` and ``shape`` are the scan's, ``b0`` in the grid's axes. Returns the box of voxels
    that the source reaches, and complex64 factors of that box.
    """
    voxel = np.linalg.norm(affine[:3, :3], axis=0)
    centre = np.linalg.inv(affine)[:3, :3] @ (source.centre - affine[:3, 3])
    strength = abs(source.chi_ppm) / 3 * radians_per_ppm * source.radius_mm**3
    reach = max(np.cbrt(2 * strength / _FAINT_RAD), source.radius_mm) + voxel
    low = np.clip(np.floor(centre - reach / voxel).astype(int), 0, shape)
    high = np.clip(np.ceil(centre + reach / voxel).astype(int) + 1, low, shape)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    offsets = (np.indices(high - low).reshape(3, -1).T + low - centre) * voxel
    # From the source's surface to the nearest point of the voxel.
    gap = np.linalg.norm(np.maximum(np.abs(offsets) - voxel / 2, 0), axis=1) - source.radius_mm
    left = np.ones(len(offsets), np.complex64)
    for least, most, step in _STEPS_MM:
        which = (gap > least) & (gap <= most)
        step = min(step, source.radius_mm / 6) if least < 0 else step
        inside = [_middles(size, step) for size in voxel]
        points = np.stack(np.meshgrid(*inside, indexing="ij"), -1).reshape(-1, 3)
        found = np.flatnonzero(which)
        # A few voxels at a time: their points together stay within some megabytes.
        for part in np.array_split(found, max(1, len(found) * len(points) // 400_000)):
            at = (offsets[part, None] + points[None]).astype(np.float32)
            phase = radians_per_ppm * physics.sphere_field(at, source.radius_mm, source.chi_ppm, b0)
            outside = (at**2).sum(-1) > source.radius_mm**2
            left[part] = (np.exp(1j * phase.astype(np.float32)) * outside).mean(1)
    return box, left.reshape(high - low)


def _middles(size: float, step: float) -> np.ndarray:
    """Middles of equal parts, at most ``step`` long, of an interval about 0."""
    parts = int(np.ceil(size / step))
    return ((np.arange(parts) + 0.5) / parts - 0.5) * size


def _draw_veins(chi, labels, to_ventricle, affine, sub, factor, density, rng) -> None:
    """Splat veins into the susceptibility grid: points spread over each cross-section."""
    voxel = sub * np.array(factor)
    scale = voxel / 1.0
    coarse = ndimage.zoom(labels, scale, order=0, grid_mode=True, mode="nearest")
    wall = ndimage.zoom(to_ventricle, scale, order=1, grid_mode=True, mode="nearest")
    veins = vessels.grow(coarse, wall.astype(np.float32), density, rng)
    if not len(veins.points):
        return
    ratio = np.array(labels.shape) / np.array(coarse.shape)
    area = np.pi * veins.radius_mm**2
    share_of_point = float(np.prod(sub)) / 6
    count = np.maximum(1, np.round(area * 1.0 / share_of_point)).astype(int)
    at = np.repeat(veins.points, count, axis=0)
    radius = np.repeat(veins.radius_mm, count)
    amount = np.repeat(area * 1.0 / count, count) / np.prod(sub)
    # Uniform in a ball of the vein's radius and half a step: a tube once steps overlap.
    spread = rng.normal(size=at.shape)
    spread /= np.linalg.norm(spread, axis=1, keepdims=True)
    spread *= (radius * np.cbrt(rng.random(len(at))))[:, None]
    along = rng.uniform(-0.5, 0.5, at.shape)
    index = _to_sub((at + along + spread + 0.5) * ratio - 0.5, factor)
    chi_vein = rng.uniform(0.3, 0.5)
    nearest = np.round(index).astype(int)
    ok = ((nearest >= 0) & (nearest < np.array(chi.shape))).all(1)
    flat = np.ravel_multi_index(nearest[ok].T, tuple(chi.shape))
    total = torch.zeros(chi.numel())
    total.index_add_(0, torch.from_numpy(flat), torch.from_numpy(amount[ok].astype(np.float32)))
    chi += chi_vein * total.clamp_(max=1.0).reshape(chi.shape)


def _signal(anatomy, deform, affine, shape, factor, field, acquisition, radians, rng):
    """Complex signal of each voxel: the mean over sub-voxels of tissue signal x exp(i phase)."""
    density = _lookup(DENSITY, 0.74)
    for code in (4, 5, 14, 15, 24, 43, 44):
        density[code] = 0.72 * acquisition.csf
    t2star = _lookup(T2STAR_MS, TISSUE_T2STAR) * (3.0 / acquisition.field_t) ** 0.7
    # Each person's tissue differs a little.
    density *= np.exp(rng.normal(0, 0.04, 600)).astype(np.float32)
    t2star *= np.exp(rng.normal(0, 0.08, 600)).astype(np.float32)
    weight = density * np.exp(-1000 * acquisition.echo_time_s / t2star)
    weight = torch.from_numpy(weight.astype(np.float32))
    noise = torch.Generator().manual_seed(int(rng.integers(2**62)))
    texture = torch.nn.functional.interpolate(
        torch.randn(
            (
                1,
                1,
                *(int(max(2, n * v / 3)) for n, v in zip(shape, acquisition.voxel_mm, strict=True)),
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
        phase = field[:, :, box] * radians
        real = physics.block_mean(amplitude * torch.cos(phase), factor)
        imaginary = physics.block_mean(amplitude * torch.sin(phase), factor)
        parts.append(torch.complex(real, imaginary))
    return torch.cat(parts, 2) * (1 + 0.025 * texture)


def _coil(shape, rng: np.random.Generator) -> np.ndarray:
    """Receive sensitivity: smooth, brighter to one side and the rim, about 0.7 to 1.4."""
    control = rng.normal(0, 0.18, (3, 3, 3))
    zoomed = ndimage.zoom(control, np.array(shape) / 3, order=2, mode="nearest", grid_mode=True)
    return np.exp(zoomed).astype(np.float32)
