"""The thresholds of the probability that the run used, as far as contract and configuration say."""

from __future__ import annotations

from typing import Any

from cmburden.models.contract import contract_of
from cmburden.verify.contract import thresholds_of


def in_use(config: dict[str, Any]) -> dict[str, float]:
    """Thresholds of definite and possible lesions; empty where one of both is not to be had.

    The stage `verify` works them out with the same function. The tables must be written for a
    cohort without a verifier too, so that here a missing contract is no error.
    """
    contract = contract_of(config, "verify") or {}
    stated = contract.get("thresholds") or {}
    try:
        return thresholds_of(contract | {"thresholds": stated}, config["verify"])
    except KeyError:
        return {}
