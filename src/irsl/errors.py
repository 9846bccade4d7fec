"""The errors that irsl raises on purpose."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class IrslError(Exception):
    """Anything that irsl refuses, with a message for the user."""


class DataError(IrslError, ValueError):
    """Input that cannot be what it claims to be.

    The message names the file, row and column where they are known, what was expected, what was found
    (how many, and the first by name), and what to do.
    """


class OptionError(IrslError, ValueError):
    """An argument that is not among the supported ones; the message names them."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Give a clause that names the closest of `known` to `name`, or nothing if none is close."""
    close = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def listed(names: Iterable[str], limit: int = 12) -> str:
    """Join names for a message, the first `limit` of them."""
    found = [repr(name) for name in names]
    return ", ".join(found[:limit]) + (f" and {len(found) - limit} more" if len(found) > limit else "")
