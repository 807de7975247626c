"""index: from a BIDS tree to one row a scan, and one row for each image that is none.

The tree is listed once by bids2table; content is hashed with a cache keyed by size and mtime, so
that a second look at an unchanged cohort costs no reading.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from cmburden.core import config as configuration
from cmburden.core.errors import REASONS, CMBurdenError
from cmburden.core.paths import SCAN_STAGES, Layout
from cmburden.core.scan import Outcome, Scan, bucket_of, hash_of, sha256_of_file, whole_file
from cmburden.core.tables import MANIFEST, REJECTED
from cmburden.images import annex

STAGE = "index"
VERSION = 1
IMAGES = (".nii.gz", ".nii")
#: Parts of a path that bids2table gives beside the entities.
_NO_ENTITIES = ("datatype", "suffix", "ext")
#: Suffixes that look like the wanted sequences without being searched: they get a reason.
RELATED = {"T2starw", "MEGRE", "swi", "SWI", "GRE", "minIP", "mIP", "T2starmap", "Chimap", "T2star"}
_FIELDS = ("EchoTime", "MagneticFieldStrength", "Manufacturer", "ImageType")


def run(bids_dir: Path, layout: Layout, config: dict) -> list[Scan]:
    """Index ``bids_dir``; write manifest and rejected table where their content changed.

    Raises
    ------
    CMBurdenError
        Folder missing or not BIDS, unknown labels, or no scan that matches.
    """
    from tqdm import tqdm

    bids_dir = Path(bids_dir).absolute()
    settings = config["index"]
    images = _list(bids_dir, settings["skip_bids_validation"])
    _check_labels(images, config)
    cohorts = configuration.cohorts(config)
    name = _dataset_name(bids_dir)
    filters = _filters(config)
    rows, rejected = [], []
    cache = _Cache(layout.index_cache)

    def reject(image: dict, reason: str, found: str) -> None:
        rejected.append(
            {
                "path": image["path"],
                "participant_id": "sub-" + image["sub"],
                "session_id": "ses-" + image["ses"] if image["ses"] else None,
                "reason": reason,
                "message": f"{found} To do: {REASONS[reason]}.",
                "cohort": _cohort(image["sub"], cohorts, name),
            }
        )

    wanted = _labels(config, "participant_label"), _labels(config, "session_label")
    # The first look at thousands of scans reads them all; nothing is shown but on a terminal.
    for subject, own in tqdm(
        _grouped(images, "sub"), "indexing", unit=" participants", disable=None, delay=3,
        leave=False,
    ):  # fmt: skip
        if wanted[0] and subject not in wanted[0]:
            continue
        chosen = _choose(own, settings, filters, wanted[1], reject, bids_dir)
        t1w = [i for i in own if i["suffix"] == "T1w" and i["part"] in (None, "mag")]
        t1w = [i for i in t1w if _passes(i, filters.get("t1w", {}))]
        kept = 0
        for image in chosen:
            anatomical = _nearest_session(t1w, image)
            if settings["require_t1w"] and anatomical is None:
                reject(image, "filtered", "The participant has no T1w and index.require_t1w is on.")
                continue
            kept += 1
            rows.append(
                _row(image, anatomical, own, bids_dir, layout, config, cohorts, name, cache)
            )
        if not kept:
            folder = {"path": f"sub-{subject}", "sub": subject, "ses": None}
            seen = sorted({i["suffix"] for i in own})
            reject(folder, "no_scan", f"No usable GRE or SWI scan; the images are {seen}.")
    if not rows:
        seen = sorted({i["suffix"] for i in images})
        raise CMBurdenError(
            f"{bids_dir}: no scan matches index.suffixes {sorted(settings['suffixes'])} and the "
            f"filters; the tree's images are {seen or 'none'}"
        )
    cache.save()
    # Suffixes differ but name and entities are the same: the first row is kept.
    rows = _without_duplicates(rows, rejected)
    _write_if_changed(MANIFEST, layout.manifest, rows)
    _write_if_changed(REJECTED, layout.rejected, rejected)
    return read_scans(layout.manifest, bids_dir)


def listing(bids_dir: Path, config: dict) -> list[tuple[str, str]]:
    """Participant and suffix of every image that may be a scan, by name alone: nothing is read."""
    settings = config["index"]
    return [
        ("sub-" + image["sub"], image["suffix"])
        for image in _list(Path(bids_dir).absolute(), settings["skip_bids_validation"])
        if image["suffix"] in settings["suffixes"]
        and image["part"] in (None, "mag")
        # Of several echoes one is searched.
        and image["echo"] in (None, "1")
    ]


def read_scans(manifest: Path, bids_dir: Path) -> list[Scan]:
    """Read the manifest's scans, in ascending order of ``scan_id``."""
    bids_dir = Path(bids_dir).absolute()
    scans = []
    for row in pq.read_table(manifest, partitioning=None).to_pylist():
        scans.append(
            Scan(
                scan_id=row["scan_id"],
                cohort=row["cohort"],
                participant_id=row["participant_id"],
                session_id=row["session_id"],
                suffix=row["suffix"],
                contrast=row["contrast"],
                path=bids_dir / row["path"],
                entities=tuple((k, v) for k, v in json.loads(row["entities"])),
                t1w_path=bids_dir / row["t1w_path"] if row["t1w_path"] else None,
                phase_path=bids_dir / row["phase_path"] if row["phase_path"] else None,
                echo_time_s=row["echo_time_s"],
                field_strength_t=row["field_strength_t"],
                content_key=row["content_key"],
            )
        )
    return scans


