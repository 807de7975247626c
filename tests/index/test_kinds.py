"""Magnitude, phase, projection, coil, reconstruction and map, by name and by sidecar."""

import json

import pytest
from small_trees import SOUND, index_of, tree

GOOD = "sub-01/anat/sub-01_T2starw.nii.gz"


def verdict(tmp_path, middle, fields=None):
    """Reason of ``sub-02{middle}.nii.gz`` with these fields of its sidecar; None for a scan."""
    name = f"sub-02/anat/sub-02{middle}"
    bids = tree(tmp_path / "bids", [GOOD, f"{name}.nii.gz"])
    (bids / f"{name}.json").write_text(json.dumps(SOUND | (fields or {})))
    made = index_of(bids)
    return made, made.reasons.get(f"{name}.nii.gz")


@pytest.mark.parametrize(
    ("middle", "reason"),
    [
        ("_part-phase_GRE", "part_phase"),
        ("_part-real_GRE", "part_phase"),
        ("_part-imag_GRE", "part_phase"),
        ("_acq-phase_GRE", "part_phase"),
        ("_acq-pha_swi", "part_phase"),
        ("_acq-ph_swi", "part_phase"),
        ("_acq-swiPhase_GRE", "part_phase"),
        ("_rec-phase_swi", "part_phase"),
        ("_SWIphase", "part_phase"),
        ("_phase", "part_phase"),
        ("_acq-mag_GRE", None),
        ("_part-mag_GRE", None),
        ("_SWImag", None),
        ("_acq-inphase_GRE", None),
        ("_acq-phys_GRE", None),
        ("_T2star", None),
        ("_FLASH", None),
        ("_acq-mip_swi", "projection"),
        ("_acq-mIP_swi", "projection"),
        ("_acq-minIP_T2starw", "projection"),
        ("_desc-mip_swi", "projection"),
        ("_rec-MIP_swi", "projection"),
        ("_minIP", "projection"),
        ("_mIP", "projection"),
        ("_acq-hemipa_swi", None),
        ("_coil-12_part-mag_GRE", "single_coil"),
        ("_rec-uncombined03_GRE", "single_coil"),
        ("_acq-coil3_GRE", "single_coil"),
        ("_coil-combined_GRE", None),
        ("_rec-qsm_T2starw", "other_kind"),
        ("_acq-QSM_part-mag_T2star", None),
        ("_Chimap", "other_kind"),
        ("_T2starmap", "other_kind"),
        ("_SWI_defacemask", "other_kind"),
    ],
)
def test_the_name_says_the_kind(tmp_path, middle, reason):
    made, got = verdict(tmp_path, middle)
    assert got == reason
    assert ("sub-02" in made.people) and (reason is not None) == ("sub-02" in made.reasons)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND"]}, None),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "P", "ND"]}, "part_phase"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "PHASE MAP", "P", "FFE"]}, "part_phase"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "T1", "MIXED", "PHASE"]}, "part_phase"),
        ({"ImageType": "ORIGINAL\\PRIMARY\\P"}, "part_phase"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M_FFE", "M", "FFE", "PHASE MAP"]}, None),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "OTHER", "IMAGINARY"]}, "part_phase"),
        ({"ImageType": ["ORIGINAL"], "SeriesDescription": "FILT_PHA: SWI SWAN"}, "part_phase"),
        ({"SeriesDescription": "Pha_Images"}, "part_phase"),
        ({"SeriesDescription": "Mag_Images"}, None),
        ({"ImageType": ["DERIVED", "PRIMARY", "MNIP", "SWI", "NORM"]}, "projection"),
        ({"ImageType": ["DERIVED", "PRIMARY", "MIN IP", "SWI"]}, "projection"),
        ({"ImageType": ["DERIVED", "SECONDARY", "PROJECTION IMAGE"]}, "projection"),
        ({"SeriesDescription": "mIP_Images(SW)"}, "projection"),
        ({"SeriesDescription": "Minimum intensity projection"}, "projection"),
        ({"SeriesDescription": "SWI_min_proj"}, "projection"),
        ({"SeriesDescription": "gre_uncombined"}, "single_coil"),
        ({"BodyPartExamined": "CSPINE"}, "not_brain"),
        ({"BodyPartExamined": "NECK"}, "not_brain"),
        ({"BodyPartExamined": "HEADNECK"}, None),
        ({"BodyPartExamined": "BRAIN"}, None),
        ({"BodyPartExamined": ""}, None),
        ({"ImageType": 7, "SeriesDescription": [1], "BodyPartExamined": {"a": 1}}, None),
    ],
)
def test_the_sidecar_says_the_kind_where_the_name_is_silent(tmp_path, fields, reason):
    assert verdict(tmp_path, "_T2starw", fields)[1] == reason


