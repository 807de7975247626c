"""MARS and BOMBS of a scan, counted by hand."""

from cmburden.report import forms


def lesion(region, label="definite", hemisphere="right", diameter_mm=3.0, large=False):
    names = ("region", "label", "hemisphere", "diameter_mm", "macrohaemorrhage")
    return dict(zip(names, (region, label, hemisphere, diameter_mm, large), strict=True))


LESIONS = [
    lesion("frontal"),
    lesion("frontal", hemisphere="left", diameter_mm=6.0),
    lesion("insula", "possible"),
    lesion("cerebellum", "possible", "left", 5.0),
    lesion("external capsule"),
    lesion("corpus callosum", hemisphere="left"),
    lesion("thalamus", diameter_mm=12.0, large=True),
    lesion("unknown", hemisphere="unknown"),
    lesion("parietal", diameter_mm=None),
]


def test_mars_has_definite_and_possible_by_region_and_side():
    mars, _ = forms.of_scan(LESIONS)
    cells = {row.name: row.cells for row in mars.rows}
    assert mars.heads == ["Definite", "Possible"]
    assert cells["Frontal"] == [1, 1, 0, 0] and cells["Insula"] == [0, 0, 1, 0]
    assert cells["Cerebellum"] == [0, 0, 0, 1] and cells["Thalamus"] == [0, 0, 0, 0]
    assert cells["Total lobar"] == [2, 1, 1, 0] and cells["Total deep"] == [1, 1, 0, 0]
    assert cells["Total"] == [3, 2, 1, 1] and mars.left_out == 1
    assert len(mars.rows) == 13 + 3 + 1


def test_bombs_has_certain_and_uncertain_by_size():
    _, bombs = forms.of_scan(LESIONS)
    cells = {row.name: row.cells for row in bombs.rows}
    assert cells["Cerebellum"] == [0, 0, 0, 0, 0, 0, 0, 1]  # 5 mm is not small
    assert cells["Internal and external capsule"] == [1, 0, 0, 0, 0, 0, 0, 0]
    assert cells["Total"] == [2, 1, 0, 1, 1, 0, 0, 1]
    # One has no region, another no size.
    assert bombs.left_out == 2


def test_a_scan_without_a_lesion_has_a_form_of_zeros():
    assert all(not any(row.cells) for form in forms.of_scan([]) for row in form.rows)
