"""How right the brain mask and the regions are: ``python -m cmburden.studies.anatomy``.

Scans of people whose label maps are known are simulated, taken through preprocess and register
without a T1w, and compared with what the label maps say: Dice of the brain mask, share of simulated
microbleeds whose MARS group is right, and seconds. The truth of a group is the simulator's rule.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd

from cmburden.core.config import load
from cmburden.core.errors import told
from cmburden.core.files import whole_file
from cmburden.core.keys import seed_of
from cmburden.core.paths import Layout
from cmburden.core.scan import Scan
from cmburden.images import volume as images
from cmburden.preprocess import stage as preprocess
from cmburden.register import stage as register
from cmburden.simulate import acquisition as presets
from cmburden.simulate import anatomy as an
from cmburden.simulate.scan import simulate
from cmburden.simulate.sources import Findings
from cmburden.space import atlas as space_atlas
from cmburden.space import regions as mars
from cmburden.space import transform


def measure(path: Path, preset: str, folder: Path, settings: dict, lesions: int) -> dict:
    """One simulated scan of the person of label map ``path``: Dice, group accuracy, seconds."""
    rng = np.random.default_rng(seed_of("evaluate_anatomy", path.name, preset))
    person = an.load(path)
    acquisition = presets.vary(presets.PRESETS[preset], rng)
    made = simulate(
        person, an.deformation(person, rng), acquisition, rng, Findings(microbleeds=lesions)
    )
    scan_id = f"sub-{person.name.replace('_', '')}{preset}_T2starw"
    source = folder / f"{scan_id}.nii.gz"
    images.save_volume(source, made.image / made.image.max() * 1000, made.affine, np.float32)
    entities = (("sub", scan_id.split("_")[0][4:]),)
    scan = Scan(
        scan_id, preset, f"sub-{entities[0][1]}", None, "T2starw", made.acquisition.contrast,
        source, entities,
    )  # fmt: skip
    layout = Layout(folder / "derivatives")
    row = {"label_map": person.name, "preset": preset}
    first = preprocess.run(scan, layout, settings["preprocess"])
    second = register.run(scan, layout, settings["register"])
    row |= {"preprocess_s": first.seconds, "register_s": second.seconds, "reason": second.reason}
    if not first.ok:
        return row | {"reason": first.reason}
    mask, _affine = images.read_derivative(layout.brain_mask(scan))
    truth = nib.as_closest_canonical(nib.Nifti1Image(made.brain.astype(np.uint8), made.affine))
    truth = np.asarray(truth.dataobj) > 0
    row["dice"] = 2 * np.sum(truth & (mask > 0)) / (truth.sum() + (mask > 0).sum())
    row["correlation"] = second.measures.get("registration_correlation")
    row["contrast"] = made.acquisition.contrast
    row |= {name: first.measures[name] for name in ("brain_volume_ml", "mask_compactness")}
    if not second.ok:
        return row
    points = np.array([source.centre for source in made.sources])
    labels = space_atlas.labels_at(transform.load_transform(layout, scan_id)(points))
    found = [mars.region_of(int(label))[0].group for label in labels]
    row["lesions"] = len(found)
    row["right"] = sum(a == source.group for a, source in zip(found, made.sources, strict=True))
    return row


def main(arguments: list[str] | None = None) -> None:
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
            temporary.write_text(text)


def markdown(table: pd.DataFrame) -> str:
    """Masks and groups of :func:`measure`'s rows in two sentences."""
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
    raise SystemExit(told(main))