def test_the_name_is_believed_where_the_sidecar_contradicts(tmp_path):
    """ds000221 has the magnitude's sidecar beside the phase; dcm2niix took Philips' for phase."""
    magnitude = {"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND"]}
    phase = {"ImageType": ["ORIGINAL", "PRIMARY", "PHASE MAP", "P"]}
    made, reason = verdict(tmp_path / "a", "_acq-phase_GRE", magnitude)
    assert reason == "part_phase"
    message = made.message("sub-02/anat/sub-02_acq-phase_GRE.nii.gz")
    assert "although its sidecar says magnitude" in message
    made, reason = verdict(tmp_path / "b", "_acq-mag_GRE", phase)
    assert reason is None
    warning = made.value("sub-02_acq-mag_GRE", "warning")
    assert "name says magnitude, the sidecar phase" in warning


@pytest.mark.parametrize(
    ("middle", "fields", "contrast"),
    [
        ("_T2starw", {}, "GRE"),
        ("_swi", {}, "SWI"),
        ("_acq-SWI_T2starw", {}, "SWI"),
        ("_GRE", {"ImageType": ["ORIGINAL", "PRIMARY", "M", "SWI"]}, "SWI"),
        ("_T2star", {"ImageType": ["ORIGINAL", "PRIMARY", "SW", "M", "FFE"]}, "SWI"),
        ("_GRE", {"SeriesDescription": "SWI_3mm_tra"}, "SWI"),
        ("_GRE", {"ProtocolName": "t2_swi3d_tra"}, "SWI"),
        ("_GRE", {"ProtocolName": "swift_gre"}, "GRE"),
        ("_GRE", {"SeriesDescription": "gre_field"}, "GRE"),
    ],
)
def test_swi_is_told_from_gre(tmp_path, middle, fields, contrast):
    made, _ = verdict(tmp_path, middle, fields)
    assert made.value(f"sub-02{middle}", "contrast") == contrast


def test_free_text_of_sidecars_stands_in_no_table(tmp_path):
    text = {"SeriesDescription": "SWI of Jane", "ProtocolName": "Jane", "BodyPartExamined": "BRAIN"}
    made, _ = verdict(tmp_path, "_GRE", text)
    assert "Jane" not in made.manifest.to_csv() + made.rejected.to_csv()


def test_one_reconstruction_is_taken_and_said(tmp_path):
    names = [
        f"sub-01/swi/sub-01{rec}_echo-{echo}_part-mag_GRE.nii.gz"
        for rec in ("", "_rec-norm", "_rec-dis2d")
        for echo in (1, 2)
    ]
    bids = tree(tmp_path / "bids", names)
    made = index_of(bids)
    taken = "sub-01/swi/sub-01_echo-2_part-mag_GRE.nii.gz"
    assert list(made.manifest["path"]) == [taken]
    assert sorted(made.reasons.values()) == ["echo_not_chosen"] + ["rec_not_chosen"] * 4
    assert taken in made.message("sub-01/swi/sub-01_rec-norm_echo-1_part-mag_GRE.nii.gz")
    (tmp_path / "filter.json").write_text('{"t2starw": {"reconstruction": ["norm", "dis2d"]}}')
    made = index_of(bids, bids_filter_file=str(tmp_path / "filter.json"))
    assert made.scans == ["sub-01_rec-norm_echo-2_part-mag_GRE"]


def test_the_four_series_of_a_siemens_swi_are_one_scan(tmp_path):
    series = {
        "_swi": (["ORIGINAL", "PRIMARY", "M", "SWI", "NORM"], "SWI_Images"),
        "_acq-a_swi": (["DERIVED", "PRIMARY", "MNIP", "SWI", "NORM"], "mIP_Images(SW)"),
        "_acq-ph_swi": (["ORIGINAL", "PRIMARY", "P", "ND"], "Pha_Images"),
        "_acq-b_swi": (["ORIGINAL", "PRIMARY", "P", "ND"], "Series 4"),
    }
    bids = tree(tmp_path / "bids", [f"sub-01/anat/sub-01{middle}.nii.gz" for middle in series])
    for middle, (kind, described) in series.items():
        sidecar = SOUND | {"ImageType": kind, "SeriesDescription": described}
        (bids / f"sub-01/anat/sub-01{middle}.json").write_text(json.dumps(sidecar))
    made = index_of(bids)
    assert made.scans == ["sub-01_swi"]
    assert sorted(made.reasons.values()) == ["part_phase", "part_phase", "projection"]


def test_the_advice_for_an_unknown_suffix_works_as_written(tmp_path):
    bids = tree(tmp_path / "bids", [GOOD, "sub-02/anat/sub-02_SWIp.nii.gz"])
    message = index_of(bids).message("sub-02/anat/sub-02_SWIp.nii.gz")
    assert "--set index.suffixes.SWIp=GRE" in message
    made = index_of(bids, index={"suffixes": {"SWIp": "SWI"}})
    assert made.scans == ["sub-01_T2starw", "sub-02_SWIp"]
