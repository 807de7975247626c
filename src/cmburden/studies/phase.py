"""How well phase is read and used: ``python -m cmburden.studies.phase OUT.json --anatomy DIR``.

Simulated scans get phase images of either sign, filtered and not, masked and not, in all scales.
Told are the share that is read, the share whose sign is claimed and right, and how well the measure
at a candidate tells microbleeds from calcium. No network takes part: the places are the true ones,
0.3 mm off. The figures of docs/phase.md come from here.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from nibabel.affines import voxel_sizes

from cmburden.core.errors import exit_code
from cmburden.core.files import write_json
from cmburden.core.keys import seed_of
from cmburden.detect.local_phase import dipole_correlation
from cmburden.detect.shape import Surface, measure
from cmburden.detect.vein_phase import sign_of
from cmburden.images.phase import Phase, PhaseNotUsed, in_radians
from cmburden.simulate import acquisition as aq
from cmburden.simulate import anatomy as an
from cmburden.simulate.phase_images import SCALES, PhaseImage
from cmburden.simulate.scan import Simulated, simulate
from cmburden.simulate.sources import usual_findings

#: Beside the simulator's presets: a magnitude of thin slices, and an SWI of the other mask sign.
_BESIDE = {
    "THIN": dataclasses.replace(aq.PRESETS["ADNI"], voxel_mm=(0.8, 0.8, 1.5), csf=0.95),
    "TURNED": dataclasses.replace(aq.PRESETS["AIBL"], mask_shape="turned"),
}
#: Presets in turn; microbleeds and calcium of each scan, so that few scans have many of both.
PRESETS = (*aq.PRESETS, aq.RANDOM, *_BESIDE)
_MICROBLEEDS, _CALCIUM = 12, {"pallidal": 2, "choroid": 2, "pineal": 1, "dural": 2}
_PARENCHYMAL = 4
#: Phase images of a scan whose sign is looked for, and with which its sources are measured: scales
#: take turns over the scans. All are read.
_LOOKED_AT = 2
#: The head's height that is simulated, mm; sub-voxels, mm: coarser ones cost a fraction.
_EXTENT_MM, _SUB_MM = 44.0, (0.8, 0.8, 1.3)
#: Error of a candidate's place, mm along each axis, standard deviation.
_MISPLACED_MM = 0.3
#: Kinds of sources that are measured, by the truth's names.
_KINDS = ("microbleed", "calcification", "vessel")


def scans(
    number: int, maps: Sequence[Path | None], seed: int, presets: Sequence[str] = PRESETS
) -> Iterator[tuple[str, Simulated]]:
    """Presets and simulated scans."""
    for index in range(number):
        turn, preset = index // len(presets), presets[index % len(presets)]
        # A preset's scans are the same, whichever presets are asked for beside.
        rng = np.random.default_rng(seed + 10 * turn + sum(map(ord, preset)))
        person = an.load(maps[turn % len(maps)])
        deform = an.deformation(person, rng)
        if preset == aq.RANDOM:
            drawn = aq.random_acquisition(rng, tuple(aq.PRESETS.values()))
        else:
            drawn = aq.vary((aq.PRESETS | _BESIDE)[preset], rng)
        findings = dataclasses.replace(
            usual_findings(rng, _MICROBLEEDS), parenchymal=_PARENCHYMAL, **_CALCIUM
        )
        drawn = dataclasses.replace(drawn, extent_mm=_EXTENT_MM)
        yield preset, simulate(person, deform, drawn, rng, findings, sub_mm=_SUB_MM)


def images_of(index: int, rng: np.random.Generator) -> list[PhaseImage]:
    """A phase image in each scale; signs, filters and masks take turns over scans and scales."""
    names = list(SCALES)
    turned = names[index % len(names) :] + names[: index % len(names)]
    drawn = PhaseImage.draw(rng)
    return [
        dataclasses.replace(
            drawn,
            scale=scale,
            sign=1 if (index + number) % 2 else -1,
            filtered=(index // 2 + number) % 2 == 0,
            masked=(index + number) % 3 == 0,
        )
        for number, scale in enumerate(turned)
    ]


def of_scan(index: int, preset: str, scan: Simulated, seed: int) -> tuple[list[dict], list[dict]]:
    """Rows of the phase images of a scan, and of its sources."""
    rng = np.random.default_rng(seed_of("study of phase, images", seed, index))
    volume = (scan.image / np.median(scan.image[scan.brain])).astype(np.float32)
    rows, sources = [], []
    for number, image in enumerate(images_of(index, rng)):
        row = {
            "preset": preset,
            "contrast": scan.acquisition.contrast,
            "mask": scan.acquisition.mask_shape,
            "slice_mm": scan.acquisition.voxel_mm[2],
            **{name: getattr(image, name) for name in ("sign", "scale", "filtered", "masked")},
        }
        try:
            scale = SCALES[image.scale]
            stored = image.stored(scan).astype(np.float32)
            # The file's header leads to what is read.
            phase = in_radians(
                stored * np.float32(scale.slope or 1.0) + np.float32(scale.intercept)
            )
        except PhaseNotUsed as error:
            rows.append(row | {"read": False, "why": str(error)})
            continue
        row["read"] = True
        if number < _LOOKED_AT:
            sign = sign_of(volume, scan.brain, scan.affine, phase)
            row |= {
                "certainty": round(sign.certainty, 6),
                "claimed": sign.is_clear,
                "right": sign.value == image.sign,
            }
            sources += _sources(scan, volume, phase, image, preset, rng)
        rows.append(row)
    return rows, sources


def _sources(
    scan: Simulated,
    volume: np.ndarray,
    phase: Phase,
    image: PhaseImage,
    preset: str,
    rng: np.random.Generator,
) -> list[dict[str, Any]]:
    """The measure at each source by the true sign of ``image``."""
    turned = volume * phase.known * np.exp(1j * image.sign * phase.radians)
    signal = turned.astype(np.complex64)
    surface = Surface(scan.brain, voxel_sizes(scan.affine))
    rows = []
    for source in scan.sources:
        if source.kind not in _KINDS:
            continue
        centre = source.centre + rng.normal(0, _MISPLACED_MM, 3)
        size = measure(volume, surface, scan.affine, centre).diameter_mm
        value = dipole_correlation(signal, scan.affine, centre, size)
        rows.append(
            {"preset": preset, "filtered": image.filtered, "kind": source.kind, "value": value}
        )
    return rows


def auc(one: np.ndarray, other: np.ndarray) -> float | None:
    """Probability that a value of ``one`` is above one of ``other``; NaN takes no part.

    >>> auc(np.array([1.0, 2.0]), np.array([0.0, 1.5]))
    0.75
    """
    one, other = one[np.isfinite(one)], other[np.isfinite(other)]
    if not len(one) or not len(other):
        return None
    return round(float(np.mean(one[:, None] > other) + np.mean(one[:, None] == other) / 2), 4)


def figures(images: pd.DataFrame, sources: pd.DataFrame) -> dict[str, Any]:
    """Shares read, claimed and right by each property of images; AUC by preset."""
    looked = images[images["claimed"].notna()]
    by = {}
    for name in ("preset", "contrast", "sign", "scale", "filtered", "masked"):
        by[name] = {
            str(value): _shares(images[images[name] == value], looked[looked[name] == value])
            for value in images[name].drop_duplicates()
        }
    return {
        "all": _shares(images, looked),
        "by": by,
        "auc": {str(preset): _aucs(rows) for preset, rows in sources.groupby("preset", sort=False)},
    }


def _shares(images: pd.DataFrame, looked: pd.DataFrame) -> dict[str, Any]:
    claimed = looked[looked["claimed"].astype(bool)]
    return {
        "images": len(images),
        "read": int(images["read"].sum()),
        "looked_at": len(looked),
        "claimed": len(claimed),
        "right": int(claimed["right"].astype(bool).sum()),
    }


def _aucs(rows: pd.DataFrame) -> dict[str, Any]:
    values = {kind: rows.loc[rows["kind"] == kind, "value"].to_numpy(float) for kind in _KINDS}
    return {
        "microbleeds": len(values["microbleed"]),
        "calcifications": len(values["calcification"]),
        "calcification": auc(values["microbleed"], values["calcification"]),
        "vessel": auc(values["microbleed"], values["vessel"]),
    }


def main(arguments: list[str] | None = None) -> int:
    """``python -m cmburden.studies.phase OUT.json --anatomy DIR --people 11-12 --scans 24``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--anatomy", type=Path, help="folder of label maps; none: MNI152 template")
    parser.add_argument("--people", help="label maps to use, first-last from 1")
    parser.add_argument("--presets", nargs="+", choices=PRESETS, default=PRESETS)
    parser.add_argument("--scans", type=int, default=25)
    parser.add_argument("--seed", type=int, default=1000)
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    maps = an.selected(an.available(args.anatomy), args.people)
    images: list[dict[str, Any]] = []
    sources: list[dict[str, Any]] = []
    for index, (preset, scan) in enumerate(scans(args.scans, maps, args.seed, args.presets)):
        of_images, of_sources = of_scan(index, preset, scan, args.seed)
        images += of_images
        sources += of_sources
        result = figures(pd.DataFrame(images), pd.DataFrame(sources))
        write_json(args.out, result | {"scans": index + 1, "images": images})
        print(f"{index + 1} of {args.scans}: {preset}", result["all"], flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
