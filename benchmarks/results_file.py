"""How studies keep their results: JSON, four digits, null for what is not a number, written whole or not at all."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

from irsl.files import replace_file

NUMBERS = re.compile(r"\[[^\[\]{}\"]+\]")  # a list of numbers, to stand on one line


def write_results(path: Path, value: Any) -> None:
    """Write a study's results."""
    text = json.dumps(_rounded(value), indent=1, allow_nan=False)
    with replace_file(path) as temporary:
        temporary.write_text(NUMBERS.sub(lambda match: " ".join(match[0].split()), text) + "\n")


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_rounded(part) for part in value]
    if isinstance(value, float):
        return float(f"{value:.4g}") if math.isfinite(value) else None
    return value
