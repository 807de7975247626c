"""The one path builder: the names of all files that CMBurden writes stand here and nowhere else."""

from __future__ import annotations

from pathlib import Path

from cmburden.core import stages
from cmburden.core.scan import Scan

#: Suffixes that BIDS allows for raw T2*-weighted images. Any other suffix becomes a part of
#: ``acq``: a participant's T2starw and swi scans would else give derivatives of one name.
BIDS_SUFFIXES = ("T2starw", "MEGRE")
#: The template's space as TemplateFlow and BIDS name it: ICBM 2009a nonlinear symmetric.
TEMPLATE = "MNI152NLin2009aSym"
COHORT_TABLES = (
    "scans",
    "lesions",
    "counts",
    "participants",
    "changes",
    "pairs",
    "summary",
    "curves",
    "lesion_cells",
    "runs",
    "reviewed",
)


class Layout:
    """Names of all files below ``output_dir``.

    >>> layout = Layout("out")
    >>> layout.record("preprocess", "sub-01_T2starw").as_posix()
    'out/work/records/preprocess/sub-01_T2starw.json'
    """

    def __init__(self, output_dir: Path | str):
        self.root = Path(output_dir)
        self.work = self.root / "work"
        self.logs = self.root / "logs"
        self.cohort = self.root / "cohort"
        self.report_dir = self.root / "report"

    # --- the dataset ---
    @property
    def description(self) -> Path:
        return self.root / "dataset_description.json"

    @property
    def bidsignore(self) -> Path:
        return self.root / ".bidsignore"

    @property
    def readme(self) -> Path:
        return self.root / "README.md"

    def region_names(self, ending: str) -> Path:
        """Names and colours of the values of all region images: ``tsv``, or ``itksnap.txt``."""
        return self.root / f"desc-MARS_dseg.{ending}"

    @property
    def config(self) -> Path:
        """The folder's settings: the configuration that its tables were made with, or will be.

        YAML, with every default. Each later command starts from this file.
        """
        return self.work / "config.yaml"

    @property
    def run_config(self) -> Path:
        """The configuration of the run at work, or of the last one: also of a part, or a dry run.

        Jobs read it.
        """
        return self.work / "run.yaml"

    # --- index ---
    @property
    def manifest(self) -> Path:
        return self.work / "manifest.parquet"

    @property
    def rejected(self) -> Path:
        """Files that were considered but are not scans, each with a reason code."""
        return self.work / "rejected.parquet"

    @property
    def part(self) -> Path:
        """Scans that a run of a part of the cohort asks for, as a manifest."""
        return self.work / "part" / "manifest.parquet"

    @property
    def part_rejected(self) -> Path:
        """Rejected files of such a run."""
        return self.work / "part" / "rejected.parquet"

    @property
    def beside(self) -> Path:
        """Scans that such a run does not ask for and that were processed before, as a manifest.

        The shards of the part's buckets keep their rows.
        """
        return self.work / "part" / "beside.parquet"

    @property
    def index_cache(self) -> Path:
        return self.work / "cache" / "index.parquet"

    @property
    def index_key(self) -> Path:
        return self.work / "cache" / "index.json"

    # --- derivatives of a scan ---
    def subject_dir(self, scan: Scan) -> Path:
        folder = self.root / scan.participant_id
        return folder / scan.session_id if scan.session_id else folder

    def stem(self, scan: Scan) -> str:
        """Start of all file names of a scan, ``sub-.._ses-.._``, from the source's entities."""
        entities = dict(scan.entities)
        if scan.suffix not in BIDS_SUFFIXES:
            entities["acq"] = entities.get("acq", "") + scan.suffix
            order = ["sub", "ses", "task", "acq"]
            entities = {k: entities[k] for k in order if k in entities} | entities
        return "_".join(f"{key}-{value}" for key, value in entities.items())

    def _anat(self, scan: Scan, ending: str) -> Path:
        return self.subject_dir(scan) / "anat" / f"{self.stem(scan)}_{ending}"

    def brain_mask(self, scan: Scan) -> Path:
        return self._anat(scan, "desc-brain_mask.nii.gz")

    def preproc(self, scan: Scan) -> Path:
        return self._anat(scan, f"desc-preproc_{scan.suffix}.nii.gz")

    def regions(self, scan: Scan) -> Path:
        return self._anat(scan, "desc-MARS_dseg.nii.gz")

    def lesion_labels(self, scan: Scan) -> Path:
        return self._anat(scan, "label-CMB_dseg.nii.gz")

    def lesion_names(self, scan: Scan, ending: str) -> Path:
        """Beside :meth:`lesion_labels`: ``json``, ``tsv`` (BIDS) or ``itksnap.txt``."""
        return self._anat(scan, f"label-CMB_dseg.{ending}")

    def transform(self, scan: Scan, part: str) -> Path:
        """Scan to template. ``part``: 'affine.mat', 'warp.nii.gz', or 'json' for both."""
        kind, _, ending = part.partition(".")
        described = f"desc-{kind}_xfm.{ending}" if ending else f"xfm.{part}"
        return self._anat(scan, f"from-{scan.suffix}_to-{TEMPLATE}_mode-image_{described}")

    def lesion_table(self, scan: Scan) -> Path:
        return self._anat(scan, "desc-CMB_lesions.tsv")

    def lesion_sidecar(self, scan: Scan) -> Path:
        return self._anat(scan, "desc-CMB_lesions.json")

    def montage(self, scan: Scan) -> Path:
        return self.subject_dir(scan) / "figures" / f"{self.stem(scan)}_desc-CMB_montage.png"

    def quality_figure(self, scan: Scan) -> Path:
        """Brain mask and regions over the scan."""
        return self.subject_dir(scan) / "figures" / f"{self.stem(scan)}_desc-QC_montage.png"

    def lesion_planes(self, scan: Scan) -> Path:
        """Each lesion in three planes and a projection; a row of the picture is a lesion."""
        return self.subject_dir(scan) / "figures" / f"{self.stem(scan)}_desc-planes_montage.png"

    def viewer(self, scan: Scan) -> Path:
        """The scan in the form that the viewer of the participant's page loads."""
        return self.subject_dir(scan) / "figures" / f"{self.stem(scan)}_desc-viewer.js"

    # --- derivatives of a participant with several sessions ---
    def change_figure(self, participant_id: str, track_id: int | str) -> Path:
        """A lesion in all sessions side by side."""
        name = f"{participant_id}_desc-change{track_id}_montage.png"
        return self.root / participant_id / "figures" / name

    # --- work: may be deleted; a run that was stopped resumes from these files ---
    def record(self, stage: str, scan_id: str) -> Path:
        return self.work / "records" / stage / f"{scan_id}.json"

    def tries(self, stage: str, unit: str) -> Path:
        """How often the process of a job ended without a word while it worked on a scan."""
        return self.work / "tries" / stage / f"{unit}.json"

    @property
    def remake(self) -> Path:
        """Folder with an empty file, named by its scan_id, for each scan to be made anew."""
        return self.work / "remake"

    @property
    def lock(self) -> Path:
        """Lock of the one command that works on this folder."""
        return self.work / ".lock"

    def cached(self, stage: str, key: str, ending: str = "parquet") -> Path:
        return self.work / "cache" / stage / key[:2] / f"{key}.{ending}"

    def cached_t1w(self, participant_id: str, key: str) -> Path:
        """Brain and transform of a participant's T1w, which all scans with that T1w use."""
        return self.work / "cache" / "t1w" / f"{participant_id}_{key}.npz"

    def batch(self, stage: str, batch: str) -> Path:
        """Mark of a batch whose scans have their records; ``batch`` may be a wildcard."""
        return self.work / stage / f"batch-{batch}.json"

    def batch_lock(self, stage: str, batch: str) -> Path:
        """Lock of the one job that works on the batch."""
        return self.work / stage / f".batch-{batch}.lock"

    def results(self, stage: str, scan: Scan) -> tuple[Path, ...]:
        """Files that preprocess or register leaves of a scan that is ok, for later stages."""
        if stage == stages.PREPROCESS.name:
            return self.preproc(scan), self.brain_mask(scan)
        if stage == stages.REGISTER.name:
            return self.transform(scan, "affine.mat"), self.regions(scan)
        raise ValueError(f"{stage} is no stage of batches")

    def bucket(self, stage: str, bucket: int | str) -> Path:
        """Shard of a bucket; ``bucket`` may be a wildcard such as '{bucket}'."""
        return self.work / stage / f"bucket-{bucket}.parquet"

    def followed(self, bucket: int | str) -> Path:
        """Sessions of the participants of a bucket of `longitudinal`; its tracks are
        ``bucket('longitudinal', bucket)``."""
        return self.work / "longitudinal" / f"sessions-{bucket}.parquet"

    @property
    def verified(self) -> Path:
        """Mark of the end of `verify` for all that `longitudinal` follows."""
        return self.work / "longitudinal" / "verified.txt"

    def people(self, bucket: int | str) -> Path:
        """Hash of all that a bucket of `longitudinal` depends on."""
        return self.work / "longitudinal" / f"people-{bucket}.txt"

    def bucket_lock(self, stage: str, bucket: int | str) -> Path:
        """Lock of the one job that works on the bucket."""
        return self.work / stage / f".bucket-{bucket}.lock"

    def run_record(self, stage: str, unit: str) -> Path:
        """Versions, hashes, device and seconds of one stage's run."""
        return self.work / "runs" / stage / f"{unit}.json"

    # --- cohort ---
    def table(self, name: str) -> Path:
        return self.cohort / f"{name}.parquet"

    def table_sidecar(self, name: str) -> Path:
        """Column descriptions of a cohort table."""
        return self.cohort / f"{name}.json"

    @property
    def table_set(self) -> Path:
        """The mark of a set of cohort tables: a key and the checksum of each table."""
        return self.cohort / "set.json"

    @property
    def reviews(self) -> Path:
        """The readers' decisions. ``cmburden review`` exports the table; aggregate reads it."""
        return self.table("reviews")

    def reader_file(self, reader: str) -> Path:
        """A reader's decisions with their history (SQLite). No run can make the file again."""
        return self.root / "reviews" / f"{reader}.sqlite"

    def hanging(self, reader: str) -> Path:
        """How a reader likes the pictures of the review."""
        return self.root / "reviews" / f"{reader}.hanging.json"

    @property
    def free_hand_sample(self) -> Path:
        """The sample of free-hand readings. No run can make the file again."""
        return self.root / "reviews" / "free_hand_sample.parquet"

    def operating_point(self, ending: str) -> Path:
        """What ``cmburden operating-point`` writes: ``yaml``, ``tsv`` or ``json``."""
        return self.root / "reviews" / f"operating_point.{ending}"

    # --- inserted lesions: of copies of the scans; no other file of the folder holds one ---
    @property
    def inserted(self) -> Path:
        """Folder of what ``cmburden insert`` measured."""
        return self.root / "inserted"

    def inserted_table(self, name: str, ending: str = "parquet") -> Path:
        """``name``: 'inserted' or 'insertion'; the sidecar ends in ``json``."""
        return self.inserted / f"{name}.{ending}"

    @property
    def insertion(self) -> Path:
        """What the tables of inserted lesions were made with, and what is to be said of them."""
        return self.inserted / "about.json"

    @property
    def inserted_examples(self) -> Path:
        """Some of the inserted lesions, beside the scans without them."""
        return self.inserted / "examples.png"

    def inserted_pictures(self, scan_id: str) -> Path:
        """Pictures of the lesions of one copy."""
        return self.work / "inserted" / "pictures" / f"{scan_id}.npz"

    @property
    def copies(self) -> Path:
        """Folder of the copies at work; each is removed when it was read."""
        return self.work / "inserted" / "copies"

    def inserted_record(self, scan_id: str) -> Path:
        """What became of the lesions of one copy."""
        return self.work / "inserted" / "records" / f"{scan_id}.json"

    @property
    def review_problems(self) -> Path:
        """Readers' files that cannot be used, and why: a list of sentences."""
        return self.work / "review_problems.json"

    @property
    def phenotype_problems(self) -> Path:
        """Oddities of participants.tsv and sessions.tsv: a list of sentences."""
        return self.work / "phenotype_problems.json"

    @property
    def candidates(self) -> Path:
        return self.work / "candidates.parquet"

    @property
    def report(self) -> Path:
        return self.report_dir / "index.html"

    @property
    def shareable(self) -> Path:
        """The report for readers outside of the study."""
        return self.report_dir / "shareable.html"

    @property
    def export(self) -> Path:
        """Folder of the tables in other formats, unless a command names another."""
        return self.root / "export"

    @property
    def shareable_export(self) -> Path:
        """Folder of the tables and figures without ids and small numbers."""
        return self.root / "export_shareable"

    @property
    def bibliography(self) -> Path:
        """References that the report's methods cite (BibTeX)."""
        return self.report_dir / "references.bib"

    @property
    def viewer_script(self) -> Path:
        """The script of the viewers, which the pages of all participants share."""
        return self.report_dir / "viewer.js"

    @property
    def beside_report(self) -> Path:
        """A picture that only the report beside it can load: a report sent alone lacks it."""
        return self.report_dir / "beside.svg"

    def subject_page(self, participant_id: str) -> Path:
        return self.root / f"{participant_id}.html"

    def changes_page(self, participant_id: str) -> Path:
        """Page with the sessions side by side. A pattern of .bidsignore matches its name."""
        return self.root / f"{participant_id}_changes.html"

    @property
    def aggregated(self) -> Path:
        """Written after the tables. Without it the next run makes tables and report again."""
        return self.work / "aggregated.json"

    @property
    def checked(self) -> Path:
        """Last file of a run; absent if more scans failed than aggregate.max_failed_fraction."""
        return self.work / "checked.json"

    # --- logs and benchmarks ---
    def log(self, rule: str, unit: str = "all") -> Path:
        return self.logs / rule / f"{unit}.log"

    def log_name(self, rule: str, unit: str = "all") -> str:
        """The log as records and tables name it: relative to the output folder."""
        return self.log(rule, unit).relative_to(self.root).as_posix()

    def benchmark(self, rule: str, unit: str = "all") -> Path:
        return self.logs / "benchmarks" / rule / f"{unit}.tsv"
