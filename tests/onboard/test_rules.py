"""What a series is: names and headers that occur, of five makers."""

from __future__ import annotations

import pytest

from cmburden.core.errors import CMBurdenError
from cmburden.onboard import rules
from cmburden.onboard.parts import Source

TABLE = rules.load()
SIEMENS, GE, PHILIPS = "SIEMENS", "GE MEDICAL SYSTEMS", "Philips Medical Systems"
CANON, FUJI = "TOSHIBA_MEC", "FUJIFILM Healthcare Corporation"


def source(description: str, types: str = "", maker: str = SIEMENS, **header) -> Source:
    slices = header.pop("slices", 40)
    echo = header.pop("echo", 20.0)
    fields = {
        "SeriesDescription": description,
        "ImageType": types.split("\\") if types else ["ORIGINAL", "PRIMARY", "M", "ND"],
        "Manufacturer": maker,
        "ScanningSequence": "GR",
        "EchoTime": echo,
        **header,
    }
    return Source("", (), "1", header=fields, n_slices=slices)


#: Sequence names of ADNI's T2* (a public listing of MRILIST).
ADNI_T2STAR = """Axial T2 Star|Axial T2 star|Axial T2 STAR|Axial T2-Star|Axial T2star|AXIAL T2 STAR
AXIAL_T2_STAR|AXIAL_T2_ STAR|AX T2 STAR|AX_T2_STAR|Axial T2 STAR NO ANGLE|Axial T2 Star straight
Axial T2 STAR (NO ANGLE)|Axial T2 0 angle Star|Axial T2 Star phase R-L|Axial T2-Star SENSE
Axial 3TE T2 STAR|3TE Axial T2 Star|Axial T2 Star REPEAT|Axial T2 Star RPT|Axial T2 Star_repeat
Axial T2 Star repeat motion|AXIAL GRE 5MM|Axial 3D ME T2 GRE|Axial 3D ME T2 GRE_noT2*
Axial 3D T2 GRE"""


@pytest.mark.parametrize("name", ADNI_T2STAR.replace("\n", "|").split("|"))
def test_every_name_of_adnis_t2star_is_t2star(name: str) -> None:
    decision = rules.decide(source(name), TABLE)
    assert (decision.suffix, decision.part) == ("T2starw", None)


@pytest.mark.parametrize(
    ("description", "types", "maker", "expected"),
    [
        ("Mag_Images", "ORIGINAL\\PRIMARY\\M\\NORM", SIEMENS, ("T2starw", "mag")),
        ("Pha_Images", "ORIGINAL\\PRIMARY\\P\\NORM", SIEMENS, ("T2starw", "phase")),
        ("SWI_Images", "ORIGINAL\\PRIMARY\\M\\SWI\\NORM", SIEMENS, ("swi", None)),
        ("t2_swi3d_tra", "ORIGINAL\\PRIMARY\\M\\NORM", SIEMENS, ("T2starw", "mag")),
        ("t2_swi3d_tra", "ORIGINAL\\PRIMARY\\P\\NORM", SIEMENS, ("T2starw", "phase")),
        ("SWIp", "ORIGINAL\\PRIMARY\\M_FFE\\M\\FFE", PHILIPS, ("swi", None)),
        ("SWIp", "ORIGINAL\\PRIMARY\\PHASE MAP\\P\\FFE", PHILIPS, ("T2starw", "phase")),
        ("VEN_BOLD", "ORIGINAL\\PRIMARY\\M_FFE\\M\\FFE", PHILIPS, ("swi", None)),
        ("Ax SWAN", "ORIGINAL\\PRIMARY\\OTHER", GE, ("swi", None)),
        ("FILT_PHA: Ax SWAN", "DERIVED\\PRIMARY\\OTHER", GE, ("T2starw", "phase")),
        ("FSBB", "ORIGINAL\\PRIMARY\\OTHER", CANON, ("swi", None)),
        ("BSI Ax", "ORIGINAL\\PRIMARY\\OTHER", FUJI, ("swi", None)),
        ("AX T2* GRE", "ORIGINAL\\PRIMARY\\OTHER", GE, ("T2starw", None)),
        ("T2W_FFE tra", "ORIGINAL\\PRIMARY\\M_FFE\\M\\FFE", PHILIPS, ("T2starw", None)),
        ("ep2d_hemo", "ORIGINAL\\PRIMARY\\M\\ND", SIEMENS, (None, None)),
        ("MPRAGE", "ORIGINAL\\PRIMARY\\M\\ND", SIEMENS, ("T1w", None)),
        ("t1_mpr_ns_sag", "ORIGINAL\\PRIMARY\\M\\ND", SIEMENS, ("T1w", None)),
        ("Accelerated SAG IR-FSPGR", "ORIGINAL\\PRIMARY\\OTHER", GE, ("T1w", None)),
    ],
)
def test_series_of_five_makers(description, types, maker, expected) -> None:
    decision = rules.decide(source(description, types, maker), TABLE)
    assert (decision.suffix, decision.part) == expected


