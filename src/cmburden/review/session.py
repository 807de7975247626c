"""One reader's review: what is shown, what may be decided, and what then stands.

Nothing of what a browser sends names a file: items are numbers into the worklist, and each value
is checked here before it is stored.
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

import numpy as np

from cmburden.core.tables import CONSENSUS
from cmburden.models.contract import CLASSES
from cmburden.review.pictures import Pictures
from cmburden.review.store import Store
from cmburden.review.worklist import Item, Options, Study, worklist
from cmburden.stats.matching import HIT_MM

#: What the classes are called on the screen; the first is the lesion looked for.
CLASS_WORDS = {
    "microbleed": "Microbleed",
    "vessel": "Vessel",
    "calcification": "Calcification",
    "border": "Border, bone or air",
    "haemorrhage": "Larger haemorrhage",
}
assert tuple(CLASS_WORDS) == CLASSES
_LONGEST_NOTE = 2000
_WHERE = ("region", "group", "hemisphere")
_SHOWN = ("shown_x_mm", "shown_y_mm", "shown_z_mm")
_SAME_MM = 0.05


class Refused(Exception):
    """A request that cannot be what the page sent; ``str`` says why."""


class Session:
    """The review of one reader with one set of options."""

    def __init__(self, study: Study, reader: str, options: Options):
        self.study, self.options = study, options
        self.store = Store(study.layout, reader)
        self.items = worklist(study, reader, options)
        self.pictures = Pictures(study.layout, study.scans)
        self._sample = {item.scan_id for item in self.items if item.mode == "free-hand"}
        self._of_scan: dict[str, list[Item]] = defaultdict(list)
        for item in self.items:
            self._of_scan[item.scan_id].append(item)

    def prepare(self) -> None:
        """Cut the blocks to come in the background, those not yet decided first."""
        standing = self._by_scan()
        review = [item for item in self.items if item.mode == "review"]
        review.sort(key=lambda i: self._decision_on(i, standing.get(i.scan_id, [])) is not None)
        self.pictures.prepare((item.scan_id, item.at) for item in review)

    # --- shown ---

    def overview(self) -> dict[str, Any]:
        """All that the page needs but the images."""
        standing = self._by_scan()
        return {
            "reader": self.store.reader,
            "blind": self.options.blind,
            "consensus": self.store.reader == CONSENSUS,
            "classes": [{"name": name, "words": words} for name, words in CLASS_WORDS.items()],
            "items": [
                self._shown(number, item, standing.get(item.scan_id, []))
                for number, item in enumerate(self.items)
            ],
        }

    def _standing(self, scan_id: str | None = None) -> list[dict]:
        """Decisions on the scans as they now are: a scan replaced since is reviewed anew."""
        scans = self.study.scans
        return [
            row
            for row in self.store.standing(scan_id)
            if row["scan_id"] in scans and row["content_key"] == scans[row["scan_id"]].content_key
        ]

    def _by_scan(self) -> dict[str, list[dict]]:
        found: dict[str, list[dict]] = {}
        for row in self._standing():
            found.setdefault(row["scan_id"], []).append(row)
        return found

    def _shown(self, number: int, item: Item, rows: list[dict]) -> dict[str, Any]:
        scan = self.study.scans[item.scan_id]
        shown = {
            "id": number,
            "mode": item.mode,
            "scan": item.scan_id,
            "contrast": scan.contrast,
            "state": self._state(item, rows),
            "marks": self._marks(item, rows),
        }
        if self.is_locked(item, rows):
            return shown | {"locked": True}
        if item.mode == "review":
            shown |= {"at": item.at, "region": item.region, "hemisphere": item.hemisphere}
            shown["votes"] = list(item.votes)
            if not self.options.blind:
                names = ("label", "probability", "p_cnn", "yolo_class", "diameter_mm")
                shown["software"] = {name: getattr(item, name) for name in names}
        return shown

    def is_locked(self, item: Item, rows: list[dict] | None = None) -> bool:
        """True for a candidate of a scan that is yet to be read free-hand."""
        if item.mode == "free-hand" or item.scan_id not in self._sample:
            return False
        rows = self._standing(item.scan_id) if rows is None else rows
        return not any(row["decision"] == "read" for row in rows)

    def _state(self, item: Item, rows: list[dict]) -> dict[str, Any] | None:
        row = self._decision_on(item, rows)
        if row is None:
            return None
        at = [row[f"{axis}_mm"] for axis in "xyz"]
        return {
            "decision": row["decision"],
            "class": row["class"],
            "at": None if at[0] is None else at,
            "note": row["note"] or "",
        }

    def _decision_on(self, item: Item, rows: list[dict]) -> dict | None:
        """The decision on an item. After a run with other weights, whose candidates lie a little
        elsewhere, that on the nearest place within 3 mm that is no other item's."""
        if item.mode == "free-hand":
            return next((row for row in rows if row["decision"] == "read"), None)
        others = [other.at for other in self._of_scan[item.scan_id] if other.mode == "review"]
        near: list[tuple[float, dict]] = []
        for row in rows:
            shown = _shown_at(row)
            if shown is None:
                continue
            far = math.dist(shown, item.at)
            if far < _SAME_MM:
                return row
            if far <= HIT_MM and not any(math.dist(shown, at) < _SAME_MM for at in others):
                near.append((far, row))
        return min(near, key=lambda pair: pair[0])[1] if near else None

    def _marks(self, item: Item, rows: list[dict]) -> list[dict[str, Any]]:
        """The reader's own marks in the scan, those made free-hand included."""
        return [
            {
                "mark": row["mark_id"],
                "mode": row["mode"],
                "at": [row[f"{axis}_mm"] for axis in "xyz"],
                "region": row["region"],
                "hemisphere": row["hemisphere"],
                "note": row["note"] or "",
            }
            for row in rows
            if row["decision"] == "add"
        ]

    # --- decided ---

    def decide(self, sent: Any) -> dict[str, Any]:
        """Store what the page sent; returns the state of that scan's items.

        Raises
        ------
        Refused
            Where it is not a decision on this worklist.
        """
        if not isinstance(sent, dict):
            raise Refused("not an object")
        item = self.item(sent.get("item"))
        if self.is_locked(item):
            raise Refused("this scan is to be read free-hand first")
        action = sent.get("action")
        row = {
            "scan_id": item.scan_id,
            "mode": item.mode,
            "note": _note(sent.get("note")),
            "blinded": self.options.blind,
            "ordering": self.options.order,
            "content_key": self.study.scans[item.scan_id].content_key,
        }
        if action in ("add", "remove"):
            self._decide_mark(item, action, sent, row)
        elif action == "read" and item.mode == "free-hand":
            self.store.decide(row | {"decision": "read"})
        elif action in ("accept", "reject", "note") and item.mode == "review":
            self.store.decide(row | self._of_candidate(item, action, sent))
        elif action == "note":
            raise Refused("note a free-hand scan when it is read")
        else:
            raise Refused(f"unknown action {action!r}")
        return self.of_scan(item.scan_id)

    def _of_candidate(self, item: Item, action: str, sent: dict) -> dict[str, Any]:
        name = sent.get("class")
        if name is not None and name not in CLASSES:
            raise Refused(f"unknown class {name!r}")
        if action == "accept":
            name = "microbleed"
        elif action == "reject" and name == "microbleed":
            raise Refused("a microbleed is accepted, not rejected")
        row = {
            "decision": action,
            "class": name if action != "note" else None,
            "candidate_id": item.candidate_id,
            **dict(zip(_SHOWN, item.at, strict=True)),
        }
        at = self._at(item, sent.get("at")) if sent.get("at") is not None else item.at
        moved = math.dist(at, item.at) > _SAME_MM
        where = (
            self.pictures.place(item.scan_id, at)
            if moved
            else (item.region, item.group, item.hemisphere)
        )
        return row | _position(at) | dict(zip(_WHERE, where, strict=True))

    def _decide_mark(self, item: Item, action: str, sent: dict, row: dict) -> None:
        mark = sent.get("mark")
        if mark is None and action == "add":
            mark = self.store.next_mark(item.scan_id)
        else:
            known = {
                m["mark_id"]: m for m in self._standing(item.scan_id) if m["decision"] == "add"
            }
            if not isinstance(mark, int) or isinstance(mark, bool) or mark not in known:
                raise Refused("no such mark in this scan")
            row["mode"] = known[mark]["mode"]
        row |= {"mark_id": mark, "decision": "add", "class": "microbleed"}
        if action == "remove":
            self.store.decide(row, removed=True)
            return
        at = self._at(item, sent.get("at"))
        where = self.pictures.place(item.scan_id, at)
        self.store.decide(row | _position(at) | dict(zip(_WHERE, where, strict=True)))

    def undo(self) -> dict[str, Any]:
        """Undo the reader's last decision; what then stands in its scan, and the item it was on."""
        row = self.store.undo()
        if row is None:
            return {"items": [], "undone": None}
        own = [n for n, item in enumerate(self.items) if item.scan_id == row["scan_id"]]
        shown = _shown_at(row)
        own.sort(
            key=lambda n: (
                self.items[n].mode != row["mode"],
                math.dist(shown, self.items[n].at) if shown and self.items[n].at else 0.0,
            )
        )
        return self.of_scan(row["scan_id"]) | {"undone": own[0] if own else None}

    def of_scan(self, scan_id: str) -> dict[str, Any]:
        """The items of a scan as they now stand."""
        rows = self._standing(scan_id)
        return {
            "items": [
                self._shown(number, item, rows)
                for number, item in enumerate(self.items)
                if item.scan_id == scan_id
            ]
        }

    # --- checks ---

    def item(self, number: Any) -> Item:
        if not isinstance(number, int) or isinstance(number, bool):
            raise Refused("item is not a number")
        if not 0 <= number < len(self.items):
            raise Refused(f"no item {number}")
        return self.items[number]

    def _at(self, item: Item, at: Any) -> tuple[float, float, float]:
        """A place within the scan's field of view."""
        if not isinstance(at, list) or len(at) != 3 or not all(map(_is_number, at)):
            raise Refused("at is not three numbers in mm")
        shape, affine = self.pictures.grid(item.scan_id)
        voxel = np.linalg.inv(affine) @ [*map(float, at), 1.0]
        if not all(-0.5 <= v <= size - 0.5 for v, size in zip(voxel[:3], shape, strict=True)):
            raise Refused("at lies outside the scan")
        return tuple(round(float(v), 3) for v in at)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _note(note: Any) -> str | None:
    if note is None or note == "":
        return None
    if not isinstance(note, str) or len(note) > _LONGEST_NOTE:
        raise Refused(f"a note is text of at most {_LONGEST_NOTE} characters")
    return note


def _position(at) -> dict[str, float]:
    return dict(zip(("x_mm", "y_mm", "z_mm"), at, strict=True))


def _shown_at(row: dict) -> tuple[float, ...] | None:
    return None if row["shown_x_mm"] is None else tuple(row[name] for name in _SHOWN)
