"""The tables' contract, written once: Parquet schema, JSON sidecar, docs and tests use it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from cmburden.errors import CMBurdenError
from cmburden.records import whole_file

PARQUET = {"compression": "zstd", "version": "2.6"}

_TYPES = {
    "str": pa.string(),
    "int": pa.int64(),
    "float": pa.float64(),
    "bool": pa.bool_(),
}


@dataclasses.dataclass(frozen=True)
class Column:
    name: str
    kind: str  # str | int | float | bool
    description: str
    unit: str = ""
    nullable: bool = True
    levels: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Table:
    name: str
    row: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    #: True where further columns may follow (phenotypes, features): they keep their own type.
    open: bool = False

    @property
    def names(self) -> list[str]:
        return [column.name for column in self.columns]

    def schema(self) -> pa.Schema:
        return pa.schema(
            [
                pa.field(
                    column.name,
                    _TYPES[column.kind],
                    nullable=column.nullable,
                    metadata={"description": column.description, "unit": column.unit},
                )
                for column in self.columns
            ]
        )

    def sidecar(self) -> dict[str, dict]:
        """BIDS sidecar: one entry a column with Description, Units and Levels."""
        described = {}
        for column in self.columns:
            entry: dict = {"Description": column.description}
            if column.unit:
                entry["Units"] = column.unit
            if column.levels:
                entry["Levels"] = {level: level for level in column.levels}
            described[column.name] = entry
        return described

    def frame(self, rows: pd.DataFrame | list[dict]) -> pd.DataFrame:
        """``rows`` as a frame with the contract's columns, types and order, sorted by key."""
        return self.arrow(rows).to_pandas(types_mapper=_pandas_type)

    def arrow(self, rows: pd.DataFrame | list[dict]) -> pa.Table:
        """``rows`` as an Arrow table of the contract; raises where they break it."""
        table = pd.DataFrame(rows)
        extra = [name for name in table.columns if name not in self.names]
        if extra and not self.open:
            raise ValueError(f"table {self.name}: columns not in the contract: {extra}")
        arrays, fields = [], []
        for column, field in zip(self.columns, self.schema(), strict=True):
            values = table[column.name] if column.name in table else [None] * len(table)
            array = pa.array(values, type=_TYPES[column.kind], from_pandas=True)
            if array.null_count and not column.nullable:
                raise ValueError(f"table {self.name}: {column.name} holds {array.null_count} nulls")
            if column.levels:
                unknown = set(array.to_pylist()) - set(column.levels) - {None}
                if unknown:
                    raise ValueError(f"table {self.name}: {column.name} holds {sorted(unknown)}")
            arrays.append(array)
            fields.append(field)
        for name in extra:
            array = pa.array(table[name], from_pandas=True)
            if pa.types.is_null(array.type):
                array = array.cast(pa.string())
            arrays.append(array)
            fields.append(pa.field(name, array.type))
        result = pa.Table.from_arrays(arrays, schema=pa.schema(fields))
        return result.sort_by([(name, "ascending") for name in self.key])

    def write(
        self,
        path: Path,
        rows: pd.DataFrame | list[dict],
        *,
        note: dict[str, str] | None = None,
    ) -> None:
        """Write Parquet by rename, sorted by key, without timestamps: equal rows, equal bytes.

        ``note`` goes into the file's metadata.
        """
        table = self.arrow(rows).replace_schema_metadata(note)
        with whole_file(path) as temporary:
            pq.write_table(table, temporary, **PARQUET)

    def read(self, path: Path) -> pd.DataFrame:
        """Read a table that ``write`` wrote; nullable pandas types (missing is not zero)."""
        try:
            table = pq.read_table(path, partitioning=None)
        except (OSError, pa.ArrowInvalid) as error:
            raise CMBurdenError(
                f"{path}: not a readable Parquet table ({error}); remove it and run again"
            ) from error
        missing = [name for name in self.names if name not in table.column_names]
        if missing:
            raise CMBurdenError(
                f"{path}: columns {missing} are missing; it is of another version, run again"
            )
        return table.to_pandas(types_mapper=_pandas_type)


def _pandas_type(kind: pa.DataType):
    return {
        pa.int64(): pd.Int64Dtype(),
        pa.float64(): pd.Float64Dtype(),
        pa.bool_(): pd.BooleanDtype(),
        pa.string(): pd.StringDtype(),
    }.get(kind)


def _c(name, kind, description, unit="", *, required=False, levels=()):
    return Column(name, kind, description, unit, not required, tuple(levels))


PATTERNS = ("none", "strictly lobar", "strictly deep/infratentorial", "mixed")
GROUPS = ("lobar", "deep", "infratentorial", "unknown")
STATUSES = ("ok", "failed", "excluded")
LABELS = ("definite", "possible")
HEMISPHERES = ("left", "right", "midline", "unknown")

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
    _c("coverage", "float", "Share of the brain's height that the field of view holds"),
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

#: Shape and place of a candidate, measured at verify.
FEATURES = (
    _c("volume_mm3", "float", "Volume at half depth of the signal loss", "mm3"),
    _c("diameter_mm", "float", "Diameter of the sphere of that volume", "mm"),
    _c("elongation", "float", "Longest over shortest in-plane axis of the signal loss"),
    _c("contrast", "float", "Depth of the signal loss over the surrounding signal, 0 to 1"),
    _c("tubularity", "float", "Vesselness of the surroundings: dark line through the candidate"),
    _c("edge_mm", "float", "Distance to the edge of the brain mask", "mm"),
    _c("sphericity", "float", "Surface of the ball of equal volume over its own; 1 is round"),
    _c("through_plane", "float", "Length across the slices over the width in the slice"),
    _c("ventricle_mm", "float", "Distance to the lateral ventricles, in MNI152", "mm"),
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
        _c("volume_mm3", "float", "Volume at half depth of the signal loss", "mm3"),
        _c("diameter_mm", "float", "Diameter of the sphere of that volume", "mm"),
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
            "microbleed, calcification ...; 'none' for 0",
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

ALL = {
    table.name: table
    for table in (
        MANIFEST, REJECTED, SCANS, LESIONS, COUNTS, PARTICIPANTS, SUMMARY, RUNS, CANDIDATES, TRUTH,
    )
}  # fmt: skip
