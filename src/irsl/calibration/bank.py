"""The item bank: calibrated items as an artifact that can be saved, passed on and measured with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from irsl.calibration.parameters import ItemParameters
from irsl.calibration.short_form import short_form_items
from irsl.errors import DataError
from irsl.files import replace_folder
from irsl.likelihoods import WITH_PARAMETER, Beta, Binomial, Likelihood
from irsl.likelihoods.base import Array
from irsl.responses.folder import require_ours

SCHEMA_VERSION = 1
CONVENTION = "P = c + (1 - c) logistic(a (theta - b)), a > 0; theta has mean 0 and sd 1 over the calibration subjects"
FEWEST_SUBJECTS = 4  # with which a new subject's ability has a finite variance; fewer are taken as so many
COLUMNS: dict[str, pl.DataType | type[pl.DataType]] = {
    "item": pl.String,
    "benchmark": pl.String,
    "scale": pl.String,
    "difficulty": pl.Float64,
    "discrimination": pl.Float64,
    "guessing": pl.Float64,
    "chance": pl.Float64,
    "se_difficulty": pl.Float64,
    "se_discrimination": pl.Float64,
    "covariance": pl.Float64,
    "mean_response": pl.Float64,
    "n_subjects": pl.Int64,
    "flags": pl.List(pl.String),
}


def names_hash(names: Iterable[str]) -> str:
    """SHA-256 of names in their order."""
    return hashlib.sha256("\n".join(map(str, names)).encode()).hexdigest()


@dataclass(frozen=True)
class Scale:
    """How the items of one scale were calibrated.

    Attributes
    ----------
    scale : str
    benchmarks : tuple of str
    model : "1pl", "2pl" or "3pl"
    outcome : str
    likelihood : "bernoulli", "binomial", "beta_binomial", "logit_normal_binomial" or "beta"
    precision : float or None
        phi of a Beta likelihood.
    trials : int
        Median n of the responses; a predicted response is one of that many trials.
    n_subjects : int
        Of the calibration; 0: unknown.
    subjects_hash, data_hash : str
        SHA-256 of the calibration subjects' names and of their responses.
    misfit_variance : float
        Variance per item, in response units squared, of what subjects do beyond their curves (docs/mathematics.md, 5).
    overdispersion : float or None
        rho of a beta-binomial likelihood.
    logit_sd : float or None
        Scatter of rates about the curve under a logit-normal binomial likelihood, in logits.
    resolution : float or None
        Within half of which of 0 or 1 a probability is censored; None: all are exact.
    """

    scale: str
    benchmarks: tuple[str, ...]
    model: str
    outcome: str
    likelihood: str
    precision: float | None
    trials: int
    n_subjects: int
    subjects_hash: str
    data_hash: str
    misfit_variance: float
    overdispersion: float | None = None
    logit_sd: float | None = None
    resolution: float | None = None

    @property
    def prior_sd(self) -> float:
        """Standard deviation of a new subject's ability before it has responded; the mean is 0.

        n calibration subjects of mean 0 and sd 1 tell those of their population with an error: a normal draw from it
        is t distributed with variance (n + 1) / (n - 3). Where n is unknown, mean and sd are taken as exact.
        """
        if self.n_subjects == 0:
            return 1.0
        n = max(self.n_subjects, FEWEST_SUBJECTS)
        return float(np.sqrt((n + 1) / (n - 3)))

    def has_subjects(self, subjects: Sequence[str]) -> bool:
        """Whether it was calibrated on these very subjects."""
        return self.subjects_hash == names_hash(subjects)

    def response_likelihood(self, resolution: float | None = None) -> Likelihood:
        """Return the likelihood object, at another resolution of probabilities if one is given."""
        kind = WITH_PARAMETER.get(self.likelihood)
        if kind is None or kind.parameter_name is None:
            return Binomial(self.likelihood)
        parameter = getattr(self, kind.parameter_name)
        if parameter is None:
            raise DataError(f"scale {self.scale!r} has likelihood {self.likelihood!r} without {kind.parameter_name}")
        own = {kind.parameter_name: parameter}
        if kind is Beta:
            own["resolution"] = self.resolution if resolution is None else resolution
        return kind(**own)


@dataclass(frozen=True)
class ItemBank:
    """Items with calibrated parameters.

    Attributes
    ----------
    items : polars.DataFrame
        item, benchmark, scale, difficulty, discrimination, guessing (the curve's floor), chance (of a guess, for the
        classical law), se_difficulty and se_discrimination (relative to the anchored scale), covariance (of log
        discrimination and difficulty), mean_response and n_subjects of the calibration, flags.
    scales : tuple of Scale
    version : str
        Version of irsl that made it.
    """

    items: pl.DataFrame
    scales: tuple[Scale, ...]
    version: str

    def __post_init__(self) -> None:
        missing = [c for c in COLUMNS if c not in self.items.columns]
        if missing:
            raise DataError(f"an item bank needs the columns {list(COLUMNS)}; missing: {missing}")
        repeated = self.items.filter(pl.col("item").is_duplicated())
        if repeated.height:
            raise DataError(f"items of a bank must be unique; {repeated['item'][0]!r} occurs more than once")
        unknown = set(self.items["scale"].unique()) - {s.scale for s in self.scales}
        if unknown:
            raise DataError(f"items refer to scales that the bank does not describe: {sorted(unknown)}")

    def __len__(self) -> int:
        return self.items.height

    @property
    def benchmarks(self) -> list[str]:
        """Benchmarks in the order of the bank."""
        return self.items["benchmark"].unique(maintain_order=True).to_list()

    def scale_of(self, benchmark: str) -> Scale:
        """Return the scale on which a benchmark was calibrated."""
        for scale in self.scales:
            if benchmark in scale.benchmarks:
                return scale
        raise DataError(f"the bank has no benchmark {benchmark!r}; it has {self.benchmarks}")

    def select(self, *, benchmark: str | Sequence[str] | None = None, items: Sequence[str] | None = None) -> ItemBank:
        """Return the bank of some benchmarks or items, items in the order given."""
        frame = self.items
        if benchmark is not None:
            wanted = [benchmark] if isinstance(benchmark, str) else list(benchmark)
            for name in wanted:
                self.scale_of(name)
            frame = frame.filter(pl.col("benchmark").is_in(wanted))
        if items is not None:
            asked = pl.DataFrame({"item": list(items)}, schema={"item": pl.String})
            unknown = asked.join(frame, on="item", how="anti")
            if unknown.height:
                raise DataError(f"{unknown.height} items are not in the bank (first: {unknown['item'][0]!r})")
            frame = asked.join(frame, on="item", how="left", maintain_order="left")
        kept = set(frame["scale"].unique())
        return ItemBank(frame, tuple(s for s in self.scales if s.scale in kept), self.version)

    def parameters(self) -> ItemParameters:
        """Return the parameters as arrays, in the order of `items`; covariance None where the bank has none."""
        a = self.items["discrimination"].to_numpy().astype(np.float64)
        se_a = self.items["se_discrimination"].cast(pl.Float64).fill_null(np.nan).to_numpy()
        se_b = self.items["se_difficulty"].cast(pl.Float64).fill_null(np.nan).to_numpy()
        cross = self.items["covariance"].cast(pl.Float64).fill_null(np.nan).to_numpy()
        covariance = None
        if np.isfinite(se_b).any():
            covariance = np.empty((a.size, 2, 2))
            covariance[:, 0, 0] = (se_a / a) ** 2
            covariance[:, 0, 1] = covariance[:, 1, 0] = cross
            covariance[:, 1, 1] = se_b**2
            covariance[~np.isfinite(covariance).all(axis=(1, 2))] = 0.0  # flagged no_standard_error
        return ItemParameters(
            self.items["difficulty"].to_numpy().astype(np.float64),
            a,
            self.items["guessing"].to_numpy().astype(np.float64),
            covariance,
        )

    def curves(self, ability: ArrayLike) -> Array:
        """Expected response of each item at each ability, in 0..1: (n_items, n_abilities) for (n_abilities,)."""
        points = np.asarray(ability, dtype=np.float64)
        result, parameters = np.empty((len(self), points.size)), self.parameters()
        for scale in self.scales:
            own = np.flatnonzero((self.items["scale"] == scale.scale).to_numpy())
            items = parameters.take(own)
            result[own] = scale.response_likelihood().response_mean(items.eta(points), items.guessing[:, None])
        return result

    def short_form(self, n: int, *, benchmark: str | None = None) -> ItemBank:
        """Return the best n items of each scale's bank (or of one benchmark) as a fixed form for everybody.

        Raises
        ------
        DataError
            A scale has fewer than n items.
        """
        bank = self if benchmark is None else self.select(benchmark=benchmark)
        names: list[str] = []
        for scale in bank.scales:
            part = bank.items.filter(pl.col("scale") == scale.scale)
            if part.height < n:
                raise DataError(f"a short form of {n} items needs as many; scale {scale.scale!r} has {part.height}")
            items = bank.select(items=part["item"].to_list()).parameters()
            index = short_form_items(items, scale.response_likelihood(), n, trials=scale.trials)
            names += part["item"].gather(pl.Series(index)).to_list()
        return bank.select(items=names)

    def save(self, path: str | Path) -> None:
        """Write a folder of items.parquet and bank.json, whole or not at all."""
        with replace_folder(require_ours(path, frozenset({"items.parquet", "bank.json"}))) as folder:
            self.items.write_parquet(folder / "items.parquet", compression="zstd")
            meta = {
                "schema_version": SCHEMA_VERSION,
                "irsl_version": self.version,
                "convention": CONVENTION,
                "scales": [asdict(s) for s in self.scales],
            }
            (folder / "bank.json").write_text(json.dumps(meta, indent=2) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> ItemBank:
        """Read a folder written by `save`.

        Raises
        ------
        DataError
            The folder is no bank, or is of a schema version that this irsl does not read.
        """
        folder = Path(path)
        if not (folder / "bank.json").is_file():
            raise DataError(f"{folder} is no item bank: it has no bank.json (write one with bank.save)")
        try:
            meta: dict[str, Any] = json.loads((folder / "bank.json").read_text())
        except json.JSONDecodeError as error:
            raise DataError(f"{folder / 'bank.json'} is not valid JSON: {error}") from error
        if meta.get("schema_version") != SCHEMA_VERSION:
            raise DataError(
                f"{folder}: schema version {meta.get('schema_version')!r} of the bank; this irsl reads {SCHEMA_VERSION}"
            )
        scales = tuple(Scale(**{**s, "benchmarks": tuple(s["benchmarks"])}) for s in meta["scales"])
        return cls(pl.read_parquet(folder / "items.parquet"), scales, meta["irsl_version"])
