"""`cmburden report` and `cmburden export`: a user's mistake is one sentence."""

import pytest

from cmburden.core.paths import Layout
from cmburden.run import cli, forget


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["report", "{}", "--shareable", "--least", "1"], "--least 1: give 2 or more"),
        (["report", "{}"], "no tables are here; cmburden run makes them first"),
        (["export", "{}", "--to", "{}/file"], "is a file; name a folder with --to"),
        (["export", "{}", "--shareable", "--least", "0"], "--least 0: give 2 or more"),
    ],
)
def test_a_mistake_is_a_sentence(tmp_path, capsys, arguments, sentence):
    (tmp_path / "file").write_text("")
    code = cli.main([argument.format(tmp_path) for argument in arguments])
    error = capsys.readouterr().err
    assert code == 2 and sentence in error and "Traceback" not in error


def test_forget_takes_exports_and_the_page_to_share_with_it(tmp_path):
    """They count the participant, and a command makes them again."""
    layout = Layout(tmp_path)
    for path in (layout.shareable, layout.export / "scans.csv", layout.shareable_export / "a.csv"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    remade = set(forget._remade(layout))
    assert {layout.shareable, layout.export, layout.shareable_export} <= remade
