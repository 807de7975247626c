"""The plan for the Snakefile: batches, buckets, inputs, and the parameters of the jobs.

A job runs again if its parameter changes. The module imports neither torch nor ANTs and reads the
manifest instead of the BIDS tree: every SLURM job parses the Snakefile again.
"""

from __future__ import annotations

import gc
import os
from collections import defaultdict
from pathlib import Path
from typing import Any

from cmburden.core import resources, table_set
from cmburden.core.config import of_stage
from cmburden.core.files import sha256_of_file
from cmburden.core.foreign import kind_of
from cmburden.core.keys import batch_of, bucket_of, hash_of, settings_of_results
from cmburden.core.manifest import read_scans
from cmburden.core.paths import COHORT_TABLES, Layout
from cmburden.core.scan import Scan
from cmburden.core.stages import BUCKET_STAGES, RECORDED_STAGES, version_of
from cmburden.follow.sessions import with_several

#: Minutes that a job of preprocess or register may take, and for each of its scans: on two cores of
#: 2026 a scan takes 10 s in each of them.
_MINUTES, _MINUTES_A_SCAN = 30, 3
#: Memory of a job of detect or verify: at least, and for each scan at work. A scan of 0.25 mm takes
#: 1.5 GB (docs/scale.md).
_BUCKET_MB, _SCAN_MB = 6000, 2000


def raise_gc_thresholds() -> None:
    """Raise the garbage collector's thresholds for the rest of the process.

    Planning creates millions of objects that live until its end. Collections that search these
    objects in vain take a sixth of the time (docs/scale.md).
    """
    gc.set_threshold(200_000, 50, 1000)


