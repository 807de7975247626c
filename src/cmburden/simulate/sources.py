"""Sources of susceptibility: microbleeds and what is mistaken for them, and the signal they leave.

Where they lie, how many and how large they are follows published sets (see ``distributions``).
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import ndimage

from cmburden.simulate import anatomy as an
from cmburden.simulate import physics
from cmburden.simulate.acquisition import Acquisition

#: Where microbleeds are (957 of five published sets): class -> share.
PLACES = {
    "subcortical white": 0.40, "cortex": 0.33, "cerebellum": 0.08, "basal ganglia": 0.08,
    "thalamus": 0.05, "brainstem": 0.04, "deep white": 0.02,
}  # fmt: skip
GROUP_OF_PLACE = {
    "subcortical white": "lobar", "cortex": "lobar", "cerebellum": "infratentorial",
    "brainstem": "infratentorial", "basal ganglia": "deep", "thalamus": "deep",
    "deep white": "deep",
}  # fmt: skip
#: Apparent radius on the scan itself: lognormal, 5/50/95 % = 0.75, 1.35, 2.4 mm.
RADIUS_MM, RADIUS_LOG_SD = 1.35, 0.35
#: Readers mark what they see. A microbleed is dark (a signal void, Greenberg 2009; "very
#: hypointense", MARS): its darkest voxel has lost at least this share of the signal around it. What
#: has lost less, but the second share, is grey: MARS calls it possible, the truth table 'faint'.
#: Either loss must be so many standard deviations of the noise (Rose, J Opt Soc Am 1948;38:196).
#: ``simulate.picture --spots`` shows both, for everybody to judge.
VOID, FAINT, ROSE = 0.4, 0.3, 5.0
_AS_IS = np.eye(3)


@dataclasses.dataclass(frozen=True)
class Paint:
    """A microbleed without physics, as a simpler simulator would have it: an ellipsoid that takes
    the share ``depth`` of the signal, with an edge ``edge_mm`` soft. ``to_ball`` (3, 3) takes
    offsets from its middle to those of a ball of the same size."""

    depth: float
    to_ball: np.ndarray
    edge_mm: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Paint:
        turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        longer = np.exp(rng.normal(0, 0.18, 3))
        return cls(
            float(rng.uniform(0.4, 1.0)),
            turn / (longer / np.cbrt(longer.prod()))[:, None],
            log_uniform(rng, 0.15, 0.8),
        )


@dataclasses.dataclass(frozen=True)
class Source:
    """A sphere of other susceptibility: a microbleed or a mimic; ``centre`` in scan mm.

    ``painted`` is None for physics; else the source is that, of ``visible_mm``.
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
        """Whether it is a microbleed, be it seen as one or, ``faint``, as something grey."""
        return self.kind in ("microbleed", "faint")


@dataclasses.dataclass(frozen=True)
class Findings:
    """How many of each a scan is to hold; switches are shares of 0 or 1."""

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


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def source_radius(visible_mm: float, chi_ppm: float, acquisition: Acquisition) -> float:
    """Radius (mm) of the source that shows with ``visible_mm`` at this acquisition."""
    field, echo = acquisition.field_t, acquisition.echo_time_s
    return visible_mm / float(physics.visible_radius(1.0, chi_ppm, field, echo))


def usual_findings(rng: np.random.Generator, microbleeds: int) -> Findings:
    """Of an old person's scan. Calcium lies where it does in people (globus pallidus and choroid
    plexus, mostly of both sides; pineal, dura; in 2 % anywhere in the brain, where GRE cannot
    tell it from blood)."""
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


def crowded_findings(rng: np.random.Generator, microbleeds: int) -> Findings:
    """Of a training slab: of everything more than people have, so that it is seen often."""
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
    )


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


