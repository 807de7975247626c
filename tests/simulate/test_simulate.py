"""The simulator: physics against analytic results, sources where and as large as they must be."""

import argparse
import dataclasses

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image

from cmburden.core.errors import CMBurdenError
from cmburden.simulate import acquisition as aq
from cmburden.simulate import anatomy as an
from cmburden.simulate import (
    artefacts,
    cohort,
    command,
    pathology,
    physics,
    reader,
    sources,
    vessels,
)
from cmburden.simulate.placing import Drawing
from cmburden.simulate.scan import simulate
from cmburden.simulate.sources import Findings
from cmburden.studies import picture, visibility

B0 = np.array([0.0, 0.0, 1.0])


def sphere(n: int, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Points (n, n, n, 3) in mm of a 1 mm grid about its middle, and a sphere's volume share."""
    axis = np.arange(n) - n // 2
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).astype(float)
    fine = (np.arange(5) - 2) / 5
    share = np.zeros((n, n, n), np.float32)
    for x in fine:
        for y in fine:
            for z in fine:
                share += (np.linalg.norm(points + np.array([x, y, z]), axis=-1) <= radius) / 125
    return points, share


@pytest.mark.slow
@pytest.mark.parametrize("b0", [B0, np.array([0.0, 0.6, 0.8])])
def test_dipole_field_of_a_sphere_is_the_analytic_one(b0):
    points, share = sphere(96, 5.0)
    field = physics.dipole_field(torch.from_numpy(share), (1, 1, 1), b0).numpy()
    truth = physics.sphere_field(points, 5.0, 1.0, b0)
    distance = np.linalg.norm(points, axis=-1)
    outside = (distance > 7) & (distance < 20)
    # Of 1 ppm; what is left is the periodic grid's neighbours.
    assert np.abs(field - truth)[outside].max() < 0.02
    # Inside a sphere the field (Lorentz-corrected) is zero.
    assert np.abs(field[distance < 3]).max() < 0.02


def test_phase_of_one_ppm_at_3_tesla_and_20_ms():
    # 42.577 MHz/T x 3 T x 1e-6 x 20 ms = 2.5546 turns.
    assert physics.phase_per_ppm(3.0, 0.020) / (2 * np.pi) == pytest.approx(2.5546, abs=1e-3)


def test_blooming_grows_with_the_cube_root_of_field_and_echo_time():
    one = physics.visible_radius(1.0, 1.0, 1.5, 0.020)
    assert physics.visible_radius(1.0, 1.0, 3.0, 0.020) / one == pytest.approx(2 ** (1 / 3))
    assert physics.visible_radius(1.0, 1.0, 3.0, 0.040) / one == pytest.approx(4 ** (1 / 3))
    assert physics.visible_radius(1.0, 1e-6, 3.0, 0.020) == 1.0


def test_a_full_turn_across_a_voxel_leaves_no_signal():
    ramp = torch.arange(8.0)[:, None, None].expand(8, 8, 8).contiguous()
    assert physics.through_voxel_dephasing(ramp, 2 * np.pi)[4, 4, 4] < 1e-6
    half = physics.through_voxel_dephasing(ramp, np.pi)[4, 4, 4]
    assert float(half) == pytest.approx(2 / np.pi, abs=1e-5)


def test_block_mean():
    volume = torch.arange(64.0).reshape(4, 4, 4)
    assert physics.block_mean(volume, (4, 4, 4)).item() == 31.5
    assert physics.block_mean(volume, (1, 1, 2)).shape == (4, 4, 2)


def test_susceptibility_weighting_darkens_positive_phase_only():
    magnitude = torch.ones(3)
    weighted = physics.susceptibility_weighted(magnitude, torch.tensor([-1.0, 0.0, np.pi / 2]), 4)
    assert weighted.tolist() == pytest.approx([1.0, 1.0, 0.5**4])


