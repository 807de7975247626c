"""The configuration: defaults pass, every problem is named at once, the manual knows every key."""

import re
from pathlib import Path

import pytest

from cmburden import config
from cmburden.errors import REASONS, CMBurdenError

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


def test_advice_names_keys_that_exist():
    settings = config.load()
    named = [k for advice in REASONS.values() for k in re.findall(r"\b[a-z]+\.[a-z_0-9]+", advice)]
    assert len(named) >= 5
    for key in named:
        section, name = key.split(".")
        assert name in settings[section], key
