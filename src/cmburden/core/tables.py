"""The contracts of all tables. Parquet schema, JSON sidecar and tests follow from them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from cmburden.core.remarks import SEPARATOR
from cmburden.core.schema import Column, Table


def _c(
    name: str,
    kind: str,
    description: str,
    unit: str = "",
    *,
    required: bool = False,
    levels: Sequence[str] = (),
) -> Column:
    return Column(name, kind, description, unit, not required, tuple(levels))


PATTERNS = ("none", "strictly lobar", "strictly deep/infratentorial", "mixed")
#: Pattern of people with a microbleed outside of every region, unless the others make it mixed. It
#: is no level of the models.
NOT_CLASSIFIABLE = "not classifiable"
PATTERN_LEVELS = (*PATTERNS, NOT_CLASSIFIABLE)
#: Least age of the Boston criteria v2.0, years.
BOSTON_AGE = 50
GROUPS = ("lobar", "deep", "infratentorial", "unknown")
STATUSES = ("ok", "failed", "excluded")
LABELS = ("definite", "possible")
PHASE_SIGNS = ("positive", "negative")
IMAGE_KINDS = ("magnitude", "processed SWI")
DIMENSIONS = ("2D", "3D")
CHANGES_OF_A_LESION = ("new", "persisting", "lost", "not comparable")
HEMISPHERES = ("left", "right", "unknown")
_SIDE = (
    "Side of the brain; unknown outside of every region, and in a scan whose left_right_known is "
    "false"
)
_MNI_X = "Centre in MNI152, positive to the right; null if left_right_known of the scan is false"

_SCAN = (
    _c(
        "scan_id",
        "str",
        "File name of the source image, without extension; with the session of its folder if the "
        "name lacks it",
        required=True,
    ),
    _c("cohort", "str", "First cohort whose participant_pattern matches", required=True),
    _c("participant_id", "str", "Name of the participant's folder", required=True),
    _c("session_id", "str", "Session label, with 'ses-'; null for a file in no session"),
)

#: The protocol, by the sidecar: what HARNESS asks to report of it.
_PROTOCOL = (
    _c("scanner_model", "str", "ManufacturersModelName of the sidecar"),
    _c("repetition_time_s", "float", "RepetitionTime of the sidecar", "s"),
    _c("flip_angle_deg", "float", "FlipAngle of the sidecar", "degree"),
    _c("dimension", "str", "MRAcquisitionType of the sidecar", levels=DIMENSIONS),
    _c(
        "slice_gap_mm",
        "float",
        "Gap between slices: SpacingBetweenSlices without SliceThickness of the sidecar; null for "
        "3D and where slices overlap",
        "mm",
    ),
    _c(
        "image_kind",
        "str",
        "Magnitude, or SWI multiplied with the phase mask, by name and sidecar; null where neither "
        "tells",
        levels=IMAGE_KINDS,
    ),
)

_PATTERN = _c(
    "pattern",
    "str",
    "Anatomical pattern of the definite microbleeds; macrohaemorrhages do not change it. Not "
    "classifiable where a microbleed lies outside of every region, unless the others make it mixed",
    levels=PATTERN_LEVELS,
)

_GEOMETRY = (
    _c("echo_time_s", "float", "EchoTime of the sidecar", "s"),
    _c("field_strength_t", "float", "MagneticFieldStrength of the sidecar", "T"),
    _c("voxel_x_mm", "float", "In-plane voxel size, first axis", "mm"),
    _c("voxel_y_mm", "float", "In-plane voxel size, second axis", "mm"),
    _c("slice_mm", "float", "Voxel size through plane: the largest of the three voxel sizes", "mm"),
)

#: QC measures. preprocess and register write them into their records; `scans` gathers them.
QC = (
    _c("brain_volume_ml", "float", "Volume of the brain mask", "ml"),
    _c("mask_compactness", "float", "Sphericity of the brain mask; a sphere has 1"),
    _c(
        "mask_side_gap_mm",
        "float",
        "How much farther from the brain mask the skull lies on one side than on the other; large "
        "where the mask cuts brain off",
        "mm",
    ),
    _c(
        "coverage",
        "float",
        "Share of the brain's expected extent that the field of view holds; "
        "the smallest share of the three axes",
    ),
    _c(
        "snr",
        "float",
        "Median signal in the brain divided by the standard deviation of the "
        "noise, estimated from the median signal of air",
    ),
    _c(
        "contrast_csf_tissue", "float", "95th percentile of the signal in the brain over its median"
    ),
    _c("dark_fraction", "float", "Share of brain voxels below 0.4 of the median: veins, dropout"),
    _c("bias_spread", "float", "Coefficient of variation of the estimated bias field"),
    _c("registration_correlation", "float", "Correlation of the aligned image with the template"),
)

MANIFEST = Table(
    "manifest",
    "a scan of the BIDS tree that is searched for microbleeds",
    ("scan_id",),
    (
        *_SCAN,
        _c("suffix", "str", "BIDS suffix of the source", required=True),
        _c("contrast", "str", "GRE or SWI", required=True, levels=("GRE", "SWI")),
        _c("path", "str", "Path of the source image, relative to the BIDS folder", required=True),
        _c("entities", "str", "BIDS entities as a JSON list of [key, value]", required=True),
        _c("t1w_path", "str", "T1w for the registration, relative to the BIDS folder; or null"),
        _c("phase_path", "str", "Phase image of that echo, relative to the BIDS folder; or null"),
        _c("echo_time_s", "float", "EchoTime of the sidecar", "s"),
        _c("field_strength_t", "float", "MagneticFieldStrength of the sidecar", "T"),
        _c("manufacturer", "str", "Manufacturer of the sidecar"),
        *_PROTOCOL,
        _c("skull_stripped", "bool", "True where the sidecar says SkullStripped; null without it"),
        _c("bucket", "int", "Bucket in detect and verify, a hash of scan_id", required=True),
        _c("content_key", "str", "sha256 of image, T1w and used sidecar fields", required=True),
        _c("phase_key", "str", "sha256 of the phase image; null without one"),
        _c("warning", "str", "Remark on the scan that is no reason for exclusion"),
    ),
)

REJECTED = Table(
    "rejected",
    "an image or folder that is no scan, or a participant without a scan, with the reason",
    ("path", "participant_id"),
    (
        _c(
            "path", "str", "Image or folder, relative to the BIDS folder, with escapes if not UTF-8"
        ),
        _c("participant_id", "str", "Name of the participant's folder; null for a stray file"),
        _c("cohort", "str", "Cohort of the participant, as in manifest"),
        _c("session_id", "str", "Session label, with 'ses-'"),
        _c("reason", "str", "Reason code", required=True),
        _c("message", "str", "The reason in words, and advice", required=True),
    ),
)

#: Superficial siderosis: at most three sulci, or more (Charidimou et al., Neurology 2017).
SIDEROSES = ("absent", "focal", "disseminated")

#: Counts by the readers. They stand beside the automatic counts and never replace them. They are
#: null if nobody reviews the cohort.
REVIEW_COUNTS = (
    _c(
        "n_readers",
        "int",
        "Number of readers who judged every definite and possible lesion of the scan, or who read "
        "the scan free-hand",
    ),
    _c(
        "n_reviewed",
        "int",
        "Number of definite and possible lesions of the scan that have a verdict of the readers",
    ),
    _c(
        "n_review_open",
        "int",
        "Number of places of the scan without a verdict: lesions that nobody judged, and places "
        "that the readers dispute",
    ),
    _c(
        "n_cmb_reviewed",
        "int",
        "Number of definite microbleeds by the verdict of the readers, who may add missed ones; "
        "null while a lesion has no verdict, and for a scan without lesions that nobody read "
        "free-hand",
    ),
)

SCANS = Table(
    "scans",
    "a scan of the manifest, a faulty image, or a participant with neither",
    ("scan_id",),
    (
        *_SCAN,
        _c("suffix", "str", "BIDS suffix of the source"),
        _c("contrast", "str", "GRE or SWI", levels=("GRE", "SWI")),
        _c("path", "str", "Path of the source image, relative to the BIDS folder"),
        _c("status", "str", "Outcome of the scan", required=True, levels=STATUSES),
        _c("reason", "str", "Reason code; null if status is ok"),
        _c("message", "str", "The reason in words, and advice"),
        _c("stage", "str", "Stage in which the scan failed or was excluded"),
        _c("log", "str", "Path of the log of that stage, relative to the output folder"),
        *_GEOMETRY,
        _c("manufacturer", "str", "Maker of the scanner by Manufacturer of the sidecar"),
        *_PROTOCOL,
        *QC,
        _c(
            "left_right_known",
            "bool",
            "False if the header has no orientation (neither sform nor qform): no table then says "
            "left or right of this scan; null before preprocess measured the scan",
        ),
        _c(
            "n_candidates",
            "int",
            "Number of candidates of the 3D CNN, at most detect.max_candidates: a scan that has as "
            "many may hold more microbleeds than are counted; null before detect measured the scan",
        ),
        _c(
            "phase_sign",
            "str",
            "Sign of the phase where the field is above B0, as the scan's veins show it; null "
            "where no phase image was used, with the reason in warning",
            levels=PHASE_SIGNS,
        ),
        _c(
            "phase_certainty",
            "float",
            "Certainty of the sign of the phase by the veins, 0.5 to 1; below 0.999 the phase is "
            "not used; null without a readable phase image",
        ),
        _c("n_cmb", "int", "Number of definite microbleeds; null if the scan has no result"),
        _c("n_possible", "int", "Number of possible microbleeds; null if the scan has no result"),
        _c(
            "n_macrohaemorrhage",
            "int",
            "Number of definite detections with a diameter above aggregate.macrohaemorrhage_mm; "
            "n_cmb does not count them. The software looks for small spots: 0 does not say that "
            "there is no macrohaemorrhage",
        ),
        _PATTERN,
        *REVIEW_COUNTS,
        _c("siderosis", "str", "By the readers; null: not assessed", levels=SIDEROSES),
        _c("siderosis_place", "str", "Where readers see siderosis"),
        _c("siderosis_foci", "int", "Foci of siderosis by the readers; null: not counted"),
        _c(
            "warning",
            "str",
            "Remarks of the index and of the stages on the scan that are no reason for exclusion, "
            f"in the order of the stages, separated by {SEPARATOR.strip()!r}",
        ),
        _c("content_key", "str", "sha256 of image, T1w and used sidecar fields"),
        _c("detector_id", "str", "Model id of the 3D CNN; null if detect gave no result"),
        _c("verifier_id", "str", "Model id of YOLO; null if verify gave no result"),
    ),
)

_POSITION = (
    _c(
        "x_mm",
        "float",
        "Centre, scanner RAS, positive to the right; of unknown sign if left_right_known of the "
        "scan is false",
        "mm",
        required=True,
    ),
    _c("y_mm", "float", "Centre, scanner RAS, positive to the front", "mm", required=True),
    _c("z_mm", "float", "Centre, scanner RAS, positive upwards", "mm", required=True),
)

_SIZE = (
    _c(
        "volume_mm3",
        "float",
        "Volume of the connected voxels with more than half of the signal loss, without "
        "neighbouring dark structures",
        "mm3",
    ),
    _c("diameter_mm", "float", "Diameter of the sphere with this volume", "mm"),
)

#: Shape and place of a candidate, measured at verify.
FEATURES = (
    *_SIZE,
    _c("elongation", "float", "Longest in-plane axis of the signal loss, divided by the shortest"),
    _c("contrast", "float", "Depth of the signal loss over the signal around it, 0 to 1"),
    _c("tubularity", "float", "Likeness to a dark line by the Hessian: 0 a ball, 1 a line"),
    _c("edge_mm", "float", "Distance from the darkest voxel to the edge of the brain mask", "mm"),
    _c("sphericity", "float", "Surface of the ball of equal volume over the lesion's surface"),
    _c("through_plane", "float", "Length across the slices over the width in a slice"),
    _c("surroundings", "float", "Median signal 0.8 to 3 mm outside, 1 the brain's median"),
    _c(
        "dipole_correlation",
        "float",
        "Correlation of the phase about the centre with that of a paramagnetic sphere of this "
        "size, -1 to 1: blood products are above 0, calcium below; null where no phase is used",
    ),
    _c("ventricle_mm", "float", "Distance to a ventricle, of the scan or of MNI152", "mm"),
    _c("region", "str", "MARS region of the centre"),
    _c("group", "str", "Group of the MARS region", levels=GROUPS),
    _c("hemisphere", "str", _SIDE, levels=HEMISPHERES),
    _c("mni_x", "float", _MNI_X, "mm"),
    _c("mni_y", "float", "Centre in MNI152, positive to the front", "mm"),
    _c("mni_z", "float", "Centre in MNI152, positive upwards", "mm"),
)

CANDIDATES = Table(
    "candidates",
    "a candidate of the 3D CNN, verified or rejected",
    ("scan_id", "candidate_id"),
    (
        _c("scan_id", "str", "File name of the source image, without extension", required=True),
        _c("candidate_id", "int", "Number in the scan, by descending p_cnn", required=True),
        *_POSITION,
        _c("p_cnn", "float", "Score of the 3D CNN", required=True),
        _c("p_yolo", "float", "Score of YOLO for the class microbleed"),
        _c("p_mimic", "float", "Highest score of YOLO among the other classes"),
        _c("yolo_class", "str", "Class with the highest score of YOLO"),
        *FEATURES,
        _c("probability", "float", "Calibrated probability of being a microbleed"),
        _c("kept", "bool", "True if the label is definite or possible"),
        _c("label", "str", "Label by the thresholds", levels=(*LABELS, "rejected")),
    ),
)

LESIONS = Table(
    "lesions",
    "a lesion that is definite or possible",
    ("scan_id", "lesion_id"),
    (
        _c("scan_id", "str", "File name of the source image, without extension", required=True),
        _c("participant_id", "str", "Participant label, with 'sub-'", required=True),
        _c("session_id", "str", "Session label, with 'ses-'"),
        _c("lesion_id", "int", "The lesion's value in _label-CMB_dseg.nii.gz", required=True),
        *_POSITION,
        _c("mni_x", "float", _MNI_X, "mm"),
        _c("mni_y", "float", "Centre in MNI152, positive to the front", "mm"),
        _c("mni_z", "float", "Centre in MNI152, positive upwards", "mm"),
        *_SIZE,
        _c(
            "macrohaemorrhage",
            "bool",
            "True if the diameter is above "
            "aggregate.macrohaemorrhage_mm; no count of microbleeds "
            "has the lesion",
        ),
        _c("p_cnn", "float", "Score of the 3D CNN", required=True),
        _c("p_yolo", "float", "Score of YOLO for the class microbleed"),
        _c("probability", "float", "Calibrated probability of being a microbleed", required=True),
        _c(
            "label",
            "str",
            "Highest threshold that the probability reaches",
            required=True,
            levels=LABELS,
        ),
        _c("region", "str", "MARS region of the centre", required=True),
        _c("group", "str", "Group of the MARS region", required=True, levels=GROUPS),
        _c("hemisphere", "str", _SIDE, required=True, levels=HEMISPHERES),
    ),
)

COUNTS = Table(
    "counts",
    "a region on one side in one scan, also without microbleeds; a scan whose left and right are "
    "unknown has one row a region, of hemisphere unknown",
    ("scan_id", "region", "hemisphere"),
    (
        _c("scan_id", "str", "File name of the source image, without extension", required=True),
        _c("region", "str", "MARS region", required=True),
        _c("group", "str", "Group of the MARS region", required=True, levels=GROUPS),
        _c("hemisphere", "str", _SIDE, required=True, levels=HEMISPHERES),
        _c("n_definite", "int", "Number of definite microbleeds; null if the scan has no result"),
        _c("n_possible", "int", "Number of possible microbleeds; null if the scan has no result"),
    ),
)

PARTICIPANTS = Table(
    "participants",
    "a participant of the tree, with or without a usable scan",
    ("participant_id",),
    (
        _c("participant_id", "str", "Participant label, with 'sub-'", required=True),
        _c("cohort", "str", "Cohort of the chosen scan, else of the one that got furthest"),
        _c("age", "float", "Age at the chosen session, else of participants.tsv", "year"),
        _c("age_band", "str", "Band of age (report.age_bands)"),
        _c("sex", "str", "Sex at the chosen session, else of participants.tsv"),
        _c("site", "str", "Site of the chosen session, else of participants.tsv"),
        _c("diagnosis", "str", "Diagnosis at the chosen session, else of participants.tsv"),
        _c("scan_id", "str", "The participant's chosen scan; null without a usable scan"),
        _c("session_id", "str", "Session of the chosen scan"),
        _c("chosen_because", "str", "The rules that chose the scan, or why none is usable"),
        _c("missing_reason", "str", "Reason code of the scan that got furthest, if none is usable"),
        _c(
            "contrast",
            "str",
            "Contrast of the chosen scan, else of the one that got furthest",
            levels=("GRE", "SWI"),
        ),
        _c("n_scans", "int", "Number of the participant's scans, of any status", required=True),
        _c("n_cmb", "int", "Number of definite microbleeds of the chosen scan"),
        _c("n_possible", "int", "Number of possible microbleeds of the chosen scan"),
        _c("n_macrohaemorrhage", "int", "n_macrohaemorrhage of the chosen scan, as in scans"),
        *REVIEW_COUNTS,
        _c("cmb_bin", "str", "Bin of n_cmb (report.bins)"),
        _PATTERN,
        _c(
            "boston_imaging",
            "bool",
            "At least 2 strictly lobar haemorrhagic lesions (definite microbleeds and "
            "macrohaemorrhages), the cerebellum not counted: part of the imaging item of the "
            "Boston criteria v2.0. A lesion of a deep region or the brainstem makes it false. Null "
            "below 50 years, and where a lesion outside of every region leaves it open; an unknown "
            "age is taken as 50 or above",
        ),
        _c(
            "pattern_reviewed",
            "str",
            "Anatomical pattern of the readers' microbleeds; null where n_cmb_reviewed is",
            levels=PATTERN_LEVELS,
        ),
    ),
    open=True,
)

#: A reader's decisions. The reader accepts or rejects a detection, or adds a missed lesion.
#: ``read`` ends the reading of a scan that was shown without detections (free-hand). A ``note``
#: decides nothing.
DECISIONS = ("accept", "reject", "add", "read", "note", "scan")
MODES = ("review", "free-hand", "scan")
#: How certain a reader is of a microbleed; where a reader's region is from.
CERTAINTIES, REGIONS_FROM = ("definite", "possible"), ("atlas", "reader")
#: A reader's word on whether a scan can be judged.
QUALITIES = ("usable", "unusable")
#: Columns of `reviews` that readers' files of before 2026-11-28 lack.
_LATER = (
    "certainty",
    "region_from",
    "seconds",
    "quality",
    "quality_reason",
    "siderosis",
    "siderosis_place",
    "siderosis_foci",
)
#: Name of the reader whose decisions settle the disputes of the others.
CONSENSUS = "consensus"
#: Orders in which detections are shown.
ORDERS = ("useful", "random", "scan")

REVIEWS = Table(
    "reviews",
    "a reader's standing decision: neither undone nor superseded",
    ("scan_id", "reader", "mode", "candidate_id", "mark_id", "shown_x_mm", "shown_y_mm"),
    (
        _c("scan_id", "str", "File name of the source image, without extension", required=True),
        _c("reader", "str", "Reader; the decisions of 'consensus' settle disputes", required=True),
        _c(
            "mode",
            "str",
            "review: detections were shown; free-hand: the scan was shown without detections; "
            "scan: the reader's word on the scan as a whole",
            required=True,
            levels=MODES,
        ),
        _c("candidate_id", "int", "Judged candidate, by the reviewed run; null for marks"),
        _c("mark_id", "int", "Number of the reader's mark in the scan; null for candidates"),
        _c(
            "decision",
            "str",
            "The decision: a candidate is accepted or rejected, a lesion added, "
            "a scan read, a word said on the scan; a note decides nothing",
            required=True,
            levels=DECISIONS,
        ),
        _c(
            "class",
            "str",
            "Class by the reader: microbleed, or a mimic with YOLO's name; null "
            "for read, and for a mimic without a name",
        ),
        _c("x_mm", "float", "Centre by the reader, scanner RAS, positive to the right", "mm"),
        _c("y_mm", "float", "Centre by the reader, scanner RAS, positive to the front", "mm"),
        _c("z_mm", "float", "Centre by the reader, scanner RAS, positive upwards", "mm"),
        _c("shown_x_mm", "float", "Where the candidate was shown; null for own marks", "mm"),
        _c("shown_y_mm", "float", "Where the candidate was shown; null for own marks", "mm"),
        _c("shown_z_mm", "float", "Where the candidate was shown; null for own marks", "mm"),
        _c("region", "str", "MARS region of the centre"),
        _c("group", "str", "Group of the MARS region", levels=GROUPS),
        _c("hemisphere", "str", "Side of the brain", levels=HEMISPHERES),
        _c("note", "str", "The reader's note"),
        _c("blinded", "bool", "The software's probability and label were hidden", required=True),
        _c("ordering", "str", "Order of the detections shown", required=True, levels=ORDERS),
        _c("content_key", "str", "Content key of the scan as it was shown", required=True),
        _c("certainty", "str", "Of a microbleed; null is definite", levels=CERTAINTIES),
        _c("region_from", "str", "Who named the region; null is atlas", levels=REGIONS_FROM),
        _c("seconds", "float", "From the first sight of the case to the decision", "s"),
        _c("quality", "str", "Whether the scan can be judged; null: not said", levels=QUALITIES),
        _c("quality_reason", "str", "Why the reader holds the scan for unusable"),
        _c("siderosis", "str", "Superficial siderosis; null: not assessed", levels=SIDEROSES),
        _c("siderosis_place", "str", "Where the reader sees siderosis"),
        _c("siderosis_foci", "int", "Foci of siderosis that the reader counts; null: not counted"),
    ),
    later=_LATER,
)

#: The sample of scans that readers read free-hand: drawn once, and kept with the readers' files.
FREE_HAND_SAMPLE = Table(
    "free_hand_sample",
    "a participant's chosen scan, which the sample of free-hand readings is drawn from",
    ("scan_id",),
    (
        _c("scan_id", "str", "File name of the source image, without extension", required=True),
        _c("participant_id", "str", "Participant label, with 'sub-'", required=True),
        _c("contrast", "str", "GRE or SWI", levels=("GRE", "SWI")),
        _c(
            "reading_class",
            "int",
            "Class of the probability that the scan has a microbleed, when the sample was drawn: 0 "
            "no lesion, then rising; scans of a class were equally likely to be drawn",
            required=True,
        ),
        _c("expected", "float", "The probability itself", required=True),
        _c("number", "float", "Random number of the scan; the smallest are read", required=True),
    ),
)

SETTLED = ("one reader", "agreed", "majority", "consensus", "disputed", "open")

REVIEWED = Table(
    "reviewed",
    "a place in a reviewed scan: a lesion of the software, or a place that a reader judged or "
    "marked",
    ("scan_id", "place_id"),
    (
        _c("scan_id", "str", "File name of the source image, without extension", required=True),
        _c("participant_id", "str", "Participant label, with 'sub-'", required=True),
        _c("contrast", "str", "GRE or SWI", levels=("GRE", "SWI")),
        _c("place_id", "int", "Number of the place in the scan", required=True),
        _c("candidate_id", "int", "Candidate at the place; null if the software has none there"),
        _c("lesion_id", "int", "Definite or possible lesion at the place, as in lesions"),
        _c("label", "str", "Label by the software", levels=(*LABELS, "rejected")),
        _c("probability", "float", "Calibrated probability of being a microbleed"),
        *_POSITION,
        _c("diameter_mm", "float", "Diameter by the software", "mm"),
        _c("region", "str", "MARS region"),
        _c("group", "str", "Group of the MARS region", levels=GROUPS),
        _c("hemisphere", "str", "Side of the brain", levels=HEMISPHERES),
        _c("n_votes", "int", "Number of readers with a vote, without consensus", required=True),
        _c(
            "votes",
            "str",
            "Votes as JSON, reader to class; 'not a microbleed' is a rejection without a class, "
            "'not marked' a place without a mark in a scan that the reader read free-hand",
        ),
        _c("free_hand", "bool", "A reader marked the place in a free-hand reading", required=True),
        _c("settled", "str", "Origin of the verdict", required=True, levels=SETTLED),
        _c("microbleed", "bool", "Verdict of the readers; null if settled is disputed or open"),
        _c(
            "reviewed_class",
            "str",
            "The one class that the votes for the verdict name; of a microbleed 'microbleed' where "
            "more readers hold it for definite than for possible, else 'possible microbleed'",
        ),
    ),
)

SUMMARY = Table(
    "summary",
    "one estimate",
    ("stratum", "measure"),
    (
        _c(
            "stratum",
            "str",
            "Participants (or scans) that the estimate is of: 'all', or "
            "'variable=level' joined by ' & '",
            required=True,
        ),
        _c("measure", "str", "Name of the estimated quantity", required=True),
        _c("estimate", "float", "The estimate; null if there is none (method says why)"),
        _c("ci_low", "float", "Lower end of the 95 % interval"),
        _c("ci_high", "float", "Upper end of the 95 % interval"),
        _c("n", "int", "Numerator, or the number of observations behind the estimate"),
        _c("denominator", "int", "Denominator"),
        _c("method", "str", "Method of estimate and interval, or why there is none", required=True),
    ),
)

CURVES = Table(
    "curves",
    "a point of a curve that the report draws",
    ("curve", "contrast", "model", "x"),
    (
        _c(
            "curve",
            "str",
            "prevalence: share of participants with a lesion of a probability of at least x; "
            "froc: sensitivity for microbleeds at x false positives a scan, of a model's contract",
            required=True,
            levels=("prevalence", "froc"),
        ),
        _c("contrast", "str", "GRE or SWI; null for froc", levels=("GRE", "SWI")),
        _c("model", "str", "The model's id; null for prevalence"),
        _c("x", "float", "Threshold of the probability, or false positives a scan", required=True),
        _c("estimate", "float", "Value of the curve at x", required=True),
        _c("ci_low", "float", "Lower end of the 95 % interval; null for froc"),
        _c("ci_high", "float", "Upper end of the 95 % interval; null for froc"),
        _c("n", "int", "Number of participants with such a lesion; null for froc"),
        _c("denominator", "int", "Number of participants; null for froc"),
        _c("method", "str", "Method of estimate and interval", required=True),
    ),
)

LESION_CELLS = Table(
    "lesion_cells",
    "a cell of 10 x 10 x 20 mm of MNI152 with a definite microbleed of a contrast",
    ("contrast", "mni_x", "mni_y", "mni_z"),
    (
        _c("contrast", "str", "GRE or SWI", required=True, levels=("GRE", "SWI")),
        _c("mni_x", "int", "Centre in MNI152, positive to the right", "mm", required=True),
        _c("mni_y", "int", "Centre in MNI152, positive to the front", "mm", required=True),
        _c("mni_z", "int", "Centre in MNI152, positive upwards", "mm", required=True),
        _c("n", "int", "Number of definite microbleeds in the cell", required=True),
        _c("denominator", "int", "Number of definite microbleeds of the contrast", required=True),
    ),
)

#: Outcomes of a session in `longitudinal`.
FOLLOWED_STATUSES = ("followed", "not read", "not registered", "not alike", "crashed")

FOLLOWED_SESSIONS = Table(
    "followed_sessions",
    "a session of a participant with several sessions (in work/)",
    ("participant_id", "session_id"),
    (
        _c("participant_id", "str", "Participant label, with 'sub-'", required=True),
        _c("session_id", "str", "Session label, with 'ses-'; null for files in no session"),
        _c("scan_id", "str", "Scan that stands for the session; null if none has a result"),
        _c("status", "str", "Outcome of the session", required=True, levels=FOLLOWED_STATUSES),
        _c(
            "overlap",
            "float",
            "Share of the brain that is brain in another session too; the "
            "smallest over the other sessions",
        ),
        _c(
            "correlation",
            "float",
            "Correlation of the signal in the brain with another session; "
            "the smallest over the other sessions",
        ),
    ),
)

TRACKS = Table(
    "tracks",
    "a lesion of a participant in one followed session, detected there or not (in work/)",
    ("participant_id", "track_id", "scan_id"),
    (
        _c("participant_id", "str", "Participant label, with 'sub-'", required=True),
        _c("track_id", "int", "Number of the lesion in the participant", required=True),
        _c("scan_id", "str", "Scan that stands for the session", required=True),
        _c("session_id", "str", "Session label, with 'ses-'"),
        _c("found", "bool", "Detected in this session: definite or possible", required=True),
        _c("lesion_id", "int", "The lesion's value in _label-CMB_dseg.nii.gz"),
        _c("label", "str", "Highest threshold that the probability reaches", levels=LABELS),
        _c("probability", "float", "Calibrated probability; null if not found"),
        _c(
            "x_mm",
            "float",
            "Centre of the lesion if found, else its expected place; scanner RAS, "
            "positive to the right",
            "mm",
            required=True,
        ),
        _c(
            "y_mm",
            "float",
            "Centre of the lesion if found, else its expected place; scanner RAS, "
            "positive to the front",
            "mm",
            required=True,
        ),
        _c(
            "z_mm",
            "float",
            "Centre of the lesion if found, else its expected place; scanner RAS, positive upwards",
            "mm",
            required=True,
        ),
        _c("middle_x_mm", "float", "Centre, or expected place, in the mid-space", "mm"),
        _c("middle_y_mm", "float", "Centre, or expected place, in the mid-space", "mm"),
        _c("middle_z_mm", "float", "Centre, or expected place, in the mid-space", "mm"),
        _c("in_view", "bool", "The place lies within the brain mask of this scan", required=True),
        _c(
            "candidate_id",
            "int",
            "If not found: the rejected candidate that contributes most to "
            "p_there; null without one in reach",
        ),
        _c("candidate_probability", "float", "Calibrated probability of that candidate"),
        _c("candidate_mm", "float", "Distance from the expected place to that candidate", "mm"),
        _c("p_there", "float", "Probability of presence in this scan; 1 if found", required=True),
        _c("region", "str", "MARS region", required=True),
        _c("group", "str", "Group of the MARS region", required=True, levels=GROUPS),
        _c("hemisphere", "str", "Side of the brain", required=True, levels=HEMISPHERES),
    ),
)

_PAIR = (
    _c("participant_id", "str", "Participant label, with 'sub-'", required=True),
    _c("scan_id_1", "str", "Scan of the earlier session", required=True),
    _c("scan_id_2", "str", "Scan of the later session", required=True),
    _c("session_id_1", "str", "Label of the earlier session, with 'ses-'"),
    _c("session_id_2", "str", "Label of the later session, with 'ses-'"),
)

PAIRS = Table(
    "pairs",
    "two followed sessions of a participant: each session with the next, and the first with each "
    "later one",
    ("participant_id", "scan_id_1", "scan_id_2"),
    (
        *_PAIR,
        _c("consecutive", "bool", "No followed session lies between the two", required=True),
        _c("since_baseline", "bool", "The earlier session is the first followed", required=True),
        _c("last", "bool", "The later session is the last followed", required=True),
        _c(
            "order_from",
            "str",
            "Source of the order of sessions",
            required=True,
            levels=("acq_time", "age", "label"),
        ),
        _c("years", "float", "Time between the two sessions; null if unknown", "year"),
        _c("years_from", "str", "Source of the time", levels=("acq_time", "age")),
        _c("contrast", "str", "Contrast of both scans; null if different", levels=("GRE", "SWI")),
        _c("comparable", "bool", "Same sequence within longitudinal.tolerance", required=True),
        _c("difference", "str", "Differences between the two sequences; null without any"),
        _c("not_known", "str", "Parameters of the sequence that one of the scans lacks"),
        _c("n_new", "int", "Number of definite microbleeds called new", required=True),
        _c(
            "n_persisting", "int", "Number of definite microbleeds called persisting", required=True
        ),
        _c("n_found_once", "int", "Of n_persisting: found in one session only", required=True),
        _c("n_lost", "int", "Number of definite microbleeds called lost", required=True),
        _c("n_not_comparable", "int", "Number of definite microbleeds out of view", required=True),
        _c("n_new_possible", "int", "Number of possible microbleeds called new", required=True),
        _c(
            "expected_new",
            "float",
            "Expected number of new definite microbleeds: sum of 1 - "
            "p_missed over those found in the later session, and neither "
            "in the earlier session nor before",
            required=True,
        ),
        _c(
            "aria_h_style",
            "str",
            "Category of n_new (longitudinal.bins), if from baseline and comparable",
        ),
    ),
)

CHANGES = Table(
    "changes",
    "a lesion in a pair of sessions (see `pairs`) that was detected in at least one of the two",
    ("participant_id", "scan_id_1", "scan_id_2", "track_id"),
    (
        *_PAIR,
        _c("track_id", "int", "Number of the lesion in the participant", required=True),
        _c("change", "str", "The call of the lesion", required=True, levels=CHANGES_OF_A_LESION),
        _c(
            "why",
            "str",
            "Ground of the call",
            required=True,
            levels=("found in both", "score", "found before and after", "not found", "not in view"),
        ),
        _c("comparable", "bool", "The two scans have the same sequence", required=True),
        _c(
            "label",
            "str",
            "definite if the lesion is definite in one of the two sessions, else possible",
            required=True,
            levels=LABELS,
        ),
        _c(
            "macrohaemorrhage",
            "bool",
            "True if the lesion is a macrohaemorrhage in one of the "
            "two sessions; no count has the lesion",
            required=True,
        ),
        _c("lesion_id_1", "int", "Lesion of the earlier scan, as in lesions; null if not found"),
        _c("lesion_id_2", "int", "Lesion of the later scan, as in lesions; null if not found"),
        _c("probability_1", "float", "Probability in the earlier scan; null if not found"),
        _c("probability_2", "float", "Probability in the later scan; null if not found"),
        _c(
            "candidate_probability",
            "float",
            "If the lesion was found in one scan only: "
            "calibrated probability of the rejected candidate in "
            "the other scan; null without one in reach",
        ),
        _c("candidate_mm", "float", "Distance from the expected place to that candidate", "mm"),
        _c(
            "p_missed",
            "float",
            "Probability that the lesion is present, and missed, in the "
            "session without it; null if found in both",
        ),
        _c(
            "confirmed",
            "bool",
            "If the lesion was found in one scan only: the readers' verdict whether it is a "
            "microbleed there; null without a verdict",
        ),
        _c("distance_mm", "float", "Distance of the two centres in the mid-space", "mm"),
        *(
            _c(
                f"{axis}_mm_{k}",
                "float",
                f"Centre, or expected place, in scan {k}, scanner RAS",
                "mm",
                required=True,
            )
            for k in (1, 2)
            for axis in "xyz"
        ),
        _c("region", "str", "MARS region", required=True),
        _c("group", "str", "Group of the MARS region", required=True, levels=GROUPS),
        _c("hemisphere", "str", "Side of the brain", required=True, levels=HEMISPHERES),
    ),
)

#: Ways to draw an inserted lesion.
RENDERERS = ("physics", "transplant", "plain")
#: What became of an inserted lesion: the label of the candidate at its place, or none.
INSERTED_LABELS = (*LABELS, "rejected", "not proposed")

INSERTED = Table(
    "inserted",
    "a lesion that was inserted into a copy of a scan; it is in no other table",
    ("scan_id", "number"),
    (
        *_SCAN,
        _c("number", "int", "Number of the inserted lesion in the copy", required=True),
        _c("contrast", "str", "GRE or SWI", required=True, levels=("GRE", "SWI")),
        _c("manufacturer", "str", "Manufacturer of the sidecar"),
        _c("scanner_model", "str", "ManufacturersModelName of the sidecar"),
        _c("echo_time_s", "float", "EchoTime of the sidecar", "s"),
        _c("field_strength_t", "float", "MagneticFieldStrength of the sidecar", "T"),
        _c("slice_mm", "float", "Voxel size through plane", "mm", required=True),
        _c("renderer", "str", "How the lesion was drawn", required=True, levels=RENDERERS),
        _c(
            "assumed",
            "bool",
            "True where field or echo time is not known and 3 T or 20 ms was assumed",
            required=True,
        ),
        _c("part", "str", "Part of the brain, as published sets name it", required=True),
        _c("x_mm", "float", "Centre, scanner RAS", "mm", required=True),
        _c("y_mm", "float", "Centre, scanner RAS", "mm", required=True),
        _c("z_mm", "float", "Centre, scanner RAS", "mm", required=True),
        _c("region", "str", "MARS region of the centre", required=True),
        _c("group", "str", "Group of the MARS region", required=True, levels=GROUPS),
        _c(
            "diameter_mm",
            "float",
            "Apparent diameter: that of the disc with the area in the slice in which the loss is "
            "half of the largest or more",
            "mm",
            required=True,
        ),
        _c(
            "signal_loss",
            "float",
            "Share of the signal that the darkest voxel lacks, against the tissue about it and "
            "against the same voxel without the lesion",
            required=True,
        ),
        _c(
            "surrounded",
            "float",
            "Share of the ring about the lesion that is visible tissue",
            required=True,
        ),
        _c(
            "visible",
            "bool",
            "True where a reader would call it a microbleed: a void, surrounded by tissue",
            required=True,
        ),
        _c(
            "before",
            "bool",
            "True where the run had a definite or possible lesion there without the insertion: "
            "it counts neither as hit nor as miss",
            required=True,
        ),
        _c(
            "label",
            "str",
            "Label of the candidate that was matched to the lesion",
            required=True,
            levels=INSERTED_LABELS,
        ),
        _c("p_cnn", "float", "Score of the 3D CNN of that candidate"),
        _c("probability", "float", "Calibrated probability of that candidate"),
    ),
)

INSERTION = Table(
    "insertion",
    "the sensitivity for inserted lesions in one stratum",
    ("contrast", "label", "axis", "level", "renderer"),
    (
        _c("contrast", "str", "GRE or SWI", required=True, levels=("GRE", "SWI")),
        _c("label", "str", "definite, or possible and definite", required=True, levels=LABELS),
        _c("axis", "str", "What the levels divide by", required=True),
        _c("level", "str", "Level of the axis", required=True),
        _c("x", "float", "Middle of the level, for a curve; null where there is none"),
        _c(
            "renderer",
            "str",
            "How the lesions were drawn; 'lowest': that of the renderers with the lowest estimate, "
            "among those with enough lesions",
            required=True,
            levels=(*RENDERERS, "lowest"),
        ),
        _c("estimate", "float", "Sensitivity; null where too few lesions were inserted"),
        _c("ci_low", "float", "Lower end of the 95 % interval"),
        _c("ci_high", "float", "Upper end of the 95 % interval"),
        _c("lowest_is", "str", "Renderer of that row; null in others", levels=RENDERERS),
        _c("n", "int", "Lesions that were detected", required=True),
        _c("denominator", "int", "Lesions that were inserted and count", required=True),
        _c("participants", "int", "Participants with such a lesion", required=True),
        _c("due", "int", "Lesions that are still lacking for an estimate", required=True),
        _c("method", "str", "Method of estimate and interval, or why there is none", required=True),
    ),
)

RUNS = Table(
    "runs",
    "a stage's run over a scan or a bucket",
    ("stage", "unit"),
    (
        _c("stage", "str", "Name of the stage", required=True),
        _c("unit", "str", "Id of the scan, or name of the bucket", required=True),
        _c("stage_version", "int", "Version of the stage's code", required=True),
        _c("cmburden_version", "str", "Version of CMBurden", required=True),
        _c("versions", "str", "Versions of the libraries as JSON"),
        _c("config_sha256", "str", "sha256 of the stage's settings"),
        _c("weights_sha256", "str", "sha256 of the weights; null for a stage without a model"),
        _c("device", "str", "cpu, the GPU's name, or cached if no network ran"),
        _c(
            "precision",
            "str",
            "Precision of the networks, single or fast; null for a stage whose networks have none",
        ),
        _c("seconds", "float", "Wall time of the run that made the result", "s"),
    ),
)

#: Radius of a microbleed whose reader gave none, mm: simulated ones have medians of 1.3 to 1.6
#: (docs/training.md).
RADIUS_MM = 1.4

_OF_TRUTH = (
    _c("scan_id", "str", "File name of the image, without extension", required=True),
    _c(
        "cohort",
        "str",
        "Cohort: of an onboarded scan its name, of a simulated one the acquisition preset",
        required=True,
    ),
    _c("participant_id", "str", "Participant label, with 'sub-'", required=True),
    _c("session_id", "str", "Session label, with 'ses-'"),
)

TRUTH = Table(
    "truth",
    "a microbleed that readers marked or that was simulated, a simulated mimic, or a scan that was "
    "read without a finding",
    ("scan_id", "source_id"),
    (
        *_OF_TRUTH,
        _c(
            "source_id",
            "int",
            "Number in the scan; 0 for a scan without microbleeds and mimics",
            required=True,
        ),
        _c(
            "kind",
            "str",
            "Kind: microbleed (by readers: definite), faint (MARS: possible), calcification ...; "
            "'none' for a scan in which nothing was found or simulated",
            required=True,
        ),
        _c("x_mm", "float", "Centre, scanner RAS, positive to the right", "mm"),
        _c("y_mm", "float", "Centre, scanner RAS, positive to the front", "mm"),
        _c("z_mm", "float", "Centre, scanner RAS, positive upwards", "mm"),
        _c(
            "radius_mm",
            "float",
            f"Radius of the visible signal loss; {RADIUS_MM:g} where readers gave none",
            "mm",
        ),
        _c("source_radius_mm", "float", "Radius of the source; null if not simulated", "mm"),
        _c(
            "susceptibility_ppm",
            "float",
            "Susceptibility relative to tissue; null if not simulated",
            "ppm",
        ),
        _c(
            "region",
            "str",
            "MARS region by the labels of the simulated anatomy; null if not simulated",
        ),
        _c("group", "str", "Group of the MARS region; null if not simulated", levels=GROUPS),
    ),
)

#: Each reader's own lesions, where several read the scans: `TRUTH` has what was made of them.
READERS_TRUTH = dataclasses.replace(
    TRUTH,
    name="readers_truth",
    row="a microbleed that a reader marked, or a scan that a reader read without a finding",
    key=("scan_id", "reader", "source_id"),
    columns=(*TRUTH.columns, _c("reader", "str", "Reader as the table says", required=True)),
)

COUNTS_TRUTH = Table(
    "counts_truth",
    "a scan whose microbleeds readers counted, without places",
    ("scan_id",),
    (
        *_OF_TRUTH,
        _c("n_cmb", "int", "Number of definite microbleeds by the readers", required=True),
        _c("n_lobar", "int", "Number of those that are lobar; null where not told"),
        _c(
            "n_deep",
            "int",
            "Number of those that are deep, as the readers' table groups them; null where not told",
        ),
    ),
)

FOLDS = Table(
    "folds",
    "a participant of an onboarded cohort",
    ("participant_id",),
    (
        _c("participant_id", "str", "Participant label, with 'sub-'", required=True),
        _c("person", "str", "The person: equal labels are one person", required=True),
        _c(
            "family",
            "str",
            "Cohorts that may share people have one family: CSIRO's set is made of AIBL's scans. "
            "Networks tuned on a family are evaluated on another, or on other folds of one cohort",
            required=True,
        ),
        _c("fold", "int", "0 to 4, by a hash of the person", required=True),
    ),
)

#: Truth of participants with several sessions.
TRACKED_TRUTH = dataclasses.replace(
    TRUTH,
    name="tracked_truth",
    row="a simulated microbleed or mimic in a session of a participant",
    columns=(
        *TRUTH.columns,
        _c("track_id", "int", "Number of the source in the participant, the same in all sessions"),
    ),
)

ALL = {
    table.name: table
    for table in (
        MANIFEST, REJECTED, SCANS, LESIONS, COUNTS, PARTICIPANTS, SUMMARY, CURVES, LESION_CELLS,
        CHANGES, PAIRS, RUNS, CANDIDATES, FOLLOWED_SESSIONS, TRACKS, TRUTH, READERS_TRUTH,
        COUNTS_TRUTH, FOLDS, REVIEWS, REVIEWED, FREE_HAND_SAMPLE, INSERTED, INSERTION,
    )
}  # fmt: skip