def test_vendors_masks():
    phase = torch.tensor([-1.0, 0.0, np.pi / 2])
    both = physics.susceptibility_weighted(torch.ones(3), phase, 1, "both")
    assert both.tolist() == pytest.approx([1 - 1 / np.pi, 1.0, 0.5])
    sigmoid = physics.susceptibility_weighted(torch.ones(3), phase, 1, "sigmoid")
    assert sigmoid[0] > 0.99 and sigmoid[2] < 0.15
    turned = physics.susceptibility_weighted(torch.ones(3), phase, 1, "turned")
    assert turned.tolist() == pytest.approx([1 - 1 / np.pi, 1.0, 1.0])
    assert physics.susceptibility_weighted(torch.ones(3), phase, 4, "none").tolist() == [1, 1, 1]


def test_masks_of_training_are_all_drawn_and_a_gre_keeps_its_own():
    rng = np.random.default_rng(0)
    swi = [aq.reprocessed(aq.PRESETS["MAS"], rng) for _ in range(300)]
    shares = {name: np.mean([one.mask_shape == name for one in swi]) for name in aq.MASKS}
    assert shares == pytest.approx(aq.MASKS, abs=0.07)
    projected = [one.minip_mm for one in swi if one.minip_mm]
    assert 0.06 < len(projected) / len(swi) < 0.18
    assert min(projected) >= 3 and max(projected) <= 10
    assert aq.reprocessed(aq.PRESETS["ADNI"], rng) == aq.PRESETS["ADNI"]


def test_left_out_acquisitions_are_not_drawn():
    rng = np.random.default_rng(0)
    left_out = aq.PRESETS["AIBL"]
    drawn = [aq.random_acquisition(rng, (left_out,)) for _ in range(300)]
    for one in drawn:
        near = np.abs(np.log(np.array(one.voxel_mm) / left_out.voxel_mm)) < np.log(7 / 6)
        assert not (one.contrast == "SWI" and one.field_t == 3.0 and near.all())
    assert aq.like(left_out, aq.vary(left_out, rng))
    # The ranges that the documentation states.
    assert all(0.4 <= one.voxel_mm[0] <= 1.2 and one.voxel_mm[2] <= 6 for one in drawn)
    assert {one.field_t for one in drawn} == {1.5, 3.0, 7.0}


def ball(radius: float, shape=(40, 40, 20), voxel=(0.5, 0.5, 1.5)):
    affine = np.diag([*voxel, 1.0])
    return sources.ball_share(affine, shape, np.array([10.1, 9.8, 15.2]), radius, 0.05), voxel


@pytest.mark.parametrize("radius", [0.5, 1.3, 4.0])
def test_ball_share_has_the_volume_of_a_ball(radius):
    (_, share), voxel = ball(radius)
    assert share.sum() * np.prod(voxel) == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.08)


def test_a_painted_microbleed_has_the_volume_of_a_ball_however_it_is_shaped():
    affine, shape, rng = np.diag([0.5, 0.5, 1.5, 1.0]), (40, 40, 20), np.random.default_rng(0)
    for _ in range(20):
        paint = sources.Paint.draw(rng)
        assert abs(np.linalg.det(paint.to_ball)) == pytest.approx(1)
        bleed = sources.Source(
            "microbleed", np.array([10.1, 9.8, 15.2]), 1.0, 1.0, 1.6, None, "lobar", paint
        )
        _, left = sources.source_signal(bleed, affine, shape, np.array([0, 0, 1.0]), 1.0)
        # An edge that falls linearly over 2 e about r holds 1 + (e / r)^2 of the ball's volume.
        volume = 4 / 3 * np.pi * 1.6**3 * (1 + (paint.edge_mm / 1.6) ** 2)
        lost = (1 - left.real).sum() * np.prod([0.5, 0.5, 1.5])
        assert lost == pytest.approx(paint.depth * volume, rel=0.08)
        assert np.abs(left.imag).max() == 0


