from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest

from irsl.report.analysis import Analysis, analyse
from irsl.responses import Responses
from simulate import ladder

ODD = "<b>x</b> & $y$"


@pytest.fixture(scope="session")
def small_ladder() -> Responses:
    """A ladder whose first recipe has a name that is markup and mathematics at once."""
    made = ladder(n_recipes=5, n_sizes=5, n_checkpoints=3, n_items=60)
    subjects = made.subjects.with_columns(recipe=pl.col("recipe").replace({"recipe0": ODD}))
    return replace(made, subjects=subjects)


@pytest.fixture(scope="session")
def analysis(small_ladder) -> Analysis:
    return analyse(small_ladder, title="Ladder <i>one</i>", model="3pl", budget=20)


@pytest.fixture(scope="session")
def analysis_without_laws(small_ladder) -> Analysis:
    """One benchmark, no flops, one family, too few items to replay: what a leaderboard's table looks like."""
    part = small_ladder.select(benchmark="facts", subjects=small_ladder.subjects["subject"].to_list()[::5])
    unknown = [
        pl.lit(None, pl.Float64).alias("flops"),
        pl.lit(None, pl.String).alias("recipe"),
        pl.lit(None, pl.String).alias("run"),
    ]
    bare = replace(part, subjects=part.subjects.with_columns(unknown))
    return analyse(bare, title="A table", budget=20)
