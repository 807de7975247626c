"""The configuration: defaults pass, every problem is named at once, the manual knows every key."""

import ast
import re
from pathlib import Path

import pytest

from cmburden.core import config
from cmburden.core.errors import REASONS, CMBurdenError
from cmburden.run.begin import plan_for_snakemake
from cmburden.run.participants import nested

ROOT = Path(__file__).resolve().parents[2]


def keys(properties: dict, prefix: str = "") -> list[str]:
    found = []
    for name, rule in properties.items():
        inner = rule.get("properties") if rule["type"] == "object" else None
        found += keys(inner, f"{prefix}{name}.") if inner else [f"{prefix}{name}"]
    return found


def test_every_key_is_in_the_manual_and_has_a_default():
    schema = config.read_yaml(ROOT / "config" / "schemas" / "config.schema.yaml")
    manual = (ROOT / "config" / "README.md").read_text()
    defaults = config.load()
    for key in keys(schema["properties"]):
        assert f"`{key}`" in manual
        value = defaults
        for part in key.split("."):
            value = value[part]


def keys_read(source: str) -> set[str]:
    """Keys that Python ``source`` reads from the configuration or from a section of it.

    Read: ``settings["key"]``, ``config["section"]["key"]``, ``flow.config.get("key")``, the same
    with the keys of a literal tuple that a comprehension goes through, and a call that takes the
    settings and the key, such as ``labels(config, "key")``. What names a key without taking it
    from the settings (a comment, a template, a message, another mapping) reads nothing.
    """
    read = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
            if holds_settings(node.value):
                read |= constants(node.slice)
        elif isinstance(node, ast.Call):
            taken = [*node.args, node.func.value if hasattr(node.func, "value") else node.func]
            if any(map(holds_settings, taken)):
                read |= set().union(*map(constants, node.args))
        elif isinstance(node, ast.DictComp):
            of_settings = isinstance(node.value, ast.Subscript) and holds_settings(node.value.value)
            literal = node.generators[0].iter
            if of_settings and isinstance(literal, ast.Tuple):
                read |= set().union(*map(constants, literal.elts))
    return read


def holds_settings(node: ast.AST) -> bool:
    """``config``, ``settings``, ``flow.config``, or a section of one of them."""
    if isinstance(node, ast.Subscript):
        return holds_settings(node.value)
    name = getattr(node, "id", None) or getattr(node, "attr", None)
    return name in ("config", "settings")


def constants(node: ast.AST) -> set[str]:
    return {node.value} if isinstance(node, ast.Constant) and isinstance(node.value, str) else set()


def test_code_reads_every_key():
    """A key that nothing reads does nothing, whatever the manual says of it."""
    schema = config.read_yaml(ROOT / "config" / "schemas" / "config.schema.yaml")
    read = set()
    for module in (ROOT / "src").rglob("*.py"):
        read |= keys_read(module.read_text())
    named = {key for key in keys(schema["properties"]) if key.count(".") <= 1}
    assert len(named) > 40
    assert {key for key in named if key.rpartition(".")[2] not in read} == set()


@pytest.mark.parametrize(
    ("source", "read"),
    [
        ('x = settings["a"]', {"a"}),
        ('x = flow.config["a"].get("b")', {"a", "b"}),
        ('x = {k: settings[k] for k in ("a", "b")}', {"a", "b"}),
        ('x = labels(config, "a")', {"a"}),
        ('settings["a"] = 1', set()),
        ('x = entry["a"]; print("a")  # settings["a"]', set()),
        ('"""settings["a"]"""', set()),
    ],
)
def test_what_counts_as_reading_a_key(source, read):
    assert keys_read(source) == read


def test_the_order_of_suffixes_is_a_part_of_the_tables_parameter(tmp_path):

    def parameter(suffixes: dict) -> dict:
        settings = {"output_dir": str(tmp_path), "index": {"suffixes": suffixes}}
        return plan_for_snakemake(settings, main=False).of_cohort()

    default = config.load()["index"]["suffixes"]
    assert parameter(default)["suffixes"] == list(default)
    other = dict(reversed(default.items()))
    assert parameter(other)["suffixes"] == list(default)[::-1]