class Drawing:
    """Draws a scan's sources. ``scan`` is (labels, to_ventricle, to_grey, affine) of the scan's
    grid; ``veins_mm`` (n, 3) points on veins; ``seen`` says of a microbleed what it is to a reader
    (as :func:`grade`)."""

    def __init__(self, scan, acquisition: Acquisition, veins_mm: np.ndarray, seen, rng):
        self.labels, self.to_ventricle, self.to_grey, self.affine = scan
        self.acquisition, self.veins_mm, self.seen, self.rng = acquisition, veins_mm, seen, rng
        masks = place_masks(self.labels, self.to_ventricle, self.to_grey)
        self.places = {k: flat for k, v in masks.items() if len(flat := np.flatnonzero(v))}
        self.sources: list[Source] = []

    def draw(self, findings: Findings) -> list[Source]:
        for _ in range(findings.microbleeds if self.places else 0):
            self._microbleed(findings)

        def codes(*names: int) -> np.ndarray:
            return np.flatnonzero(np.isin(self.labels, names))

        surface = np.flatnonzero((self.labels == an.CSF) & (self.to_ventricle > 15))
        for count, kind, where, least, most, chi in (
            (findings.pineal, "calcification", self._pineal(), 1.2, 3.2, (-2.5, -0.8)),
            (findings.dural, "calcification", surface, 0.9, 3.0, (-2.5, -0.8)),
            (findings.parenchymal, "calcification", None, 0.8, 2.5, (-2.5, -0.8)),
            (findings.macrohaemorrhages, "macrohaemorrhage", None, 6.0, 13.0, (0.6, 1.5)),
        ):
            for _ in range(count):
                flat = self._anywhere() if where is None else where
                if flat is not None and len(flat):
                    self._add(
                        kind,
                        flat,
                        None,
                        log_uniform(self.rng, least, most),
                        float(self.rng.uniform(*chi)),
                    )
        near = self.to_grey < 15
        for count, sides, least, most, both in (
            (findings.pallidal, [codes(side) for side in an.PALLIDUM], 0.8, 2.5, 0.9),
            (findings.choroid, [np.flatnonzero((self.labels == side) & near) for side in (4, 43)],
             0.9, 3.0, 0.75),
        ):  # fmt: skip
            for _ in range(count):
                self._calcium_of_both_sides(sides, log_uniform(self.rng, least, most), both)
        for _ in range(findings.cavernomas):
            self._cavernoma()
        return self.sources

    def _calcium_of_both_sides(self, sides, visible: float, both: float) -> None:
        """A calcification in one of two ``sides`` (voxels) and, in a share ``both``, its like
        at the mirrored place: by that readers know it."""
        order = self.rng.permutation(2)
        one, other = (sides[k] for k in order)
        chi = float(self.rng.uniform(-2.5, -0.8))
        if not len(one) or not self._add("calcification", one, None, visible, chi):
            return
        if not len(other) or self.rng.random() > both:
            return
        middles = [self._mm(flat).mean(0) for flat in (one, other)]
        offset = (self.sources[-1].centre - middles[0]) * np.array([-1.0, 1.0, 1.0])
        there = self._near(other, middles[1] + offset, 3.0)
        self._add("calcification", there, None, visible * np.exp(self.rng.normal(0, 0.2)), chi)

    def _mm(self, flat: np.ndarray) -> np.ndarray:
        """Scan mm (n, 3) of voxels."""
        index = np.stack(np.unravel_index(flat, self.labels.shape), 1)
        return index @ self.affine[:3, :3].T + self.affine[:3, 3]

    def _anywhere(self):
        if not self.places:
            return None
        return self.places[list(self.places)[self.rng.integers(len(self.places))]]

    def _pineal(self) -> np.ndarray:
        """Voxels about 5 mm behind the third ventricle's posterior end."""
        third = np.argwhere(self.labels == 14)
        if len(third) < 5:
            return np.zeros(0, int)
        mm = third @ self.affine[:3, :3].T + self.affine[:3, 3]
        at = mm[mm[:, 1].argmin()] - np.array([0, 5.0, 0])
        index = np.round(np.linalg.inv(self.affine)[:3, :3] @ (at - self.affine[:3, 3])).astype(int)
        if (index < 0).any() or (index >= self.labels.shape).any():
            return np.zeros(0, int)
        return np.array([np.ravel_multi_index(tuple(index), self.labels.shape)])

    def _microbleed(self, findings: Findings) -> None:
        names = list(self.places)
        share = np.array([PLACES[name] for name in names])
        place = names[self.rng.choice(len(names), p=share / share.sum())]
        flat = self.places[place]
        before = [s for s in self.sources if s.kind == "microbleed" and s.group != "unknown"]
        draw = self.rng.random()
        if before and draw < findings.clustered:
            flat = self._near(flat, before[self.rng.integers(len(before))].centre, 15.0)
        elif len(self.veins_mm) and draw < findings.clustered + findings.beside_vein:
            point = self.veins_mm[self.rng.integers(len(self.veins_mm))]
            flat = self._near(flat, point, 3.0)
        painted = None
        if self.rng.random() < findings.painted:
            painted = Paint.draw(self.rng)
        for _ in range(20):
            if self._add("microbleed", flat, place, *draw_size(self.rng), painted):
                return

    def _near(self, flat: np.ndarray, point_mm: np.ndarray, reach: float) -> np.ndarray:
        """Of the voxels ``flat`` those within ``reach`` mm of a point; all where there are none."""
        some = flat if len(flat) < 40_000 else self.rng.choice(flat, 40_000)
        close = some[np.linalg.norm(self._mm(some) - point_mm, axis=1) < reach]
        return close if len(close) else flat

    def _add(self, kind, flat, place, visible: float, chi: float, painted=None) -> bool:
        """Add a source that shows with ``visible`` mm on this very scan, away from the others."""
        for _ in range(20):
            index = np.array(np.unravel_index(self.rng.choice(flat), self.labels.shape), float)
            index += self.rng.uniform(-0.5, 0.5, 3)
            centre = self.affine[:3, :3] @ index + self.affine[:3, 3]
            if all(np.linalg.norm(centre - s.centre) > 1.5 + visible + s.visible_mm
                   for s in self.sources):  # fmt: skip
                break
        else:
            return False
        region = (
            place if place in ("cerebellum", "brainstem", "thalamus", "basal ganglia") else None
        )
        source = Source(
            kind, centre, source_radius(visible, chi, self.acquisition), chi, visible, region,
            GROUP_OF_PLACE.get(place, "unknown"), painted,
        )  # fmt: skip
        if kind == "microbleed":
            source = dataclasses.replace(source, kind=self.seen(source))
            if source.kind == "unseen":
                return False
        self.sources.append(source)
        # A faint one stays, as in people; the microbleed asked for is still to come.
        return source.kind == kind

    def _cavernoma(self) -> None:
        """Several bleeds of different age together, 6 to 18 mm wide."""
        flat = self._anywhere()
        if flat is None:
            return
        index = np.array(np.unravel_index(self.rng.choice(flat), self.labels.shape), float)
        middle = self.affine[:3, :3] @ index + self.affine[:3, 3]
        half = self.rng.uniform(3.0, 9.0)
        for _ in range(int(self.rng.integers(4, 10))):
            offset = self.rng.normal(size=3)
            offset *= half * np.cbrt(self.rng.random()) / np.linalg.norm(offset)
            chi, visible = float(self.rng.uniform(0.4, 2.0)), float(self.rng.uniform(1.2, 4.0))
            self.sources.append(
                Source("cavernoma", middle + offset, source_radius(visible, chi, self.acquisition),
                       chi, visible, None, "unknown")
            )  # fmt: skip


