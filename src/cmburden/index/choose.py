"""Which of a participant's images are scans; every other image gets its reason."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path

from cmburden.core.errors import CMBurdenError
from cmburden.index.tree import RELATED, _number, _sidecar


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
