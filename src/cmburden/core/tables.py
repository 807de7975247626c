"""The tables' contract, written once: Parquet schema, JSON sidecar, docs and tests use it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

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
GROUPS = ("lobar", "deep", "infratentorial", "unknown")
STATUSES = ("ok", "failed", "excluded")
LABELS = ("definite", "possible")
CHANGES_OF_A_LESION = ("new", "persisting", "lost", "not comparable")
HEMISPHERES = ("left", "right", "unknown")

_SCAN = (
    _c("scan_id", "str", "Name of the source image without extension", required=True),
    _c("cohort", "str", "Cohort whose participant_pattern matches", required=True),
    _c("participant_id", "str", "Participant, with 'sub-'", required=True),
    _c("session_id", "str", "Session, with 'ses-'; null where the tree has none"),
)

_GEOMETRY = (
    _c("echo_time_s", "float", "EchoTime of the sidecar", "s"),
    _c("field_strength_t", "float", "MagneticFieldStrength of the sidecar", "T"),
    _c("voxel_x_mm", "float", "In-plane voxel size, first axis", "mm"),
    _c("voxel_y_mm", "float", "In-plane voxel size, second axis", "mm"),
    _c("slice_mm", "float", "Voxel size through plane (the largest of the three)", "mm"),
)

#: QC measures: written by preprocess and register into their outcomes, gathered into `scans`.
QC = (
    _c("brain_volume_ml", "float", "Volume of the brain mask", "ml"),
    _c("mask_compactness", "float", "Sphericity of the brain mask, 1 for a sphere"),
    _c("coverage", "float", "Share of the brain's extent in the field of view, least axis"),
    _c("snr", "float", "Median brain signal over the robust spread of the background noise"),
    _c("contrast_csf_tissue", "float", "95th percentile over median of the signal in the brain"),
    _c("dark_fraction", "float", "Share of brain voxels below 0.4 of the median: veins, dropout"),
    _c("bias_spread", "float", "Coefficient of variation of the estimated bias field"),
    _c("registration_correlation", "float", "Correlation of the aligned image with the template"),
)

MANIFEST = Table(
    "manifest",
    "a scan found in the BIDS tree that is searched for microbleeds",
    ("scan_id",),
    (
        *_SCAN,
        _c("suffix", "str", "BIDS suffix of the source", required=True),
        _c("contrast", "str", "GRE or SWI", required=True, levels=("GRE", "SWI")),
        _c("path", "str", "Source image, relative to the BIDS folder", required=True),
        _c("entities", "str", "JSON list of [key, value] BIDS entities", required=True),
        _c("t1w_path", "str", "T1w used for registration, relative; null without one"),
        _c("phase_path", "str", "Phase image of the same echo, relative; null without one"),
        _c("echo_time_s", "float", "EchoTime of the sidecar", "s"),
        _c("field_strength_t", "float", "MagneticFieldStrength of the sidecar", "T"),
        _c("manufacturer", "str", "Manufacturer of the sidecar"),
        _c("bucket", "int", "Bucket of detect and verify, by hash of scan_id", required=True),
        _c("content_key", "str", "sha256 of image, used sidecar fields and T1w", required=True),
        _c("warning", "str", "What is odd about the scan but does not stop it"),
    ),
)

REJECTED = Table(
    "rejected",
    "an image, or a participant, that gives no scan, with the reason",
    ("path", "participant_id"),
    (
        _c("path", "str", "Image, relative to the BIDS folder; the folder of a participant"),
        _c("participant_id", "str", "Participant, with 'sub-'"),
        _c("cohort", "str", "Cohort whose participant_pattern matches, where known"),
        _c("session_id", "str", "Session, with 'ses-'"),
        _c("reason", "str", "Reason code", required=True),
        _c("message", "str", "What was found and what to do", required=True),
    ),
)

#: What readers made of a scan, beside the automatic counts and never instead of them. Null where
#: nobody reviews the cohort.
REVIEW_COUNTS = (
    _c(
        "n_readers",
        "int",
        "Readers who judged every definite and possible lesion of the scan, or read it free-hand",
    ),
    _c("n_reviewed", "int", "Definite and possible lesions of the scan that readers settled"),
    _c(
        "n_review_open",
        "int",
        "Of the scan's definite, possible and added lesions, those not judged or in dispute",
    ),
    _c(
        "n_cmb_reviewed",
        "int",
        "Microbleeds by the readers, missed ones that they added included; null while a lesion is "
        "open, and for a scan without lesions that nobody read free-hand",
    ),
)

SCANS = Table(
    "scans",
    "every scan of the manifest, whatever became of it, and every participant without one",
    ("scan_id",),
    (
        *_SCAN,
        _c("suffix", "str", "BIDS suffix of the source"),
        _c("contrast", "str", "GRE or SWI", levels=("GRE", "SWI")),
        _c("path", "str", "Source image, relative to the BIDS folder"),
        _c("status", "str", "What became of it", required=True, levels=STATUSES),
        _c("reason", "str", "Reason code where status is not ok"),
        _c("message", "str", "The reason in words, with what to do"),
        _c("stage", "str", "Stage that failed or excluded it"),
        _c("log", "str", "Log of that stage, relative to the output folder"),
        *_GEOMETRY,
        *QC,
        _c("n_cmb", "int", "Definite microbleeds; null where the scan was not read"),
        _c("n_possible", "int", "Possible microbleeds; null where the scan was not read"),
        _c(
            "n_macrohaemorrhage",
            "int",
            "Definite lesions too large for a microbleed, not in n_cmb (aggregate settings)",
        ),
        _c("pattern", "str", "Pattern of the definite microbleeds", levels=PATTERNS),
        *REVIEW_COUNTS,
        _c("warning", "str", "What is odd about the scan but does not stop it"),
        _c("content_key", "str", "sha256 of image, used sidecar fields and T1w"),
        _c("detector_id", "str", "Model id of the 3D CNN"),
        _c("verifier_id", "str", "Model id of the YOLO stage"),
    ),
)

_POSITION = (
    _c("x_mm", "float", "Centre, scanner RAS, to the right", "mm", required=True),
    _c("y_mm", "float", "Centre, scanner RAS, to the front", "mm", required=True),
    _c("z_mm", "float", "Centre, scanner RAS, upwards", "mm", required=True),
)

_SIZE = (
    _c(
        "volume_mm3",
        "float",
        "Volume at half depth of the signal loss, up to the next dark thing",
        "mm3",
    ),
    _c("diameter_mm", "float", "Diameter of the sphere of that volume", "mm"),
)

#: Shape and place of a candidate, measured at verify.
FEATURES = (
    *_SIZE,
    _c("elongation", "float", "Longest over shortest in-plane axis of the signal loss"),
    _c("contrast", "float", "Depth of the signal loss over the surrounding signal, 0 to 1"),
    _c("tubularity", "float", "Vesselness of the surroundings: dark line through the candidate"),
    _c("edge_mm", "float", "Distance to the edge of the brain mask", "mm"),
    _c("sphericity", "float", "Surface of the ball of equal volume over its own; 1 is round"),
    _c("through_plane", "float", "Length across the slices over the width in the slice"),
    _c("surroundings", "float", "Signal of the 3 mm around it, 1 the brain's median"),
    _c("ventricle_mm", "float", "Distance to the ventricles, the scan's own or MNI152's", "mm"),
    _c("region", "str", "MARS region of the centre"),
    _c("group", "str", "MARS group", levels=GROUPS),
    _c("hemisphere", "str", "Side", levels=HEMISPHERES),
    _c("mni_x", "float", "Centre in MNI152, to the right", "mm"),
    _c("mni_y", "float", "Centre in MNI152, to the front", "mm"),
    _c("mni_z", "float", "Centre in MNI152, upwards", "mm"),
)

CANDIDATES = Table(
    "candidates",
    "every candidate of the CNN before verification",
    ("scan_id", "candidate_id"),
    (
        _c("scan_id", "str", "Name of the source image without extension", required=True),
        _c("candidate_id", "int", "Number within the scan, by falling p_cnn", required=True),
        *_POSITION,
        _c("p_cnn", "float", "Score of the 3D CNN", required=True),
        _c("p_yolo", "float", "YOLO score of class microbleed"),
        _c("p_mimic", "float", "Highest YOLO score of the other classes"),
        _c("yolo_class", "str", "Class that YOLO holds most likely"),
        *FEATURES,
        _c("probability", "float", "Calibrated probability of being a microbleed"),
        _c("kept", "bool", "Definite or possible"),
        _c(
            "label",
            "str",
            "definite, possible or rejected",
            levels=(*LABELS, "rejected"),
        ),
    ),
)

LESIONS = Table(
    "lesions",
    "a lesion that is definite or possible",
    ("scan_id", "lesion_id"),
    (
        _c("scan_id", "str", "Name of the source image without extension", required=True),
        _c("participant_id", "str", "Participant, with 'sub-'", required=True),
        _c("session_id", "str", "Session, with 'ses-'"),
        _c("lesion_id", "int", "Value in _label-CMB_dseg.nii.gz", required=True),
        *_POSITION,
        _c("mni_x", "float", "Centre in MNI152, to the right", "mm"),
        _c("mni_y", "float", "Centre in MNI152, to the front", "mm"),
        _c("mni_z", "float", "Centre in MNI152, upwards", "mm"),
        *_SIZE,
        _c("macrohaemorrhage", "bool", "Diameter above 10 mm: not counted as a microbleed"),
        _c("p_cnn", "float", "Score of the 3D CNN", required=True),
        _c("p_yolo", "float", "YOLO score of class microbleed"),
        _c("probability", "float", "Calibrated probability of being a microbleed", required=True),
        _c(
            "label",
            "str",
            "Which threshold it passes",
            required=True,
            levels=LABELS,
        ),
        _c("region", "str", "MARS region of the centre", required=True),
        _c("group", "str", "MARS group", required=True, levels=GROUPS),
        _c("hemisphere", "str", "Side", required=True, levels=HEMISPHERES),
    ),
)

COUNTS = Table(
    "counts",
    "scan x region x hemisphere, zeros included; null where the scan was not read",
    ("scan_id", "region", "hemisphere"),
    (
        _c("scan_id", "str", "Name of the source image without extension", required=True),
        _c("region", "str", "MARS region", required=True),
        _c("group", "str", "MARS group", required=True, levels=GROUPS),
        _c("hemisphere", "str", "Side", required=True, levels=HEMISPHERES),
        _c("n_definite", "int", "Definite microbleeds; null where the scan was not read"),
        _c("n_possible", "int", "Possible microbleeds; null where the scan was not read"),
    ),
)

PARTICIPANTS = Table(
    "participants",
    "a participant of the tree, read or not",
    ("participant_id",),
    (
        _c("participant_id", "str", "Participant, with 'sub-'", required=True),
        _c("cohort", "str", "Cohort of the scan chosen, else of any scan"),
        _c(
            "age",
            "float",
            "Age at the session chosen where sessions.tsv has it, else that of participants.tsv",
            "year",
        ),
        _c("age_band", "str", "Age band (report.age_bands)"),
        _c("sex", "str", "Sex of participants.tsv"),
        _c("site", "str", "Site of participants.tsv"),
        _c("diagnosis", "str", "Diagnosis of participants.tsv"),
        _c("scan_id", "str", "Scan chosen for the participant; null without a usable one"),
        _c("session_id", "str", "Session of the scan chosen"),
        _c("chosen_because", "str", "Why that scan, or why none"),
        _c(
            "missing_reason",
            "str",
            "Reason code of the participant's scan that got furthest; null with a usable scan",
        ),
        _c(
            "contrast",
            "str",
            "Of the scan chosen, else of the one that got furthest",
            levels=("GRE", "SWI"),
        ),
        _c("n_scans", "int", "Scans of the participant, whatever became of them", required=True),
        _c("n_cmb", "int", "Definite microbleeds of the scan chosen"),
        _c("n_possible", "int", "Possible microbleeds of the scan chosen"),
        _c("n_macrohaemorrhage", "int", "Macrohaemorrhages of the scan chosen, not in n_cmb"),
        *REVIEW_COUNTS,
        _c("cmb_bin", "str", "Count bin of n_cmb (report.bins)"),
        _c("pattern", "str", "Pattern of the definite microbleeds", levels=PATTERNS),
        _c(
            "boston_imaging",
            "bool",
            "At least 2 strictly lobar microbleeds (imaging item)",
        ),
    ),
    open=True,
)

#: A reader's decision on a place: a detection is accepted or rejected, a missed lesion added, and
#: a scan read free-hand (shown without detections) is said to be read. ``note`` decides nothing.
DECISIONS = ("accept", "reject", "add", "read", "note")
MODES = ("review", "free-hand")
#: The reader whose decisions settle what other readers dispute.
CONSENSUS = "consensus"
#: Orders in which detections are shown.
ORDERS = ("useful", "random", "scan")

REVIEWS = Table(
    "reviews",
    "a reader's decision that stands: undone and superseded ones are not here",
    ("scan_id", "reader", "mode", "candidate_id", "mark_id", "shown_x_mm", "shown_y_mm"),
    (
        _c("scan_id", "str", "Name of the source image without extension", required=True),
        _c("reader", "str", "Reader; 'consensus' settles what others dispute", required=True),
        _c("mode", "str", "Of a detection, or free-hand", required=True, levels=MODES),
        _c("candidate_id", "int", "Candidate judged, of the run reviewed; null for own marks"),
        _c("mark_id", "int", "The reader's number of an own mark in the scan; null for candidates"),
        _c("decision", "str", "What was decided", required=True, levels=DECISIONS),
        _c("class", "str", "microbleed or mimic (as YOLO's); null for read, or a mimic unnamed"),
        _c("x_mm", "float", "Where the reader holds it, scanner RAS, to the right", "mm"),
        _c("y_mm", "float", "Where the reader holds it, scanner RAS, to the front", "mm"),
        _c("z_mm", "float", "Where the reader holds it, scanner RAS, upwards", "mm"),
        _c("shown_x_mm", "float", "Where the candidate was shown; null for own marks", "mm"),
        _c("shown_y_mm", "float", "Where the candidate was shown; null for own marks", "mm"),
        _c("shown_z_mm", "float", "Where the candidate was shown; null for own marks", "mm"),
        _c("region", "str", "MARS region there"),
        _c("group", "str", "MARS group", levels=GROUPS),
        _c("hemisphere", "str", "Side", levels=HEMISPHERES),
        _c("note", "str", "The reader's note"),
        _c("blinded", "bool", "The software's probability and label were hidden", required=True),
        _c("ordering", "str", "Order of the detections", required=True, levels=ORDERS),
        _c("content_key", "str", "Content key of the scan that was shown", required=True),
    ),
)

SETTLED = ("one reader", "agreed", "majority", "consensus", "disputed", "open")

REVIEWED = Table(
    "reviewed",
    "a lesion that readers judged or marked, or that waits for it in a scan under review",
    ("scan_id", "place_id"),
    (
        _c("scan_id", "str", "Name of the source image without extension", required=True),
        _c("participant_id", "str", "Participant, with 'sub-'", required=True),
        _c("contrast", "str", "GRE or SWI", levels=("GRE", "SWI")),
        _c("place_id", "int", "Number within the scan", required=True),
        _c("candidate_id", "int", "Candidate there; null where the software saw none"),
        _c("lesion_id", "int", "Definite or possible lesion there, as in lesions"),
        _c("label", "str", "The software's label", levels=(*LABELS, "rejected")),
        _c("probability", "float", "Calibrated probability of being a microbleed"),
        *_POSITION,
        _c("diameter_mm", "float", "Diameter by the software", "mm"),
        _c("region", "str", "MARS region"),
        _c("group", "str", "MARS group", levels=GROUPS),
        _c("hemisphere", "str", "Side", levels=HEMISPHERES),
        _c("n_votes", "int", "Readers who judged it, consensus apart", required=True),
        _c(
            "votes",
            "str",
            "JSON: reader to class; 'not a microbleed' without one, 'not marked' where a free-hand "
            "reading found nothing",
        ),
        _c("free_hand", "bool", "A reader marked it without having seen detections", required=True),
        _c("settled", "str", "How the verdict came about", required=True, levels=SETTLED),
        _c("microbleed", "bool", "The readers' verdict; null where disputed or open"),
        _c("reviewed_class", "str", "Class where the readers agree on one"),
    ),
)

SUMMARY = Table(
    "summary",
    "one estimate",
    ("stratum", "measure"),
    (
        _c("stratum", "str", "Who: 'all' or 'variable=level', joined by ' & '", required=True),
        _c("measure", "str", "What is estimated", required=True),
        _c("estimate", "float", "The estimate; null where it cannot be made"),
        _c("ci_low", "float", "Lower end of the 95 % interval"),
        _c("ci_high", "float", "Upper end of the 95 % interval"),
        _c("n", "int", "Numerator, or the number that the estimate rests on"),
        _c("denominator", "int", "Denominator"),
        _c("method", "str", "How estimate and interval are made", required=True),
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
            "prevalence: share of participants with a lesion of at least the probability x; "
            "froc: sensitivity for microbleeds at x false positives a scan, of a model's contract",
            required=True,
            levels=("prevalence", "froc"),
        ),
        _c("contrast", "str", "GRE or SWI; null for froc", levels=("GRE", "SWI")),
        _c("model", "str", "The model's id; null for prevalence"),
        _c("x", "float", "Threshold of the probability, or false positives a scan", required=True),
        _c("estimate", "float", "The curve's value there", required=True),
        _c("ci_low", "float", "Lower end of the 95 % interval; null for froc"),
        _c("ci_high", "float", "Upper end of the 95 % interval; null for froc"),
        _c("n", "int", "Participants with such a lesion; null for froc"),
        _c("denominator", "int", "Participants; null for froc"),
        _c("method", "str", "How estimate and interval are made", required=True),
    ),
)

LESION_CELLS = Table(
    "lesion_cells",
    "a cell of 10 x 10 x 20 mm of MNI152 with a definite microbleed of a contrast",
    ("contrast", "mni_x", "mni_y", "mni_z"),
    (
        _c("contrast", "str", "GRE or SWI", required=True, levels=("GRE", "SWI")),
        _c("mni_x", "int", "The cell's centre in MNI152, to the right", "mm", required=True),
        _c("mni_y", "int", "The cell's centre in MNI152, to the front", "mm", required=True),
        _c("mni_z", "int", "The cell's centre in MNI152, upwards", "mm", required=True),
        _c("n", "int", "Definite microbleeds in the cell", required=True),
        _c("denominator", "int", "Definite microbleeds of the contrast", required=True),
    ),
)

#: What becomes of a session in `longitudinal`.
FOLLOWED_STATUSES = ("followed", "not read", "not registered", "not alike")

FOLLOWED_SESSIONS = Table(
    "followed_sessions",
    "a session of a participant with several (work)",
    ("participant_id", "session_id"),
    (
        _c("participant_id", "str", "Participant, with 'sub-'", required=True),
        _c("session_id", "str", "Session, with 'ses-'; null for scans outside any"),
        _c("scan_id", "str", "Scan that stands for the session; null where none was read"),
        _c("status", "str", "What became of it", required=True, levels=FOLLOWED_STATUSES),
        _c("overlap", "float", "Least share of brain that is brain in another session too"),
        _c("correlation", "float", "Least correlation of the signal with another session"),
    ),
)

TRACKS = Table(
    "tracks",
    "a lesion in a session of its participant, found there or not (work)",
    ("participant_id", "track_id", "scan_id"),
    (
        _c("participant_id", "str", "Participant, with 'sub-'", required=True),
        _c("track_id", "int", "Number of the lesion in the participant", required=True),
        _c("scan_id", "str", "Scan that stands for the session", required=True),
        _c("session_id", "str", "Session, with 'ses-'"),
        _c("found", "bool", "Definite or possible in this session", required=True),
        _c("lesion_id", "int", "Value in _label-CMB_dseg.nii.gz"),
        _c("label", "str", "Which threshold it passes", levels=LABELS),
        _c("probability", "float", "Calibrated probability of the lesion found"),
        _c("x_mm", "float", "Centre, or its place, scanner RAS, to the right", "mm", required=True),
        _c("y_mm", "float", "Centre, or its place, scanner RAS, to the front", "mm", required=True),
        _c("z_mm", "float", "Centre, or its place, scanner RAS, upwards", "mm", required=True),
        _c("middle_x_mm", "float", "Centre in the mid-space", "mm"),
        _c("middle_y_mm", "float", "Centre in the mid-space", "mm"),
        _c("middle_z_mm", "float", "Centre in the mid-space", "mm"),
        _c("in_view", "bool", "The place lies within the brain mask of this scan", required=True),
        _c("candidate_id", "int", "Candidate that speaks for it most where it is not found"),
        _c("candidate_probability", "float", "Calibrated probability of that candidate"),
        _c("candidate_mm", "float", "Distance of that candidate", "mm"),
        _c("p_there", "float", "Probability of being there: 1 where found", required=True),
        _c("region", "str", "MARS region", required=True),
        _c("group", "str", "MARS group", required=True, levels=GROUPS),
        _c("hemisphere", "str", "Side", required=True, levels=HEMISPHERES),
    ),
)

_PAIR = (
    _c("participant_id", "str", "Participant, with 'sub-'", required=True),
    _c("scan_id_1", "str", "Scan of the earlier session", required=True),
    _c("scan_id_2", "str", "Scan of the later session", required=True),
    _c("session_id_1", "str", "Earlier session, with 'ses-'"),
    _c("session_id_2", "str", "Later session, with 'ses-'"),
)

PAIRS = Table(
    "pairs",
    "two sessions of a participant: each with the next, and the first with each later one",
    ("participant_id", "scan_id_1", "scan_id_2"),
    (
        *_PAIR,
        _c("consecutive", "bool", "No session followed lies between", required=True),
        _c("since_baseline", "bool", "The earlier is the first session followed", required=True),
        _c("last", "bool", "The later is the last session followed", required=True),
        _c("order_from", "str", "What the order of sessions is from", required=True,
           levels=("acq_time", "age", "label")),
        _c("years", "float", "Time between them; null where it is not known", "year"),
        _c("years_from", "str", "What the time is from", levels=("acq_time", "age")),
        _c("comparable", "bool", "Same sequence within longitudinal.tolerance", required=True),
        _c("difference", "str", "In what the sequences differ"),
        _c("not_known", "str", "What of the sequences is not known and so not compared"),
        _c("n_new", "int", "Definite microbleeds called new", required=True),
        _c("n_persisting", "int", "Definite microbleeds called persisting", required=True),
        _c("n_found_once", "int", "Of those persisting, found in one of the two", required=True),
        _c("n_lost", "int", "Definite microbleeds called lost", required=True),
        _c("n_not_comparable", "int", "Definite microbleeds out of the other's view",
           required=True),
        _c("n_new_possible", "int", "Possible microbleeds called new", required=True),
        _c("expected_new", "float", "Sum of 1 - p_missed over definite microbleeds that only the "
           "later session shows", required=True),
        _c("aria_h_style", "str", "Category of n_new since baseline (longitudinal.bins)"),
    ),
)  # fmt: skip

CHANGES = Table(
    "changes",
    "a lesion in a pair of sessions (see `pairs`), of those found in at least one of the two",
    ("participant_id", "scan_id_1", "scan_id_2", "track_id"),
    (
        *_PAIR,
        _c("track_id", "int", "Number of the lesion in the participant", required=True),
        _c("change", "str", "What became of it", required=True, levels=CHANGES_OF_A_LESION),
        _c("why", "str", "What the call rests on", required=True, levels=(
            "found in both", "score", "found before and after", "not found", "not in view")),
        _c("comparable", "bool", "The pair's: same sequence", required=True),
        _c("label", "str", "definite where it is in one of the two", required=True, levels=LABELS),
        _c("macrohaemorrhage", "bool", "Too large for a microbleed: not counted", required=True),
        _c("lesion_id_1", "int", "Lesion of the earlier scan; null where not found"),
        _c("lesion_id_2", "int", "Lesion of the later scan; null where not found"),
        _c("probability_1", "float", "Its probability in the earlier scan; null where not found"),
        _c("probability_2", "float", "Its probability in the later scan; null where not found"),
        _c("candidate_probability", "float", "Where not found in one: the probability of the "
           "candidate there that was not kept; null where there was none"),
        _c("candidate_mm", "float", "Distance of that candidate", "mm"),
        _c("p_missed", "float", "Probability that it was there and only missed in the session that "
           "does not show it; null where both do"),
        _c("distance_mm", "float", "Between its two centres in the mid-space", "mm"),
        *(
            _c(f"{axis}_mm_{k}", "float", f"Centre, or its place, in scan {k}, scanner RAS", "mm",
               required=True)
            for k in (1, 2) for axis in "xyz"
        ),
        _c("region", "str", "MARS region", required=True),
        _c("group", "str", "MARS group", required=True, levels=GROUPS),
        _c("hemisphere", "str", "Side", required=True, levels=HEMISPHERES),
    ),
)  # fmt: skip

RUNS = Table(
    "runs",
    "a stage's run over a scan or a bucket",
    ("stage", "unit"),
    (
        _c("stage", "str", "Stage", required=True),
        _c("unit", "str", "Scan or bucket", required=True),
        _c("stage_version", "int", "Version of the stage's code", required=True),
        _c("cmburden_version", "str", "Version of CMBurden", required=True),
        _c("versions", "str", "JSON of the versions of the libraries used"),
        _c("config_sha256", "str", "Hash of the stage's settings"),
        _c("weights_sha256", "str", "Hash of the weights used"),
        _c("device", "str", "cpu or the GPU's name"),
        _c(
            "seconds",
            "float",
            "Wall time of the run that made the result",
            "s",
        ),
    ),
)

TRUTH = Table(
    "truth",
    "a simulated microbleed or mimic",
    ("scan_id", "source_id"),
    (
        _c("scan_id", "str", "Name of the simulated image without extension", required=True),
        _c("cohort", "str", "Cohort preset", required=True),
        _c("participant_id", "str", "Participant, with 'sub-'", required=True),
        _c("session_id", "str", "Session, with 'ses-'"),
        _c("source_id", "int", "Number in the scan; 0 if it has none", required=True),
        _c(
            "kind",
            "str",
            "microbleed, faint (MARS: possible), calcification ...; 'none' for 0",
            required=True,
        ),
        _c("x_mm", "float", "Centre, scanner RAS, to the right", "mm"),
        _c("y_mm", "float", "Centre, scanner RAS, to the front", "mm"),
        _c("z_mm", "float", "Centre, scanner RAS, upwards", "mm"),
        _c("radius_mm", "float", "Radius of the signal loss that shows", "mm"),
        _c("source_radius_mm", "float", "Radius of the source itself", "mm"),
        _c("susceptibility_ppm", "float", "Susceptibility against its surroundings", "ppm"),
        _c("region", "str", "MARS region from the anatomy's own labels"),
        _c("group", "str", "MARS group", levels=GROUPS),
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
        CHANGES, PAIRS, RUNS, CANDIDATES, FOLLOWED_SESSIONS, TRACKS, TRUTH, REVIEWS, REVIEWED,
    )
}  # fmt: skip