def test_a_suffix_is_added_and_taken_away():
    """As the advice of a rejected image says: --set index.suffixes.SWIp=SWI."""
    default = list(config.load()["index"]["suffixes"].items())
    added = config.load(nested(["index.suffixes.SWIp=SWI"]))["index"]["suffixes"]
    assert list(added.items()) == [*default, ("SWIp", "SWI")]
    fewer = config.load(nested(["index.suffixes.T2starw=null"]))["index"]["suffixes"]
    assert fewer["T2starw"] is None
    # Jobs merge the written configuration with the defaults again.
    assert config.merge(config.defaults(), {"index": {"suffixes": fewer}})["index"]["suffixes"] == (
        fewer
    )
    first = config.load({"index": {"suffixes": {"swi": "SWI", "T2starw": "GRE", "SWIp": "SWI"}}})
    assert list(first["index"]["suffixes"])[:3] == ["swi", "T2starw", "MEGRE"]
    assert list(first["index"]["suffixes"])[-1] == "SWIp"


def test_all_problems_in_one_message():
    with pytest.raises(CMBurdenError) as error:
        config.load({"buckets": 0, "detect": {"colour": "red"}, "threads": "many"})
    message = str(error.value)
    assert "buckets" in message
    assert "unknown key ['colour']" in message
    assert "threads" in message


def test_the_four_cohorts():
    settings = config.load(
        {"cohorts": [f"config/cohorts/{n}.yaml" for n in ("adni", "aibl", "mas", "oats")]}
    )
    assert [c["name"] for c in config.cohorts(settings)] == ["ADNI", "AIBL", "MAS", "OATS"]


def test_a_cohort_pattern_that_is_no_expression(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text('name: A\nparticipant_pattern: "("\n')
    with pytest.raises(CMBurdenError, match="is no regular expression"):
        config.cohorts(config.load({"cohorts": [str(path)]}))


@pytest.mark.parametrize(
    ("thresholds", "said"),
    [
        ({"definit": 0.6}, "verify.thresholds: unknown key ['definit']"),
        ({"definite": 2}, "verify.thresholds.definite: 2 is greater"),
        ({"definite": 0.2, "possible": 0.5}, "possible must not be above definite"),
    ],
)
def test_thresholds(thresholds, said):
    with pytest.raises(CMBurdenError) as error:
        config.load({"verify": {"thresholds": thresholds}})
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"verify": {"thresholds": {"definite": float("nan")}}}, "thresholds.definite: give a fin"),
        ({"detect": {"min_probability": float("nan")}}, "detect.min_probability: give a finite"),
        ({"register": {"min_correlation": float("-inf")}}, "register.min_correlation"),
        ({"aggregate": {"macrohaemorrhage_mm": float("inf")}}, "macrohaemorrhage_mm: give a fin"),
        ({"aggregate": {"macrohaemorrhage_mm": 10**400}}, "macrohaemorrhage_mm: give a finite"),
        ({"index": {"echo_time_ms": [10, float("nan")]}}, "index.echo_time_ms.1: give a finite"),
        ({"index": {"echo_time_ms": [40, 10]}}, "index.echo_time_ms: give rising numbers"),
        ({"report": {"bins": [0, 5, 5]}}, "report.bins: give rising numbers"),
        ({"report": {"age_bands": [0, 60, 50]}}, "report.age_bands: give rising numbers"),
        ({"preprocess": {"min_brain_ml": 2300}}, "min_brain_ml must not be above max_brain_ml"),
    ],
)
def test_numbers_are_finite_and_in_order(overrides, said):
    with pytest.raises(CMBurdenError) as error:
        config.load(overrides)
    assert said in str(error.value)


def test_advice_names_keys_that_exist():
    settings = config.load()
    key = r"(?<!\.)\b[a-z]+\.[a-z_0-9]+"
    named = [k for advice in REASONS.values() for k in re.findall(key, advice)]
    named = [name for name in named if name != "nii.gz"]
    assert len(named) >= 5
    for key in named:
        section, name = key.split(".")
        assert name in settings[section], key
