"""Citations of the report: references as BibTeX, and published prevalences for comparison."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Reference:
    """An entry of report/references.bib; ``short`` is how the text cites it."""

    key: str
    short: str
    kind: str
    fields: dict[str, str]

    @property
    def text(self) -> str:
        """The entry as a list of references prints it."""
        at = self.fields.get
        author = self.fields["author"].replace(" and others", " et al.").rstrip(".")
        where = at("journal") or at("booktitle") or at("publisher") or ""
        pages = at("pages", "").replace("--", "–")
        volume = f" {at('volume')}:{pages}" if at("volume") else ""
        doi = f". doi {at('doi')}" if at("doi") else ""
        place = f"{where}{volume} ".lstrip()
        return f"{author}. {self.fields['title']}. {place}({self.fields['year']}){doi}."

    def bibtex(self) -> str:
        body = ",\n".join(f"  {name} = {{{value}}}" for name, value in self.fields.items())
        return f"@{self.kind}{{{self.key},\n{body}\n}}\n"


def _reference(key: str, short: str, kind: str, **fields: str) -> Reference:
    return Reference(key, short, kind, fields)


REFERENCES = {
    reference.key: reference
    for reference in (
        _reference(
            "Hassanzadeh2025",
            "Hassanzadeh 2025",
            "article",
            author="Hassanzadeh, Tahereh and others",
            title="A robust deep learning framework for cerebral microbleeds recognition in "
            "GRE and SWI MRI",
            journal="NeuroImage: Clinical",
            year="2025",
            volume="48",
            pages="103873",
            doi="10.1016/j.nicl.2025.103873",
        ),
        _reference(
            "Gorgolewski2016",
            "Gorgolewski 2016",
            "article",
            author="Gorgolewski, Krzysztof J. and others",
            title="The brain imaging data structure, a format for organizing and describing "
            "outputs of neuroimaging experiments",
            journal="Scientific Data",
            year="2016",
            volume="3",
            pages="160044",
            doi="10.1038/sdata.2016.44",
        ),
        _reference(
            "Molder2021",
            "Mölder 2021",
            "article",
            author="Mölder, Felix and others",
            title="Sustainable data analysis with Snakemake",
            journal="F1000Research",
            year="2021",
            volume="10",
            pages="33",
            doi="10.12688/f1000research.29032.2",
        ),
        _reference(
            "Fisch2024",
            "Fisch 2024",
            "article",
            author="Fisch, Lukas and others",
            title="deepbet: Fast brain extraction of T1-weighted MRI using convolutional "
            "neural networks",
            journal="Computers in Biology and Medicine",
            year="2024",
            volume="179",
            pages="108845",
            doi="10.1016/j.compbiomed.2024.108845",
        ),
        _reference(
            "Tustison2010",
            "Tustison 2010",
            "article",
            author="Tustison, Nicholas J. and others",
            title="N4ITK: improved N3 bias correction",
            journal="IEEE Transactions on Medical Imaging",
            year="2010",
            volume="29",
            pages="1310--1320",
            doi="10.1109/TMI.2010.2046908",
        ),
        _reference(
            "Avants2011",
            "Avants 2011",
            "article",
            author="Avants, Brian B. and others",
            title="A reproducible evaluation of ANTs similarity metric performance in brain "
            "image registration",
            journal="NeuroImage",
            year="2011",
            volume="54",
            pages="2033--2044",
            doi="10.1016/j.neuroimage.2010.09.025",
        ),
        _reference(
            "Fonov2011",
            "Fonov 2011",
            "article",
            author="Fonov, Vladimir and others",
            title="Unbiased average age-appropriate atlases for pediatric studies",
            journal="NeuroImage",
            year="2011",
            volume="54",
            pages="313--327",
            doi="10.1016/j.neuroimage.2010.07.033",
        ),
        _reference(
            "Gregoire2009",
            "Gregoire 2009",
            "article",
            author="Gregoire, Simone M. and others",
            title="The Microbleed Anatomical Rating Scale (MARS): reliability of a tool to map "
            "brain microbleeds",
            journal="Neurology",
            year="2009",
            volume="73",
            pages="1759--1766",
            doi="10.1212/WNL.0b013e3181c34a7d",
        ),
        _reference(
            "Greenberg2009",
            "Greenberg 2009",
            "article",
            author="Greenberg, Steven M. and others",
            title="Cerebral microbleeds: a guide to detection and interpretation",
            journal="The Lancet Neurology",
            year="2009",
            volume="8",
            pages="165--174",
            doi="10.1016/S1474-4422(09)70013-4",
        ),
        _reference(
            "Duering2023",
            "Duering 2023",
            "article",
            author="Duering, Marco and others",
            title="Neuroimaging standards for research into small vessel disease: advances "
            "since 2013",
            journal="The Lancet Neurology",
            year="2023",
            volume="22",
            pages="602--618",
            doi="10.1016/S1474-4422(23)00131-X",
        ),
        _reference(
            "Charidimou2022",
            "Charidimou 2022",
            "article",
            author="Charidimou, Andreas and others",
            title="The Boston criteria version 2.0 for cerebral amyloid angiopathy",
            journal="The Lancet Neurology",
            year="2022",
            volume="21",
            pages="714--725",
            doi="10.1016/S1474-4422(22)00208-3",
        ),
        _reference(
            "Wilson1927",
            "Wilson 1927",
            "article",
            author="Wilson, Edwin B.",
            title="Probable inference, the law of succession, and statistical inference",
            journal="Journal of the American Statistical Association",
            year="1927",
            volume="22",
            pages="209--212",
            doi="10.1080/01621459.1927.10502953",
        ),
        _reference(
            "vonElm2007",
            "von Elm et al. 2007",
            "article",
            author="von Elm, Erik and Altman, Douglas G. and Egger, Matthias and others",
            title="The Strengthening the Reporting of Observational Studies in Epidemiology "
            "(STROBE) statement: guidelines for reporting observational studies",
            journal="PLoS Medicine",
            year="2007",
            volume="4",
            pages="e296",
            doi="10.1371/journal.pmed.0040296",
        ),
        _reference(
            "Seabold2010",
            "Seabold and Perktold 2010",
            "inproceedings",
            author="Seabold, Skipper and Perktold, Josef",
            title="statsmodels: Econometric and statistical modeling with Python",
            booktitle="9th Python in Science Conference",
            year="2010",
        ),
        _reference(
            "Zou2004",
            "Zou 2004",
            "article",
            author="Zou, Guangyong",
            title="A modified Poisson regression approach to prospective studies with binary data",
            journal="American Journal of Epidemiology",
            year="2004",
            volume="159",
            pages="702--706",
            doi="10.1093/aje/kwh090",
        ),
        _reference(
            "Heinze2002",
            "Heinze and Schemper 2002",
            "article",
            author="Heinze, Georg and Schemper, Michael",
            title="A solution to the problem of separation in logistic regression",
            journal="Statistics in Medicine",
            year="2002",
            volume="21",
            pages="2409--2419",
            doi="10.1002/sim.1047",
        ),
        _reference(
            "Iglewicz1993",
            "Iglewicz and Hoaglin 1993",
            "book",
            author="Iglewicz, Boris and Hoaglin, David C.",
            title="How to detect and handle outliers",
            publisher="ASQC Quality Press",
            year="1993",
        ),
        _reference(
            "Ultralytics2024",
            "Jocher 2024",
            "software",
            author="Jocher, Glenn and Qiu, Jing",
            title="Ultralytics YOLO11",
            year="2024",
            license="AGPL-3.0",
        ),
        _reference(
            "Poels2010",
            "Poels 2010",
            "article",
            author="Poels, Mariëlle M. F. and others",
            title="Prevalence and risk factors of cerebral microbleeds: an update of the "
            "Rotterdam scan study",
            journal="Stroke",
            year="2010",
            volume="41",
            pages="S103--S106",
            doi="10.1161/STROKEAHA.110.595181",
        ),
        _reference(
            "Sveinbjornsdottir2008",
            "Sveinbjornsdottir 2008",
            "article",
            author="Sveinbjornsdottir, S. and others",
            title="Cerebral microbleeds in the population based AGES-Reykjavik study: "
            "prevalence and location",
            journal="Journal of Neurology, Neurosurgery and Psychiatry",
            year="2008",
            volume="79",
            pages="1002--1006",
            doi="10.1136/jnnp.2007.121913",
        ),
        _reference(
            "Lu2021",
            "Lu 2021",
            "article",
            author="Lu, Dongwei and others",
            title="Prevalence and risk factors of cerebral microbleeds: analysis from the UK "
            "Biobank",
            journal="Neurology",
            year="2021",
            volume="97",
            pages="e1493--e1502",
            doi="10.1212/WNL.0000000000012673",
        ),
        _reference(
            "GraffRadford2017",
            "Graff-Radford 2017",
            "article",
            author="Graff-Radford, Jonathan and others",
            title="Neuroimaging correlates of cerebral microbleeds: the ARIC study",
            journal="Stroke",
            year="2017",
            volume="48",
            pages="2964--2972",
            doi="10.1161/STROKEAHA.117.018336",
        ),
        _reference(
            "Kantarci2013",
            "Kantarci 2013",
            "article",
            author="Kantarci, Kejal and others",
            title="Focal hemosiderin deposits and beta-amyloid load in the ADNI cohort",
            journal="Alzheimer's and Dementia",
            year="2013",
            volume="9",
            pages="S116--S123",
            doi="10.1016/j.jalz.2012.10.011",
        ),
    )
}


@dataclasses.dataclass(frozen=True)
class Anchor:
    """A published prevalence. ``age`` in words; ``at`` (years) is where a chart draws it."""

    study: str
    reference: str
    age: str
    share: float
    n: int | None = None
    denominator: int | None = None
    contrast: str = "GRE"
    at: float | None = None


#: From the abstracts of the papers; who was scanned and how differs, so they only say whether a
#: figure is of the right order.
ANCHORS = (
    Anchor("Rotterdam, 45–50", "Poels2010", "45–50", 0.065, at=47.5),
    Anchor("Rotterdam, all", "Poels2010", "mean 60", 0.153, denominator=3979, at=60.3),
    Anchor("Rotterdam, 80 and older", "Poels2010", "80 and older", 0.357, at=84),
    Anchor("UK Biobank", "Lu2021", "mean 62", 572 / 8159, 572, 8159, "SWI", 62.1),
    Anchor("ADNI", "Kantarci2013", "not given", 0.25, denominator=562),
    Anchor("AGES-Reykjavik", "Sveinbjornsdottir2008", "mean 76", 218 / 1962, 218, 1962, at=76),
    Anchor("ARIC", "GraffRadford2017", "mean 76", 0.24, denominator=1677, at=76),
)


def bibtex(keys: list[str]) -> str:
    """Entries of ``keys`` in their order, each once."""
    return "\n".join(REFERENCES[key].bibtex() for key in dict.fromkeys(keys))
