"""Puts trained weights into a model folder, with their contract (model.json) and card."""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
import shutil
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from cmburden import __version__
from cmburden.core.errors import CMBurdenError, exit_code
from cmburden.core.files import sha256_of_file, whole_file, write_json
from cmburden.detect.grid import CLIP, MIN_SLICE_MM, PLANE_MM
from cmburden.images.views import CHANNELS, VIEW_MM, VIEW_PIXELS
from cmburden.models import contract as contracts
from cmburden.models.contract import CLASSES
from cmburden.models.weights import load_tensors
from cmburden.summary.published import REFERENCES
from cmburden.train import precisions
from cmburden.verify.network import width_of

TRAINING_DATA = (
    "Simulated GRE and SWI slabs (cmburden train dataset, cmburden train mine) over label maps "
    "01-10 of the SynthSeg training label maps (BBillot/SynthSeg, Apache-2.0) and the MNI152 "
    "template; of the 14 real people's anatomies 11-12 and new scans of 01-10 served calibration, "
    "13-14 evaluation. Random acquisitions (1.5-7 T, echo 10-40 ms, 0.4-1.2 mm, slices 0.8-6 mm) "
    "and varied presets in equal parts; some of the microbleeds painted as ellipsoids, without "
    "physics. No real scan and no real microbleed was used."
)
#: What random acquisitions were drawn from; scans outside of these ranges were never tried.
DOMAIN = {
    "contrast": ["GRE", "SWI"],
    "field_strength_t": [1.5, 7.0],
    "echo_time_s": [0.010, 0.040],
    "in_plane_mm": [0.4, 1.2],
    "slice_mm": [0.8, 6.0],
}
INTENDED_USE = (
    "Research on cerebral microbleed burden in cohorts. Research use only: not a medical device. "
    "Trained on simulated scans: validate on labelled scans of your own before you trust a count."
)
VALIDATION_SET = (
    "Simulated whole-head scans over label maps 01-12 through the whole pipeline, out of fold over "
    "simulated people: the probability is fitted on presets and random acquisitions, thresholds "
    "and figures are of the presets"
)
#: Packages that change what a network learns or answers.
LIBRARIES = ("torch", "ultralytics", "numpy", "scipy", "scikit-learn", "nibabel")
#: Keys of ``cmburden.summary.published.REFERENCES``.
SOURCES = {"detector": ("Greenberg2009",), "verifier": ("Greenberg2009", "Ultralytics2024")}
#: Probability above which the detector is sure. It keeps candidates from detect.min_probability on.
SURE_P_CNN = 0.5


@dataclasses.dataclass(frozen=True)
class Release:
    """A model to release.

    Attributes
    ----------
    kind : str
        ``detector`` or ``verifier``.
    weights : tuple of Path
        One file; of a verifier also several, which are then asked together.
    fitted : Path
        The JSON file of ``cmburden train calibrate``.
    version : str
        Of the weights, such as 0.2.0.
    without : tuple of str
        Presets that training and calibration did not see.
    change : str or None
        What is new in this version, for the changelog.
    instead : mapping
        Keys of the contract in place of those of a model of simulated scans alone.
    """

    kind: str
    weights: tuple[Path, ...]
    fitted: Path
    version: str
    without: tuple[str, ...] = ()
    change: str | None = None
    instead: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def release(model: Release, folder: Path) -> dict[str, Any]:
    """Write ``folder``/{weights, model.json, README.md}; the contract.

    The changelog of a model.json that is in ``folder`` already goes on.
    """
    if model.kind == "detector" and len(model.weights) > 1:
        raise CMBurdenError(f"a detector has one file of weights, not {len(model.weights)}")
    changelog = dict((contracts.read(folder.absolute()) or {}).get("changelog", {}))
    if model.change:
        changelog[model.version] = model.change
    targets = _copied(model, folder)
    fitted = json.loads(model.fitted.read_text(encoding="utf-8"))
    contract = _of_both(model, targets) | {"changelog": changelog}
    trained_in = {stated for path in model.weights if (stated := precisions.stated(path))}
    if trained_in:
        contract["training_precision"] = " and ".join(sorted(trained_in))
    if model.kind == "detector":
        contract |= _of_detector(targets[0], fitted)
    else:
        contract |= _of_verifier(targets) | fitted
    contract |= model.instead
    write_json(folder / "model.json", contract)
    with whole_file(folder / "README.md") as temporary:
        temporary.write_text(card(contract), encoding="utf-8")
    return contract


def _copied(model: Release, folder: Path) -> list[Path]:
    """Copy the weights to ``folder``; their new paths."""
    folder.mkdir(parents=True, exist_ok=True)
    targets = []
    for number, source in enumerate(model.weights, start=1):
        target = folder / f"{model.kind}{f'-{number}' if number > 1 else ''}.pt"
        if source.resolve() != target.resolve():
            shutil.copyfile(source, target)
        targets.append(target)
    return targets


