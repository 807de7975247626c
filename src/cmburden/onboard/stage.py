"""From a download to a BIDS tree and the readers' truth: ``cmburden onboard``.

The cohort's module finds series; rules say what they are; `work` converts the wanted ones; `names`
and `tree` give them their place. What the readers say comes from the cohort's module again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cmburden.core.errors import CMBurdenError
from cmburden.core.files import locked
from cmburden.onboard import cohorts, dataset, listing, names, rules, tree, work
from cmburden.onboard.choose import choose
from cmburden.onboard.names import Labelled
from cmburden.onboard.parts import Image, Passed, Request, Source, Told
from cmburden.onboard.paths import Onboarded
from cmburden.onboard.rules import Decision, Rule
from cmburden.onboard.work import Done

#: Suffixes of images that no reader reads for microbleeds, but that a scan of a session needs.
_COMPANIONS = frozenset({"T1w"})


@dataclasses.dataclass(frozen=True)
class Result:
    """What an onboarding has made.

    ``fresh`` is the number of series that this run has converted; the others stood already.
    """

    images: tuple[Image, ...]
    passed: tuple[Passed, ...]
    told: Told
    fresh: int
    remarks: tuple[str, ...] = ()


def run(request: Request) -> Result:
    """Onboard the cohort of ``request``.

    Raises
    ------
    CMBurdenError
        For a mistake in the request or in the readers' tables, and where no series is an image.
    """
    check(request)
    cohort = cohorts.module_of(request.cohort)
    table = rules.load(request.rules)
    paths = Onboarded(request.out)
    try:
        with locked(paths.lock):
            return _run(request, cohort, table, paths)
    except BlockingIOError:
        raise CMBurdenError(f"{request.out}: another onboarding works here; wait for it") from None


def _run(request: Request, cohort: Any, table: Sequence[Rule], paths: Onboarded) -> Result:
    wanted, passed = decided(request, cohort, table)
    done = work.convert_all(wanted, paths, jobs=request.jobs, link=request.link)
    passed += [row for one in done for row in _faults(one)]
    images, content = _images(done, paths)
    if not images:
        raise CMBurdenError(_nothing(request, passed))
    renamed = tree.write(paths, content)
    # Masks of readers are compared with the images, which have their names from here on.
    told = cohort.findings(request, images)
    if request.only_read:
        images, unread = only_read(images, told)
        passed += unread
        kept = _names(images, paths)
        tree.write(paths, {name: content[name] for name in content if name in kept})
    people = cohort.people(request, images)
    notes = cohort.NOTES
    url = getattr(cohort, "URL", None)
    dataset.write(paths, images, people, name=request.cohort, notes=notes, url=url)
    listing.write_table(paths, images, passed)
    from cmburden.onboard.truth import write as write_truth

    written = write_truth(told, images, paths, request)
    if written.left_out:
        sentences = {name: f"not in the truth: {why}" for name, why in written.left_out.items()}
        listing.write_table(paths, images, passed, sentences)
    evidence = {key: value for key, value in vars(written).items() if key != "files"}
    listing.write_record(paths, request, images, passed, told, notes=notes, truth=evidence)
    return Result(
        tuple(images),
        tuple(passed),
        told,
        sum(one.fresh for one in done),
        (*told.remarks, *written.remarks, *_left_out(written.left_out), *_remarks(renamed)),
    )


def check(request: Request) -> None:
    """Raise CMBurdenError for a path of the request that cannot be meant."""
    for path in request.sources:
        if not path.exists():
            raise CMBurdenError(f"{path}: there is no such folder; name the download")
    out = request.out.absolute()
    for path in request.sources:
        if out == path.absolute() or out in path.absolute().parents:
            raise CMBurdenError(f"{out}: holds the download {path}; name another folder for OUT")
        if path.absolute() in out.parents:
            raise CMBurdenError(f"{out}: lies within the download {path}; name another folder")
    if out.exists() and not out.is_dir():
        raise CMBurdenError(f"{out}: is no folder; name a new folder for OUT")
    if request.jobs < 1:
        raise CMBurdenError(f"--jobs {request.jobs}: give 1 or more")
    given = (("--lesions", request.lesions), ("--counts", request.counts))
    for option, table in (*given, *(("--tables", path) for path in request.tables)):
        if table is not None and not table.exists():
            raise CMBurdenError(f"{option} {table}: there is no such file; name the table")


def decided(
    request: Request, cohort: Any, table: Sequence[Rule]
) -> tuple[list[Labelled], list[Passed]]:
    """Series to convert, with labels, and all others with the reason."""
    passed: list[Passed] = []
    wanted: list[tuple[Source, Decision]] = []
    for source in cohort.find(request):
        if isinstance(source, Passed):
            passed.append(source)
            continue
        decision = decision_of(source, table)
        # A localizer has slices of several orientations: the rule speaks before the fault.
        reason = decision.skip or source.fault
        if reason is None:
            wanted.append((source, decision))
        else:
            passed.append(Passed(source.place, reason, source.participant, decision.rule, source))
    chosen, left_out = choose(names.labelled(wanted, cohort.label))
    return chosen, passed + left_out


def decision_of(source: Source, table: Sequence[Rule]) -> Decision:
    """What the cohort's layout says of ``source``, else what the rules say."""
    if source.fixed is not None:
        return Decision(source.fixed.rule, suffix=source.fixed.suffix)
    return rules.decide(source, table)


