"""Put trained weights into a model folder with their contract and card."""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

from cmburden import __version__
from cmburden.core.errors import CMBurdenError, told
from cmburden.core.files import sha256_of_file, whole_file, write_json
from cmburden.images.views import CHANNELS, VIEW_MM, VIEW_PIXELS
from cmburden.models.contract import CLASSES
from cmburden.models.weights import load_tensors
from cmburden.verify.network import width_of

TRAINING_DATA = (
    "Simulated GRE and SWI slabs over label maps 01-10 of the SynthSeg training label maps "
    "(BBillot/SynthSeg, Apache-2.0) and the MNI152 template; of the 14 real people's anatomies "
    "11-12 and new scans of 01-10 served calibration, 13-14 evaluation. "
    "Random acquisitions (1.5-7 T, echo 10-40 ms, 0.4-1.2 mm, slices 0.8-6 mm) and varied presets "
    "in equal parts; some of the microbleeds painted as ellipsoids, without physics. No real scan "
    "and no real microbleed was used."
)
#: What random acquisitions were drawn from: scans outside are outside of what was tried.
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


def release(
    kind: str, weights: list[Path], fitted: Path, folder: Path, version: str, *,
    without: tuple[str, ...] = (),
) -> dict:  # fmt: skip
    """Write ``folder``/{weights, model.json, README.md} of a ``detector`` or ``verifier``.

    Several ``weights`` of a verifier are asked together. ``without`` names the presets that
    training and calibration did not see.
    """
    if kind == "detector" and len(weights) > 1:
        raise CMBurdenError(f"a detector has one file of weights, not {len(weights)}")
    folder.mkdir(parents=True, exist_ok=True)
    targets = [folder / f"{kind}{f'-{n}' if n > 1 else ''}.pt" for n in range(1, len(weights) + 1)]
    for source, target in zip(weights, targets, strict=True):
        if source.resolve() != target.resolve():
            shutil.copyfile(source, target)
    calibration = json.loads(Path(fitted).read_text())
    contract = {
        "id": f"cmburden-{kind}-{version}",
        "version": version,
        "cmburden_version": __version__,
        "weights": {target.name: sha256_of_file(target) for target in targets},
        "training_data": TRAINING_DATA,
        "left_out_acquisitions": list(without),
        "domain": DOMAIN,
        "intended_use": INTENDED_USE,
        "validation_set": "Simulated whole-head scans over label maps 01-12 through the whole "
        "pipeline, out of fold over simulated people: the probability is fitted on presets and "
        "random acquisitions, thresholds and figures are of the presets",
    }
    if kind == "detector":
        channels = load_tensors(targets[0])["entry.weight"].shape[0]
        contract |= {
            "architecture": "SpotNet, a 3D fully convolutional network: in-plane pixels folded "
            f"2 x 2 into {channels} channels at half resolution, {2 * channels} at a quarter, "
            "slices never pooled",
            "input": {
                "channels": channels,
                "spacing_mm": [0.75, 0.75, "as acquired, at least 1.5"],
                "intensity": "bias-corrected, median 1 in the brain mask, clipped to 0-2.5",
                "volumes": ["image", "brain mask"],
            },
            # A candidate is kept from detect.min_probability on; this is where the CNN is sure.
            "thresholds": {"p_cnn": 0.5},
            "metrics": {
                k: calibration["metrics"][k]
                for k in ("candidates_per_scan", "sensitivity_of_candidates", "scans")
            },
        }
    else:
        widths = " and ".join(str(width_of(load_tensors(target))) for target in targets)
        contract |= {
            "architecture": "YOLO11 (ultralytics, AGPL-3.0) as deep as n and of width "
            f"{widths} (n: 0.25, s: 0.5), from scratch",
            "classes": list(CLASSES),
            "input": {"pixels": VIEW_PIXELS, "millimetres": VIEW_MM,
                      "channels": list(CHANNELS)},
            **calibration,
        }  # fmt: skip
    write_json(folder / "model.json", contract)
    with whole_file(folder / "README.md") as temporary:
        temporary.write_text(card(contract))
    return contract


def card(contract: dict) -> str:
    """Model card in Markdown, from the contract alone, so that they cannot disagree."""
    figures = "\n".join(
        f"| {k} | {v} |"
        for k, v in sorted(contract["metrics"].items())
        if not isinstance(v, dict) and k != "froc"
    )
    thresholds = "\n".join(f"| {k} | {v} |" for k, v in sorted(contract["thresholds"].items()))
    left_out = ", ".join(contract["left_out_acquisitions"])
    return (
        f"# {contract['id']}\n\n{contract['intended_use']}\n\n"
        f"**Architecture.** {contract['architecture']}.\n\n"
        f"**Training data.** {contract['training_data']}\n\n"
        "**Left out of training and calibration.** "
        f"{f'{left_out}, and random acquisitions like them' if left_out else 'Nothing'}.\n\n"
        f"**Validation set.** {contract['validation_set']}.\n\n"
        f"| threshold | value |\n|---|---|\n{thresholds}\n\n"
        f"| measured on the validation set (simulated) | value |\n|---|---|\n{figures}\n\n"
        "Written by `python -m cmburden.train.release`; the checksums stand in `model.json`.\n"
    )


def main(arguments: list[str] | None = None) -> int:
    """``python -m cmburden.train.release detector|verifier WEIGHTS... FITTED.json FOLDER``."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("kind", choices=("detector", "verifier"))
    parser.add_argument("weights", type=Path, nargs="+", help="of a verifier also several")
    parser.add_argument("fitted", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--version", required=True, help="of the weights, such as 0.2.0")
    parser.add_argument("--without", nargs="*", default=[], help="presets that were left out")
    args = parser.parse_args(arguments)
    contract = release(
        args.kind,
        args.weights,
        args.fitted,
        args.folder,
        args.version,
        without=tuple(args.without),
    )
    print(contract["id"])
    return 0


if __name__ == "__main__":
    raise SystemExit(told(main))
