"""A reader's sitting: the items that the page shows, and the decisions that the page sends.

No value from the browser names a file: an item is an index of the worklist. Each value is checked
here before it is stored.
"""

from __future__ import annotations

import math
import re
import threading
from collections import defaultdict
from typing import Any

import numpy as np
from nibabel.affines import apply_affine

from cmburden.core.numbers import is_number
from cmburden.core.tables import CONSENSUS, SIDEROSES
from cmburden.models.contract import CLASSES
from cmburden.review import hanging, words
from cmburden.review.pictures import Pictures
from cmburden.review.store import Store
from cmburden.review.words import Refused
from cmburden.review.worklist import Item, Options, Point, Study, worklist
from cmburden.space.regions import REGIONS
from cmburden.stats.matching import HIT_MM

#: Words of the classes on the screen; the first is the lesion that is searched.
CLASS_WORDS = {
    "microbleed": "Microbleed",
    "vessel": "Vessel",
    "calcification": "Calcification",
    "border": "Border, bone or air",
    "haemorrhage": "Larger haemorrhage",
}
assert tuple(CLASS_WORDS) == CLASSES
#: The page's key of a decision, by which a decision that is sent again is known.
_KEY = re.compile(r"[0-9A-Za-z-]{1,64}")
_WHERE = ("region", "group", "hemisphere")
_AT = ("x_mm", "y_mm", "z_mm")
_SHOWN = ("shown_x_mm", "shown_y_mm", "shown_z_mm")
#: Candidates that one request of the mosaic may reject.
_MOST_AT_ONCE = 60
_WORD = ("quality", "quality_reason", "siderosis", "siderosis_place", "siderosis_foci")
#: mm. Two points nearer than this are one: points are rounded to 0.001 mm.
_SAME_MM = 0.05

Row = dict[str, Any]


