"""Sources of susceptibility: microbleeds and their mimics, how many, and the signal they leave.

Places, numbers and sizes of microbleeds follow published sets (957 microbleeds of five sets; the
study `distributions` compares both).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import nibabel as nib
import numpy as np
import torch

from cmburden.simulate import mimics, physics
from cmburden.simulate.acquisition import Acquisition

#: Where microbleeds lie (957 of five published sets): place -> share.
PLACES = {
    "subcortical white": 0.40,
    "cortex": 0.33,
    "cerebellum": 0.08,
    "basal ganglia": 0.08,
    "thalamus": 0.05,
    "brainstem": 0.04,
    "deep white": 0.02,
}
GROUP_OF_PLACE = {
    "subcortical white": "lobar",
    "cortex": "lobar",
    "cerebellum": "infratentorial",
    "brainstem": "infratentorial",
    "basal ganglia": "deep",
    "thalamus": "deep",
    "deep white": "deep",
}
#: Apparent radius on the scan itself, mm: lognormal, 5/50/95 % = 0.75, 1.35, 2.4; and its limits.
RADIUS_MM, RADIUS_LOG_SD, _RADIUS_LIMITS_MM = 1.35, 0.35, (0.6, 4.5)
#: Susceptibility of a microbleed against tissue, ppm. By choice: published values of haemosiderin
#: in vivo spread as widely.
_MICROBLEED_PPM = (0.6, 2.5)
#: Readers mark a signal void (Greenberg 2009; "very hypointense", MARS): the darkest voxel of a
#: microbleed has lost at least the share VOID of the signal around it. A spot that has lost less,
#: but the share FAINT, is grey: MARS calls it possible, the truth table 'faint'. VOID was chosen by
#: eye before any network was trained (docs/training.md; the study ``picture --spots`` shows both).
#: Either loss must be ROSE standard deviations of the noise (Rose, J Opt Soc Am 1948;38:196).
VOID, FAINT, ROSE = 0.4, 0.3, 5.0
#: Shape of a painted microbleed, by choice: the share of the signal that it takes, standard
#: deviation of its log half axes, and its edge in mm.
_PAINT_DEPTH, _PAINT_AXES_SD, _PAINT_EDGE_MM = (0.4, 1.0), 0.18, (0.15, 0.8)
#: Edge of a ball that is no painted microbleed, mm.
_EDGE_MM = 0.2
#: A source is followed to where its phase falls below this (rad).
_FAINT_RAD = 0.03
#: Integration over a voxel by its distance from the source's surface: (from, up to, step), mm. At
#: the surface the phase turns many times: there the step is also at most a sixth of the radius.
_STEPS_MM = ((-np.inf, 0.5, 0.1), (0.5, 2.5, 0.2), (2.5, np.inf, 0.5))
_STEPS_A_RADIUS = 6
#: Points that are integrated at a time: together they stay within a processor's cache.
_POINTS_AT_A_TIME = 40_000
#: Points over a ball's share are at most this far apart, mm, or a quarter of the radius.
_BALL_STEP_MM, _BALL_STEPS_A_RADIUS = 0.25, 4
_AS_IS = np.eye(3)
#: Bounds of a distance are this much wider than the distance, mm, for the rounding of sums.
_ROUNDING_MM = 1e-6
#: Stretches of veins in a training slab, from the first number to below the second. By choice.
_STRETCHES = (5, 30)

#: Voxels of even tissue about a source that is graded alone.
_EVEN_SHAPE = (41, 41, 21)

#: Slices of an array (x, y, z).
Box = tuple[slice, slice, slice]


@dataclasses.dataclass(frozen=True)
class Paint:
    """A microbleed without physics: a soft dark ellipsoid, as a simpler simulator would draw it.

    The ellipsoid takes the share ``depth`` of the signal; its edge is ``edge_mm`` wide. ``to_ball``
    (3, 3) takes offsets from its middle to offsets in a ball of the same volume.
    """

    depth: float
    to_ball: np.ndarray
    edge_mm: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Paint:
        """A random ellipsoid. Draws: the rotation, three half axes, the depth, the edge."""
        turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        longer = np.exp(rng.normal(0, _PAINT_AXES_SD, 3))
        return cls(
            float(rng.uniform(*_PAINT_DEPTH)),
            turn / (longer / np.cbrt(longer.prod()))[:, None],
            log_uniform(rng, *_PAINT_EDGE_MM),
        )


@dataclasses.dataclass(frozen=True)
class Source:
    """A sphere of other susceptibility than tissue: a microbleed or a mimic.

    ``centre`` (3,) in scan mm; ``radius_mm`` of the sphere, ``visible_mm`` of its signal loss;
    ``chi_ppm`` its susceptibility against tissue; ``region`` and ``group`` where the source lies
    ('unknown' for mimics). ``painted`` is None for physics; otherwise the source is this ellipsoid
    of radius ``visible_mm``.
    """

    kind: str
    centre: np.ndarray
    radius_mm: float
    chi_ppm: float
    visible_mm: float
    region: str | None
    group: str
    painted: Paint | None = None

    @property
    def is_bleed(self) -> bool:
        """Whether the source is a microbleed, dark or ``faint``."""
        return self.kind in ("microbleed", "faint")


@dataclasses.dataclass(frozen=True)
class Findings:
    """How many sources and changes of tissue a scan is to hold.

    ``clustered`` and ``beside_vein`` are the shares of microbleeds near another one and near a
    vein, ``painted`` the share of :class:`Paint`; ``white_matter`` scales the volume of white
    matter lesions and ``veins`` the number of veins. ``stretches`` are veins of which a short dark
    piece shows.
    """

    microbleeds: int = 0
    clustered: float = 0.15
    beside_vein: float = 0.1
    painted: float = 0.0
    pallidal: int = 0
    choroid: int = 0
    pineal: int = 0
    dural: int = 0
    parenchymal: int = 0
    crossing_vessels: int = 0
    cavernomas: int = 0
    macrohaemorrhages: int = 0
    siderosis: int = 0
    white_matter: float = 0.0
    lacunes: int = 0
    perivascular: int = 0
    infarcts: int = 0
    veins: float = 1.0
    stretches: int = 0


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A number between ``low`` and ``high``, even on a logarithmic scale."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def source_radius(visible_mm: float, chi_ppm: float, acquisition: Acquisition) -> float:
    """Radius (mm) of the source that shows with ``visible_mm`` at this acquisition."""
    field, echo = acquisition.field_t, acquisition.echo_time_s
    return visible_mm / float(physics.visible_radius(1.0, chi_ppm, field, echo))


def usual_findings(rng: np.random.Generator, microbleeds: int) -> Findings:
    """Findings of an old person's scan.

    Calcium lies where people have calcium: globus pallidus and choroid plexus, mostly on both
    sides; pineal gland, dura; in 2 % anywhere in the brain, where GRE cannot tell calcium from
    blood. Shares and numbers are this project's choice. The fields are drawn in the order in which
    they stand here; of a number and its share the number is drawn first.
    """
    some = rng.random
    return Findings(
        microbleeds=microbleeds,
        pallidal=int(rng.integers(1, 3)) * (some() < 0.12),
        choroid=int(rng.integers(1, 3)) * (some() < 0.3),
        pineal=int(some() < 0.3),
        dural=int(rng.integers(1, 3)) * (some() < 0.08),
        parenchymal=int(some() < 0.02),
        crossing_vessels=int(rng.integers(5, 40)),
        cavernomas=int(some() < 0.02),
        macrohaemorrhages=int(some() < 0.02),
        siderosis=int(some() < 0.02),
        white_matter=float(rng.uniform(0, 1)) * (some() < 0.8),
        lacunes=int(rng.integers(1, 4)) * (some() < 0.2),
        perivascular=int(rng.integers(3, 25)) * (some() < 0.5),
        infarcts=int(some() < 0.05),
        veins=log_uniform(rng, 0.6, 1.6),
    )


def population_findings(rng: np.random.Generator, microbleeds: int, age: float) -> Findings:
    """Findings of a scan with mimics as rare or as frequent as in people of ``age``, years.

    There is one of each mimic that there is (``mimics`` has the rates). Veins and changes of tissue
    are the usual ones, as every brain has them. Draws: those of :func:`usual_findings`, then of
    each mimic whether it is there, in the order of the fields below.
    """
    usual = usual_findings(rng, microbleeds)
    some = rng.random
    return dataclasses.replace(
        usual,
        pallidal=int(some() < mimics.pallidal_share(age)),
        choroid=int(some() < mimics.CHOROID),
        pineal=int(some() < mimics.PINEAL),
        dural=int(some() < mimics.DURAL),
        parenchymal=int(some() < mimics.PARENCHYMAL),
        cavernomas=int(some() < mimics.CAVERNOMAS),
        macrohaemorrhages=int(some() < mimics.MACROHAEMORRHAGES),
        siderosis=int(some() < mimics.SIDEROSIS),
    )


def crowded_findings(
    rng: np.random.Generator, microbleeds: int, shows_length: bool = False
) -> Findings:
    """Findings of a training slab: more of each than people have, so that networks see them often.

    Short stretches of veins are among them where the scan ``shows_length`` across its slices: in
    thick ones nobody can tell a stretch from a microbleed, and a network would learn to give up
    both. Shares and numbers are this project's choice; the order of draws is the order of the
    fields.
    """
    some = rng.random
    return Findings(
        microbleeds=microbleeds,
        clustered=0.25,
        beside_vein=0.15,
        painted=0.6 if some() < 0.6 else 0.0,
        pallidal=int(rng.integers(1, 4)) * (some() < 0.8),
        choroid=int(rng.integers(1, 4)) * (some() < 0.8),
        pineal=int(some() < 0.5),
        dural=int(rng.integers(1, 4)) * (some() < 0.4),
        parenchymal=int(some() < 0.05),
        crossing_vessels=int(rng.integers(10, 60)),
        cavernomas=int(some() < 0.2),
        macrohaemorrhages=int(some() < 0.12),
        siderosis=int(some() < 0.12),
        white_matter=float(rng.uniform(0, 1.5)) * (some() < 0.8),
        lacunes=int(rng.integers(1, 8)) * (some() < 0.5),
        perivascular=int(rng.integers(5, 60)) * (some() < 0.6),
        infarcts=int(rng.integers(1, 3)) * (some() < 0.15),
        veins=log_uniform(rng, 0.5, 2.5),
        stretches=int(rng.integers(*_STRETCHES)) if shows_length else 0,
    )


def _box(
    affine: np.ndarray, shape: Sequence[int], centre_mm: np.ndarray, reach_mm: np.ndarray
) -> tuple[Box, np.ndarray, np.ndarray]:
    """The box of voxels within ``reach_mm`` (3,) of a point.

    Returns the box, the offsets (n, 3) of its voxel centres from the point in mm along the grid's
    axes, and its size (3,) in voxels.
    """
    voxel = nib.affines.voxel_sizes(affine)
    centre = np.linalg.inv(affine)[:3, :3] @ (centre_mm - affine[:3, 3])
    low = np.clip(np.floor(centre - reach_mm / voxel).astype(int), 0, shape)
    high = np.clip(np.ceil(centre + reach_mm / voxel).astype(int) + 1, low, shape)
    (x0, y0, z0), (x1, y1, z1) = low, high
    box = slice(x0, x1), slice(y0, y1), slice(z0, z1)
    return box, (np.indices(high - low).reshape(3, -1).T + low - centre) * voxel, high - low


def source_signal(
    source: Source,
    affine: np.ndarray,
    shape: Sequence[int],
    b0: np.ndarray,
    radians_per_ppm: float,
) -> tuple[Box, np.ndarray]:
    """Factors by which a source changes the complex signal of the voxels that it reaches.

    A factor is the mean of exp(i phase) over points of the voxel. The sphere's field is the
    analytic one. No signal comes from inside the sphere: haemosiderin and calcium have none left at
    these echo times. Tissue is taken to be even over the voxel.

    ``affine`` and ``shape`` are the scan's; ``b0`` (3,) is the field's direction in the grid's
    axes. Returns the box of voxels and complex64 factors of its shape.
    """
    if source.painted is not None:
        return _painted_signal(source, source.painted, affine, shape)
    voxel = nib.affines.voxel_sizes(affine)
    strength = abs(source.chi_ppm) / 3 * radians_per_ppm * source.radius_mm**3
    reach = max(np.cbrt(2 * strength / _FAINT_RAD), source.radius_mm) + voxel
    box, offsets, size = _box(affine, shape, source.centre, reach)
    # From the source's surface to the nearest point of the voxel.
    gap = np.linalg.norm(np.maximum(np.abs(offsets) - voxel / 2, 0), axis=1) - source.radius_mm
    factors = np.ones(len(offsets), np.complex64)
    for least, most, step in _STEPS_MM:
        if least < 0:
            step = min(step, source.radius_mm / _STEPS_A_RADIUS)
        points = points_in_voxel(voxel, step)
        within = np.flatnonzero((gap > least) & (gap <= most))
        parts = max(1, len(within) * len(points) // _POINTS_AT_A_TIME)
        for part in np.array_split(within, parts):
            # Coordinates first: each operation then runs through contiguous memory.
            at = (offsets[part].T[..., None] + points.T[:, None]).astype(np.float32)
            phase = physics.sphere_field(
                np.moveaxis(at, 0, -1), source.radius_mm, source.chi_ppm, b0
            )
            phase *= radians_per_ppm
            turned = np.exp(1j * phase.astype(np.float32))
            x, y, z = at
            turned *= x * x + y * y + z * z > source.radius_mm**2
            factors[part] = turned.mean(1)
    return box, factors.reshape(size)


def _painted_signal(
    source: Source, paint: Paint, affine: np.ndarray, shape: Sequence[int]
) -> tuple[Box, np.ndarray]:
    box, share = ball_share(
        affine, shape, source.centre, source.visible_mm, paint.edge_mm, paint.to_ball
    )
    return box, (1 - paint.depth * share).astype(np.complex64)


def ball_share(
    affine: np.ndarray,
    shape: Sequence[int],
    centre_mm: np.ndarray,
    radius_mm: float,
    edge_mm: float = _EDGE_MM,
    to_ball: np.ndarray = _AS_IS,
) -> tuple[Box, np.ndarray]:
    """Share of each voxel that lies in a ball with a soft edge, or in an ellipsoid.

    The share falls linearly from 1 to 0 over ``2 * edge_mm`` about the surface. ``to_ball`` (3, 3)
    takes offsets in the ellipsoid to offsets in the ball. Returns the box of voxels that the ball
    reaches and float32 shares of its shape.
    """
    voxel = nib.affines.voxel_sizes(affine)
    stretches = np.linalg.svd(to_ball, compute_uv=False)
    reach = 1 / stretches.min() * (radius_mm + 2 * edge_mm) + voxel
    box, offsets, size = _box(affine, shape, centre_mm, reach)
    points = points_in_voxel(voxel, max(_BALL_STEP_MM, radius_mm / _BALL_STEPS_A_RADIUS))
    # A voxel wholly inside has the share 1, a voxel wholly outside 0: only the rim is integrated.
    middle, half = np.linalg.norm(offsets, axis=1), np.linalg.norm(voxel) / 2
    inside = stretches.max() * (middle + half) < radius_mm - edge_mm - _ROUNDING_MM
    outside = stretches.min() * (middle - half) > radius_mm + edge_mm + _ROUNDING_MM
    share, rim = inside.astype(float), ~(inside | outside)
    distance = np.linalg.norm((offsets[rim, None] + points[None]) @ to_ball.T, axis=2)
    share[rim] = np.clip(0.5 + (radius_mm - distance) / (2 * edge_mm), 0, 1).mean(1)
    return box, share.reshape(size).astype(np.float32)


def points_in_voxel(voxel_mm: np.ndarray, step: float) -> np.ndarray:
    """Points (n, 3) of a regular grid, at most ``step`` mm apart, in a voxel centred on 0."""

    def middles(size: float) -> np.ndarray:
        parts = int(np.ceil(size / step))
        return ((np.arange(parts) + 0.5) / parts - 0.5) * size

    inside = [middles(size) for size in voxel_mm]
    return np.stack(np.meshgrid(*inside, indexing="ij"), -1).reshape(-1, 3)


def draw_size(rng: np.random.Generator) -> tuple[float, float]:
    """Apparent radius (mm), then susceptibility (ppm) of a microbleed."""
    visible = np.clip(RADIUS_MM * np.exp(rng.normal(0, RADIUS_LOG_SD)), *_RADIUS_LIMITS_MM)
    return float(visible), float(rng.uniform(*_MICROBLEED_PPM))


def grade(loss: float, level: float, sigma: float) -> str:
    """What a reader calls a spot: 'microbleed', 'faint' or 'unseen'.

    The spot's darkest voxel has lost the share ``loss`` of a signal of ``level``, in noise of
    standard deviation ``sigma``.

    >>> grade(0.5, 1.0, 0.04), grade(0.35, 1.0, 0.04), grade(0.5, 1.0, 0.2), grade(0.2, 1.0, 0.01)
    ('microbleed', 'faint', 'unseen', 'unseen')
    """
    if loss < FAINT or loss * level < ROSE * sigma:
        return "unseen"
    return "microbleed" if loss >= VOID else "faint"


def darkest_loss(factors: np.ndarray, acquisition: Acquisition) -> float:
    """Largest share of signal that a voxel loses, the SWI phase mask included.

    ``factors`` are those of :func:`source_signal`; 0 where there are none.
    """
    remaining = torch.from_numpy(np.abs(factors))
    if acquisition.contrast == "SWI":
        phase = torch.from_numpy(np.angle(factors))
        power, shape = acquisition.mask_power, acquisition.mask_shape
        remaining = physics.susceptibility_weighted(remaining, phase, power, shape)
    return float(1 - remaining.min()) if remaining.numel() else 0.0


def loss_in_even_tissue(
    source: Source, acquisition: Acquisition, rng: np.random.Generator
) -> float:
    """Largest share of signal that a source takes from a voxel of even tissue, B0 along the slices.

    Draws: the place of the source's centre in its voxel.
    """
    affine = np.diag([*acquisition.voxel_mm, 1.0])
    middle = affine[:3, :3] @ (np.array(_EVEN_SHAPE) // 2)
    centre = middle + rng.uniform(-0.5, 0.5, 3) * acquisition.voxel_mm
    alone = dataclasses.replace(source, centre=centre)
    radians = physics.phase_per_ppm(acquisition.field_t, acquisition.echo_time_s)
    _, factors = source_signal(alone, affine, _EVEN_SHAPE, np.array([0, 0, 1.0]), radians)
    return darkest_loss(factors, acquisition)
