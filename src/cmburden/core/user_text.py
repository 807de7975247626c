"""Reads YAML and JSON that a user wrote: whatever is wrong with a text is one sentence."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import yaml

from cmburden.core.errors import CMBurdenError

#: Bytes of a user's file at most. A list of 50,000 participants fits.
MOST_BYTES = 1_000_000
#: Levels of nesting at most; a configuration has five.
MOST_LEVELS = 20
#: Characters of a parser's message that a sentence takes over.
_MOST_OF_REASON = 300
#: Tokens of YAML that begin and end a level.
_OPENING = (
    yaml.BlockMappingStartToken,
    yaml.BlockSequenceStartToken,
    yaml.FlowMappingStartToken,
    yaml.FlowSequenceStartToken,
)
_CLOSING = (yaml.BlockEndToken, yaml.FlowMappingEndToken, yaml.FlowSequenceEndToken)


def text_of(path: Path) -> str:
    """Content of a regular file in UTF-8.

    Raises
    ------
    CMBurdenError
        When there is no such file, or when it is no text, too large, or no regular file.
    """
    try:
        status = path.stat()
        if stat.S_ISREG(status.st_mode) and status.st_size <= MOST_BYTES:
            return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise CMBurdenError(f"{path}: is no text in UTF-8; save it as UTF-8") from None
    except PermissionError:
        raise
    except (OSError, ValueError):
        raise CMBurdenError(f"{path}: there is no such file; name an existing one") from None
    if stat.S_ISDIR(status.st_mode):
        raise CMBurdenError(f"{path}: there is no such file but a folder; name a file")
    if not stat.S_ISREG(status.st_mode):
        raise CMBurdenError(f"{path}: is no regular file; name a file")
    raise CMBurdenError(f"{path}: is larger than {MOST_BYTES} bytes; name the file that was meant")


def yaml_of(text: str, where: str) -> Any:
    """The content of YAML ``text``; sentences begin with ``where``."""
    try:
        _check_tokens(text, where)
        content = yaml.safe_load(text)
    except CMBurdenError:
        raise
    except Exception as error:  # dates and numbers that do not exist raise much else
        raise CMBurdenError(f"{where}: not YAML ({_reason(error)})") from None
    return _checked(content, where)


def json_of(text: str, where: str) -> Any:
    """The content of JSON ``text``; sentences begin with ``where``."""
    try:
        content = json.loads(text)
    except RecursionError:
        raise _too_deep(where) from None
    except ValueError as error:
        raise CMBurdenError(f"{where}: not JSON ({_reason(error)})") from None
    return _checked(content, where)


def _check_tokens(text: str, where: str) -> None:
    """Raise CMBurdenError for YAML whose reading would take memory or time without bound.

    Each alias of an alias doubles the content. The time for nested brackets grows with the square
    of their number.
    """
    level = 0
    for token in yaml.scan(text):
        level += isinstance(token, _OPENING) - isinstance(token, _CLOSING)
        if level > MOST_LEVELS:
            raise _too_deep(where)
        if isinstance(token, yaml.AliasToken):
            raise CMBurdenError(f"{where}: holds an alias (*name); write out the value")


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:_MOST_OF_REASON] or type(error).__name__


def _too_deep(where: str) -> CMBurdenError:
    return CMBurdenError(f"{where}: nested in more than {MOST_LEVELS} levels; see config/README.md")


def _checked(content: Any, where: str) -> Any:
    """``content`` if it has at most ``MOST_LEVELS`` levels, and only strings as keys."""
    level = [content]
    for _ in range(MOST_LEVELS):
        dicts = [one for one in level if isinstance(one, dict)]
        for other in (key for one in dicts for key in one if not isinstance(key, str)):
            raise CMBurdenError(f"{where}: the key {other!r} is no text; put it in quotes")
        below = [value for one in dicts for value in one.values()]
        level = below + [value for one in level if isinstance(one, list) for value in one]
        if not level:
            return content
    raise _too_deep(where)
