"""Accuracy of the brain mask and of the regions: ``python -m cmburden.studies.anatomy``.

Scans are simulated from label maps and taken through preprocess and register without a T1w. Each is
compared with its label map: Dice of the brain mask, share of simulated microbleeds whose MARS group
is right, and seconds. The truth of a group is the simulator's rule.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd

from cmburden.core.config import load
from cmburden.core.errors import exit_code
from cmburden.core.files import whole_file
from cmburden.core.keys import seed_of
from cmburden.core.paths import Layout
from cmburden.core.scan import Scan
from cmburden.images import volume as images
from cmburden.preprocess import stage as preprocess
from cmburden.register import stage as register
from cmburden.simulate import acquisition as presets
from cmburden.simulate import anatomy as an
from cmburden.simulate.scan import Simulated, simulate
from cmburden.simulate.sources import Findings
from cmburden.space import atlas as space_atlas
from cmburden.space import regions as mars
from cmburden.space import transform as space_transform

#: Largest value of a written scan, as scanners write some thousands of grey levels (by eye).
_LARGEST = 1000


def measure(
    path: Path, preset: str, folder: Path, settings: dict[str, Any], lesions: int
) -> dict[str, Any]:
    """One simulated scan of the person of label map ``path``: Dice, group accuracy, seconds.

    ``preset`` names the acquisition, ``folder`` takes the files, ``settings`` is the whole
    configuration and ``lesions`` the number of microbleeds. The scan's row ends at ``reason``
    where preprocess failed, and before ``lesions`` where register failed.
    """
    person, made = _simulated(path, preset, lesions)
    scan = _written(made, person.name, preset, folder)
    layout = Layout(folder / "derivatives")
    row: dict[str, Any] = {"label_map": person.name, "preset": preset}
    first = preprocess.run(scan, layout, settings["preprocess"])
    second = register.run(scan, layout, settings["register"])
    row |= {"preprocess_s": first.seconds, "register_s": second.seconds, "reason": second.reason}
    if not first.ok:
        return row | {"reason": first.reason}
    row["dice"] = _dice(made, layout.brain_mask(scan))
    row["correlation"] = second.measures.get("registration_correlation")
    row["contrast"] = made.acquisition.contrast
    row |= {name: first.measures[name] for name in ("brain_volume_ml", "mask_compactness")}
    if second.ok:
        row |= _groups(made, space_transform.load_transform(layout, scan.scan_id))
    return row


def _simulated(path: Path, preset: str, lesions: int) -> tuple[an.Anatomy, Simulated]:
    """A person and a scan, equal for equal arguments."""
    rng = np.random.default_rng(seed_of("evaluate_anatomy", path.name, preset))
    person = an.load(path)
    acquisition = presets.vary(presets.PRESETS[preset], rng)
    deform = an.deformation(person, rng)
    return person, simulate(person, deform, acquisition, rng, Findings(microbleeds=lesions))


def _written(made: Simulated, person: str, preset: str, folder: Path) -> Scan:
    """Write the scan as NIfTI into ``folder``; its row of the manifest."""
    label = f"{person.replace('_', '')}{preset}"
    scan_id = f"sub-{label}_T2starw"
    source = folder / f"{scan_id}.nii.gz"
    image = made.image / made.image.max() * _LARGEST
    images.save_volume(source, image, made.affine, np.float32)
    return Scan(
        scan_id=scan_id,
        cohort=preset,
        participant_id=f"sub-{label}",
        session_id=None,
        suffix="T2starw",
        contrast=made.acquisition.contrast,
        path=source,
        entities=(("sub", label),),
    )


def _dice(made: Simulated, path: Path) -> float:
    """Dice of the brain mask at ``path`` with the simulated brain, both in RAS order."""
    mask, _affine = images.read_derivative(path)
    mask = mask > 0
    truth = nib.as_closest_canonical(nib.Nifti1Image(made.brain.astype(np.uint8), made.affine))
    brain = np.asarray(truth.dataobj) > 0
    return 2 * np.sum(brain & mask) / (brain.sum() + mask.sum())


def _groups(made: Simulated, transform: space_transform.Transform) -> dict[str, int]:
    """Number of sources, and of those in the MARS group of the simulator."""
    points = np.array([source.centre for source in made.sources])
    regions = [mars.region_of(int(label))[0] for label in space_atlas.labels_at(transform(points))]
    pairs = zip(regions, made.sources, strict=True)
    return {
        "lesions": len(regions),
        "right": sum(region.group == source.group for region, source in pairs),
    }


def main(arguments: list[str] | None = None) -> None:
    """``python -m cmburden.studies.anatomy LABEL_MAP ...``."""
    parser = argparse.ArgumentParser(prog="python -m cmburden.studies.anatomy")
    parser.add_argument("label_maps", type=Path, nargs="+", help="FreeSurfer label maps of heads")
    parser.add_argument("--presets", nargs="+", default=list(presets.PRESETS))
    parser.add_argument("--lesions", type=int, default=100, help="microbleeds a scan")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="folder for anatomy.md")
    given = parser.parse_args(arguments)
    settings = load()
    settings["preprocess"]["threads"] = given.threads
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for path in given.label_maps:
            for preset in given.presets:
                row = measure(path, preset, Path(folder), settings, given.lesions)
                print({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()})
                rows.append(row)
    table = pd.DataFrame(rows)
    print(table.to_string(index=False, float_format="%.3f"))
    text = markdown(table)
    print(text)
    if given.out:
        with whole_file(given.out / "anatomy.md") as temporary:
            temporary.write_text(text, encoding="utf-8")


def markdown(table: pd.DataFrame) -> str:
    """Two sentences about the masks and the groups in the rows of :func:`measure`."""
    right, lesions = int(table["right"].sum()), int(table["lesions"].sum())
    return (
        "# Brain masks and regions\n\n"
        f"{len(table)} simulated scans without T1w ({table['label_map'].nunique()} people, "
        f"{', '.join(sorted(set(table['preset'])))}). Dice of the brain mask with the label map "
        f"and its CSF: lowest {table['dice'].min():.3f}, median {table['dice'].median():.3f}. "
        f"The group (lobar, deep, infratentorial) is right for {right / lesions:.3f} of {lesions} "
        "places of microbleeds.\n"
    )


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
