"""Accuracy of the brain mask and of the regions: ``python -m cmburden.studies.anatomy``.

Scans are simulated from label maps and taken through preprocess and register without a T1w. Each is
compared with its label map: Dice of the brain mask, Dice of the MARS regions that FreeSurfer's
labels have too, share of simulated microbleeds whose MARS group is right, and processor seconds.
The truth of a group is the simulator's rule. With ``--before`` the rows of another version are
compared scan by scan: they are simulated alike as long as the simulator is the same.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd

from cmburden.core.config import load
from cmburden.core.errors import exit_code
from cmburden.core.files import whole_file
from cmburden.core.keys import seed_of
from cmburden.core.markdown import table as markdown_table
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
from cmburden.stats.intervals import t_quantile

#: MARS regions that are groups of FreeSurfer's labels: left and right.
_LABELS = {
    "brainstem": (16,),
    "cerebellum": (7, 8, 46, 47),
    "basal ganglia": (11, 12, 13, 50, 51, 52),
    "thalamus": (10, 49),
}
#: Columns of which two versions are compared scan by scan.
_COMPARED = (
    "dice",
    "brain_volume_ml",
    "correlation",
    *_LABELS,
    "right",
    "preprocess_s",
    "register_s",
)
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
    began = time.process_time()
    first = preprocess.run(scan, layout, settings["preprocess"])
    between = time.process_time()
    second = register.run(scan, layout, settings["register"])
    row |= {"preprocess_s": between - began, "register_s": time.process_time() - between}
    row["reason"] = second.reason
    if not first.ok:
        return row | {"reason": first.reason}
    row["dice"] = _dice(_canonical(made.brain, made), layout.brain_mask(scan))
    row["correlation"] = second.measures.get("registration_correlation")
    row["contrast"] = made.acquisition.contrast
    row |= {name: first.measures[name] for name in ("brain_volume_ml", "mask_compactness")}
    if second.ok:
        row |= _groups(made, space_transform.load_transform(layout, scan))
        row |= _region_dice(_canonical(made.labels, made), layout, scan)
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


def _canonical(array: np.ndarray, made: Simulated) -> np.ndarray:
    """An array on the grid of ``made`` in RAS order, as the derivatives are."""
    image = nib.as_closest_canonical(nib.Nifti1Image(array.astype(np.int16), made.affine))
    return np.asarray(image.dataobj)


def _dice(brain: np.ndarray, path: Path) -> float:
    """Dice of the brain mask at ``path`` with the simulated ``brain`` (x, y, z)."""
    mask, _affine = images.read_derivative(path)
    return _overlap(brain > 0, mask > 0)


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * np.sum(one & other) / max(one.sum() + other.sum(), 1))


def _region_dice(labels: np.ndarray, layout: Layout, scan: Scan) -> dict[str, float]:
    """Dice of MARS regions within the brain mask with FreeSurfer's ``labels`` (x, y, z)."""
    mask, _affine = images.read_derivative(layout.brain_mask(scan))
    regions, _affine = images.read_derivative(layout.regions(scan))
    values = mars.without_side(regions)
    return {
        name: _overlap(np.isin(labels, codes) & (mask > 0), values == mars.BY_NAME[name].value)
        for name, codes in _LABELS.items()
    }


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
    parser.add_argument("--out", type=Path, help="folder for anatomy.md and anatomy.tsv")
    parser.add_argument("--before", type=Path, help="anatomy.tsv of another version, to compare")
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
    if given.before:
        print(compared(pd.read_csv(given.before, sep="\t"), table))
    if given.out:
        with whole_file(given.out / "anatomy.md") as temporary:
            temporary.write_text(text, encoding="utf-8")
        with whole_file(given.out / "anatomy.tsv") as temporary:
            table.to_csv(temporary, sep="\t", index=False)


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


def compared(before: pd.DataFrame, after: pd.DataFrame) -> str:
    """A Markdown table of the scans in both tables: means, and the mean of the differences.

    The interval is Student's, of the differences by scan.
    """
    both = before.merge(after, on=["label_map", "preset"], suffixes=(" before", " after"))
    rows: list[tuple[object, ...]] = []
    for name in _COMPARED:
        pair = both[[f"{name} before", f"{name} after"]].dropna()
        change = pair.iloc[:, 1] - pair.iloc[:, 0]
        middle = change.mean()
        half = t_quantile(len(change) - 1) * change.std() / np.sqrt(len(change))
        rows.append(
            (
                name,
                len(change),
                f"{pair.iloc[:, 0].mean():.3f}",
                f"{pair.iloc[:, 1].mean():.3f}",
                f"{middle:+.3f} ({middle - half:+.3f} to {middle + half:+.3f})",
            )
        )
    header = ("measure", "scans", "before", "after", "difference (95 % interval)")
    return markdown_table(header, rows)


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
