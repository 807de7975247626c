"""Makers of scanners by one name each."""

from __future__ import annotations

import re

#: Beginning of a maker's name in a sidecar, in small letters -> the maker.
_MAKERS = {
    "siemens": "Siemens",
    "philips": "Philips",
    "ge": "GE",
    "general electric": "GE",
    "canon": "Canon",
    "toshiba": "Canon",
    "fuji": "Fujifilm",
    "hitachi": "Fujifilm",
    "uih": "United Imaging",
    "united imaging": "United Imaging",
}


def maker_of(text: object) -> str | None:
    """The maker by ``Manufacturer`` of a sidecar; None where there is none.

    >>> maker_of("SIEMENS Healthineers"), maker_of("GE MEDICAL SYSTEMS"), maker_of("Gemini 7")
    ('Siemens', 'GE', 'Gemini 7')
    """
    if not isinstance(text, str) or not text.strip():
        return None
    small = text.strip().lower()
    for begins, maker in _MAKERS.items():
        if re.match(rf"{begins}\b" if begins == "ge" else begins, small):
            return maker
    return text.strip()