def a_brain(n: int = 60) -> an.GridAnatomy:
    """A ball of white matter with a shell of cortex and fluid about it, 1.5 mm voxels."""
    axis = (np.arange(n) - n / 2 + 0.5) * 1.5
    far = np.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2)
    labels = np.zeros((n, n, n), np.int16)
    labels[far < 43], labels[far < 40], labels[far < 34] = an.CSF, 3, 2
    labels[far < 8] = 4
    labels[(far < 14) & (far >= 8)] = 11
    affine = np.diag([1.5, 1.5, 1.5, 1.0])
    affine[:3, 3] = axis[0]
    return an.GridAnatomy(labels, np.maximum(far - 8, 0), np.maximum(far - 14, 0), affine)


def drawing(grade, seed=0, name="MAS", brain=None):
    rng = np.random.default_rng(seed)
    return Drawing(brain or a_brain(), aq.PRESETS[name], np.zeros((0, 3)), grade, rng)


def test_the_share_of_painted_microbleeds_is_what_is_asked_for(tmp_path):
    for share in (0.0, 0.5):
        made = drawing(lambda source: "microbleed").draw(Findings(microbleeds=150, painted=share))
        painted = [s.painted is not None for s in made if s.kind == "microbleed"]
        assert np.mean(painted) == pytest.approx(share, abs=0.12)
    with pytest.raises(CMBurdenError, match="--painted 2: is a share, from 0 to 1"):
        cohort.run(tmp_path / "bids", presets=["MAS"], participants=1, seed=0, painted=2)


def test_the_truth_of_another_cohort_stays(tmp_path):
    (tmp_path / "truth.tsv").write_text("the first cohort's")
    with pytest.raises(CMBurdenError, match=r"truth.tsv: is the truth of another cohort"):
        cohort.run(tmp_path / "b", presets=["MAS"], participants=1, seed=0)
    assert (tmp_path / "truth.tsv").read_text() == "the first cohort's"
    assert not (tmp_path / "b").exists()


def test_plans_stay_as_they_were_drawn():
    # Scans of a seed are compared over years: the order of draws is a contract.
    plans = cohort.plan_cohort(["MAS"], 4, [None], 4, positive_share=0.5, t1w_share=0.5)
    assert [plan.age for plan in plans] == [68.7, 85.3, 82.1, 60.4]
    assert [plan.n_microbleeds for plan in plans] == [0, 2, 0, 17]
    assert [plan.sex + plan.site for plan in plans] == ["FA", "MB", "FB", "MB"]
    assert [plan.has_t1w for plan in plans] == [False, False, True, True]
    assert plans[0].seed == 822157685291296531
    none = cohort.plan_cohort(["MAS"], 4, [None], 4, positive_share=0.0, t1w_share=0.5)
    assert [plan.n_microbleeds for plan in none] == [0, 0, 0, 0]


def test_findings_stay_as_they_were_drawn():
    # Those of the commit before ``--mimics``: the option leaves existing cohorts as they are.
    drawn = sources.usual_findings(np.random.default_rng(7), 3)
    assert (drawn.pineal, drawn.parenchymal, drawn.crossing_vessels) == (1, 1, 15)
    assert (drawn.pallidal, drawn.choroid, drawn.dural, drawn.lacunes) == (0, 0, 0, 0)
    assert drawn.veins == pytest.approx(1.5929540341384472, rel=1e-12)
    # A population's scan of the same seed has the same vessels and the same changes of tissue.
    like = sources.population_findings(np.random.default_rng(7), 3, 70.0)
    assert (like.microbleeds, like.crossing_vessels, like.veins) == (3, 15, drawn.veins)
    assert like.white_matter == drawn.white_matter


def test_a_population_has_mimics_as_published():
    """Audit A1 (iv): the contract's presence figures come from scans like a population's."""
    draws, rng = 3000, np.random.default_rng(3)
    made = [sources.population_findings(rng, 0, 74.0) for _ in range(draws)]
    published = {
        "pallidal": 0.132,  # between 3 % at 50 and 20 % at 90
        "choroid": 0.662,
        "pineal": 0.710,
        "dural": 0.073,
        "parenchymal": 0.005,
        "cavernomas": 0.004,
        "macrohaemorrhages": 0.005,
        "siderosis": 0.007,
    }
    for name, share in published.items():
        numbers = np.array([getattr(one, name) for one in made])
        assert numbers.max() == 1
        # 99.9 % of samples lie within this.
        allowed = 3.3 * np.sqrt(share * (1 - share) / draws)
        assert numbers.mean() == pytest.approx(share, abs=allowed), name
    old, young = (
        np.mean([sources.population_findings(rng, 0, age).pallidal for _ in range(1000)])
        for age in (90.0, 50.0)
    )
    assert old > 0.15 and young < 0.06


