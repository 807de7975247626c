"""The origin of a result: code, settings, weights and device; no person, no machine."""

from __future__ import annotations

import functools
import json
from importlib.metadata import PackageNotFoundError, version

from cmburden import __version__
from cmburden.core.files import write_json
from cmburden.core.keys import hash_of
from cmburden.core.paths import Layout

LIBRARIES = (
    "antspyx",
    "deepbet",
    "nibabel",
    "numpy",
    "pandas",
    "pyarrow",
    "scipy",
    "snakemake",
    "torch",
    "ultralytics",
)


@functools.cache
def library_versions() -> dict[str, str]:
    """Versions of the installed libraries that results depend on."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def write_run(
    layout: Layout,
    stage: str,
    stage_version: int,
    unit: str,
    settings: dict,
    weights_sha256: str | None = None,
    device: str = "cpu",
    seconds: float | None = None,
) -> None:
    """Write ``layout.run_record(stage, unit)`` with the columns of ``tables.RUNS``."""
    write_json(
        layout.run_record(stage, unit),
        {
            "stage": stage,
            "unit": unit,
            "stage_version": stage_version,
            "cmburden_version": __version__,
            "versions": json.dumps(library_versions(), sort_keys=True),
            "config_sha256": hash_of(settings),
            "weights_sha256": weights_sha256,
            "device": device,
            "precision": settings.get("precision"),
            "seconds": None if seconds is None else round(float(seconds), 3),
        },
    )