# --- reading the tree ---


def _list(bids_dir: Path, skip_validation: bool) -> list[dict]:
    """Images of the raw tree: path, sub, ses, suffix, part, echo and the entities as written."""
    import bids2table

    if not bids_dir.is_dir():
        raise CMBurdenError(f"{bids_dir}: there is no such folder; name the BIDS folder")
    described = (bids_dir / "dataset_description.json").exists()
    if not described and not skip_validation:
        raise CMBurdenError(
            f"{bids_dir}: not a BIDS folder, dataset_description.json is missing; "
            "name the folder that holds it, or use --skip-bids-validation"
        )
    if not any(bids_dir.glob("sub-*")):
        raise CMBurdenError(f"{bids_dir}: not a BIDS folder, it holds no sub-* folder")
    table = bids2table.index_dataset(bids_dir) if described else None
    paths = table.column("path").to_pylist() if table is not None else []
    if not paths:
        paths = [p.relative_to(bids_dir).as_posix() for p in bids_dir.glob("sub-*/**/*.nii*")]
    images = []
    for path in sorted(set(paths)):
        name = bids2table.parse_bids_entities(path)
        if name.get("ext") not in IMAGES or "sub" not in name:
            continue
        if not path.startswith("sub-") or path.split("/")[-2] == "func":
            continue
        images.append(
            {
                "path": path,
                "stem": path.rsplit("/", 1)[-1].removesuffix(name["ext"]),
                "suffix": name.get("suffix"),
                "entities": [pair for pair in name.items() if pair[0] not in _NO_ENTITIES],
                "sub": name["sub"],
                "ses": name.get("ses"),
                "part": name.get("part"),
                "echo": name.get("echo"),
            }
        )
    return images


def _dataset_name(bids_dir: Path) -> str:
    try:
        content = json.loads((bids_dir / "dataset_description.json").read_text())
        return str(content.get("Name") or bids_dir.name)
    except (FileNotFoundError, json.JSONDecodeError):
        return bids_dir.name


def _sidecar(bids_dir: Path, path: str) -> dict:
    """Used fields of the image's metadata, by BIDS inheritance (the nearest file wins)."""
    import bids2table

    try:
        content = bids2table.load_bids_metadata(bids_dir / path, inherit=True)
    except (OSError, ValueError):
        content = {}
    return {key: content[key] for key in _FIELDS if key in content}


def _number(value) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


# --- choosing ---