class Plan:
    """The jobs of one configuration and their inputs, from the manifest. No file is written.

    Parameters
    ----------
    config : dict
        The whole configuration, with every default (:func:`cmburden.core.config.load`).
    """

    def __init__(self, config: dict[str, Any]):
        self.config = config
        self.bids = Path(config["bids_dir"]) if config["bids_dir"] else None
        output = Path(config["output_dir"] or "derivatives")
        #: Paths for the jobs' code.
        self.layout = Layout(output)
        #: Paths for the rules, relative to the working folder. Snakemake identifies an output by
        #: the path. With absolute paths, a cohort folder that was moved, or that is reached by
        #: another link, would never run again, whatever changed.
        self.paths = Layout(os.path.relpath(output.resolve()))
        self.scans: dict[str, Scan] = {}
        #: Scans that the run is asked for; a run of a part has others beside them in its buckets.
        self.asked: set[str] = set()
        self._read_scans()
        self.buckets: dict[str, list[str]] = defaultdict(list)
        self.batches: dict[str, list[str]] = defaultdict(list)
        #: Names of the batches of each bucket.
        self.batches_of: dict[str, set[str]] = defaultdict(set)
        for scan_id in self.scans:
            batch = batch_of(scan_id, config["buckets"], config["batches"])
            bucket = batch.split("-")[0]
            self.batches[batch].append(scan_id)
            self.batches_of[bucket].add(batch)
            self.buckets[bucket].append(scan_id)
        #: Scans of each participant with several sessions, by the bucket of the participant's id.
        self.people: dict[str, dict[str, list[Scan]]] = defaultdict(dict)
        pairs = [(scan.participant_id, scan.session_id) for scan in self.scans.values()]
        scans_of: dict[str, list[Scan]] = {}
        for participant in with_several(pairs):
            bucket = str(bucket_of(participant, config["buckets"]))
            scans_of[participant] = self.people[bucket][participant] = []
        for scan in self.scans.values():
            if scan.participant_id in scans_of:
                scans_of[scan.participant_id].append(scan)

    def _read_scans(self) -> None:
        """Read ``scans`` and ``asked`` from the manifest of the level."""
        if self.bids is None:
            return
        level = self.config["analysis_level"]
        manifest = self.layout.part if level == "part" else self.layout.manifest
        scans = read_scans(manifest, self.bids)
        self.asked = {scan.scan_id for scan in scans}
        selected = table_set.selection_of(self.config) is not None and level != "group"
        if selected and self.layout.beside.exists():
            beside = read_scans(self.layout.beside, self.bids)
            scans += [scan for scan in beside if scan.scan_id not in self.asked]
        self.scans = {scan.scan_id: scan for scan in sorted(scans, key=lambda s: s.scan_id)}

    def targets(self) -> list[Path]:
        """Files that the run makes: of a part the shards of its scans, else all up to ``check``."""
        if self.config["analysis_level"] == "part":
            return [*self.shards(), *self.followed()]
        return [self.paths.checked]

    # --- inputs. Images are no inputs: the content key identifies a scan, wherever the BIDS folder
    # --- lies and whatever the times of its files are ---
    def marks(self, stage: str, bucket: str) -> list[Path]:
        """Marks of the batches of a bucket: each changes with the record of any of its scans."""
        return [self.paths.batch(stage, batch) for batch in sorted(self.batches_of[bucket])]

    def shards(self) -> list[Path]:
        """Inputs of aggregate. A shard is made after all records of its bucket and holds a hash of
        them, so that a changed record changes the shard. Ten thousand records as inputs took a
        third of the time of planning. The group level takes the shards that there are."""
        return [
            self.paths.bucket("verify", bucket)
            for bucket, scan_ids in self.buckets.items()
            if self.asked.intersection(scan_ids)
            and self._taken(self.layout.bucket("verify", bucket))
        ]

    def _taken(self, path: Path) -> bool:
        """Whether aggregate reads ``path``: at the group level if there is such a file."""
        return self.config["analysis_level"] != "group" or path.exists()

    def shards_of_people(self) -> list[Path]:
        """Shards of verify that hold a scan of a participant whom the run follows.

        Those of all participants together: a bucket of participants has scans in most shards, and
        an edge from each of its shards to each job is most of the graph at 20,000 scans.
        """
        people = [scans for own in self.people.values() for scans in own.values()]
        asked = [scans for scans in people if any(s.scan_id in self.asked for s in scans)]
        numbers = {bucket_of(s.scan_id, self.config["buckets"]) for scans in asked for s in scans}
        return [self.paths.bucket("verify", number) for number in sorted(numbers)]

    def followed(self) -> list[Path]:
        """Shards of longitudinal: its tracks and its sessions."""
        tracks, sessions = [], []
        for bucket, people in self.people.items():
            if not any(s.scan_id in self.asked for own in people.values() for s in own):
                continue
            if self._taken(self.layout.bucket("longitudinal", bucket)):
                tracks.append(self.paths.bucket("longitudinal", bucket))
            if self._taken(self.layout.followed(bucket)):
                sessions.append(self.paths.followed(bucket))
        return [*tracks, *sessions]

    def tables(self) -> list[Path]:
        return [self.paths.table(name) for name in COHORT_TABLES]

    def memory_mb(self, threads: int) -> int:
        """Memory of a job of detect or verify, each of whose threads works on a scan."""
        return max(_BUCKET_MB, _SCAN_MB * threads)

    def minutes(self, batch: str) -> int:
        """Time limit of a job of preprocess or register of the batch."""
        return _MINUTES + _MINUTES_A_SCAN * len(self.batches[batch])

    # --- parameters: a change in one of these runs a job again ---
    def of_batch(self, stage: str, batch: str) -> dict:
        """Content of each scan of the batch."""
        keys = {s: self.scans[s].content_key for s in self.batches[batch]}
        return self._stage(stage) | {"content_keys": keys}

    def of_bucket(self, stage: str, bucket: str) -> dict:
        """Content of each scan of the bucket, and the model's contract with its checksums."""
        keys = {s: self.scans[s].searched_key for s in self.buckets[bucket]}
        return self._stage(stage) | {"content_keys": keys, "model": self._model(stage)}

    def key_of_people(self, bucket: str) -> str:
        """sha256 over the content of each scan of the bucket's participants, and over all settings
        and models that their lesions depend on. If the key changes, longitudinal runs again."""
        keys = {
            participant: {scan.scan_id: scan.searched_key for scan in own}
            for participant, own in self.people[bucket].items()
        }
        before = [self._stage(stage) for stage in RECORDED_STAGES]
        models = [self._model(stage) for stage in BUCKET_STAGES]
        return hash_of(self._stage("longitudinal"), keys, before, models)

    def of_cohort(self) -> dict:
        """Checksums of manifest, readers' decisions and phenotypes, and settings of the tables."""
        files = [self.layout.manifest, self.layout.rejected, self.layout.reviews]
        files += [self.layout.review_problems, resources.root() / self.config["report"]["standard"]]
        if self.bids is not None:
            files += [
                self.bids / "participants.tsv",
                self.bids / "participants.json",
                self.bids / "sessions.json",
                *sorted(self.bids.glob("sub-*/*_sessions.tsv")),
            ]
        return {
            "files": [checksum for path in files if (checksum := _checksum(path)) is not None],
            "version": version_of("aggregate"),
            "settings": [self.config[name] for name in ("aggregate", "longitudinal", "report")],
            # The order of suffixes decides between scans that the rules do not tell apart.
            "suffixes": list(self.config["index"]["suffixes"]),
            "selection": table_set.selection_of(self.config),
        }

    def of_report(self) -> dict:
        return {"version": version_of("report"), "settings": self.config["report"]}

    def _model(self, stage: str) -> str | None:
        contract = resources.root() / self.config[stage]["model"] / "model.json"
        return sha256_of_file(contract) if contract.exists() else None

    def _stage(self, stage: str) -> dict:
        # The contract's checksum identifies the model, whatever its folder.
        settings = settings_of_results(of_stage(self.config, stage))
        return {"stage": stage, "version": version_of(stage), "settings": settings}


def _checksum(path: Path) -> str | None:
    """sha256 of a file, or why it has none: a pipe never ends. None of an absent file."""
    try:
        return kind_of(path.stat().st_mode) or sha256_of_file(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        return error.strerror or str(error)
