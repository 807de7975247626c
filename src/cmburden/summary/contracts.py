"""Numbers that the run did not measure: of the models' contracts, and published prevalences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from cmburden.models.contract import contract_of
from cmburden.summary import published
from cmburden.summary.measures import ContractNumber, Presence
from cmburden.summary.rows import Row, of_stratum, row, share
from cmburden.summary.strata import Stratum

OF_CONTRACT = "the model's contract, on its validation set"
_STAGES = ("detect", "verify")
_PARTS: tuple[Literal["thresholds", "metrics"], ...] = ("thresholds", "metrics")


def model_contracts(config: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Stage, model's id and contract of each stage whose model has a contract."""
    for stage in _STAGES:
        if contract := contract_of(config, stage):
            yield stage, str(contract.get("id", stage)), contract


def rows(config: dict[str, Any]) -> Iterator[Row]:
    """Thresholds and expected performance of the models, stratum 'model=ID'."""
    for stage, model, contract in model_contracts(config):
        yield from of_stratum(Stratum(model=model), _numbers(stage, contract, config))


def _numbers(stage: str, contract: dict[str, Any], config: dict[str, Any]) -> Iterator[Row]:
    for part in _PARTS:
        # The population's figures are rows of `correction`, and tables of the model card.
        stated = {k: v for k, v in (contract.get(part) or {}).items() if k != "population"}
        for key, value in _leaves(stated):
            yield row(ContractNumber(part, key), value, 0, method=OF_CONTRACT)
    for key, value in _leaves(config[stage].get("thresholds")):
        method = f"config {stage}.thresholds"
        yield row(ContractNumber("thresholds in use", key), value, 0, method=method)


def _leaves(content: Any, path: str = "") -> Iterator[tuple[str, float]]:
    """Numbers in nested mappings, named by their keys joined with spaces."""
    if isinstance(content, dict):
        for key in sorted(content):
            yield from _leaves(content[key], f"{path} {key}".strip())
    elif isinstance(content, (int, float)) and not isinstance(content, bool):
        yield path, content


def published_rows() -> Iterator[Row]:
    """Published prevalences, stratum 'published=STUDY', which the report prints for comparison."""
    for anchor in published.ANCHORS:
        method = f"published: {published.REFERENCES[anchor.reference].short}, {anchor.contrast}"
        if anchor.n is None:
            estimate = row(Presence(), anchor.share, 0, anchor.denominator, method) | {"n": None}
        else:
            assert anchor.denominator is not None, f"{anchor.study}: a numerator alone"
            estimate = share(Presence(), anchor.n, anchor.denominator, method)
        yield from of_stratum(Stratum(published=anchor.study), [estimate])