def _of_both(model: Release, weights: list[Path]) -> dict[str, Any]:
    """Keys of the contract that detector and verifier share."""
    return {
        "id": f"cmburden-{model.kind}-{model.version}",
        "version": model.version,
        "cmburden_version": __version__,
        "library_versions": library_versions(),
        "references": [REFERENCES[key].text for key in SOURCES[model.kind]],
        "weights": {path.name: sha256_of_file(path) for path in weights},
        "training_data": TRAINING_DATA,
        "left_out_acquisitions": list(model.without),
        "domain": DOMAIN,
        "intended_use": INTENDED_USE,
        "validation_set": VALIDATION_SET,
    }


def library_versions() -> dict[str, str]:
    """Versions of Python and of ``LIBRARIES`` in this environment."""
    versions = {name: metadata.version(name) for name in LIBRARIES}
    return {"python": platform.python_version(), **versions}


def _of_detector(weights: Path, fitted: dict[str, Any]) -> dict[str, Any]:
    """Keys of a detector's contract."""
    metrics = ("candidates_per_scan", "sensitivity_of_candidates", "scans")
    channels = load_tensors(weights)["entry.weight"].shape[0]
    return {
        "architecture": "SpotNet, a 3D fully convolutional network: in-plane pixels folded "
        f"2 x 2 into {channels} channels at half resolution, {2 * channels} at a quarter, "
        "slices never pooled",
        "input": {
            "channels": channels,
            "spacing_mm": [PLANE_MM, PLANE_MM, f"as acquired, at least {MIN_SLICE_MM}"],
            "intensity": f"bias-corrected, median 1 in the brain mask, clipped to 0-{CLIP}",
            "volumes": ["image", "brain mask"],
        },
        "thresholds": {"p_cnn": SURE_P_CNN},
        "metrics": {key: fitted["metrics"][key] for key in metrics},
    }


def _of_verifier(weights: list[Path]) -> dict[str, Any]:
    """Keys of a verifier's contract that calibration does not give."""
    widths = " and ".join(str(width_of(load_tensors(path))) for path in weights)
    return {
        "architecture": "YOLO11 (ultralytics, AGPL-3.0) as deep as n and of width "
        f"{widths} (n: 0.25, s: 0.5), from scratch",
        "classes": list(CLASSES),
        "input": {"pixels": VIEW_PIXELS, "millimetres": VIEW_MM, "channels": list(CHANNELS)},
    }


def card(contract: dict[str, Any]) -> str:
    """Model card in Markdown, from the contract alone, so that the two cannot disagree."""
    figures = _rows(
        {
            key: value
            for key, value in contract["metrics"].items()
            if not isinstance(value, dict) and key != "froc"
        }
    )
    left_out = ", ".join(contract["left_out_acquisitions"])
    precision = contract.get("training_precision")
    versions = ", ".join(f"{name} {v}" for name, v in contract["library_versions"].items())
    changes = "".join(f"- {version}: {text}\n" for version, text in contract["changelog"].items())
    references = "".join(f"- {text}\n" for text in contract["references"])
    simulated = "" if "tuned_on" in contract else " (simulated)"
    return (
        f"# {contract['id']}\n\n{contract['intended_use']}\n\n"
        f"**Architecture.** {contract['architecture']}.\n\n"
        + (f"**Precision of training.** {precision}.\n\n" if precision else "")
        + f"**Training data.** {contract['training_data']}\n\n"
        "**Left out of training and calibration.** "
        f"{f'{left_out}, and random acquisitions like them' if left_out else 'Nothing'}.\n\n"
        f"**Validation set.** {contract['validation_set']}.\n\n"
        f"| threshold | value |\n|---|---|\n{_rows(contract['thresholds'])}\n\n"
        f"| measured on the validation set{simulated} | value |\n|---|---|\n{figures}\n\n"
        + (f"**Changes.**\n\n{changes}\n" if changes else "")
        + f"**References.**\n\n{references}\n"
        f"Released with {versions}. Written by `cmburden train release`; the checksums stand in "
        "`model.json`.\n"
    )


def _rows(values: dict[str, Any]) -> str:
    return "\n".join(f"| {key} | {value} |" for key, value in sorted(values.items()))


def parser() -> argparse.ArgumentParser:
    """The step's arguments."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("kind", choices=("detector", "verifier"))
    parser.add_argument("weights", type=Path, nargs="+", help="of a verifier also several")
    parser.add_argument("fitted", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--version", required=True, help="of the weights, such as 0.2.0")
    parser.add_argument("--without", nargs="*", default=[], help="presets that were left out")
    parser.add_argument("--change", metavar="TEXT", help="what is new, for the changelog")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """``cmburden train release detector|verifier WEIGHTS... FITTED.json FOLDER --version V``."""
    args = parser().parse_args(arguments)
    model = Release(
        kind=args.kind,
        weights=tuple(args.weights),
        fitted=args.fitted,
        version=args.version,
        without=tuple(args.without),
        change=args.change,
    )
    print(release(model, args.folder)["id"])
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