def _choose(own, settings, filters, sessions, reject, bids_dir) -> list[dict]:
    """The scans among a participant's images; every other that looks like one gets its reason."""
    candidates = defaultdict(list)
    for image in own:
        suffix = image["suffix"]
        if suffix not in settings["suffixes"]:
            if suffix in RELATED or "/swi/" in image["path"]:
                reject(image, "wrong_suffix", f"Suffix {suffix} is not searched.")
            continue
        if sessions and image["ses"] not in sessions:
            reject(image, "filtered", "Another session was asked for.")
        elif not _passes(image, filters.get("t2starw", {})):
            reject(image, "filtered", "The BIDS filter file leaves it out.")
        elif image["part"] not in (None, "mag"):
            reject(image, "part_phase", f"It is part-{image['part']}.")
        else:
            image["sidecar"] = _sidecar(bids_dir, image["path"])
            kind = str(image["sidecar"].get("ImageType", "")).upper()
            if image["part"] is None and ("PHASE" in kind or "'P'" in kind) and "'M'" not in kind:
                reject(image, "part_phase", "Its sidecar's ImageType says phase.")
                continue
            same = [pair for pair in image["entities"] if pair[0] != "echo"]
            candidates[(tuple(same), suffix)].append(image)
    chosen = []
    for echoes in candidates.values():
        best = _best_echo(echoes, settings["echo_time_ms"])
        chosen.append(best)
        for image in echoes:
            if image is not best:
                reject(image, "echo_not_chosen", f"Echo {image['echo']} is not the one searched.")
    return chosen


def _best_echo(echoes: list[dict], within_ms) -> dict:
    """The longest echo time within the range; none inside: the longest; unknown: the last echo."""

    def rank(image: dict):
        time = _number(image["sidecar"].get("EchoTime"))
        inside = time is not None and within_ms[0] <= time * 1000 <= within_ms[1]
        number = int(image["echo"]) if (image["echo"] or "").isdigit() else 0
        return inside, time if time is not None else -1.0, number, image["stem"]

    return max(echoes, key=rank)


def _passes(image: dict, wanted: dict) -> bool:
    own = dict(image["entities"]) | {"suffix": image["suffix"]}
    names = {"session": "ses", "acquisition": "acq", "reconstruction": "rec", "subject": "sub"}
    for key, value in wanted.items():
        if key in ("datatype", "extension"):
            continue
        allowed = value if isinstance(value, list) else [value]
        got = own.get(names.get(key, key))
        if got not in [None if v is None else str(v) for v in allowed]:
            return False
    return True


def _filters(config: dict) -> dict:
    path = config.get("bids_filter_file")
    if not path:
        return {}
    try:
        content = json.loads(Path(path).read_text())
    except FileNotFoundError:
        raise CMBurdenError(f"{path}: there is no such BIDS filter file") from None
    except json.JSONDecodeError as error:
        raise CMBurdenError(f"{path}: not JSON ({error}); see config/README.md") from None
    if not isinstance(content, dict) or not all(isinstance(v, dict) for v in content.values()):
        raise CMBurdenError(
            f'{path}: write it as {{"t2starw": {{"acquisition": "highres"}}}}; see config/README.md'
        )
    unknown = sorted(set(content) - {"t2starw", "t1w"})
    if unknown:
        raise CMBurdenError(f"{path}: unknown keys {unknown}; known are ['t1w', 't2starw']")
    return content


def _labels(config: dict, key: str) -> set[str]:
    prefix = "sub-" if key == "participant_label" else "ses-"
    return {str(label).removeprefix(prefix) for label in config.get(key) or []}


def _check_labels(images: list[dict], config: dict) -> None:
    for key, entity in (("participant_label", "sub"), ("session_label", "ses")):
        known = {image[entity] for image in images if image[entity]}
        unknown = sorted(_labels(config, key) - known)
        if unknown:
            some = ", ".join(sorted(known)[:5]) or "none"
            raise CMBurdenError(f"{key}: {unknown} are not in the tree; it has {some} ...")


def _nearest_session(t1w: list[dict], image: dict) -> dict | None:
    """The T1w of the same session, else the participant's first of another."""
    return min(t1w, key=lambda i: (i["ses"] != image["ses"], i["path"]), default=None)


def _cohort(label: str, cohorts: list[dict], name: str) -> str:
    if not cohorts:
        return name
    return next(
        (c["name"] for c in cohorts if re.search(c["participant_pattern"], label)), "unassigned"
    )


def _grouped(images: list[dict], key: str):
    groups = defaultdict(list)
    for image in images:
        groups[image[key]].append(image)
    return sorted(groups.items())


# --- rows ---


