"""Which coordinate convention a reader's table has, by how dark the images are at its points.

A microbleed is dark. A table's points are taken by each convention in turn, and the share of points
with a dark voxel at, or beside, the point in the point's own slice is compared. Points by a wrong
convention lie anywhere in the head and are dark by chance alone. :func:`find` accepts a convention
with a clear margin over all others. :func:`check` asks whether a stated convention is contradicted.
The bounds are measured on simulated scans (docs/onboarding-coordinates.md).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from nibabel.affines import apply_affine, voxel_sizes
from scipy import stats

from cmburden.core.errors import CMBurdenError, ScanError
from cmburden.images.geometry import slice_axis
from cmburden.images.header import geometry_of
from cmburden.images.reading import read_array, read_image

#: Signs of a point in mm that give scanner RAS mm.
_SIGNS = {"ras": (1.0, 1.0, 1.0), "lps": (-1.0, -1.0, 1.0), "las": (-1.0, 1.0, 1.0)}
#: Voxel conventions: (first index, rows flipped, slices reversed). Rows and slices are the second
#: and third axis of the array as the file stores it, which is the order of dcm2niix.
_VOXELS = {
    f"voxel{base}{'_flipped' * flipped}{'_reversed' * reverse}": (base, flipped, reverse)
    for flipped in (False, True)
    for reverse in (False, True)
    for base in (0, 1)
}
#: All candidates, in the order of the table of shares.
NAMES: tuple[str, ...] = (*_SIGNS, *_VOXELS)

#: Half the width of the places that are searched for a dark voxel, and of their surroundings, mm.
#: With voxels of 0.86 mm these are 3 x 3 and 17 x 17 voxels.
_NEAR_MM, _AROUND_MM = 1.0, 7.0
#: Least half widths in voxels, for coarse images.
_LEAST_NEAR, _LEAST_AROUND = 1, 2
#: A voxel is dark below this share of the median of its surroundings.
_DARK = 0.6
#: Surroundings below this share of the head's brightness are air: noise is dark anywhere.
_AIR = 0.3
#: Where more voxels than this share are exactly 0, the background was masked out.
_MASKED_OUT = 0.2
#: Every n-th voxel along each axis tells the head's brightness.
_STEP = 4
#: Depths are kept below this, so that one bright voxel does not outweigh the others.
_BRIGHTEST = 1.5
#: Candidates whose points lie this near to each other (voxels, largest axis, median) are told apart
#: by the depth at the centre.
_NEIGHBOURS = 2.5


@dataclasses.dataclass(frozen=True)
class Bounds:
    """What a convention needs in order to be accepted.

    Attributes
    ----------
    share, margin : float
        Least share of dark points, and its least lead over every convention but neighbours.
    points, people : int
        Least numbers.
    level : float
        Greatest p of the sign test of the points against each other convention (Bonferroni over
        the candidates is the caller's), and of the t-test of depths between neighbours.
    sure : float
        Least share of bootstrap draws of people in which the convention leads.
    draws : int
        Number of the bootstrap's draws.
    part, part_points : float, int
        A stated convention is contradicted by another one of part of the table where that part has
        at least this share and this number of points.
    dark_at_least : float
        Share of points that are dark in any table of microbleeds: fewer contradict a stated
        convention.
    """

    share: float = 0.6
    margin: float = 0.3
    points: int = 8
    people: int = 3
    level: float = 0.01
    sure: float = 0.99
    draws: int = 1000
    part: float = 0.2
    part_points: int = 6
    dark_at_least: float = 0.4


BOUNDS = Bounds()


@dataclasses.dataclass(frozen=True, eq=False)
class Seen:
    """What n points show by each of the c candidates.

    ``dark`` bool (c, n); ``depth`` (c, n) the centre voxel over the median of its surroundings,
    1 outside of the head; ``index`` (c, n, 3) voxels; ``person`` (n,) str. Rows are ``names``.
    """

    dark: np.ndarray
    depth: np.ndarray
    index: np.ndarray
    person: np.ndarray
    names: tuple[str, ...] = NAMES

    @classmethod
    def joined(cls, parts: Sequence[Seen]) -> Seen:
        """The points of all ``parts``."""
        return cls(
            np.concatenate([part.dark for part in parts], 1),
            np.concatenate([part.depth for part in parts], 1),
            np.concatenate([part.index for part in parts], 1),
            np.concatenate([part.person for part in parts]),
            parts[0].names,
        )

    def beside(self, other: Seen) -> Seen:
        """The same points by the candidates of both."""
        return Seen(
            np.concatenate([self.dark, other.dark]),
            np.concatenate([self.depth, other.depth]),
            np.concatenate([self.index, other.index]),
            self.person,
            (*self.names, *other.names),
        )


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What the images say of a table's convention.

    Attributes
    ----------
    name : str or None
        The convention; None where the images cannot tell, or contradict a stated one.
    shares : dict
        Share of dark points by candidate.
    sentence : str
        What was found, with the table of shares where nothing was accepted.
    points, people : int
    fits : bool or None
        Of a stated convention: True where the images prove it, False where they contradict it, None
        where they cannot tell.
    better : str or None
        The convention that fits instead of the stated one.
    unread : tuple of str
        A sentence for each image that could not be read; its points are left out.
    reason : str
        Why nothing was accepted: ``sentence`` without the table of shares.
    """

    name: str | None
    shares: dict[str, float]
    sentence: str
    points: int
    people: int
    fits: bool | None = None
    better: str | None = None
    unread: tuple[str, ...] = ()
    reason: str = ""


def to_ras(points: np.ndarray, affine: np.ndarray, shape: Sequence[int], name: str) -> np.ndarray:
    """Scanner RAS mm (n, 3) of ``points`` (n, 3) in the convention ``name``.

    ``affine`` and ``shape`` are of the array as the file stores it, without reorientation.

    >>> affine = np.diag([2.0, 2, 3, 1])
    >>> to_ras([[1, 2, 3]], affine, (9, 9, 9), "lps").tolist()
    [[-1.0, -2.0, 3.0]]
    >>> to_ras([[1, 2, 3]], affine, (9, 9, 9), "voxel1_flipped").tolist()
    [[0.0, 14.0, 6.0]]
    """
    points = np.asarray(points, dtype=float).reshape(-1, 3)
    if name in _SIGNS:
        return points * _SIGNS[name]
    if name not in _VOXELS:
        raise CMBurdenError(f"coordinates {name!r} are unknown; choose from {', '.join(NAMES)}")
    base, *turned = _VOXELS[name]
    index = points - base
    for axis, is_turned in zip((1, 2), turned, strict=True):
        if is_turned:
            index[:, axis] = shape[axis] - 1 - index[:, axis]
    return apply_affine(affine, index)


def look(
    data: np.ndarray,
    affine: np.ndarray,
    points: np.ndarray,
    person: str,
    names: tuple[str, ...] = NAMES,
) -> Seen:
    """What ``points`` (n, 3) of a table show in the image ``data`` (x, y, z) as it is stored."""
    inverse = np.linalg.inv(affine)
    index = np.stack(
        [apply_affine(inverse, to_ras(points, affine, data.shape, name)) for name in names]
    )
    index = np.rint(np.clip(index, -1e6, 1e6)).astype(int)
    flat = index.reshape(-1, 3)
    level, masked = _brightness(data)
    axis = slice_axis(affine)
    sizes = voxel_sizes(affine)
    around = _patches(data, flat, axis, _reach(sizes, _AROUND_MM, _LEAST_AROUND), masked)
    near = _patches(data, flat, axis, _reach(sizes, _NEAR_MM, _LEAST_NEAR), masked)
    centre = near[:, near.shape[1] // 2]
    with np.errstate(all="ignore"):
        median = _nanmedian(around)
        in_head = np.isfinite(median) & (median > _AIR * level) & np.isfinite(centre)
        darkest = np.where(np.isfinite(near), near, np.inf).min(1)
        dark = in_head & (darkest < _DARK * median)
        depth = np.where(in_head, np.clip(centre / median, 0, _BRIGHTEST), 1.0)
    shape = index.shape[:2]
    people = np.full(shape[1], person, dtype=object)
    return Seen(dark.reshape(shape), depth.reshape(shape), index, people, names)


def _reach(sizes: np.ndarray, millimetres: float, least: int) -> np.ndarray:
    """Half widths in voxels along each axis."""
    return np.maximum(np.rint(millimetres / sizes), least).astype(int)


def _brightness(data: np.ndarray) -> tuple[float, bool]:
    """Brightness of the head, and whether the background was set to 0."""
    some = np.asarray(data[::_STEP, ::_STEP, ::_STEP], dtype=float)
    some = some[np.isfinite(some)]
    if not some.size:
        return np.inf, False
    bright = some[some >= some.mean()]
    return float(np.median(bright)), bool((some == 0).mean() > _MASKED_OUT)


def _patches(
    data: np.ndarray, index: np.ndarray, axis: int, reach: np.ndarray, masked: bool
) -> np.ndarray:
    """Voxels (n, k) about ``index`` (n, 3) in its slice across ``axis``; NaN outside the image."""
    steps = [np.arange(-r, r + 1) if a != axis else np.array([0]) for a, r in enumerate(reach)]
    offsets = np.stack(np.meshgrid(*steps, indexing="ij"), -1).reshape(-1, 3)
    at = index[:, None] + offsets
    inside = ((at >= 0) & (at < data.shape)).all(-1)
    at = np.clip(at, 0, np.array(data.shape) - 1)
    values = data[at[..., 0], at[..., 1], at[..., 2]].astype(float)
    if masked:
        inside &= values != 0
    return np.where(inside, values, np.nan)


def _nanmedian(values: np.ndarray) -> np.ndarray:
    """Median of each row's finite values; NaN for a row without. Faster than numpy's."""
    ordered = np.sort(np.where(np.isfinite(values), values, np.inf), 1)
    number = np.isfinite(ordered).sum(1)
    rows = np.arange(len(values))
    low, high = ordered[rows, np.maximum(number - 1, 0) // 2], ordered[rows, number // 2]
    return np.where(number > 0, (low + high) / 2, np.nan)


# --- tables ---


def find(
    points_by_image: Mapping[Path, np.ndarray],
    people: Mapping[Path, str],
    given: str = "auto",
    bounds: Bounds | None = None,
) -> Verdict:
    """The convention of a table with points (n, 3) in images, as the files store them.

    ``people`` names each image's participant. With a convention ``given`` the images are asked
    whether they contradict it: the verdict's ``name`` stays ``given``, ``fits`` and ``sentence``
    say what the images say.
    """
    if given != "auto" and given not in NAMES:
        raise CMBurdenError(
            f"coordinates {given!r} are unknown; choose from auto, {', '.join(NAMES)}"
        )
    parts, unread = [], []
    for path in sorted(points_by_image):
        if not len(points_by_image[path]):
            continue
        try:
            data, affine = stored(path)
        except ScanError as error:
            unread.append(f"{path}: {error}")
            continue
        parts.append(look(data, affine, points_by_image[path], people[path]))
    if not parts:
        sentence = "no image with points could be read, so that nothing tells the coordinates"
        return Verdict(given if given != "auto" else None, {}, sentence, 0, 0, unread=tuple(unread))
    seen = Seen.joined(parts)
    if given == "auto":
        verdict = decide(seen, bounds)
    else:
        verdict = dataclasses.replace(check(seen, given, bounds), name=given)
    return dataclasses.replace(verdict, unread=tuple(unread))


def stored(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Voxels (x, y, z) in the order of the file, and the affine of that order.

    Raises
    ------
    ScanError
        Where the file is no image of three axes.
    """
    image, sizes = read_image(path)
    affine = geometry_of(image.header, sizes).affine
    data = read_array(image)
    while data.ndim > 3 and data.shape[-1] == 1:
        data = data[..., 0]
    if data.ndim != 3 or data.dtype.names is not None or np.iscomplexobj(data):
        raise ScanError("not_3d", f"Its shape is {' x '.join(map(str, data.shape))}.")
    return data, affine


def check(seen: Seen, given: str, bounds: Bounds | None = None) -> Verdict:
    """Whether the images contradict that a table's points are ``given``; ``name`` is None then."""
    bounds = bounds or BOUNDS
    verdict = decide(seen, bounds)
    if verdict.name == given:
        return dataclasses.replace(verdict, fits=True)
    if verdict.name is not None:
        return _contradicted(verdict, given, verdict.name)
    shares, number = verdict.shares, verdict.points
    enough = number >= bounds.points and verdict.people >= bounds.people
    if enough and (other := _other_part(seen, given, bounds)) is not None:
        part = "a part of the points fits {} rather than {}; {}"
        sentence = part.format(other, given, shares_in_words(shares))
        return dataclasses.replace(verdict, sentence=sentence, fits=False, better=other)
    if enough and _too_bright(seen, given, bounds):
        sentence = (
            f"the images are dark at {shares[given]:.0%} of the {number} points by {given}: the "
            f"points are no {given} of these images; {shares_in_words(shares)}"
        )
        return dataclasses.replace(verdict, sentence=sentence, fits=False)
    sentence = f"whether the coordinates are {given} is not proven: {verdict.reason}"
    return dataclasses.replace(verdict, name=given, sentence=sentence)


def _contradicted(verdict: Verdict, given: str, better: str) -> Verdict:
    sentence = (
        f"the coordinates are {better}, not {given}: the images are dark at "
        f"{verdict.shares[better]:.0%} of {verdict.points} points by {better} and at "
        f"{verdict.shares[given]:.0%} by {given}"
    )
    return dataclasses.replace(verdict, name=None, sentence=sentence, fits=False, better=better)


def _other_part(seen: Seen, given: str, bounds: Bounds) -> str | None:
    """A convention that fits the points which are bright by ``given``; None without such."""
    bright = ~seen.dark[seen.names.index(given)]
    if bright.sum() < bounds.part_points or bright.mean() < bounds.part:
        return None
    near = _neighbours(seen, seen.names.index(given))
    shares = seen.dark[:, bright].mean(1) * ~near
    best = int(np.argmax(shares))
    others = np.delete(np.arange(len(shares)), [best, *np.flatnonzero(near)])
    fits = shares[best] >= bounds.share and shares[best] - shares[others].max() >= bounds.margin
    return seen.names[best] if fits else None


def _too_bright(seen: Seen, given: str, bounds: Bounds) -> bool:
    """Whether so few points are dark that they cannot be microbleeds."""
    dark = seen.dark[seen.names.index(given)]
    return bool(stats.binom.cdf(dark.sum(), len(dark), bounds.dark_at_least) < bounds.level)


# --- the decision ---


def decide(seen: Seen, bounds: Bounds | None = None) -> Verdict:
    """The convention by which the points are dark, if one leads clearly."""
    bounds = bounds or BOUNDS
    shares = dict(zip(seen.names, seen.dark.mean(1).tolist(), strict=True))
    people = len(set(seen.person))
    number = seen.dark.shape[1]

    def refused(why: str) -> Verdict:
        return Verdict(
            None, shares, f"{why}; {shares_in_words(shares)}", number, people, reason=why
        )

    if number < bounds.points or people < bounds.people:
        return refused(
            f"{number} point(s) of {people} participant(s) cannot tell the coordinates: "
            f"{bounds.points} points of {bounds.people} participants are needed"
        )
    best = _best(seen)
    name = seen.names[best]
    if shares[name] < bounds.share:
        return refused(
            f"the points fit no convention: the images are dark at {shares[name]:.0%} of the "
            f"{number} points at most (by {name}), and {bounds.share:.0%} are needed"
        )
    near = _neighbours(seen, best)
    for rival in range(len(seen.names)):
        if rival == best or _leads(seen, best, rival, bounds):
            continue
        if near[rival] and _is_deeper(seen, best, rival, bounds):
            continue
        return refused(f"the {number} points do not tell {name} from {seen.names[rival]} clearly")
    return Verdict(
        name,
        shares,
        f"the coordinates are {name}: the images are dark at {shares[name]:.0%} of {number} points "
        f"of {people} participants, by the next convention at {_next(shares, near, seen):.0%}",
        number,
        people,
    )


def shares_in_words(shares: Mapping[str, float]) -> str:
    """The table of shares, the greatest first, on one line.

    >>> shares_in_words({"ras": 0.25, "lps": 1.0})
    'dark at: lps 100 %, ras 25 %'
    """
    ranked = sorted(shares.items(), key=lambda item: -item[1])
    return "dark at: " + ", ".join(f"{name} {100 * share:.0f} %" for name, share in ranked)


def _next(shares: Mapping[str, float], near: np.ndarray, seen: Seen) -> float:
    others = [shares[name] for name, is_near in zip(seen.names, near, strict=True) if not is_near]
    return max(others, default=0.0)


def _best(seen: Seen) -> int:
    """The candidate with the most dark points; of its neighbours with about as many the deepest."""
    share, depth = seen.dark.mean(1), seen.depth.mean(1)
    top = int(np.lexsort((depth, -share))[0])
    group = np.flatnonzero(_neighbours(seen, top))
    return int(group[np.argmin(depth[group])])


def _neighbours(seen: Seen, one: int) -> np.ndarray:
    """Candidates (c,) whose points lie within some voxels of those of ``one``, itself included."""
    apart = np.abs(seen.index - seen.index[one]).max(2)
    return np.median(apart, 1) <= _NEIGHBOURS


def _leads(seen: Seen, one: int, other: int, bounds: Bounds) -> bool:
    """Whether more points are dark by ``one`` than by ``other``, beyond the bounds."""
    lead = seen.dark[one].astype(int) - seen.dark[other]
    wins, losses = int((lead > 0).sum()), int((lead < 0).sum())
    if lead.mean() < bounds.margin or wins + losses == 0:
        return False
    if stats.binom.sf(wins - 1, wins + losses, 0.5) > bounds.level:
        return False
    return _sure(lead, seen.person, bounds)


def _is_deeper(seen: Seen, one: int, other: int, bounds: Bounds) -> bool:
    """Whether the centre voxels are darker by ``one`` than by ``other``, beyond the bounds."""
    gain = seen.depth[other] - seen.depth[one]
    if len(gain) < 2 or not gain.mean() > 0:
        return False
    spread = gain.std(ddof=1) / np.sqrt(len(gain))
    p = stats.t.sf(gain.mean() / spread, len(gain) - 1) if spread > 0 else 0.0
    return bool(p <= bounds.level) and _sure(gain, seen.person, bounds)


def _sure(gain: np.ndarray, person: np.ndarray, bounds: Bounds) -> bool:
    """Whether the sum of ``gain`` (n,) is above 0 in most bootstrap draws of people."""
    _, number = np.unique(person.astype(str), return_inverse=True)
    sums = np.bincount(number, gain)
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, len(sums), (bounds.draws, len(sums)))
    return bool((sums[drawn].sum(1) > 0).mean() >= bounds.sure)
