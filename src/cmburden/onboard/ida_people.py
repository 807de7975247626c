"""What LONI's image archive itself tells of an image: its XML files and its collection CSV."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterable, Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path

from cmburden.core.foreign import UnreadableFile, read_bytes, text_of
from cmburden.onboard import joins
from cmburden.onboard.days import Dates, day_of
from cmburden.onboard.facts import Facts, Visit, diagnosis_of, sex_of, tables_with
from cmburden.onboard.joins import Key
from cmburden.onboard.sheets import Sheet, number

_FIELDS = {
    *("subjectidentifier", "researchgroup", "subjectsex", "subjectage"),
    *("seriesidentifier", "dateacquired", "imageuid"),
}
#: An XML file of an image has some kB.
_MOST_BYTES = 2**22


class _Fields(HTMLParser):
    """Texts of the fields of an XML file. The parser of HTML expands no entities of the file."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: dict[str, list[str]] = {}
        self._open = ""

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self._open = tag.rpartition(":")[2]

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open in _FIELDS and data.strip():
            self.texts.setdefault(self._open, []).append(data.strip())


@dataclasses.dataclass
class Archive:
    """Facts by image, by participant and day, and by participant."""

    of_image: dict[Key, Facts] = dataclasses.field(default_factory=dict)
    of_day: dict[tuple[str, datetime.date], Facts] = dataclasses.field(default_factory=dict)
    of_person: dict[str, Facts] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, tables: Sequence[Path]) -> Archive:
        """Facts of the XML files, then of the collection CSVs, among ``tables`` and below."""
        archive = cls()
        for path in tables:
            files = sorted(path.rglob("*.xml")) if path.is_dir() else [path]
            for file in files:
                if file.suffix.lower() == ".xml":
                    archive._add_xml(file)
        for sheet in tables_with(tables, "Image Data ID", "Subject"):
            archive._add_collection(sheet)
        return archive

    def tell(self, visit: Visit) -> Iterator[Facts]:
        """Facts of a visit's images, of its day, and the person's sex and group."""
        for image in visit.images:
            for key in joins.keys_of(image.source):
                if key in self.of_image:
                    yield self.of_image[key]
        if visit.day and (visit.own, visit.day) in self.of_day:
            yield self.of_day[visit.own, visit.day]
        if visit.own in self.of_person:
            yield dataclasses.replace(self.of_person[visit.own], age=None)

    def _add_xml(self, path: Path) -> None:
        try:
            text = text_of(read_bytes(path, _MOST_BYTES))
        except UnreadableFile:
            return
        parser = _Fields()
        parser.feed(text)
        first = {name: texts[0] for name, texts in parser.texts.items()}
        facts = Facts(
            age=number(first.get("subjectage", "")),
            sex=sex_of(first.get("subjectsex", ""), {}),
            diagnosis=diagnosis_of(first.get("researchgroup", "")),
        )
        images = parser.texts.get("imageuid", [])
        days = [day_of(first["dateacquired"])] if "dateacquired" in first else []
        self._add(first.get("subjectidentifier", ""), images, days, facts)

    def _add_collection(self, sheet: Sheet) -> None:
        dates = Dates(sheet, sheet.column("Acq Date"))
        for row in sheet.rows:
            facts = Facts(
                age=row.number("Age"),
                sex=sex_of(row.text("Sex"), {}),
                diagnosis=diagnosis_of(row.coded("Group")),
            )
            day = dates.of(row.text("Acq Date"))
            self._add(row.text("Subject"), [row.text("Image Data ID")], [day], facts)

    def _add(
        self,
        person: str,
        images: Iterable[str],
        days: Iterable[datetime.date | None],
        facts: Facts,
    ) -> None:
        for image in images:
            self.of_image.setdefault((joins.IMAGE, joins.loni_number(image)), facts)
        if person:
            self.of_person.setdefault(person, facts)
            for day in days:
                if day:
                    self.of_day.setdefault((person, day), facts)