def _row(image, t1w, own, bids_dir, layout, config, cohorts, name, cache) -> dict:
    entities = dict(image["entities"]) | {"part": "phase"}
    phase = next(
        (i for i in own if i["suffix"] == image["suffix"] and dict(i["entities"]) == entities), None
    )
    sidecar = image["sidecar"]
    warning = None if sidecar else "No sidecar: echo time and field strength are unknown."
    echo = _number(sidecar.get("EchoTime"))
    if echo is not None and echo > 1:
        # Some converters write milliseconds; BIDS says seconds.
        echo, warning = echo / 1000, "EchoTime above 1 s was taken as milliseconds."

    def digest(file: dict) -> str:
        path = bids_dir / file["path"]
        return cache.digest(path, lambda: _was_read(layout, image["stem"]))

    key = hash_of(
        digest(image), {k: sidecar.get(k) for k in _FIELDS[:3]}, digest(t1w) if t1w else None
    )
    return {
        "scan_id": image["stem"],
        "cohort": _cohort(image["sub"], cohorts, name),
        "participant_id": "sub-" + image["sub"],
        "session_id": "ses-" + image["ses"] if image["ses"] else None,
        "suffix": image["suffix"],
        "contrast": config["index"]["suffixes"][image["suffix"]],
        "path": image["path"],
        "entities": json.dumps(image["entities"]),
        "t1w_path": t1w["path"] if t1w else None,
        "phase_path": phase["path"] if phase else None,
        "echo_time_s": echo,
        "field_strength_t": _number(sidecar.get("MagneticFieldStrength")),
        "manufacturer": str(sidecar["Manufacturer"]) if "Manufacturer" in sidecar else None,
        "bucket": bucket_of(image["stem"], config["buckets"]),
        "content_key": key,
        "warning": warning,
    }


def _was_read(layout: Layout, scan_id: str) -> bool:
    try:
        return Outcome.read(layout.record(SCAN_STAGES[0], scan_id)).ok
    except (OSError, ValueError, TypeError):
        return False


def _without_duplicates(rows: list[dict], rejected: list[dict]) -> list[dict]:
    kept: dict[str, dict] = {}
    for row in sorted(rows, key=lambda r: (r["scan_id"], r["path"])):
        first = kept.setdefault(row["scan_id"], row)
        if first is not row:
            rejected.append(
                {k: row[k] for k in ("path", "participant_id", "session_id", "cohort")}
                | {
                    "reason": "duplicate",
                    "message": f"Same name as {first['path']}. To do: {REASONS['duplicate']}.",
                }
            )
    return list(kept.values())


class _Cache:
    """What a file holds: its sha256, kept while size and mtime stay, or git-annex's key of it."""

    def __init__(self, path: Path):
        self.path = path
        self.known: dict[str, tuple] = {}
        self.used: dict[str, tuple] = {}
        if path.exists():
            for row in pq.read_table(path, partitioning=None).to_pylist():
                self.known[row["path"]] = (row["size"], row["mtime_ns"], row["sha256"])

    def digest(self, path: Path, was_read: Callable[[], bool]) -> str:
        """Digest of a file's bytes; of an annexed file (DataLad) git-annex's key, which says the
        same without reading.

        A file whose content is not here has another digest, so that it is read once it has come;
        but one that ``was_read`` keeps its own: content may be dropped when a scan is done.
        """
        key = annex.key_of(path)
        try:
            stat = path.stat()
        except OSError:
            return f"annex:{key}" if key and was_read() else f"absent:{key or ''}"
        if key:
            return f"annex:{key}"
        name, state = str(path), (stat.st_size, stat.st_mtime_ns)
        known = self.known.get(name)
        digest = known[2] if known and known[:2] == state else sha256_of_file(path)
        self.used[name] = (*state, digest)
        return digest

    def save(self) -> None:
        rows = [(path, *values) for path, values in sorted(self.used.items())]
        with whole_file(self.path) as temporary:
            pd.DataFrame(rows, columns=["path", "size", "mtime_ns", "sha256"]).to_parquet(temporary)


def _write_if_changed(table, path: Path, rows: list[dict]) -> None:
    """Write only other content: an untouched manifest makes nothing run again."""
    if path.exists():
        try:
            if pq.read_table(path, partitioning=None).equals(table.arrow(rows)):
                return
        except (OSError, ValueError):
            pass
    table.write(path, rows)
