"""What the Snakefile asks: scans, buckets, inputs, and the parameter that says when to run again.

Cheap to import (every SLURM job parses the Snakefile again): no torch, no ANTs, and of the BIDS
tree only the manifest is read.
"""

from __future__ import annotations

import gc
import os
from collections import defaultdict
from pathlib import Path
from typing import Any

from cmburden.core import resources
from cmburden.core.files import sha256_of_file
from cmburden.core.keys import bucket_of, hash_of
from cmburden.core.manifest import read_scans
from cmburden.core.paths import COHORT_TABLES, Layout
from cmburden.core.scan import Scan
from cmburden.core.stages import BUCKET_STAGES, RECORDED_STAGES, version_of
from cmburden.follow.sessions import with_several

#: Settings that no longer exist: stage -> (place, key, value). No code ever read them, but they
#: stand in the parameters of older output folders, whose scans would all run again without them.
#: Snakemake compares the text of a parameter, so that the place counts too.
RETIRED = {"preprocess": [(1, "use_t1w_mask", False)]}


def raise_gc_thresholds() -> None:
    """Raise the garbage collector's thresholds for the rest of the process.

    Planning creates millions of objects that live until the plan is done. Going through them again
    and again takes a sixth of the time (docs/scale.md).
    """
    gc.set_threshold(200_000, 50, 1000)


class Plan:
    """What Snakemake is to do for one configuration, read from the manifest. Nothing is written.

    Parameters
    ----------
    config : dict
        The whole configuration, with every default (:func:`cmburden.core.config.complete`).
    """

    def __init__(self, config: dict[str, Any]):
        self.config = config
        self.bids = Path(config["bids_dir"]) if config["bids_dir"] else None
        output = Path(config["output_dir"] or "derivatives")
        #: For the work itself.
        self.layout = Layout(output)
        #: For rules: relative to the working folder. Snakemake identifies an output by its path. If
        #: paths were absolute, a cohort that was moved, or is reached by another link, would never
        #: run again, whatever changed.
        self.paths = Layout(os.path.relpath(output.resolve()))
        self.scans: dict[str, Scan] = {}
        if self.bids is not None:
            self.scans = {s.scan_id: s for s in read_scans(self.layout.manifest, self.bids)}
        self.buckets: dict[str, list[str]] = defaultdict(list)
        for scan_id in self.scans:
            self.buckets[str(bucket_of(scan_id, config["buckets"]))].append(scan_id)
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

    # --- inputs: never the images; a scan's content key says whether it is the same, wherever the
    # --- BIDS folder lies and whatever its files' times are ---
    def records(self, stage: str, bucket: str) -> list[Path]:
        return [self.paths.record(stage, scan_id) for scan_id in self.buckets[bucket]]

    def shards(self) -> list[Path]:
        """All that aggregate waits for: a shard is made after all records of its bucket, and names
        their hash, so it is another file where one of them is. Ten thousand records as inputs of
        their own took a third of planning."""
        return [self.paths.bucket("verify", bucket) for bucket in self.buckets]

    def shards_of_people(self, bucket: str) -> list[Path]:
        """Shards of verify that hold a scan of the participants of a bucket of longitudinal."""
        scans = [scan.scan_id for own in self.people[bucket].values() for scan in own]
        numbers = {bucket_of(scan_id, self.config["buckets"]) for scan_id in scans}
        return [self.paths.bucket("verify", number) for number in sorted(numbers)]

    def followed(self) -> list[Path]:
        """Shards of longitudinal: its tracks and its sessions."""
        tracks = [self.paths.bucket("longitudinal", bucket) for bucket in self.people]
        return [*tracks, *map(self.paths.followed, self.people)]

    def tables(self) -> list[Path]:
        return [self.paths.table(name) for name in COHORT_TABLES]

    # --- parameters: a change in one of these runs a job again ---
    def of_scan(self, stage: str, scan_id: str) -> dict:
        return self._stage(stage) | {"content_key": self.scans[scan_id].content_key}

    def of_bucket(self, stage: str, bucket: str) -> dict:
        """Content of each scan of the bucket, and the model's contract with its checksums."""
        keys = {s: self.scans[s].content_key for s in self.buckets[bucket]}
        return self._stage(stage) | {"content_keys": keys, "model": self._model(stage)}

    def key_of_people(self, bucket: str) -> str:
        """sha256 of the content of each scan of the bucket's participants, and of all that their
        lesions rest on: it says when to follow them again."""
        keys = {
            participant: {scan.scan_id: scan.content_key for scan in own}
            for participant, own in self.people[bucket].items()
        }
        before = [self._stage(stage) for stage in RECORDED_STAGES]
        models = [self._model(stage) for stage in BUCKET_STAGES]
        return hash_of(self._stage("longitudinal"), keys, before, models)

    def of_cohort(self) -> dict:
        """Content of manifest, decisions of readers and phenotypes; settings of the tables."""
        files = [self.layout.manifest, self.layout.rejected, self.layout.reviews]
        if self.bids is not None:
            files += [
                self.bids / "participants.tsv",
                *sorted(self.bids.glob("sub-*/*_sessions.tsv")),
            ]
        return {
            "files": [sha256_of_file(path) for path in files if path.exists()],
            "version": version_of("aggregate"),
            "settings": [self.config[name] for name in ("aggregate", "longitudinal", "report")],
            # The order of suffixes decides between scans that the rules do not tell apart.
            "suffixes": list(self.config["index"]["suffixes"]),
        }

    def of_report(self) -> dict:
        return {"version": version_of("report"), "settings": self.config["report"]}

    def _model(self, stage: str) -> str | None:
        contract = resources.root() / self.config[stage]["model"] / "model.json"
        return sha256_of_file(contract) if contract.exists() else None

    def _stage(self, stage: str) -> dict:
        # Neither the device nor the model's folder changes a result. The contract's checksum
        # identifies the model.
        settings = [(k, v) for k, v in self.config[stage].items() if k not in ("device", "model")]
        for place, key, value in RETIRED.get(stage, ()):
            settings.insert(place, (key, value))
        return {"stage": stage, "version": version_of(stage), "settings": dict(settings)}