def test_a_population_is_of_one_session(tmp_path):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    words = [str(tmp_path / "b"), "--mimics", "population", "--sessions", "2"]
    with pytest.raises(CMBurdenError, match="--mimics population: is for one session"):
        command.main(parser.parse_args(words))


def test_microbleeds_lie_in_tissue_and_apart_with_published_sizes():
    made = drawing(lambda source: "microbleed").draw(Findings(microbleeds=150))
    assert len(made) == 150
    centres = np.array([s.centre for s in made])
    assert (np.linalg.norm(centres, axis=1) < 41.5).all()
    gaps = np.linalg.norm(centres[:, None] - centres, axis=2) + 1e9 * np.eye(len(made))
    assert gaps.min() > 1.5
    # Apparent radius of 957 real ones: median 1.4, 5-95 % 0.7-2.4 mm.
    low, middle, high = np.quantile([s.visible_mm for s in made], [0.05, 0.5, 0.95])
    assert 0.6 < low < 0.9 and 1.2 < middle < 1.5 and 2.1 < high < 2.8
    share = np.mean([s.group == "lobar" for s in made])
    # This brain has neither brainstem, cerebellum nor thalamus: 0.73 of 0.83.
    assert share == pytest.approx(0.73 / 0.83, abs=0.08)


def test_apparent_size_holds_on_the_scan_whatever_its_field():
    for name in ("MAS", "OATS"):
        acquisition = aq.PRESETS[name]
        made = drawing(lambda source: "microbleed", name=name).draw(Findings(microbleeds=20))
        assert len(made) == 20
        for source in made:
            shown = physics.visible_radius(
                source.radius_mm, source.chi_ppm, acquisition.field_t, acquisition.echo_time_s
            )
            assert shown == pytest.approx(source.visible_mm)


def test_what_no_reader_would_see_is_no_microbleed_and_grey_ones_come_on_top():
    def seen(source):
        large = source.visible_mm > 1.5
        return "microbleed" if large else "faint" if source.visible_mm > 1.2 else "unseen"

    made = drawing(seen).draw(Findings(microbleeds=40))
    sizes = {k: [s.visible_mm for s in made if s.kind == k] for k in ("microbleed", "faint")}
    assert len(sizes["microbleed"]) == 40 and min(sizes["microbleed"]) > 1.5
    assert sizes["faint"] and min(sizes["faint"]) > 1.2 and max(sizes["faint"]) <= 1.5
    none = drawing(lambda source: "unseen").draw(Findings(microbleeds=5, pallidal=2))
    # This brain has no pallidum: nothing is left.
    assert none == []


def spot(level: float, at=(20, 20, 3), voxel=(0.5, 0.5, 2.0)):
    """An even image (40, 40, 7) of 1 with a ball of radius 1.5 mm of ``level``; the same without
    the ball; brain; affine."""
    bare = np.ones((40, 40, 7))
    affine = np.diag([*voxel, 1.0])
    affine[:3, 3] = 5, -7, 11
    place = np.indices(bare.shape).transpose(1, 2, 3, 0)
    image = np.where(np.linalg.norm((place - at) * voxel, axis=-1) < 1.5, level, bare)
    return image, bare, np.ones(bare.shape, bool), affine


