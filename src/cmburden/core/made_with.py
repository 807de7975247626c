"""A key of all that the results of a scan are made with, beside the scan itself."""

from __future__ import annotations

from typing import Any

from cmburden.core import resources
from cmburden.core.config import of_stage
from cmburden.core.files import sha256_of_file
from cmburden.core.keys import hash_of, settings_of_results
from cmburden.core.stages import BUCKET_STAGES, RECORDED_STAGES, version_of


def made_with(config: dict[str, Any]) -> str:
    """sha256 over versions and settings of the stages, and the contracts of their models.

    A contract holds the checksums of its weights. A model that is absent has none.
    """
    parts = []
    for stage in RECORDED_STAGES:
        contract = None
        if stage in BUCKET_STAGES:
            path = resources.root() / config[stage]["model"] / "model.json"
            contract = sha256_of_file(path) if path.exists() else None
        parts.append(
            [stage, version_of(stage), settings_of_results(of_stage(config, stage)), contract]
        )
    return hash_of(parts)
