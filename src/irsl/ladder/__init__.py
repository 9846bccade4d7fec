"""The packaged data set: language models of a real pre-training ladder, and what they answered."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from irsl.errors import DataError
from irsl.readers import read
from irsl.responses import Responses


def load() -> Responses:
    """Read the packaged ladder: runs by recipe, size and checkpoint, with the log-likelihood of every choice.

    Recorded outcome "exact_match" (counts of sampled answers); acc, p_choices, ... are computed from
    the log-likelihoods when selected.

    Raises
    ------
    DataError
        The package was installed without its data.
    """
    data = resources.files("irsl.ladder") / "data"
    with resources.as_file(data) as folder:
        if not Path(folder).is_dir():
            raise DataError("irsl.ladder: the packaged data are missing; reinstall irsl.")
        return read(folder)


__all__ = ["load"]