def test_a_spot_in_the_image_is_as_dark_as_it_is():
    image, bare, brain, affine = spot(0.45)
    centre = affine[:3, :3] @ (20, 20, 3) + affine[:3, 3]

    def seen(image=image, bare=bare, brain=brain, centre=centre):
        return reader.in_image(image, bare, brain, affine, centre, 1.5)

    assert seen() == pytest.approx((0.55, 1.0))
    # Fluid on one side makes it no darker; where less than half is brain, no reader takes it.
    bright = image.copy()
    bright[24:] = 2.0
    assert seen(bright, np.maximum(bare, bright))[0] == pytest.approx(0.55)
    assert seen(centre=centre + 200) == (0, 0)
    cut = brain.copy()
    cut[:22] = False
    assert 0.2 < seen(brain=cut)[1] < 0.5


def test_what_is_dark_without_a_bleed_is_no_spot():
    image, bare, brain, affine = spot(0.9)
    centre = affine[:3, :3] @ (20, 20, 3) + affine[:3, 3]
    # Bone through the ball's middle, and beside it a voxel that bone has dimmed by a third.
    for volume, bleed in ((image, 0.9), (bare, 1.0)):
        volume[:20] = 0.1 * bleed
        volume[20] = 0.65 * bleed
    brain[:20] = False
    loss, _ = reader.in_image(image, bare, brain, affine, centre, 1.5)
    assert loss == pytest.approx(0.1)
    # A bleed that takes half of what is left there is one.
    image[20, 20, 3] = 0.65 / 2
    assert reader.in_image(image, bare, brain, affine, centre, 1.5)[0] == pytest.approx(0.5)


def test_parenchyma_is_neither_fluid_nor_outside():
    labels = np.array([0, 2, 3, 4, 14, 16, 24, 41, 43, 58, 507, 511, 515])
    assert labels[an.parenchyma(labels)].tolist() == [2, 3, 16, 41, 58]


@pytest.mark.parametrize(("last", "share"), [(18, 0.61), (22, 0.43)])
def test_brain_that_bone_has_dimmed_surrounds_no_spot(last, share):
    image, bare, brain, affine = spot(0.45)
    centre = affine[:3, :3] @ (20, 20, 3) + affine[:3, 3]
    outside = brain.copy()
    outside[10:last] = False
    expected = reader.in_image(image, bare, outside, affine, centre, 1.5)
    for volume in (image, bare):
        volume[10:last] *= 0.5
    seen = reader.in_image(image, bare, brain, affine, centre, 1.5)
    assert seen == pytest.approx(expected)
    assert seen == pytest.approx((0.55, share), abs=0.02)


def test_where_all_brain_is_dark_it_surrounds_a_spot():
    image, bare, brain, affine = spot(0.45)
    centre = affine[:3, :3] @ (20, 20, 3) + affine[:3, 3]
    seen = reader.in_image(image / 3, bare / 3, brain, affine, centre, 1.5)
    assert seen == pytest.approx((0.55, 1.0))


@pytest.mark.parametrize(
    ("level", "cut", "kind"),
    [(0.5, 0, "microbleed"), (0.7, 0, "faint"), (0.5, 22, "faint")],
)
def test_a_reader_takes_dark_spots_within_the_brain(level, cut, kind):
    image, bare, brain, affine = spot(level)
    brain[:cut] = False
    centre = affine[:3, :3] @ (20, 20, 3) + affine[:3, 3]
    bleed = sources.Source("microbleed", centre, 1.0, 1.0, 1.5, None, "lobar")
    assert reader.looked_at(bleed, image, bare, brain, affine).kind == kind
    calcium = dataclasses.replace(bleed, kind="calcification")
    assert reader.looked_at(calcium, image, bare, brain, affine) is calcium


def test_findings_lie_where_they_do_in_people():
    made = drawing(lambda source: "microbleed").draw(Findings(dural=5, choroid=5))
    far = np.array([np.linalg.norm(source.centre) for source in made])
    # The dura lies in the fluid outside, the choroid plexus in the ventricle of 8 mm.
    assert (far > 38).sum() == 5 and 1 <= (far < 9.5).sum() == len(made) - 5
    assert {source.kind for source in made} == {"calcification"}
    assert all(source.chi_ppm < 0 for source in made)


