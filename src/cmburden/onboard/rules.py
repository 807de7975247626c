"""Says what a series is, by an ordered table of rules: the first that fits decides.

``config/onboard/rules.yaml`` holds the table and says what a rule is made of. dcm2niix' own guess
is not asked: it takes ADNI's T2* for a localizer and SWI for an angiogram.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cmburden.core import resources, user_text
from cmburden.core.errors import CMBurdenError
from cmburden.onboard.dicom import part_of
from cmburden.onboard.parts import Header, Source

PARTS = ("mag", "phase", "real", "imag")
_PATTERNS = ("text", "text_not", "maker")
_LISTS = ("image_type", "image_type_not", "part", "sequence")
_KEYS = frozenset(
    (*_PATTERNS, *_LISTS, "rule", "echo_ms", "slices_below", "fields", "skip", "suffix", "as_part")
) | {"keep", "prefer"}
#: Fields that stand for an image in a pattern.
_TEXT = ("SeriesDescription", "ProtocolName")
#: Longest text that patterns are searched in, characters.
_LONGEST = 200
_NONE: frozenset[str] = frozenset()


@dataclasses.dataclass(frozen=True)
class Decision:
    """What a rule says of a source.

    ``skip`` is why no image is made, or None; then ``suffix`` names the image, and ``part`` is mag,
    phase or None. ``keep_first`` and ``prefer`` choose among the images of a session.
    """

    rule: str | None
    skip: str | None = None
    suffix: str | None = None
    part: str | None = None
    keep_first: bool = False
    prefer: str | None = None


NO_RULE = Decision(None, skip="no rule fits; if it is a GRE or SWI scan, add a rule (--rules)")


@dataclasses.dataclass(frozen=True)
class Rule:
    """A line of the table: tests, all of which must hold, and the decision."""

    decision: Decision
    patterns: Mapping[str, re.Pattern[str]]
    lists: Mapping[str, frozenset[str]]
    fields: Mapping[str, re.Pattern[str]]
    echo_ms: tuple[float, float] | None = None
    slices_below: int | None = None

    def fits(self, facts: Facts) -> bool:
        return (
            self._text_fits(facts)
            and self._words_fit(facts)
            and self._numbers_fit(facts)
            and all(
                pattern.search(str(facts.header.get(keyword, "")))
                for keyword, pattern in self.fields.items()
            )
        )

    def _text_fits(self, facts: Facts) -> bool:
        within, without = self.patterns.get("text"), self.patterns.get("text_not")
        made = self.patterns.get("maker")
        return (
            (within is None or within.search(facts.text) is not None)
            and (without is None or without.search(facts.text) is None)
            and (made is None or made.search(facts.maker) is not None)
        )

    def _words_fit(self, facts: Facts) -> bool:
        return not facts.words["image_type"] & self.lists.get("image_type_not", _NONE) and all(
            facts.words[key] & wanted for key, wanted in self.lists.items() if key in facts.words
        )

    def _numbers_fit(self, facts: Facts) -> bool:
        if self.slices_below is not None and (
            facts.n_slices is None or facts.n_slices >= self.slices_below
        ):
            return False
        if self.echo_ms is None:
            return True
        low, high = self.echo_ms
        return any(low <= echo <= high for echo in facts.echoes_ms)


@dataclasses.dataclass(frozen=True)
class Facts:
    """What tests look at, of one source."""

    header: Header
    text: str
    maker: str
    words: Mapping[str, frozenset[str]]
    n_slices: int | None
    echoes_ms: tuple[float, ...]

    @classmethod
    def of(cls, source: Source) -> Facts:
        header = source.header
        codes = re.split(r"[\\\s,'\[\]]+", str(header.get("ScanningSequence", "")))
        echoes = [one.get("EchoTime") for one in source.variants or (header,)]
        return cls(
            header,
            text_of(header),
            str(header.get("Manufacturer", "")),
            {
                "image_type": words_of(header),
                "part": frozenset(filter(None, [signal_part(header)])),
                "sequence": frozenset(codes),
            },
            source.n_slices,
            tuple(echo for echo in echoes if isinstance(echo, (int, float))),
        )


def decide(source: Source, rules: Sequence[Rule]) -> Decision:
    """What the first rule that fits says of ``source``."""
    facts = Facts.of(source)
    return next((rule.decision for rule in rules if rule.fits(facts)), NO_RULE)


def text_of(header: Header) -> str:
    """The text that patterns are searched in.

    >>> text_of({"SeriesDescription": "Axial_T2_ STAR", "ProtocolName": "Brain"})
    'Axial T2 STAR | Brain'
    """
    parts = [" ".join(str(header.get(key, "")).replace("_", " ").split()) for key in _TEXT]
    return " | ".join(part[:_LONGEST] for part in parts if part)


def words_of(header: Header) -> frozenset[str]:
    """Words of ImageType in capitals, whole and in their parts."""
    given = header.get("ImageType") or ()
    words = [str(word).upper() for word in ([given] if isinstance(given, str) else given)]
    return frozenset([*words, *(part for word in words for part in word.split("_"))])


def signal_part(header: Header) -> str | None:
    """Part of the complex signal: what `dicom` read of it, else what ImageType says."""
    if header.get("Part") in PARTS:
        return str(header["Part"])
    given = header.get("ImageType") or ()
    return part_of("\\".join([given] if isinstance(given, str) else map(str, given)))


# --- the table ---


def load(path: Path | None = None) -> tuple[Rule, ...]:
    """The user's rules at ``path``, then those of CMBurden.

    Raises
    ------
    CMBurdenError
        Lists everything that is wrong with the user's rules.
    """
    return (*(_read(path) if path is not None else ()), *_shipped())


@functools.cache
def _shipped() -> tuple[Rule, ...]:
    return _read(resources.root() / "config" / "onboard" / "rules.yaml")


def _read(path: Path) -> tuple[Rule, ...]:
    content = user_text.yaml_of(user_text.text_of(path), str(path))
    if not isinstance(content, list) or not all(isinstance(one, dict) for one in content):
        raise CMBurdenError(
            f"{path}: holds no list of rules; write it as config/onboard/rules.yaml"
        )
    problems = [f"rule {n}: {what}" for n, one in enumerate(content, 1) for what in _wrong(one)]
    if problems:
        raise CMBurdenError(f"{path}: {'; '.join(problems)}; config/onboard/rules.yaml says how")
    return tuple(map(_rule, content))


def _wrong(rule: Mapping[str, Any]) -> Iterator[str]:
    """A few words for each thing that is wrong with a rule."""
    unknown = sorted(set(rule) - _KEYS)
    if unknown:
        yield f"unknown key {', '.join(unknown)}"
    if not isinstance(rule.get("rule"), str):
        yield "it has no name (rule: ...)"
    if ("skip" in rule) == ("suffix" in rule):
        yield "give either skip or suffix"
    for key in ("skip", "suffix", "prefer"):
        if key in rule and not isinstance(rule[key], str):
            yield f"{key} is no text"
    if isinstance(rule.get("suffix"), str) and not re.fullmatch(r"[A-Za-z0-9]+", rule["suffix"]):
        yield "suffix has other marks than letters and digits"
    if rule.get("as_part", "mag") not in PARTS[:2]:
        yield "as_part is neither mag nor phase"
    if rule.get("keep", "first") != "first":
        yield "keep is not first"
    yield from _wrong_tests(rule)


def _wrong_tests(rule: Mapping[str, Any]) -> Iterator[str]:
    """A few words for each test of a rule that cannot be made."""
    fields = rule.get("fields", {})
    if not isinstance(fields, dict):
        yield "fields is no mapping of keywords to patterns"
        fields = {}
    patterns = {key: rule[key] for key in _PATTERNS if key in rule} | fields
    for key, pattern in patterns.items():
        try:
            re.compile(str(pattern))
        except re.error as error:
            yield f"{key} is no pattern ({error})"
    for key in _LISTS:
        if key in rule and not isinstance(rule[key], list):
            yield f"{key} is no list"
    echo = rule.get("echo_ms", [0, 0])
    if not (
        isinstance(echo, list)
        and len(echo) == 2
        and all(isinstance(value, (int, float)) for value in echo)
    ):
        yield "echo_ms is no list of two numbers"
    if not isinstance(rule.get("slices_below", 0), int):
        yield "slices_below is no whole number"


def _rule(rule: Mapping[str, Any]) -> Rule:
    def compiled(pattern: Any) -> re.Pattern[str]:
        return re.compile(str(pattern), re.IGNORECASE)

    echo = rule.get("echo_ms")
    return Rule(
        Decision(
            rule=rule["rule"],
            skip=rule.get("skip"),
            suffix=rule.get("suffix"),
            part=rule.get("as_part"),
            keep_first=rule.get("keep") == "first",
            prefer=rule.get("prefer"),
        ),
        patterns={key: compiled(rule[key]) for key in _PATTERNS if key in rule},
        lists={
            key: frozenset(
                str(word).lower() if key == "part" else str(word).upper() for word in rule[key]
            )
            for key in _LISTS
            if key in rule
        },
        fields={key: compiled(pattern) for key, pattern in rule.get("fields", {}).items()},
        echo_ms=(float(echo[0]), float(echo[1])) if echo else None,
        slices_below=rule.get("slices_below"),
    )