#: A source is followed to where its phase falls below this (rad).
_FAINT_RAD = 0.03
#: Integration over a voxel by its distance from the source's surface: (from, up to, step), mm. At
#: the surface the phase turns many times, so there the step is also at most a sixth of the radius.
_STEPS_MM = ((-np.inf, 0.5, 0.1), (0.5, 2.5, 0.2), (2.5, np.inf, 0.5))


def _box(affine, shape, centre_mm, reach_mm):
    """Voxels within ``reach_mm`` (3,) of a point: slices, and offsets (n, 3) of their centres in
    mm along the grid's axes."""
    voxel = np.linalg.norm(affine[:3, :3], axis=0)
    centre = np.linalg.inv(affine)[:3, :3] @ (centre_mm - affine[:3, 3])
    low = np.clip(np.floor(centre - reach_mm / voxel).astype(int), 0, shape)
    high = np.clip(np.ceil(centre + reach_mm / voxel).astype(int) + 1, low, shape)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    return box, (np.indices(high - low).reshape(3, -1).T + low - centre) * voxel, high - low


def source_signal(
    source: Source, affine: np.ndarray, shape, b0: np.ndarray, radians_per_ppm: float
) -> tuple[tuple[slice, ...], np.ndarray]:
    """What a sphere leaves of each voxel's signal: the mean of exp(i phase) over its points.

    The sphere's field is the analytic one, and no signal comes from inside it (haemosiderin and
    calcium have none left at these echo times); tissue is taken to be even over the voxel.
    ``affine`` and ``shape`` are the scan's, ``b0`` in the grid's axes. Returns the box of voxels
    that the source reaches, and complex64 factors of that box.
    """
    if source.painted is not None:
        paint = source.painted
        box, share = ball_share(
            affine, shape, source.centre, source.visible_mm, paint.edge_mm, paint.to_ball
        )
        return box, (1 - paint.depth * share).astype(np.complex64)
    voxel = np.linalg.norm(affine[:3, :3], axis=0)
    strength = abs(source.chi_ppm) / 3 * radians_per_ppm * source.radius_mm**3
    reach = max(np.cbrt(2 * strength / _FAINT_RAD), source.radius_mm) + voxel
    box, offsets, size = _box(affine, shape, source.centre, reach)
    # From the source's surface to the nearest point of the voxel.
    gap = np.linalg.norm(np.maximum(np.abs(offsets) - voxel / 2, 0), axis=1) - source.radius_mm
    left = np.ones(len(offsets), np.complex64)
    for least, most, step in _STEPS_MM:
        which = (gap > least) & (gap <= most)
        step = min(step, source.radius_mm / 6) if least < 0 else step
        points = _points_in(voxel, step)
        found = np.flatnonzero(which)
        # A few voxels at a time: their points together stay within some megabytes.
        for part in np.array_split(found, max(1, len(found) * len(points) // 400_000)):
            at = (offsets[part, None] + points[None]).astype(np.float32)
            phase = radians_per_ppm * physics.sphere_field(at, source.radius_mm, source.chi_ppm, b0)
            outside = (at**2).sum(-1) > source.radius_mm**2
            left[part] = (np.exp(1j * phase.astype(np.float32)) * outside).mean(1)
    return box, left.reshape(size)


def ball_share(
    affine, shape, centre_mm, radius_mm: float, edge_mm: float = 0.2, to_ball: np.ndarray = _AS_IS
):
    """Share of each voxel that lies in a ball with an edge ``edge_mm`` soft, or in what ``to_ball``
    (3, 3) takes to one: (box, float array)."""
    voxel = np.linalg.norm(affine[:3, :3], axis=0)
    largest = 1 / np.linalg.svd(to_ball, compute_uv=False).min()
    box, offsets, size = _box(affine, shape, centre_mm, largest * (radius_mm + 2 * edge_mm) + voxel)
    points = _points_in(voxel, max(0.25, radius_mm / 4))
    distance = np.linalg.norm((offsets[:, None] + points[None]) @ to_ball.T, axis=2)
    share = np.clip(0.5 + (radius_mm - distance) / (2 * edge_mm), 0, 1).mean(1)
    return box, share.reshape(size).astype(np.float32)


def _points_in(voxel, step: float) -> np.ndarray:
    """Points of a regular grid, at most ``step`` apart, in a voxel about 0."""

    def middles(size: float) -> np.ndarray:
        parts = int(np.ceil(size / step))
        return ((np.arange(parts) + 0.5) / parts - 0.5) * size

    inside = [middles(size) for size in voxel]
    return np.stack(np.meshgrid(*inside, indexing="ij"), -1).reshape(-1, 3)


def draw_size(rng: np.random.Generator) -> tuple[float, float]:
    """Apparent radius (mm) and susceptibility (ppm) of a microbleed."""
    visible = np.clip(RADIUS_MM * np.exp(rng.normal(0, RADIUS_LOG_SD)), 0.6, 4.5)
    return float(visible), float(rng.uniform(0.6, 2.5))


def grade(loss: float, level: float, sigma: float) -> str:
    """What a reader calls a spot whose darkest voxel has lost the share ``loss`` of a signal of
    ``level``, in noise of ``sigma``: 'microbleed', 'faint' or 'unseen'.

    >>> grade(0.5, 1.0, 0.04), grade(0.35, 1.0, 0.04), grade(0.5, 1.0, 0.2), grade(0.2, 1.0, 0.01)
    ('microbleed', 'faint', 'unseen', 'unseen')
    """
    if loss < FAINT or loss * level < ROSE * sigma:
        return "unseen"
    return "microbleed" if loss >= VOID else "faint"


def darkest_loss(left: np.ndarray, acquisition: Acquisition) -> float:
    """Largest share of signal that ``left`` (factors of :func:`source_signal`) takes from a voxel,
    the SWI phase mask included."""
    remaining = np.abs(left)
    if acquisition.contrast == "SWI":
        mask = np.clip(1 - np.angle(left) / np.pi, 0, 1)
        remaining = remaining * mask**acquisition.mask_power
    return float(1 - remaining.min()) if remaining.size else 0.0


def siderosis(labels: np.ndarray, affine: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Voxels of a stretch of cortex surface, 15 to 40 mm wide, that is lined with haemosiderin."""
    csf = labels == an.CSF
    surface = np.isin(labels, an.CORTEX) & ndimage.binary_dilation(csf)
    flat = np.flatnonzero(surface)
    if not len(flat):
        return surface
    index = np.stack(np.unravel_index(flat, labels.shape), 1)
    mm = index @ affine[:3, :3].T
    middle = mm[rng.integers(len(mm))]
    far = np.linalg.norm(mm - middle, axis=1) > rng.uniform(8, 20)
    surface.reshape(-1)[flat[far]] = False
    return surface
