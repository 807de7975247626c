"""Converts sources side by side, each once: what a run has made, the next one takes over.

An image waits in ``work/onboard/converted`` until all names are known. The folder of a source
exists when its images are complete: it is made under another name and renamed.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from cmburden.core.errors import CMBurdenError, sentence, short_text
from cmburden.core.files import read_json
from cmburden.core.keys import hash_of
from cmburden.onboard import convert
from cmburden.onboard.convert import Conversion, Made
from cmburden.onboard.names import Labelled
from cmburden.onboard.parts import Source
from cmburden.onboard.paths import Onboarded

#: Number of the way in which images are made: another one makes all images anew.
VERSION = 1
_BAR_DELAY_S = 3.0


@dataclasses.dataclass(frozen=True)
class Done:
    """A source with its images, which lie in ``folder``; ``fresh`` if this run made them."""

    one: Labelled
    folder: Path
    conversion: Conversion
    fresh: bool


def convert_all(
    sources: Sequence[Labelled], paths: Onboarded, *, jobs: int, link: bool
) -> list[Done]:
    """Images of all ``sources``, in their order.

    Raises
    ------
    CMBurdenError, OSError
        Where the disk is full or not to be written: what is done is kept.
    """
    from tqdm import tqdm

    paths.work.mkdir(parents=True, exist_ok=True)
    for torn in paths.work.glob("part-*"):
        shutil.rmtree(torn, ignore_errors=True)
    bar = tqdm(
        total=len(sources),
        desc="converting",
        unit=" series",
        disable=None,
        delay=_BAR_DELAY_S,
        leave=False,
    )
    # One thread more than dcm2niix may run: it tidies up after one series while the next converts.
    pool = ThreadPoolExecutor(jobs + 1)
    slots = threading.BoundedSemaphore(jobs)
    try:
        futures: list[Future[Done]] = []
        for one in sources:
            future = pool.submit(_done, one, paths, link, slots)
            future.add_done_callback(lambda _: bar.update())
            futures.append(future)
        wait(futures, return_when=FIRST_EXCEPTION)
        failed = next((f for f in futures if f.done() and f.exception() is not None), None)
        if failed is not None:
            failed.result()
        return [future.result() for future in futures]
    finally:
        # A person who stops the command does not wait for thousands of series.
        pool.shutdown(cancel_futures=True)
        bar.close()


def key_of(source: Source) -> str:
    """Name of the source's folder, the same in every run."""
    kind = [source.header.get("ImageType"), source.header.get("Part")] if source.uid else []
    return hash_of(source.uid or source.place, kind)[:24]


def signature(one: Labelled, *, link: bool) -> dict[str, Any]:
    """What a source's images depend on: its files, and what the rule says of them."""
    status = [file.stat() for file in one.source.files]
    dicom = one.source.fixed is None
    sizes = [stat.st_size if dicom else [stat.st_size, stat.st_mtime_ns] for stat in status]
    fixed = one.source.fixed and [
        one.source.fixed.suffix,
        [list(pair) for pair in one.source.fixed.entities],
        dict(one.source.fixed.sidecar),
        str(one.source.files[0].absolute()) if link else "",
    ]
    return {
        "uid": one.source.uid,
        "n_files": len(status),
        "sizes": hash_of(sizes, fixed),
        "suffix": one.decision.suffix,
        "part": one.decision.part,
        "version": VERSION,
    }


def _done(one: Labelled, paths: Onboarded, link: bool, slots: threading.BoundedSemaphore) -> Done:
    """The images of one source: those of an earlier run, else new ones."""
    key = key_of(one.source)
    folder = paths.converted(key)
    try:
        signed = signature(one, link=link)
        stored = _stored(paths.marker(key), folder, signed)
        if stored is not None:
            return Done(one, folder, stored, fresh=False)
        return Done(one, folder, _made(one, paths, folder, signed, slots, link=link), fresh=True)
    except CMBurdenError:
        raise
    except Exception as error:
        # A full disk stops the command; anything else is a fault of this source.
        if sentence(error) is not None and not _of_source(error, one.source):
            raise
        return Done(
            one, folder, Conversion((), (f"cannot be converted: {short_text(error)}",)), True
        )


def _of_source(error: Exception, source: Source) -> bool:
    """Whether an error of the operating system is one of the source's own files."""
    named = str(getattr(error, "filename", "") or "")
    return any(named == str(file) for file in source.files)


def _made(
    one: Labelled,
    paths: Onboarded,
    folder: Path,
    signed: dict[str, Any],
    slots: threading.BoundedSemaphore,
    *,
    link: bool,
) -> Conversion:
    temporary = Path(tempfile.mkdtemp(prefix="part-", dir=paths.work))
    try:
        if one.source.fixed is None:
            conversion = convert.convert(one.source, one.decision, temporary, slots)
        else:
            conversion = convert.place(one.source, temporary, link=link, ours=paths.work)
        content = {
            "signature": signed,
            "made": [vars(made) for made in conversion.made],
            "sizes": {
                made.file: (temporary / made.file).stat().st_size for made in conversion.made
            },
            "faults": list(conversion.faults),
        }
        marker = temporary / paths.marker("key").name
        marker.write_text(json.dumps(content, sort_keys=True), encoding="utf-8")
        if folder.exists():
            shutil.rmtree(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary.rename(folder)
    finally:
        if temporary.exists():
            shutil.rmtree(temporary, ignore_errors=True)
    return conversion


def _stored(marker: Path, folder: Path, signed: dict[str, Any]) -> Conversion | None:
    """What an earlier run made of the same files; None where nothing or something else."""
    content = read_json(marker)
    try:
        if content["signature"] != signed:
            return None
        for name, size in content["sizes"].items():
            if (folder / name).stat().st_size != size:
                return None
        made = tuple(
            Made(
                entry["file"],
                entry["suffix"],
                tuple((key, value) for key, value in entry["entities"]),
                entry["sidecar"],
            )
            for entry in content["made"]
        )
        return Conversion(made, tuple(content["faults"]))
    except (KeyError, TypeError, ValueError, FileNotFoundError):
        return None