class Sitting:
    """The review of one reader with one set of options.

    Readers on one server share their ``pictures``.
    ``items`` is the worklist; the page names an item by its index.
    """

    def __init__(
        self, study: Study, reader: str, options: Options, pictures: Pictures | None = None
    ):
        self.study, self.options = study, options
        self.store = Store(study.layout, reader)
        self.items = worklist(study, reader, options)
        # Two tabs do not decide between each other's check and decision.
        self._deciding = threading.Lock()
        self.pictures = pictures or Pictures(study.layout, study.scans)
        self._sample = {item.scan_id for item in self.items if item.mode == "free-hand"}
        self._points: dict[str, list[Point]] = defaultdict(list)
        for item in self.items:
            if item.at is not None:
                self._points[item.scan_id].append(item.at)

    def prepare(self) -> None:
        """Cut the blocks of the candidates in the background, those without a decision first."""
        standing = self._standing_by_scan()
        todo: list[tuple[str, Point]] = []
        done: list[tuple[str, Point]] = []
        for item in self.items:
            if item.at is not None:
                decision = self._decision_on(item, standing[item.scan_id])
                (todo if decision is None else done).append((item.scan_id, item.at))
        self.pictures.prepare([*todo, *done])

    # --- shown ---

    def overview(self) -> dict[str, Any]:
        """All data of the page but the images."""
        standing = self._standing_by_scan()
        return {
            "reader": self.store.reader,
            "blind": self.options.blind,
            "consensus": self.store.reader == CONSENSUS,
            "classes": [{"name": name, "words": words} for name, words in CLASS_WORDS.items()],
            "regions": [{"name": one.name, "group": one.group} for one in REGIONS],
            "sideroses": list(SIDEROSES),
            "hanging": hanging.of_reader(self.study.layout, self.store.reader),
            "items": [
                self._shown(number, item, standing[item.scan_id])
                for number, item in enumerate(self.items)
            ],
        }

    def of_scan(self, scan_id: str) -> dict[str, Any]:
        """The items of a scan in their present state."""
        rows = self._standing(scan_id)
        return {
            "items": [
                self._shown(number, item, rows)
                for number, item in enumerate(self.items)
                if item.scan_id == scan_id
            ]
        }

    def item(self, number: Any) -> Item:
        """The item of the worklist; raises :class:`Refused` if ``number`` is no index of one."""
        if not isinstance(number, int) or isinstance(number, bool):
            raise Refused("item is not a number")
        if not 0 <= number < len(self.items):
            raise Refused("no such item")
        return self.items[number]

    def is_locked(self, item: Item, rows: list[Row] | None = None) -> bool:
        """True for a candidate of a scan that the reader must first read free-hand.

        ``rows``: the standing decisions on the scan, read from the store if not given.
        """
        if item.mode == "free-hand" or item.scan_id not in self._sample:
            return False
        rows = self._standing(item.scan_id) if rows is None else rows
        return not any(row["decision"] == "read" for row in rows)

    def _standing(self, scan_id: str | None = None) -> list[Row]:
        """Standing decisions on the present scans: a replaced scan is reviewed anew."""
        scans = self.study.scans
        return [
            row
            for row in self.store.standing(scan_id)
            if row["scan_id"] in scans and row["content_key"] == scans[row["scan_id"]].content_key
        ]

    def _standing_by_scan(self) -> dict[str, list[Row]]:
        rows: dict[str, list[Row]] = defaultdict(list)
        for row in self._standing():
            rows[row["scan_id"]].append(row)
        return rows

    def _shown(self, number: int, item: Item, rows: list[Row]) -> dict[str, Any]:
        """An item for the page, without the detection if the reader must not see the detection."""
        word = next((row for row in rows if row["decision"] == "scan"), {})
        content = {
            "id": number,
            "mode": item.mode,
            "scan": item.scan_id,
            "contrast": self.study.scans[item.scan_id].contrast,
            "state": self._state(item, rows),
            "marks": [_mark(row) for row in rows if row["decision"] == "add"],
            "word": {name: word.get(name) for name in _WORD},
        }
        if self.is_locked(item, rows):
            return content | {"locked": True}
        if item.mode == "review":
            content |= {"at": item.at, "region": item.region, "hemisphere": item.hemisphere}
            content["votes"] = list(item.votes)
            if not self.options.blind:
                names = ("label", "probability", "p_cnn", "yolo_class", "diameter_mm")
                content["software"] = {name: getattr(item, name) for name in names}
        return content

    def _state(self, item: Item, rows: list[Row]) -> dict[str, Any] | None:
        row = self._decision_on(item, rows)
        if row is None:
            return None
        return {
            "decision": row["decision"],
            "class": row["class"],
            "at": None if row["x_mm"] is None else [row[name] for name in _AT],
            "note": row["note"] or "",
            "certainty": row["certainty"],
            "region": row["region"] if row["region_from"] == "reader" else None,
            "hemisphere": row["hemisphere"] if row["region_from"] == "reader" else None,
        }

    def _decision_on(self, item: Item, rows: list[Row]) -> Row | None:
        """The decision on an item.

        The candidates of a run with other weights lie a little elsewhere. The decision is then the
        one on the nearest place within 3 mm that belongs to no other item.
        """
        if item.at is None:
            return next((row for row in rows if row["decision"] == "read"), None)
        near: list[tuple[float, Row]] = []
        for row in rows:
            point = _shown_at(row)
            if point is None:
                continue
            distance = math.dist(point, item.at)
            if distance < _SAME_MM:
                return row
            if distance <= HIT_MM and not self._is_an_item(item.scan_id, point):
                near.append((distance, row))
        return min(near, key=lambda pair: pair[0])[1] if near else None

    def _is_an_item(self, scan_id: str, point: Point) -> bool:
        return any(math.dist(point, at) < _SAME_MM for at in self._points[scan_id])

    # --- decided ---

    def decide(self, sent: Any) -> dict[str, Any]:
        """Store the decision that the page sent; returns the state of that scan's items.

        ``sent``: item (number), action (accept, reject, note, read, add, remove, scan) and, as the
        action needs them, class, certainty, region, hemisphere, at (RAS mm), mark, seconds, note,
        and the words on the scan. A decision of a ``key`` is stored once.

        Raises
        ------
        Refused
            If it is not a decision on this worklist.
        NotKept
            If it is not on disk.
        """
        if not isinstance(sent, dict):
            raise Refused("not an object")
        if "items" in sent:
            return self._reject_many(sent)
        item, key = self.item(sent.get("item")), _key(sent)
        with self._deciding:
            if not self.store.has(key):
                self._decide(item, sent, key)
        return self.of_scan(item.scan_id) | self._notice()

    def _reject_many(self, sent: Row) -> dict[str, Any]:
        """Reject the candidates ``items``, each with a key of its own; the state of their scans."""
        numbers, key = sent["items"], _key(sent)
        if not isinstance(numbers, list) or not 0 < len(numbers) <= _MOST_AT_ONCE or not key:
            raise Refused(f"items are 1 to {_MOST_AT_ONCE} numbers, with a key")
        items = [self.item(number) for number in numbers]
        alone = {name: sent.get(name) for name in ("class", "seconds")} | {"action": "reject"}
        with self._deciding:
            for number, item in zip(numbers, items, strict=True):
                own = f"{key}-{number}"
                if not self.store.has(own):
                    self._decide(item, alone, own)
        scans = dict.fromkeys(item.scan_id for item in items)
        states = [one for scan_id in scans for one in self.of_scan(scan_id)["items"]]
        return {"items": states} | self._notice()

    def summary(self) -> str:
        """What the reader has decided so far, in a sentence."""
        rows = [row for row in self._standing() if row["mode"] != "scan"]
        said = [row for row in rows if row["decision"] in ("accept", "reject")]
        yes = [row for row in said if row["decision"] == "accept"]
        possible = sum(row["certainty"] == "possible" for row in yes)
        added = sum(row["decision"] == "add" for row in rows)
        times = sorted(row["seconds"] for row in said if row["seconds"] is not None)
        pace = f"; median {times[len(times) // 2]:.0f} s a lesion" if times else ""
        return (
            f"{len(said)} of {self.n_lesions} lesions decided: {len(yes) - possible} definite, "
            f"{possible} possible, {len(said) - len(yes)} rejected; {added} added{pace}"
        )

    @property
    def n_lesions(self) -> int:
        """Number of candidates of the worklist."""
        return sum(item.mode == "review" for item in self.items)

    @property
    def n_open(self) -> int:
        """Number of items of the worklist without a decision."""
        standing = self._standing_by_scan()
        states = [self._decision_on(item, standing[item.scan_id]) for item in self.items]
        return sum(row is None or row["decision"] == "note" for row in states)

    def _decide(self, item: Item, sent: Row, key: str | None) -> None:
        if self.is_locked(item):
            raise Refused("this scan is to be read free-hand first")
        action = sent.get("action")
        row = {
            "scan_id": item.scan_id,
            "mode": item.mode,
            "note": words.text(sent.get("note"), "a note"),
            "blinded": self.options.blind,
            "ordering": self.options.order,
            "content_key": self.study.scans[item.scan_id].content_key,
            "seconds": words.seconds(sent.get("seconds")),
        }
        if action == "scan":
            self.store.decide(row | words.of_scan(sent), request=key)
        elif action == "remove":
            self.store.decide(row | self._of_mark(item, sent), removed=True, request=key)
        elif action == "add":
            self.store.decide(row | self._of_placed_mark(item, sent), request=key)
        elif action == "read" and item.mode == "free-hand":
            self.store.decide(row | {"decision": "read"}, request=key)
        elif action in ("accept", "reject", "note") and item.at is not None:
            self.store.decide(row | self._of_candidate(item, item.at, action, sent), request=key)
        elif action == "note":
            raise Refused("note a free-hand scan when it is read")
        else:
            raise Refused("unknown action")

    def _notice(self) -> dict[str, str]:
        """What happened to the reader's file since the last answer, for the page; once."""
        notice, self.store.notice = self.store.notice, ""
        return {"notice": notice} if notice else {}

    def _of_candidate(self, item: Item, at: Point, action: str, sent: Row) -> Row:
        """Columns of a decision on the candidate ``item``, which lies ``at``."""
        name = sent.get("class")
        if name is not None and name not in CLASSES:
            raise Refused("unknown class")
        if action == "accept":
            name = "microbleed"
        elif action == "reject" and name == "microbleed":
            raise Refused("a microbleed is accepted, not rejected")
        held = at if sent.get("at") is None else self._point_in_scan(item, sent["at"])
        where: tuple[str | None, ...] = (item.region, item.group, item.hemisphere)
        if math.dist(held, at) > _SAME_MM:
            where = self.pictures.place(item.scan_id, held)
        return {
            "decision": action,
            "class": name if action != "note" else None,
            "certainty": words.certainty(sent) if action != "reject" else None,
            "candidate_id": item.candidate_id,
            **dict(zip(_SHOWN, at, strict=True)),
            **dict(zip(_AT, held, strict=True)),
            **(words.region(sent) or dict(zip(_WHERE, where, strict=True))),
        }

    def _of_mark(self, item: Item, sent: Row) -> Row:
        """Columns of a standing mark of the scan, without its place."""
        mark, standing = sent.get("mark"), self._standing(item.scan_id)
        modes = {m["mark_id"]: m["mode"] for m in standing if m["decision"] == "add"}
        if not isinstance(mark, int) or isinstance(mark, bool) or mark not in modes:
            raise Refused("no such mark in this scan")
        return {"mode": modes[mark], "mark_id": mark, "decision": "add", "class": "microbleed"}

    def _of_placed_mark(self, item: Item, sent: Row) -> Row:
        """Columns of a new mark, which the store numbers, or of a mark that is moved."""
        if sent.get("mark") is None:
            mark: Row = {"mark_id": None, "decision": "add", "class": "microbleed"}
        else:
            mark = self._of_mark(item, sent)
        at = self._point_in_scan(item, sent.get("at"))
        where = self.pictures.place(item.scan_id, at)
        mark |= {"certainty": words.certainty(sent), **dict(zip(_AT, at, strict=True))}
        return mark | (words.region(sent) or dict(zip(_WHERE, where, strict=True)))

    def undo(self, sent: Any = None) -> dict[str, Any]:
        """Undo the reader's last decision; an undo of the same ``key`` in ``sent`` is done once.

        Returns the state of its scan's items, and as ``undone`` the number of the item that the
        decision was on; None if there was no decision, or none on an item of this worklist.
        """
        if sent is not None and not isinstance(sent, dict):
            raise Refused("not an object")
        with self._deciding:
            row = self.store.undo(_key(sent or {}))
        if row is None:
            return {"items": [], "undone": None} | self._notice()
        point = _shown_at(row)

        def distance(number: int) -> tuple[bool, float]:
            item = self.items[number]
            apart = math.dist(point, item.at) if point and item.at else 0.0
            return item.mode != row["mode"], apart

        numbers = [n for n, item in enumerate(self.items) if item.scan_id == row["scan_id"]]
        undone = min(numbers, key=distance, default=None)
        return self.of_scan(row["scan_id"]) | {"undone": undone} | self._notice()

    def _point_in_scan(self, item: Item, at: Any) -> Point:
        """``at`` as a point in the scan's field of view; raises :class:`Refused` if it is none."""
        if not isinstance(at, list) or len(at) != 3 or not all(map(is_number, at)):
            raise Refused("at is not three numbers in mm")
        shape, affine = self.pictures.grid(item.scan_id)
        voxel = apply_affine(np.linalg.inv(affine), [float(v) for v in at])
        # The centres of voxels have whole indices: the field of view begins half a voxel before.
        if not all(-1 / 2 <= v <= size - 1 / 2 for v, size in zip(voxel, shape, strict=True)):
            raise Refused("at lies outside the scan")
        x, y, z = (round(float(v), 3) for v in at)
        return x, y, z


def _mark(row: Row) -> dict[str, Any]:
    """A mark of the reader as the page gets it."""
    return {
        "mark": row["mark_id"],
        "mode": row["mode"],
        "at": [row[name] for name in _AT],
        "region": row["region"],
        "hemisphere": row["hemisphere"],
        "certainty": row["certainty"],
        "note": row["note"] or "",
    }


def _key(sent: Row) -> str | None:
    key = sent.get("key")
    if key is not None and not (isinstance(key, str) and _KEY.fullmatch(key)):
        raise Refused("key is not 1 to 64 letters, digits and hyphens")
    return key


def _shown_at(row: Row) -> Point | None:
    """Where the candidate of a decision was shown; None for marks and free-hand readings."""
    x, y, z = (row[name] for name in _SHOWN)
    return None if x is None else (x, y, z)