def test_calcium_of_the_pallidum_lies_on_both_sides():
    brain = a_brain()
    labels = brain.labels
    left, right = an.PALLIDUM
    nucleus = labels == 11
    labels[30:][nucleus[30:]], labels[:30][nucleus[:30]] = right, left
    made = []
    for seed in range(40):
        one = drawing(lambda source: "microbleed", seed, brain=brain)
        made.append(one.draw(Findings(pallidal=1)))
    both = [pair for pair in made if len(pair) == 2]
    assert 28 <= len(both) <= 40
    for one, other in both:
        assert np.abs(one.centre * [-1, 1, 1] - other.centre).max() < 4.5
        assert one.chi_ppm == other.chi_ppm < 0


def test_crossing_vessels_run_through_slices_in_fluid():
    labels = a_brain().labels
    made, middles = vessels.crossing(labels, 30, np.random.default_rng(0))
    assert len(made) == len(middles) == 30
    assert (labels[tuple(np.round(middles).astype(int).T)] == an.CSF).mean() > 0.6
    spans = np.array([np.ptp(one.points, axis=0) for one in made])
    assert np.median(spans[:, 2]) > 6
    assert np.median(spans[:, 2] / np.hypot(spans[:, 0], spans[:, 1])) > 1.5


def test_stretches_are_short_and_point_anywhere():
    labels = a_brain().labels
    made, middles = vessels.stretches(labels, 200, np.random.default_rng(0))
    assert len(made) == len(middles) == 200
    lengths = [len(one.points) for one in made]
    assert min(lengths) >= 5 and max(lengths) <= 17 and np.mean(lengths) > 9
    spans = np.array([np.ptp(one.points, axis=0) for one in made if len(one.points) > 5])
    shares = np.bincount(spans.argmax(1), minlength=3) / len(spans)
    assert (shares > 0.2).all()


@pytest.mark.slow
def test_a_dark_stretch_takes_signal_where_the_truth_names_it():
    """The same scan with and without stretches: the darkest change lies on a named vessel."""
    acquisition = dataclasses.replace(aq.PRESETS["ADNI"], voxel_mm=(1.2, 1.2, 1.8), extent_mm=14)
    brain = an.load(None)

    def scan(stretches: int):
        rng = np.random.default_rng(8)
        findings = Findings(veins=0.0, stretches=stretches)
        return simulate(
            brain, an.deformation(brain, rng), acquisition, rng, findings, sub_mm=(0.6, 0.6, 0.9)
        )

    with_them = scan(12)
    named = [one.centre for one in with_them.sources if one.kind == "vessel"]
    assert len(named) == 12 and not scan(0).sources
    inside = [
        np.round(nib.affines.apply_affine(np.linalg.inv(with_them.affine), centre)).astype(int)
        for centre in named
    ]
    shown = [at for at in inside if ((at >= 0) & (at < with_them.image.shape)).all()]
    darkness = [
        with_them.image[tuple(slice(max(0, i - 3), i + 4) for i in at)].min() for at in shown
    ]
    usual = np.percentile(with_them.image[with_them.brain], 5)
    assert np.mean(np.array(darkness) < usual) > 0.6


@pytest.mark.parametrize("power", [1, 4])
def test_loss_of_the_darkest_voxel(power):
    swi = aq.Acquisition("x", "SWI", (1, 1, 1), 0.02, 3.0, mask_power=power)
    left = np.array([0.8, 0.9 * np.exp(1j * np.pi / 2)])
    assert sources.darkest_loss(left, swi) == pytest.approx(1 - 0.9 * 0.5**power)
    turned = dataclasses.replace(swi, mask_shape="turned")
    assert sources.darkest_loss(left, turned) == pytest.approx(0.2)
    gre = aq.Acquisition("x", "GRE", (1, 1, 1), 0.02, 3.0)
    assert sources.darkest_loss(left, gre) == pytest.approx(0.2)