def _faults(done: Done) -> list[Passed]:
    """Rows of images that could not be made of a source."""
    source = done.one.source
    return [
        Passed(source.place, fault, source.participant, done.one.decision.rule, source)
        for fault in done.conversion.faults
    ]


def _images(
    done: Sequence[Done], paths: Onboarded
) -> tuple[list[Image], dict[str, tuple[Path, Any]]]:
    """Images with their names, and what the tree holds: name -> (file, sidecar)."""
    made = [(one.one, made, one.folder) for one in done for made in one.conversion.made]
    images, content = [], {}
    for (one, image, folder), name in zip(
        made, names.named([(one, image) for one, image, _ in made]), strict=True
    ):
        ending = ".nii.gz" if image.file.endswith(".gz") else ".nii"
        place = f"{names.folder_of(one.visit)}/{name}{ending}"
        content[place] = (folder / image.file, image.sidecar)
        images.append(
            Image(
                path=paths.bids / place,
                scan_id=name,
                participant_id=f"sub-{one.participant}",
                session_id=f"ses-{one.session}" if one.session is not None else None,
                suffix=image.suffix,
                rule=one.decision.rule or "",
                source=one.source,
            )
        )
    images.sort(key=lambda image: image.scan_id)
    return images, content


def _names(images: Sequence[Image], paths: Onboarded) -> set[str]:
    return {image.path.relative_to(paths.bids).as_posix() for image in images}


def only_read(images: Sequence[Image], told: Told) -> tuple[list[Image], list[Passed]]:
    """Images of series that were read, and T1w of their sessions; rows for the others.

    Raises
    ------
    CMBurdenError
        Where no scan was read.
    """
    ids = {one.scan_id for one in told.findings} | {one.scan_id for one in told.counts}
    if not ids:
        raise CMBurdenError(
            "--only-read: no scan was read by the tables; give --lesions or --counts"
        )
    sources = {id(image.source) for image in images if image.scan_id in ids}
    visits = {(image.participant_id, image.session_id) for image in images if image.scan_id in ids}
    kept, rows = [], {}
    for image in images:
        of_visit = (image.participant_id, image.session_id) in visits
        if id(image.source) in sources or (image.suffix in _COMPANIONS and of_visit):
            kept.append(image)
        else:
            rows[id(image.source)] = Passed(
                image.source.place,
                "not read (--only-read)",
                image.source.participant,
                image.rule,
                image.source,
            )
    return kept, list(rows.values())


def _nothing(request: Request, passed: Sequence[Passed]) -> str:
    """The sentence where no image was made."""
    where = ", ".join(map(str, request.sources))
    if not passed:
        return f"{where}: holds no image; name the folder of the download"
    example = passed[0]
    return (
        f"{where}: none of {len(passed)} series or files is a GRE, SWI or T1w scan, such as "
        f"{example.place}: {example.reason}"
    )


def _left_out(sentences: Mapping[str, str]) -> list[str]:
    """A sentence on scans that were read and that the truth lacks."""
    if not sentences:
        return []
    first = next(iter(sorted(sentences.items())))
    return [
        f"{len(sentences)} scans that were read are not in the truth (onboard.tsv, remark), such "
        f"as {first[0]}: {first[1]}"
    ]


def _remarks(renamed: Sequence[tuple[str, str]]) -> list[str]:
    """A sentence on images that have another name than after the last run."""
    if not renamed:
        return []
    old, new = renamed[0]
    return [
        f"{len(renamed)} images have other names than after the last run, since repeats were added "
        f"or taken away, such as {old}, now {new}; what was made with the old names has them still"
    ]
