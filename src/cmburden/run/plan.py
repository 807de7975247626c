"""What the Snakefile asks: scans, buckets, inputs, and the one parameter that says when to redo.

Cheap to import (every SLURM job parses the Snakefile again): no torch, no ANTs, and of the BIDS
tree only the manifest is read. A stage's version is therefore read from its source, not imported.
"""

from __future__ import annotations

import gc
import os
import re
from collections import defaultdict
from functools import lru_cache
from pathlib import Path

from cmburden.core import config as configuration
from cmburden.core import resources
from cmburden.core.files import sha256_of_file
from cmburden.core.keys import bucket_of, hash_of
from cmburden.core.manifest import read_scans
from cmburden.core.paths import BUCKET_STAGES, COHORT_TABLES, SCAN_STAGES, Layout
from cmburden.core.scan import Scan
from cmburden.follow.sessions import with_several

#: Set by the command line for the Snakemake that it starts.
INDEXED = "CMBURDEN_INDEXED"
#: Settings that no longer exist: stage -> (place, key, value). No code ever read them, but they
#: stand in the parameters of older output folders, whose scans would all run again without them.
#: Snakemake compares the text of a parameter, so that the place counts too.
RETIRED = {"preprocess": [(1, "use_t1w_mask", False)]}


def collect_seldom() -> None:
    """Let the garbage collector rest while thousands of scans are planned.

    What planning makes lives until its end, and going through it again and again takes a sixth of
    the time (docs/scale.md); what is let go without a cycle is freed at once, as always.
    """
    gc.set_threshold(200_000, 50, 1000)


@lru_cache
def stage_version(stage: str) -> int:
    """``VERSION`` of a stage's module."""
    room = {"aggregate": "cohort", "longitudinal": "follow"}.get(stage, stage)
    source = (Path(__file__).parents[1] / room / "stage.py").read_text()
    return int(re.search(r"^VERSION = (\d+)$", source, re.MULTILINE).group(1))


class Flow:
    """The workflow of one configuration.

    Parameters
    ----------
    overrides : dict
        Snakemake's ``config``.
    main : bool
        In the main process the configuration is checked and the BIDS tree looked at again; in
        jobs the manifest is believed.
    """

    def __init__(self, overrides: dict, *, main: bool):
        if main:
            collect_seldom()
        defaults = configuration.read_yaml(resources.root() / "config" / "config.yaml")
        self._default_suffixes = list(defaults["index"]["suffixes"])
        self.config = (
            configuration.load(dict(overrides))
            if main
            else configuration.merge(defaults, overrides)
        )
        self.bids = Path(self.config["bids_dir"]) if self.config["bids_dir"] else None
        output = Path(self.config["output_dir"] or "derivatives")
        #: For the work itself.
        self.layout = Layout(output)
        #: For rules: relative to the working folder. Snakemake remembers what an output was made
        #: from by the output's path; with absolute ones a cohort that was moved, or is reached by
        #: another link, would never run again, whatever changed.
        self.paths = Layout(os.path.relpath(output.resolve()))
        self.scans: dict[str, Scan] = {}
        if self.bids is not None:
            # The command line has just indexed: once is enough.
            if main and not os.environ.get(INDEXED):
                from cmburden.core import dataset as derivatives
                from cmburden.index import stage as index
                from cmburden.review import store

                index.run(self.bids, self.layout, self.config)
                store.export(self.layout)
                derivatives.write_description(self.layout, self.bids)
            self.scans = {s.scan_id: s for s in read_scans(self.layout.manifest, self.bids)}
        self.buckets: dict[str, list[str]] = defaultdict(list)
        for scan_id in self.scans:
            self.buckets[str(bucket_of(scan_id, self.config["buckets"]))].append(scan_id)
        #: Participants with several sessions, by the bucket of their id: none, where nobody has.
        self.people: dict[str, dict[str, list[Scan]]] = defaultdict(dict)
        pairs = [(scan.participant_id, scan.session_id) for scan in self.scans.values()]
        scans_of: dict[str, list[Scan]] = {}
        for participant in with_several(pairs):
            bucket = str(bucket_of(participant, self.config["buckets"]))
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
        before = [self._stage(stage) for stage in (*SCAN_STAGES, *BUCKET_STAGES)]
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
        # The order of suffixes decides between scans that the rules leave. The default order is no
        # part of the parameter, so that output folders of before run nothing again.
        suffixes = list(self.config["index"]["suffixes"])
        order = {} if suffixes == self._default_suffixes else {"suffixes": suffixes}
        return {
            "files": [sha256_of_file(path) for path in files if path.exists()],
            "version": stage_version("aggregate"),
            "settings": [self.config[name] for name in ("aggregate", "longitudinal", "report")],
        } | order

    def of_report(self) -> dict:
        return {"version": stage_version("report"), "settings": self.config["report"]}

    def _model(self, stage: str) -> str | None:
        contract = resources.root() / self.config[stage]["model"] / "model.json"
        return sha256_of_file(contract) if contract.exists() else None

    def _stage(self, stage: str) -> dict:
        # Where the work is done and where the model lies change no result; which model it is, is
        # told by its contract's checksum.
        settings = [(k, v) for k, v in self.config[stage].items() if k not in ("device", "model")]
        for place, key, value in RETIRED.get(stage, ()):
            settings.insert(place, (key, value))
        return {"stage": stage, "version": stage_version(stage), "settings": dict(settings)}
