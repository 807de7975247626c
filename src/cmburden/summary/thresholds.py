"""The thresholds of the probability that the run used."""

from __future__ import annotations

from typing import Any

from cmburden.models.contract import contract_of
from cmburden.verify.contract import thresholds_of


def in_use(config: dict[str, Any]) -> dict[str, float]:
    """Thresholds of definite and possible lesions, as the stage `verify` works them out.

    A threshold is absent where neither the contract nor the configuration names it: the tables are
    written for a cohort without the models' folders too.
    """
    return thresholds_of(contract_of(config, "verify"), config["verify"])
