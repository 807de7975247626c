"""Which coordinate convention a reader's table has, by how dark the images are at its points.

A microbleed is dark. A table's points are taken by each convention in turn, and the shares of dark
points are compared (``darkness``). Points by a wrong convention lie anywhere in the head and are
dark by chance alone. :func:`find` accepts a convention with a clear margin over all others.
:func:`check` asks whether a stated convention is contradicted. The bounds are measured on simulated
scans (docs/coordinates.md).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from scipy import special

from cmburden.core.errors import CMBurdenError, ScanError
from cmburden.images.darkness import NAMES, Seen, look, to_ras
from cmburden.images.header import geometry_of
from cmburden.images.reading import read_array, read_image

__all__ = [
    "BOUNDS",
    "NAMES",
    "Bounds",
    "Seen",
    "Verdict",
    "check",
    "decide",
    "find",
    "look",
    "to_ras",
]

#: Candidates whose points lie this near to each other (voxels, largest axis, median) are told apart
#: by the depth at the centre.
_NEIGHBOURS = 2.5
#: Least share of dark points by chance: that of places in the brain of simulated scans.
_LEAST_CHANCE = 0.1


@dataclasses.dataclass(frozen=True)
class Bounds:
    """What a convention needs in order to be accepted.

    Attributes
    ----------
    share, margin : float
        Least share of dark points, and its least lead over every convention but neighbours.
    points, people : int
        Least numbers.
    chance : float
        Greatest p of the binomial test of its share against the share by chance, over all
        candidates (Bonferroni).
    level, neighbours : float
        Greatest p of the sign test of the points against each other convention, and of the t-test
        of depths against a neighbour.
    sure : float
        Least share of bootstrap draws of people in which the convention leads.
    draws : int
        Number of the bootstrap's draws.
    part : float
        Least lead of another convention among the points that are bright by the leading or stated
        one: these points contradict it, if chance does not explain them.
    dark_at_least : float
        Share of points that are dark in any table of microbleeds: fewer contradict a stated
        convention.
    """

    share: float = 0.6
    margin: float = 0.3
    points: int = 8
    people: int = 3
    chance: float = 0.001
    level: float = 0.05
    neighbours: float = 0.01
    sure: float = 0.95
    draws: int = 1000
    part: float = 0.2
    dark_at_least: float = 0.4


BOUNDS = Bounds()


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


def _other_part(seen: Seen, name: str, bounds: Bounds) -> str | None:
    """A convention that fits the points which are bright by ``name``; None without such."""
    one = seen.names.index(name)
    near = _neighbours(seen, one)
    bright = ~seen.dark[one]
    if near.all() or not bright.any():
        return None
    shares = seen.dark[:, bright].mean(1) * ~near
    best = int(np.argmax(shares))
    others = ~(near | _neighbours(seen, best))
    rest = shares[others] if others.any() else np.zeros(1)
    if shares[best] - rest.max() < bounds.part:
        return None
    # Chance as of the other candidates: by `name` these points are bright.
    wins, number = round(shares[best] * bright.sum()), int(bright.sum())
    p = special.bdtrc(wins - 1, number, max(_LEAST_CHANCE, float(rest.mean()))) * len(near)
    return seen.names[best] if p <= bounds.chance else None


def _too_bright(seen: Seen, given: str, bounds: Bounds) -> bool:
    """Whether so few points are dark that they cannot be microbleeds."""
    dark = seen.dark[seen.names.index(given)]
    return bool(special.bdtr(dark.sum(), len(dark), bounds.dark_at_least) < bounds.level)


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
    near, dark = _neighbours(seen, best), int(seen.dark[best].sum())
    if _by_chance(seen, best, near) > bounds.chance:
        return refused(f"that {dark} of {number} points are dark by {name} may be chance")
    for rival in range(len(seen.names)):
        if rival == best or _leads(seen, best, rival, bounds):
            continue
        if near[rival] and _is_deeper(seen, best, rival, bounds):
            continue
        return refused(f"the {number} points do not tell {name} from {seen.names[rival]} clearly")
    if (other := _other_part(seen, name, bounds)) is not None:
        return refused(f"a part of the points fits {other} rather than {name}")
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

    >>> shares_in_words({"ras": 0.25, "lps": 1.0, "las": 0.0})
    'dark at: lps 100 %, ras 25 %, las 0 %'
    >>> shares_in_words({"ras": 0.25, "lps": 0.0, "las": 0.0})
    'dark at: ras 25 %, all others 0 %'
    """
    ranked = sorted(shares.items(), key=lambda item: -item[1])
    said = [f"{name} {100 * share:.0f} %" for name, share in ranked if round(100 * share)]
    bare = [name for name, share in ranked if not round(100 * share)]
    if bare:
        said.append(f"{bare[0] if len(bare) == 1 else 'all others'} 0 %")
    return "dark at: " + ", ".join(said)


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


def _by_chance(seen: Seen, one: int, near: np.ndarray) -> float:
    """p of as many dark points by any candidate, were all points anywhere in the head."""
    chance = _LEAST_CHANCE
    if not near.all():
        chance = max(chance, float(seen.dark[~near].mean()))
    dark = seen.dark[one]
    return float(special.bdtrc(dark.sum() - 1, len(dark), chance)) * len(near)


def _leads(seen: Seen, one: int, other: int, bounds: Bounds) -> bool:
    """Whether more points are dark by ``one`` than by ``other``, beyond the bounds."""
    lead = seen.dark[one].astype(int) - seen.dark[other]
    wins, losses = int((lead > 0).sum()), int((lead < 0).sum())
    if lead.mean() < bounds.margin or wins + losses == 0:
        return False
    if special.bdtrc(wins - 1, wins + losses, 0.5) > bounds.level:
        return False
    return _sure(lead, seen.person, bounds)


def _is_deeper(seen: Seen, one: int, other: int, bounds: Bounds) -> bool:
    """Whether the centre voxels are darker by ``one`` than by ``other``, beyond the bounds."""
    gain = seen.depth[other] - seen.depth[one]
    if len(gain) < 2 or not gain.mean() > 0:
        return False
    spread = gain.std(ddof=1) / np.sqrt(len(gain))
    p = special.stdtr(len(gain) - 1, -gain.mean() / spread) if spread > 0 else 0.0
    return bool(p <= bounds.neighbours) and _sure(gain, seen.person, bounds)


def _sure(gain: np.ndarray, person: np.ndarray, bounds: Bounds) -> bool:
    """Whether the sum of ``gain`` (n,) is above 0 in most bootstrap draws of people.

    A draw of people who tell nothing (a sum of 0) counts half.
    """
    _, number = np.unique(person.astype(str), return_inverse=True)
    sums = np.bincount(number, gain)
    rng = np.random.default_rng(0)
    drawn = sums[rng.integers(0, len(sums), (bounds.draws, len(sums)))].sum(1)
    return bool((drawn > 0).mean() + (drawn == 0).mean() / 2 >= bounds.sure)