def test_lacunes_are_fluid_and_white_matter_lesions_brighter():
    brain = a_brain()
    labels = brain.labels
    rng = np.random.default_rng(0)
    assert pathology.tissue_factor(brain, 1.8, Findings(), rng) is None
    bright = pathology.tissue_factor(brain, 1.8, Findings(white_matter=1.0), rng)
    assert bright.min() == 1 and 1 < bright.max() < 1.4
    assert (bright[labels != 2] == 1).all()
    share = (bright[labels == 2] > 1).mean()
    assert 0.03 < share < 0.2
    dark = pathology.tissue_factor(brain, 0.5, Findings(lacunes=3), rng)
    assert dark.max() == 1 and dark.min() < 0.7


def test_faults_keep_the_image_and_do_what_they_say():
    rng = np.random.default_rng(0)
    signal = torch.zeros(32, 40, 6, dtype=torch.complex64)
    signal[12:20, 10:20, 2] = 1
    faulty = aq.Acquisition("x", "GRE", (1, 1, 4), 0.02, 3.0, crosstalk=0.1)
    out = artefacts.disturb(signal, faulty, rng)
    assert out.sum().real == pytest.approx(80)
    assert out[15, 15].real.tolist() == pytest.approx([0, 0.1, 0.8, 0.1, 0, 0])
    ghost = artefacts.disturb(
        signal, aq.Acquisition("x", "GRE", (1, 1, 4), 0.02, 3.0, ghost=0.05), rng
    )
    assert ghost.abs().sum() == pytest.approx(80 * 1.05)
    ringing = aq.Acquisition("x", "GRE", (1, 1, 4), 0.02, 3.0, ringing=0.3)
    rings = artefacts.disturb(signal, ringing, rng).abs()
    assert rings[..., 2].max() > 1.05 and rings[..., 3].max() < 1e-6
    stored = artefacts.store(rng.random((20, 20, 4)), dataclasses.replace(ringing, levels=50))
    assert len(np.unique(stored)) <= 60


@pytest.mark.slow
def test_the_smaller_against_the_voxel_the_fewer_are_seen():
    share = {}
    for name in ("MAS", "OATS"):
        radii, grades = visibility.drawn(aq.PRESETS[name], 80)
        seen = grades == "microbleed"
        share[name] = seen.mean()
        if not seen.all():
            assert radii[~seen].mean() < radii[seen].mean()
    assert share["OATS"] < share["MAS"] and share["MAS"] > 0.95


@pytest.mark.slow
def test_a_slab_is_simulated_whole_and_drawn(tmp_path):
    """Every part of the simulator at once, on the template: coarse voxels, to be quick."""
    acquisition = dataclasses.replace(
        aq.PRESETS["OATS"], voxel_mm=(1.6, 1.6, 6.0), extent_mm=36.0, ghost=0.02, levels=400
    )
    findings = Findings(
        microbleeds=6,
        crossing_vessels=3,
        cavernomas=1,
        siderosis=1,
        white_matter=0.5,
        lacunes=1,
        perivascular=2,
        infarcts=1,
    )

    def once():
        rng = np.random.default_rng(3)
        person = an.load(None)
        return simulate(person, an.deformation(person, rng), acquisition, rng, findings)

    made, again = once(), once()
    assert np.array_equal(made.image, again.image)
    real = [s for s in made.sources if s.kind == "microbleed"]
    assert 3 <= len(real) <= 6 and {s.kind for s in made.sources} >= {"vessel", "cavernoma"}
    level = np.median(made.image[made.brain])
    for source in real:
        at = np.linalg.inv(made.affine) @ [*source.centre, 1]
        box = tuple(slice(max(int(c) - 2, 0), int(c) + 4) for c in at[:3])
        assert made.image[box].min() < 0.75 * level
    picture.draw([made], tmp_path / "one.png")
    some = [picture.Spot("faint", 0.3, made.image[40:60, 40:60, 2])] * 3
    picture.draw_spots({"ADNI": some, "OATS": some}, tmp_path / "spots.png")
    for name in ("one.png", "spots.png"):
        with Image.open(tmp_path / name) as drawn:
            # Something is drawn: neither all black nor a blank panel.
            assert np.asarray(drawn.convert("L")).std() > 5