@pytest.mark.parametrize(
    ("description", "types", "reason"),
    [
        ("mIP_Images(SW)", "DERIVED\\PRIMARY\\MNIP\\SWI\\NORM", "minimum projection"),
        ("mIP_Images(SW)", "ORIGINAL\\PRIMARY\\M", "minimum projection"),
        ("SWI minIP 8mm", "DERIVED\\PRIMARY", "minimum projection"),
        ("SWIp", "DERIVED\\SECONDARY\\PROJECTION IMAGE", "minimum projection"),
        ("Axial T2 Star-Repeated with exact copy of FLAIR", "", "a copy of FLAIR"),
        ("3-pl T2* FGRE S", "", "a localizer"),
        ("gre_field_mapping", "", "a field map"),
        (
            "s Axial 3TE T2 STAR Cumulated",
            "",
            "a sum of echoes; the series that has the echoes is used",
        ),
        ("Axial T2-FLAIR", "", "FLAIR"),
        ("Axial rsfMRI (Eyes Open)", "", "diffusion, perfusion or functional MRI"),
        ("QSM_recon", "", "a map (QSM, T2* or R2*), whose values are no signal"),
        ("T2star map", "", "a map (QSM, T2* or R2*), whose values are no signal"),
        ("Axial PD/T2 FSE", "", "a spin echo sequence (T2w or PD)"),
        ("SWI_uncombined", "", "an image of a single coil; the one that combines them is used"),
        ("t2_star", "ORIGINAL\\PRIMARY\\M\\MOSAIC", "a mosaic, which an EPI sequence made"),
        ("T2* real", "ORIGINAL\\PRIMARY\\R\\ND", "real or imaginary part of the signal"),
    ],
)
def test_series_that_are_not_converted(description, types, reason) -> None:
    assert rules.decide(source(description, types), TABLE).skip == reason


def test_few_slices_are_no_scan_and_a_gre_needs_its_echo_time() -> None:
    assert "10 slices" in str(rules.decide(source("Axial T2 Star", slices=9), TABLE).skip)
    assert rules.decide(source("Axial T2 Star", slices=10), TABLE).skip is None
    assert rules.decide(source("myGRE", echo=4.0), TABLE) == rules.NO_RULE
    assert rules.decide(source("my gre", echo=9.9), TABLE) == rules.NO_RULE
    assert rules.decide(source("my gre", echo=10.0), TABLE).suffix == "T2starw"


def test_rules_of_the_user_come_first(tmp_path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(
        "- rule: ours\n  text: ^heme\n  fields: {ManufacturerModelName: skyra}\n  suffix: T2starw\n"
        "- rule: not ours\n  text: axial t2 star\n  skip: of another study\n",
        encoding="utf-8",
    )
    table = rules.load(path)
    assert rules.decide(source("Heme tra", ManufacturerModelName="Skyra"), table).rule == "ours"
    assert rules.decide(source("Heme tra", ManufacturerModelName="Prisma"), table).rule is None
    assert rules.decide(source("Axial T2 Star"), table).skip == "of another study"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rule: x", "holds no list of rules"),
        ("- {rule: x, suffix: T2starw, skip: y}", "give either skip or suffix"),
        ("- {rule: x, suffix: T2starw, txt: y}", "unknown key txt"),
        ("- {rule: x, suffix: T2starw, text: '('}", "text is no pattern"),
        ("- {suffix: T2starw}", "has no name"),
        ("- {rule: x, suffix: ../up}", "other marks than letters"),
        ("- {rule: x, suffix: a, echo_ms: 3}", "echo_ms is no list of two numbers"),
        ("- {rule: x, suffix: a, image_type: SWI}", "image_type is no list"),
        ("- {rule: x, suffix: a, as_part: real}", "as_part is neither"),
        ("- {rule: x, suffix: a, fields: 3}", "fields is no mapping"),
        ("- {rule: x, suffix: a, keep: last, slices_below: a}", "keep is not first"),
    ],
)
def test_wrong_rules_are_one_sentence(tmp_path, text, said) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CMBurdenError, match=said):
        rules.load(path)
