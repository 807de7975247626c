"""What the report cites: references as BibTeX, and published prevalences to compare with."""

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


def _article(key, short, author, title, journal, year, volume, pages, doi):
    fields = {
        "author": author,
        "title": title,
        "journal": journal,
        "year": year,
        "volume": volume,
        "pages": pages,
        "doi": doi,
    }
    return Reference(
        key, short, "article", {name: value for name, value in fields.items() if value}
    )


REFERENCES = {
    reference.key: reference
    for reference in (
        _article(
            "Hassanzadeh2025", "Hassanzadeh 2025", "Hassanzadeh, Tahereh and others",
            "A robust deep learning framework for cerebral microbleeds recognition in GRE and SWI "
            "MRI",
            "NeuroImage: Clinical", "2025", "48", "103873", "10.1016/j.nicl.2025.103873",
        ),
        _article(
            "Gorgolewski2016", "Gorgolewski 2016", "Gorgolewski, Krzysztof J. and others",
            "The brain imaging data structure, a format for organizing and describing outputs of "
            "neuroimaging experiments", "Scientific Data", "2016", "3", "160044",
            "10.1038/sdata.2016.44",
        ),
        _article(
            "Molder2021", "Mölder 2021", "Mölder, Felix and others",
            "Sustainable data analysis with Snakemake", "F1000Research", "2021", "10", "33",
            "10.12688/f1000research.29032.2",
        ),
        _article(
            "Fisch2024", "Fisch 2024", "Fisch, Lukas and others",
            "deepbet: Fast brain extraction of T1-weighted MRI using convolutional neural networks",
            "Computers in Biology and Medicine", "2024", "179", "108845",
            "10.1016/j.compbiomed.2024.108845",
        ),
        _article(
            "Tustison2010", "Tustison 2010", "Tustison, Nicholas J. and others",
            "N4ITK: improved N3 bias correction", "IEEE Transactions on Medical Imaging", "2010",
            "29", "1310--1320", "10.1109/TMI.2010.2046908",
        ),
        _article(
            "Avants2011", "Avants 2011", "Avants, Brian B. and others",
            "A reproducible evaluation of ANTs similarity metric performance in brain image "
            "registration", "NeuroImage", "2011", "54", "2033--2044",
            "10.1016/j.neuroimage.2010.09.025",
        ),
        _article(
            "Fonov2011", "Fonov 2011", "Fonov, Vladimir and others",
            "Unbiased average age-appropriate atlases for pediatric studies", "NeuroImage", "2011",
            "54", "313--327", "10.1016/j.neuroimage.2010.07.033",
        ),
        _article(
            "Gregoire2009", "Gregoire 2009", "Gregoire, Simone M. and others",
            "The Microbleed Anatomical Rating Scale (MARS): reliability of a tool to map brain "
            "microbleeds", "Neurology", "2009", "73", "1759--1766",
            "10.1212/WNL.0b013e3181c34a7d",
        ),
        _article(
            "Greenberg2009", "Greenberg 2009", "Greenberg, Steven M. and others",
            "Cerebral microbleeds: a guide to detection and interpretation",
            "The Lancet Neurology", "2009", "8", "165--174", "10.1016/S1474-4422(09)70013-4",
        ),
        _article(
            "Duering2023", "Duering 2023", "Duering, Marco and others",
            "Neuroimaging standards for research into small vessel disease: advances since 2013",
            "The Lancet Neurology", "2023", "22", "602--618", "10.1016/S1474-4422(23)00131-X",
        ),
        _article(
            "Charidimou2022", "Charidimou 2022", "Charidimou, Andreas and others",
            "The Boston criteria version 2.0 for cerebral amyloid angiopathy",
            "The Lancet Neurology", "2022", "21", "714--725", "10.1016/S1474-4422(22)00208-3",
        ),
        _article(
            "Wilson1927", "Wilson 1927", "Wilson, Edwin B.",
            "Probable inference, the law of succession, and statistical inference",
            "Journal of the American Statistical Association", "1927", "22", "209--212",
            "10.1080/01621459.1927.10502953",
        ),
        _article(
            "Rogan1978", "Rogan and Gladen 1978", "Rogan, Walter J. and Gladen, Beth",
            "Estimating prevalence from the results of a screening test",
            "American Journal of Epidemiology", "1978", "107", "71--76",
            "10.1093/oxfordjournals.aje.a112510",
        ),
        Reference(
            "Seabold2010", "Seabold and Perktold 2010", "inproceedings",
            {
                "author": "Seabold, Skipper and Perktold, Josef",
                "title": "statsmodels: Econometric and statistical modeling with Python",
                "booktitle": "9th Python in Science Conference",
                "year": "2010",
            },
        ),
        Reference(
            "Iglewicz1993", "Iglewicz and Hoaglin 1993", "book",
            {
                "author": "Iglewicz, Boris and Hoaglin, David C.",
                "title": "How to detect and handle outliers",
                "publisher": "ASQC Quality Press",
                "year": "1993",
            },
        ),
        Reference(
            "Ultralytics2024", "Jocher 2024", "software",
            {
                "author": "Jocher, Glenn and Qiu, Jing",
                "title": "Ultralytics YOLO11",
                "year": "2024",
                "license": "AGPL-3.0",
            },
        ),
        _article(
            "Poels2010", "Poels 2010", "Poels, Mariëlle M. F. and others",
            "Prevalence and risk factors of cerebral microbleeds: an update of the Rotterdam scan "
            "study", "Stroke", "2010", "41", "S103--S106", "10.1161/STROKEAHA.110.595181",
        ),
        _article(
            "Sveinbjornsdottir2008", "Sveinbjornsdottir 2008", "Sveinbjornsdottir, S. and others",
            "Cerebral microbleeds in the population based AGES-Reykjavik study: prevalence and "
            "location", "Journal of Neurology, Neurosurgery and Psychiatry", "2008", "79",
            "1002--1006", "10.1136/jnnp.2007.121913",
        ),
        _article(
            "Lu2021", "Lu 2021", "Lu, Dongwei and others",
            "Prevalence and risk factors of cerebral microbleeds: analysis from the UK Biobank",
            "Neurology", "2021", "97", "e1493--e1502", "10.1212/WNL.0000000000012673",
        ),
        _article(
            "GraffRadford2017", "Graff-Radford 2017", "Graff-Radford, Jonathan and others",
            "Neuroimaging correlates of cerebral microbleeds: the ARIC study", "Stroke", "2017",
            "48", "2964--2972", "10.1161/STROKEAHA.117.018336",
        ),
        _article(
            "Kantarci2013", "Kantarci 2013", "Kantarci, Kejal and others",
            "Focal hemosiderin deposits and beta-amyloid load in the ADNI cohort",
            "Alzheimer's and Dementia", "2013", "9", "S116--S123", "10.1016/j.jalz.2012.10.011",
        ),
    )
}  # fmt: skip


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
