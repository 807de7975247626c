"""Presence, count and pattern of microbleeds against covariates: rows of `summary`."""

from __future__ import annotations

from cmburden.summary.regressions.people import table_of as table_of
from cmburden.summary.regressions.rows import rows as rows
