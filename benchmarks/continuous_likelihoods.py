"""Which likelihood suits continuous probabilities? A plain marginal EM, many densities, held-out interval scores.

IRSL_TEST_DATA=... python benchmarks/continuous_likelihoods.py            (ten minutes on one core)
python benchmarks/continuous_likelihoods.py page                          (only rewrites the page from the results)

resolutions, censoring or ladder as an argument runs that part.

Every candidate has eta = a theta + d, theta ~ N(0, 1), and a normal prior on (log a, d) that is estimated. Values are
rounded to a resolution, and a candidate is scored by the probability that it gives to a held-out value's interval.
Folds over subjects: each subject is held out once (its ability comes from a random half of its items, the other half is
scored), and a tenth of the cells of the others is held out beside. Results go to benchmarks/results/continuous.json,
the page to docs/continuous.md.
"""

# ruff: noqa: D101, D102 (what the methods of a form do is said once, at Form)

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from textwrap import fill

import numpy as np
import polars as pl
from scipy.interpolate import CubicSpline
from scipy.special import betainc, expit, gammaln, log_ndtr, logit, ndtr, stdtr
from scipy.stats import spearmanr

import irsl

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "continuous.json"
PAGE = ROOT / "docs" / "continuous.md"
LATTICE = 1 / 64  # step of the logits as stored: neighbouring values differ by a factor exp(1 / 64)
SINGLE = 1e-7  # probabilities in single precision are not told apart beyond this distance from 0 and 1
MAIN = "1e-2"
RESOLUTIONS = {"1e-2": 1e-2, "1e-3": 1e-3, "1e-4": 1e-4, "1e-5": 1e-5, "native": None}
FOLDS, POINTS, STEP = 3, 9, 1e-2  # folds of five that are run; nodes of a posterior; step of differences in eta
HERMITE, HERMITE_WEIGHT = np.polynomial.hermite_e.hermegauss(POINTS)
KNOTS = np.linspace(-60.0, 60.0, 2401)
SMALL = 1e-300
HURDLE = "Beta within, ordered logit for the ends"


# ----------------------------------------------------------------------------------------------------------- the data


@dataclass
class Cells:
    """Values as intervals: lower and upper end, the same as logits, and a point z inside; `seen` marks what is used."""

    y: np.ndarray
    low: np.ndarray
    high: np.ndarray
    seen: np.ndarray
    resolution: float | None
    end: float  # values below it, or above 1 - end, are known only as such
    z: np.ndarray = field(init=False)
    z_low: np.ndarray = field(init=False)
    z_high: np.ndarray = field(init=False)
    left: np.ndarray = field(init=False)
    right: np.ndarray = field(init=False)
    log_width: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        with np.errstate(divide="ignore"):
            self.z_low, self.z_high = logit(self.low), logit(self.high)
        self.left, self.right = self.low <= 0.0, self.high >= 1.0
        self.z = logit(np.clip(self.y, self.end, 1 - self.end))
        self.log_width = np.log(np.where(self.left | self.right, 1.0, self.z_high - self.z_low))

    def take(self, rows, columns, seen=None) -> Cells:
        parts = [part[rows][:, columns] for part in (self.y, self.low, self.high, self.seen)]
        return Cells(*parts[:3], parts[3] if seen is None else seen, self.resolution, self.end)


def round_to(y: np.ndarray, seen: np.ndarray, resolution: float | None) -> Cells:
    """Intervals around the rounded values; None: the lattice of the logits, within single precision."""
    if resolution is None:
        y = np.clip(y, SINGLE / 2, 1 - SINGLE / 2)
        z = logit(y)
        low, high = expit(z - LATTICE / 2), expit(z + LATTICE / 2)
        low[y < SINGLE], high[y < SINGLE] = 0.0, SINGLE
        low[y > 1 - SINGLE], high[y > 1 - SINGLE] = 1 - SINGLE, 1.0
        return Cells(y, low, high, seen, None, SINGLE)
    y = np.round(y / resolution) * resolution
    return Cells(
        y, np.maximum(y - resolution / 2, 0.0), np.minimum(y + resolution / 2, 1.0), seen, resolution, resolution / 2
    )


def pivot(table: pl.DataFrame, subject: str) -> tuple[np.ndarray, np.ndarray]:
    """Values (subjects, items) with .5 where missing, and what was seen."""
    y = table.pivot("item", index=subject, values="response").sort(subject).drop(subject).to_numpy().astype(float)
    seen = np.isfinite(y)
    return np.where(seen, y, 0.5), seen


def judge() -> tuple[np.ndarray, np.ndarray]:
    """AlpacaEval: the judge's probability that the answer is better than the baseline's."""
    folder = Path(os.environ["IRSL_TEST_DATA"]) / "alpaca_eval"
    return pivot(pl.read_parquet(folder / "responses.parquet"), "model")


def choices(benchmark: str) -> tuple[np.ndarray, np.ndarray]:
    """The packaged ladder's final checkpoints: probability of the right choice among the choices."""
    chosen = irsl.ladder.load().select(outcome="p_choices", benchmark=benchmark)
    last = chosen.subjects.sort("step").group_by("run").last()["subject"]
    return pivot(chosen.responses.filter(pl.col("subject").is_in(last.implode())), "subject")


# -------------------------------------------------------------------------------------------------------- likelihoods


def log_left_beta(x, p, q):
    """Log of I_x(p, q): x^p (1 - x)^q Gamma(p + q) / (Gamma(1 + p) Gamma(q)) times 2F1(p + q, 1; 1 + p; x).

    The series has positive terms only and is short for x below the mean. Source: DLMF 8.17.8.
    """
    total, term = np.ones_like(p), np.ones_like(p)
    for n in range(1, 12):
        term = term * (p + q + n - 1) * x / (p + n)
        total += term
    return p * np.log(x) + q * np.log1p(-x) + gammaln(p + q) - gammaln(1 + p) - gammaln(q) + np.log(total)


def log_difference(log_high, log_low):
    return log_high + np.log(-np.expm1(np.minimum(log_low - log_high, -1e-15)))


@lru_cache(maxsize=64)
def beta_tables(phi: float, x: float) -> tuple[CubicSpline, CubicSpline, CubicSpline, CubicSpline]:
    """As functions of eta: log 1 / B, log P(y < x), log P(y > 1 - x), log P(between)."""
    p, q = phi * expit(KNOTS), phi * expit(-KNOTS)
    left, right = log_left_beta(x, p, q), log_left_beta(x, q, p)
    between = np.log(np.maximum(-np.expm1(np.minimum(np.logaddexp(left, right), -SMALL)), SMALL))
    return tuple(CubicSpline(KNOTS, table) for table in (gammaln(phi) - gammaln(p) - gammaln(q), left, right, between))


class Form:
    """A density of y given eta: what is fitted (`log_f`), what is scored (`log_p`, exact), and E[y] (`mean`).

    Arrays are (subjects, items, nodes). `start` gives the common parameters, `update` improves them, `scale` holds a
    log scale for every item where the form has one.
    """

    item_scale = False  # a scale for every item, with a log-normal prior
    logit_scale = False  # eta is a logit of y rather than of its mean

    def __init__(self, name: str) -> None:
        self.name = name

    def start(self, cells: Cells) -> np.ndarray:
        return np.zeros(0)

    def update(self, cells, eta, weight, par, scale) -> np.ndarray:
        """One Newton step for every common parameter, by differences."""
        h = 0.02
        for k in range(par.size):
            values = []
            for shift in (-h, 0.0, h):
                moved = par.copy()
                moved[k] += shift
                values.append((weight * self.log_f(cells, eta, moved, scale)).sum())
            slope, curvature = (values[2] - values[0]) / (2 * h), (values[0] - 2 * values[1] + values[2]) / h**2
            step = np.clip(slope / max(abs(curvature), 1.0), -0.3, 0.3)
            moved = par.copy()
            moved[k] += step
            if (weight * self.log_f(cells, eta, moved, scale)).sum() >= values[1]:
                par = moved
        return par


class BetaForm(Form):
    """Beta(mu phi, (1 - mu) phi). ends: "squeezed" | "censored" | "near" (exact up to three steps) | "hurdle"."""

    def __init__(self, name, ends="censored", phi=None, clip=None, item_scale=False):
        super().__init__(name)
        self.ends, self.phi, self.clip, self.item_scale = ends, phi, clip, item_scale

    def start(self, cells):
        par = [] if self.phi else [np.log(1.0)]
        return np.array(par + ([0.0, 3.0, np.log(0.5)] if self.ends == "hurdle" else []))

    def precision(self, par, scale):
        if self.phi:
            return self.phi
        return np.exp(par[0] + scale) if self.item_scale else float(np.exp(par[0]))

    def log_f(self, cells, eta, par, scale):
        phi, x = self.precision(par, scale), cells.end
        z = cells.z if self.clip is None else np.clip(cells.z, logit(self.clip), -logit(self.clip))
        within = np.clip(eta, -25, 25) if self.ends == "hurdle" else eta  # beyond, P(between) is lost in rounding
        p, q = phi * expit(within), phi * expit(-within)
        if self.item_scale:
            base = gammaln(phi) - gammaln(p) - gammaln(q)
        else:
            base, left, right, between = beta_tables(phi, x)
            base = base(within)
        f = z[..., None] * p - phi * np.logaddexp(0.0, z)[..., None] + base
        if self.ends == "squeezed":
            return f
        f += cells.log_width[..., None]
        if self.item_scale:
            wide = np.broadcast_to(phi, eta.shape)
            sides = [
                (cells.left, lambda e, at: log_left_beta(x, wide[at] * expit(e), wide[at] * expit(-e))),
                (cells.right, lambda e, at: log_left_beta(x, wide[at] * expit(-e), wide[at] * expit(e))),
            ]
        else:
            sides = [(cells.left, lambda e, at: left(e)), (cells.right, lambda e, at: right(e))]
        if self.ends == "hurdle":
            k0, gap, slope = par[-3], np.exp(par[-2]), np.exp(par[-1])
            inside = log_difference(-np.logaddexp(0, k0 - slope * eta), -np.logaddexp(0, k0 + gap - slope * eta))
            f += inside - between(within)
            sides = [
                (cells.left, lambda e, at: -np.logaddexp(0, slope * e - k0)),
                (cells.right, lambda e, at: -np.logaddexp(0, k0 + gap - slope * e)),
            ]
        for at, function in sides:
            f[at] = function(eta[at], at)
        if self.ends == "near" and cells.resolution:
            steps = np.rint(cells.y / cells.resolution)
            for k in range(1, 4):
                for at, sign in ((steps == k, 1), (steps == np.rint(1 / cells.resolution) - k, -1)):
                    f[at] = near_table(phi, cells.resolution, k)(sign * eta[at])
        return f

    def log_p(self, cells, eta, par, scale):
        phi = np.broadcast_to(self.precision(par, scale), eta.shape)
        p, q = phi * expit(eta), phi * expit(-eta)
        f = cells.z[..., None] * p - phi * np.logaddexp(0.0, cells.z)[..., None]
        f += gammaln(phi) - gammaln(p) - gammaln(q) + cells.log_width[..., None]
        wide = cells.left | cells.right | (cells.z_high - cells.z_low > 0.1)
        low, high = (np.broadcast_to(v[..., None], eta.shape)[wide] for v in (cells.low, cells.high))
        pw, qw = p[wide], q[wide]
        below = betainc(pw, qw, high) - betainc(pw, qw, low)
        above = betainc(qw, pw, 1 - low) - betainc(qw, pw, 1 - high)
        exact = np.log(np.maximum(np.where(betainc(pw, qw, high) < 0.5, below, above), SMALL))
        x = cells.end
        if self.ends != "hurdle":
            f[wide] = exact
            f[cells.left] = log_left_beta(x, p[cells.left], q[cells.left])
            f[cells.right] = log_left_beta(x, q[cells.right], p[cells.right])
            return f
        hurdle = self.log_f(cells, eta, par, scale)
        inner = wide & ~cells.left & ~cells.right
        exact_inner = np.full(eta.shape, 0.0)
        exact_inner[wide] = exact
        hurdle[inner] += exact_inner[inner] - f[inner]
        return hurdle

    def mean(self, cells, eta, par, scale):
        if self.ends != "hurdle":
            return expit(eta)
        phi, x = self.precision(par, scale), cells.end
        k0, gap, slope = par[-3], np.exp(par[-2]), np.exp(par[-1])
        top = expit(slope * eta - k0 - gap)
        inside = expit(slope * eta - k0) - top
        p, q = phi * expit(KNOTS), phi * expit(-KNOTS)  # the mean of a Beta between x and 1 - x
        part = lambda a, b: np.maximum(betainc(a, b, 1 - x) - betainc(a, b, x), SMALL)  # noqa: E731
        inner = CubicSpline(KNOTS, np.clip(expit(KNOTS) * part(p + 1, q) / part(p, q), x, 1 - x))
        return top + inside * inner(eta)


@lru_cache(maxsize=64)
def near_table(phi, resolution, k):
    p, q = phi * expit(KNOTS), phi * expit(-KNOTS)
    lower, upper = (log_left_beta((k + shift) * resolution, p, q) for shift in (-0.5, 0.5))
    z = logit(k * resolution)
    density = z * p - phi * np.logaddexp(0, z) + gammaln(phi) - gammaln(p) - gammaln(q)
    density += np.log(logit((k + 0.5) * resolution) - logit((k - 0.5) * resolution))
    difference = log_difference(upper, lower)
    return CubicSpline(KNOTS, np.where(upper - lower > 1e-9, difference, density))


class LogitForm(Form):
    """logit y = eta + sigma error, normal or t. ends: "squeezed" | "censored" (density within) | "interval" (exact)."""

    logit_scale = True

    def __init__(self, name, ends="censored", student=False, item_scale=False):
        super().__init__(name)
        self.ends, self.student, self.item_scale = ends, student, item_scale

    def start(self, cells):
        return np.array([np.log(3.0)] + ([np.log(6.0)] if self.student else []))

    def sigma(self, par, scale):
        return np.exp(par[0] - 0.5 * scale) if self.item_scale else float(np.exp(par[0]))

    def log_density(self, u, par):
        if not self.student:
            return -0.5 * u * u - 0.5 * np.log(2 * np.pi)
        df = np.exp(par[1])
        constant = gammaln((df + 1) / 2) - gammaln(df / 2) - 0.5 * np.log(df * np.pi)
        return constant - (df + 1) / 2 * np.log1p(u * u / df)

    def log_cdf(self, u, par):
        return student_table(float(np.exp(par[1])))(np.clip(u, -60, 60)) if self.student else log_ndtr(u)

    def log_f(self, cells, eta, par, scale, exact=False):
        sigma = self.sigma(par, scale)
        f = self.log_density((cells.z[..., None] - eta) / sigma, par) - np.log(sigma)
        if self.ends == "squeezed" and not exact:
            return f
        f += cells.log_width[..., None]
        wide = np.broadcast_to(sigma, eta.shape)
        at = cells.left
        f[at] = self.log_cdf((cells.z_high[at][:, None] - eta[at]) / wide[at], par)
        at = cells.right
        f[at] = self.log_cdf((eta[at] - cells.z_low[at][:, None]) / wide[at], par)
        if self.ends == "interval" or exact:
            at = ~cells.left & ~cells.right & (cells.z_high - cells.z_low > 0.1)
            low, high = ((v[at][:, None] - eta[at]) / wide[at] for v in (cells.z_low, cells.z_high))
            flip = low > 0
            low, high = np.where(flip, -high, low), np.where(flip, -low, high)
            f[at] = log_difference(self.log_cdf(high, par), self.log_cdf(low, par))
        return f

    def log_p(self, cells, eta, par, scale):
        return self.log_f(cells, eta, par, scale, exact=True)

    def mean(self, cells, eta, par, scale):
        share = (np.arange(200) + 0.5) / 200
        if self.student:
            grid = np.linspace(-60, 60, 24001)
            error = np.interp(share, stdtr(np.exp(par[1]), grid), grid)
        else:
            grid = np.linspace(-6, 6, 2401)
            error = np.interp(share, ndtr(grid), grid)
        if not self.item_scale:
            table = expit(KNOTS[:, None] + self.sigma(par, scale) * error).mean(1)
            return np.interp(eta, KNOTS, table)
        sigma = np.broadcast_to(self.sigma(par, scale), eta.shape)
        return np.mean([expit(eta + sigma * e) for e in error[::4] / 2 + error[3::4] / 2], axis=0)


@lru_cache(maxsize=64)
def student_table(df):
    return CubicSpline(KNOTS, np.log(stdtr(df, KNOTS)))


class GradedForm(Form):
    """Cumulative logit or probit in bins with common thresholds: a monotone transform learnt from the data."""

    logit_scale = True

    def __init__(self, name, bins=20, probit=False):
        super().__init__(name)
        self.bins, self.probit = bins, probit

    def start(self, cells):
        """Edges on the logit scale at quantiles of the training data, moved to boundaries between intervals."""
        seen = cells.seen
        inner = np.unique(np.quantile(cells.z[seen], np.arange(1, self.bins) / self.bins))
        upper = np.unique(cells.z_high[seen & ~cells.right])
        edges = np.unique(upper[np.minimum(np.searchsorted(upper, inner), upper.size - 1)])
        for at, side in ((cells.left, cells.z_high), (cells.right, cells.z_low)):  # a censored end is a bin of its own
            if at[seen].any():
                edges = np.unique(np.append(edges, side[at & seen][0]))
        self.edges = edges
        self.outer = np.concatenate([[-18.0], edges, [18.0]])
        place = self.bin(cells)[seen]
        n = edges.size + 1
        count = np.bincount(place, minlength=n)
        self.values = np.bincount(place, cells.y[seen], minlength=n) / np.maximum(count, 1)
        share = np.clip(np.cumsum(count)[:-1] / count.sum(), 1e-4, 1 - 1e-4)
        return 2.5 * logit(share)

    def bin(self, cells):
        return np.searchsorted(self.edges, cells.z_low + 1e-9, side="right")

    def bounds(self, cells, par):
        t = np.concatenate([[-200.0], par, [200.0]])
        place = self.bin(cells)
        return place, t[place][..., None], t[place + 1][..., None]

    def log_f(self, cells, eta, par, scale):
        _, low, high = self.bounds(cells, par)
        if self.probit:
            u, v = low / 2.5 - eta / 2.5, high / 2.5 - eta / 2.5
            flip = u > 0
            return log_difference(log_ndtr(np.where(flip, -u, v)), log_ndtr(np.where(flip, -v, u)))
        gap = np.minimum(high - low, 200.0)
        return -np.logaddexp(0, eta - high) - np.logaddexp(0, low - eta) + np.log(-np.expm1(-gap))

    def update(self, cells, eta, weight, par, scale):
        place, low, high = self.bounds(cells, par)
        f = self.log_f(cells, eta, par, scale)
        h = 1e-3
        if self.probit:
            density = lambda t: np.exp(-0.5 * ((t - eta) / 2.5) ** 2) / np.sqrt(2 * np.pi) / 2.5  # noqa: E731
        else:
            density = lambda t: expit(t - eta) * expit(eta - t)  # noqa: E731
        up = density(high) / np.exp(f)
        down = -density(low) / np.exp(f)
        n = par.size
        sums = lambda v, at: np.bincount(at.ravel(), (weight * v).sum(-1).ravel(), minlength=n + 2)  # noqa: E731
        gradient = (sums(up, place + 1) + sums(down, place))[1 : n + 1]
        diagonal = (sums(up * up, place + 1) + sums(down * down, place))[1 : n + 1]
        between = sums(up * down, place)[1:n]
        information = np.diag(diagonal + h) + np.diag(between, 1) + np.diag(between, -1)
        step = np.linalg.solve(information, gradient)
        old = (weight * f).sum()
        for shrink in (1.0, 0.5, 0.25, 0.1):
            moved = par + shrink * step
            if (np.diff(moved) > 1e-4).all() and (weight * self.log_f(cells, eta, moved, scale)).sum() >= old:
                return moved
        return par

    def log_p(self, cells, eta, par, scale):
        """Within a bin the logit is uniform."""
        place = self.bin(cells)
        width = self.outer[place + 1] - self.outer[place]
        alone = cells.left | cells.right
        return self.log_f(cells, eta, par, scale) + np.where(alone, 0.0, cells.log_width - np.log(width))[..., None]

    def mean(self, cells, eta, par, scale):
        t = np.concatenate([[-200.0], par, [200.0]])
        link = ndtr if self.probit else expit
        unit = 2.5 if self.probit else 1.0
        cumulative = link((t[:, None] - KNOTS) / unit)
        return np.interp(eta, KNOTS, self.values @ np.diff(cumulative, axis=0))


# ------------------------------------------------------------------------------------------------------------- the EM


@dataclass
class Fit:
    log_a: np.ndarray
    d: np.ndarray
    scale: np.ndarray
    par: np.ndarray
    theta: np.ndarray
    sd: np.ndarray
    nodes: np.ndarray
    log_weight: np.ndarray
    log_likelihood: float
    iterations: int

    def eta(self, theta):
        return np.exp(self.log_a)[:, None] * theta[:, None, :] + self.d[:, None]

    def item_scale(self):
        return self.scale[:, None]


def fit(form: Form, cells: Cells, most: int = 40) -> Fit:
    """Marginal maximum a posteriori by EM; adaptive Gauss-Hermite nodes about each subject's posterior mean."""
    seen = cells.seen
    n_items = seen.shape[1]
    z = np.clip(cells.z, -14, 14)
    theta = np.where(seen, z, 0).sum(1) / seen.sum(1)
    theta = (theta - theta.mean()) / theta.std()
    sd = np.full(theta.size, 0.3)
    if form.logit_scale:
        d = (z * seen).sum(0) / seen.sum(0)
        slope = ((z - d) * theta[:, None] * seen).sum(0) / (seen * theta[:, None] ** 2).sum(0)
        log_a = np.log(np.clip(slope, 0.5, 5.0))
        if isinstance(form, GradedForm):
            par = form.start(cells)
            d, log_a = 0.5 * (d - d.mean()), np.full(n_items, 0.5)
    else:
        mean = (cells.y * seen).sum(0) / seen.sum(0)
        d, log_a = logit(np.clip(mean, 0.02, 0.98)), np.zeros(n_items)
    if not isinstance(form, GradedForm):
        par = form.start(cells)
    scale = np.zeros(n_items)
    prior_mean, prior_sd = np.zeros(2), np.array([0.5, 2.0])
    scale_sd = 0.5
    previous = -np.inf
    for iteration in range(most):
        for _ in range(4 if iteration == 0 else 1):  # E step, nodes moved to the posterior's moments
            nodes = theta[:, None] + sd[:, None] * HERMITE
            eta = np.exp(log_a)[:, None] * nodes[:, None, :] + d[:, None]
            log_f = form.log_f(cells, eta, par, scale[:, None])
            joint = np.where(seen[..., None], log_f, 0.0).sum(1) - 0.5 * nodes**2 - 0.5 * np.log(2 * np.pi)
            joint += np.log(HERMITE_WEIGHT) + 0.5 * HERMITE**2 + np.log(sd)[:, None]
            total = np.logaddexp.reduce(joint, axis=1)
            log_weight = joint - total[:, None]
            weight = np.exp(log_weight)
            theta = (weight * nodes).sum(1)
            variance = (weight * (nodes - theta[:, None]) ** 2).sum(1)
            sd = np.clip(np.sqrt(variance), 0.5 * sd, 2 * sd)
        objective = total.sum() - 0.5 * (((log_a - prior_mean[0]) / prior_sd[0]) ** 2).sum()
        objective -= 0.5 * (((d - prior_mean[1]) / prior_sd[1]) ** 2).sum() + n_items * np.log(prior_sd).sum()
        if iteration > 8 and abs(objective - previous) < 0.02:
            break
        previous = objective
        weighted = seen[..., None] * weight[:, None, :]

        def penalised(log_a, d, nodes=nodes, weighted=weighted, par=par, scale=scale, mean=prior_mean, sd=prior_sd):
            eta = np.exp(log_a)[:, None] * nodes[:, None, :] + d[:, None]
            value = (weighted * form.log_f(cells, eta, par, scale[:, None])).sum((0, 2))
            return value - 0.5 * ((log_a - mean[0]) / sd[0]) ** 2 - 0.5 * ((d - mean[1]) / sd[1]) ** 2

        down, up = (form.log_f(cells, eta + shift, par, scale[:, None]) for shift in (-STEP, STEP))
        first, second = (up - down) / (2 * STEP), (up - 2 * log_f + down) / STEP**2
        slope = eta - d[:, None]  # d eta / d log a
        curve = np.maximum(-second, 0.0) * weighted
        gradient = np.stack(
            [
                (weighted * first * slope).sum((0, 2)) - (log_a - prior_mean[0]) / prior_sd[0] ** 2,
                (weighted * first).sum((0, 2)) - (d - prior_mean[1]) / prior_sd[1] ** 2,
            ]
        )
        h11 = (curve * slope**2).sum((0, 2)) + prior_sd[0] ** -2
        h12 = (curve * slope).sum((0, 2))
        h22 = curve.sum((0, 2)) + prior_sd[1] ** -2
        determinant = h11 * h22 - h12**2
        move = np.stack([h22 * gradient[0] - h12 * gradient[1], h11 * gradient[1] - h12 * gradient[0]]) / determinant
        move = np.clip(move, [[-0.7], [-3.0]], [[0.7], [3.0]])
        old, shrink = (weighted * log_f).sum((0, 2)), np.ones(n_items)
        old += -0.5 * ((log_a - prior_mean[0]) / prior_sd[0]) ** 2 - 0.5 * ((d - prior_mean[1]) / prior_sd[1]) ** 2
        for _ in range(4):
            worse = penalised(log_a + shrink * move[0], d + shrink * move[1]) < old - 1e-9
            if not worse.any():
                break
            shrink[worse] *= 0.3
        else:
            shrink[worse] = 0.0
        log_a, d = log_a + shrink * move[0], d + shrink * move[1]
        spread = np.stack([h22, h11]) / determinant
        prior_mean = np.array([log_a.sum() / (n_items + 1), d.mean()])
        squares = np.stack([(log_a - prior_mean[0]) ** 2, (d - prior_mean[1]) ** 2]) + spread
        prior_sd = np.minimum(np.sqrt((squares.sum(1) + np.array([0.25, 4.0])) / (n_items + 1)), [0.7, np.inf])
        eta = np.exp(log_a)[:, None] * nodes[:, None, :] + d[:, None]
        if par.size < 3 or form.logit_scale or iteration % 2 == 0:
            par = form.update(cells, eta, weighted, par, scale[:, None])
        if form.item_scale:
            h = 0.05
            values = [
                (weighted * form.log_f(cells, eta, par, (scale + shift)[:, None])).sum((0, 2)) for shift in (-h, 0, h)
            ]
            g = (values[2] - values[0]) / (2 * h) - scale / scale_sd**2
            information = np.maximum((2 * values[1] - values[0] - values[2]) / h**2, 0.1) + scale_sd**-2
            scale = np.clip(scale + np.clip(g / information, -0.5, 0.5), -4, 4)
            par[0] += scale.mean() if not form.logit_scale else -0.5 * scale.mean()
            scale = scale - scale.mean()
            scale_sd = float(np.sqrt(((scale**2 + 1 / information).sum() + 0.25) / (n_items + 1)))
        centre, width = theta.mean(), np.sqrt((theta**2 + variance).mean() - theta.mean() ** 2)
        d, log_a = d + np.exp(log_a) * centre, log_a + np.log(width)  # the population stays standard
        theta, sd = (theta - centre) / width, sd / width
    return Fit(log_a, d, scale, par, theta, sd, nodes, log_weight, float(total.sum()), iteration + 1)


def posterior(form: Form, result: Fit, cells: Cells) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and log weights of new subjects' abilities: a grid, then a finer one where the mass is."""
    nodes = np.tile(np.linspace(-6, 6, 161), (cells.y.shape[0], 1))
    for _ in range(2):
        log_f = form.log_f(cells, result.eta(nodes), result.par, result.item_scale())
        joint = np.where(cells.seen[..., None], log_f, 0).sum(1) - 0.5 * nodes**2
        log_weight = joint - np.logaddexp.reduce(joint, axis=1)[:, None]
        weight = np.exp(log_weight)
        mean = (weight * nodes).sum(1)
        sd = np.maximum(np.sqrt((weight * (nodes - mean[:, None]) ** 2).sum(1)), 0.03)
        used = nodes
        nodes = mean[:, None] + sd[:, None] * np.linspace(-6, 6, 31)
    return used, log_weight


# ---------------------------------------------------------------------------------------------------------- the trial


def splits(cells: Cells, mean: np.ndarray) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """For each fold: held-out subjects, held-out cells of the others, and each subject's half of the items."""
    rng = np.random.default_rng(0)
    order = np.argsort(mean)
    fold = np.empty(mean.size, int)
    for start in range(0, mean.size, 5):  # every fold has weak and strong subjects
        block = order[start : start + 5]
        fold[block] = rng.permutation(5)[: block.size]
    half = rng.random(cells.y.shape) < 0.5
    tenth = rng.permuted(np.tile(np.arange(cells.y.shape[1]) % 10, (mean.size, 1)), axis=1) == 0
    return [(fold == k, tenth, half) for k in range(5)]


@dataclass
class Tally:
    """Log scores by subject, held-out abilities, and predicted, observed and naively predicted means."""

    size: int
    sums: dict[str, np.ndarray] = field(init=False)
    parameters: list = field(default_factory=list)
    log_likelihood: list = field(default_factory=list)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        keys = ("cells", "n_cells", "subjects", "n_subjects", "ability", "predicted", "observed", "naive")
        self.sums = {key: np.zeros(self.size) for key in keys}

    def score(self, part, rows, log_p, at) -> None:
        self.sums[part][rows] += np.where(at, log_p, 0.0).sum(1)
        self.sums["n_" + part][rows] += at.sum(1)

    def mean(self, part) -> float:
        return self.sums[part].sum() / self.sums["n_" + part].sum()

    def difference(self, other: Tally, part) -> tuple[float, float]:
        """Mean difference of log scores per cell, with a bootstrap over subjects."""
        gain, n = self.sums[part] - other.sums[part], self.sums["n_" + part]
        draws = np.random.default_rng(1).integers(0, self.size, (2000, self.size))
        return gain.sum() / n.sum(), float((gain[draws].sum(1) / np.maximum(n[draws].sum(1), 1)).std())

    def errors(self) -> np.ndarray:
        used = self.sums["n_subjects"] > 0
        return np.abs(self.sums["predicted"] - self.sums["observed"])[used]


def evaluate(form: Form, cells: Cells, y, parts, folds, score: Cells | None = None) -> Tally:
    """Fit to `cells` in every fold; score the intervals of `score` (by default the same) and the exact means of y."""
    n_subjects, n_items = y.shape
    every, score = np.arange(n_items), score or cells
    tally = Tally(n_subjects)
    for held, tenth, half in parts[:folds]:
        others, rows = np.flatnonzero(~held), np.flatnonzero(held)
        begin = time.process_time()
        result = fit(form, cells.take(others, every, seen=(cells.seen & ~tenth)[others]))
        tally.seconds += (time.process_time() - begin) / folds
        tally.parameters.append(result.par.tolist())
        tally.log_likelihood.append(result.log_likelihood)
        scale = result.item_scale()
        log_p = form.log_p(score.take(others, every), result.eta(result.nodes), result.par, scale)
        log_p = np.logaddexp.reduce(log_p + result.log_weight[:, None], axis=2)
        tally.score("cells", others, log_p, (cells.seen & tenth)[others])
        known, at = (cells.seen & half)[rows], (cells.seen & ~half)[rows]
        nodes, log_weight = posterior(form, result, cells.take(rows, every, seen=known))
        eta = result.eta(nodes)
        log_p = form.log_p(score.take(rows, every), eta, result.par, scale)
        tally.score("subjects", rows, np.logaddexp.reduce(log_p + log_weight[:, None], axis=2), at)
        expected = (form.mean(cells, eta, result.par, scale) * np.exp(log_weight)[:, None]).sum(2)
        for key, value, where in (("predicted", expected, at), ("observed", y[rows], at), ("naive", y[rows], known)):
            tally.sums[key][rows] = np.where(where, value, 0).sum(1) / where.sum(1)
        tally.sums["ability"][rows] = (np.exp(log_weight) * nodes).sum(1)
    return tally


def empirical(by: str, cells: Cells, parts, folds) -> Tally:
    """Shares of 40 bins: of all training cells, or of the item's or the subject's cells drawn towards these."""
    tally = Tally(cells.y.shape[0])
    for held, tenth, half in parts[:folds]:
        training = cells.seen & ~tenth & ~held[:, None]
        graded = GradedForm("bins", 40)
        graded.start(Cells(cells.y, cells.low, cells.high, training, cells.resolution, cells.end))
        place = graded.bin(cells)
        one = np.eye(graded.edges.size + 1)[place]
        share = (one[training].sum(0) + 0.5) / (training.sum() + 0.5 * one.shape[2])
        width = np.where(cells.left | cells.right, 1.0, (graded.outer[place + 1] - graded.outer[place]))
        inner = np.where(cells.left | cells.right, 0.0, cells.log_width - np.log(width))
        used = training | (held[:, None] & half & cells.seen) if by == "subject" else training
        axis = {"all": None, "item": 0, "subject": 1}[by]
        count = 0.0 if axis is None else (one * used[..., None]).sum(axis, keepdims=True)
        total = 0.0 if axis is None else used.sum(axis, keepdims=True)[..., None]

        def log_share(strength, own, count=count, total=total, share=share, one=one):
            inside = (one * (count + strength * share)).sum(2) - own
            return np.log(np.maximum(inside, SMALL) / (total[..., 0] + strength - own))

        if axis is None:
            log_p = np.log(share)[place] + inner
        else:
            strengths = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)
            best = max(strengths, key=lambda strength: log_share(strength, 1.0)[training].mean())  # leaving one out
            log_p = log_share(best, 0.0) + inner
        for part, rows, at in (("cells", ~held, cells.seen & tenth), ("subjects", held, cells.seen & ~half)):
            tally.score(part, np.flatnonzero(rows), log_p[rows], at[rows])
    return tally


def candidates(resolution: str) -> list[Form]:
    forms = [
        BetaForm("Beta, squeezed", "squeezed"),
        BetaForm("Beta, censored ends", "censored"),
        BetaForm("Beta, exact near the ends", "near"),
        BetaForm("Beta, phi = 10, clipped at 1e-6", "squeezed", phi=10.0, clip=1e-6),
        BetaForm(HURDLE, "hurdle"),
        BetaForm("Beta, censored, phi per item", "censored", item_scale=True),
        LogitForm("logit-normal, squeezed", "squeezed"),
        LogitForm("logit-normal, censored ends", "censored"),
        LogitForm("logit-normal, exact intervals", "interval"),
        LogitForm("logit-normal, censored, sigma per item", "censored", item_scale=True),
        LogitForm("logit-t, censored ends", "censored", student=True),
        GradedForm("graded, 20 bins, logistic"),
        GradedForm("graded, 20 bins, probit", probit=True),
    ]
    return [form for form in forms if form.name != HURDLE or resolution == MAIN]


# ----------------------------------------------------------------------------------------------------- run and report

REFERENCE = "logit-normal, censored ends"
LADDER_FORMS = (
    REFERENCE,
    "Beta, censored ends",
    "Beta, squeezed",
    "Beta, phi = 10, clipped at 1e-6",
    "Beta, censored, phi per item",
    "logit-normal, censored, sigma per item",
    "logit-t, censored ends",
    "graded, 20 bins, logistic",
)
LADDER = ("facts", "arithmetic", "patterns", "recall", "agreement", "order")


def summary(tally: Tally, reference: Tally | None, mean: np.ndarray) -> dict:
    row = {}
    for part in ("cells", "subjects"):
        row[part] = tally.mean(part)
        if reference is not None and reference is not tally:
            row[part + "_gain"], row[part + "_gain_se"] = tally.difference(reference, part)
    if tally.parameters:
        used = tally.sums["n_subjects"] > 0
        ability, errors = tally.sums["ability"][used], tally.errors()
        row |= {
            "rank_correlation": spearmanr(ability, mean[used])[0],
            "correlation": np.corrcoef(ability, mean[used])[0, 1],
            "mae": errors.mean(),
            "mae_se": errors.std() / np.sqrt(errors.size),
            "naive_mae": np.abs(tally.sums["naive"] - tally.sums["observed"])[used].mean(),
            "log_likelihood": tally.log_likelihood[0],
            "parameters": tally.parameters[0],
            "seconds": tally.seconds,
        }
    return row


def by_resolution() -> dict:
    """Every candidate on the judge's data, fitted and scored at every resolution."""
    out = {}
    y, seen = judge()
    mean = np.where(seen, y, 0).sum(1) / seen.sum(1)
    parts = splits(round_to(y, seen, None), mean)
    for name, resolution in RESOLUTIONS.items():
        cells = round_to(y, seen, resolution)
        folds = FOLDS if name in (MAIN, "1e-3") else 2
        tallies = {}
        for form in candidates(name):
            tallies[form.name] = evaluate(form, cells, y, parts, folds)
            print(name, form.name, round(tallies[form.name].mean("cells"), 4), file=sys.stderr)
        for by in ("all", "subject", "item"):
            tallies[f"empirical, {by}"] = empirical(by, cells, parts, folds)
        out[name] = {
            "held_out_subjects": int((tallies[REFERENCE].sums["n_subjects"] > 0).sum()),
            "share_at_0": float(cells.left[seen].mean()),
            "share_at_1": float(cells.right[seen].mean()),
            "forms": {key: summary(tally, tallies[REFERENCE], mean) for key, tally in tallies.items()},
        }
    return out


def by_censoring() -> list:
    """Two candidates fitted at each resolution, all scored at the main one."""
    y, seen = judge()
    mean = np.where(seen, y, 0).sum(1) / seen.sum(1)
    parts = splits(round_to(y, seen, None), mean)
    shown, tallies = round_to(y, seen, RESOLUTIONS[MAIN]), {}
    for form in (BetaForm("Beta, censored ends"), LogitForm(REFERENCE)):
        for name in ("1e-1", "5e-2", *RESOLUTIONS):
            cells = round_to(y, seen, RESOLUTIONS.get(name, 0.1 if name == "1e-1" else 0.05))
            tallies[form.name, name] = evaluate(form, cells, y, parts, FOLDS, score=shown)
    base = tallies[REFERENCE, MAIN]
    return [{"form": form, "fitted_at": name} | summary(t, base, mean) for (form, name), t in tallies.items()]


def by_benchmark() -> dict:
    """The ladder's benchmarks, at the main resolution and as exact as stored."""
    out: dict = {}
    for benchmark in LADDER:
        y, seen = choices(benchmark)
        mean = y.mean(1)
        parts = splits(round_to(y, seen, None), mean)
        for name in (MAIN, "native"):
            cells = round_to(y, seen, RESOLUTIONS[name])
            forms = [form for form in candidates(name) if form.name in LADDER_FORMS]
            tallies = {form.name: evaluate(form, cells, y, parts, 2) for form in forms}
            print(name, benchmark, {k: round(t.mean("subjects"), 4) for k, t in tallies.items()}, file=sys.stderr)
            out.setdefault(name, {})[benchmark] = {
                key: summary(tally, tallies[REFERENCE], mean) for key, tally in tallies.items()
            }
    return out


SECTIONS = {"resolutions": by_resolution, "censoring": by_censoring, "ladder": by_benchmark}


def rounded(value):
    if isinstance(value, dict):
        return {key: rounded(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(part) for part in value]
    return round(float(value), 5) if isinstance(value, (float, np.floating)) else value


# ----------------------------------------------------------------------------------------------------------- the page


def gain(row: dict, part: str) -> str:
    return f"{row[part + '_gain']:+.3f} ± {row[part + '_gain_se']:.3f}" if part + "_gain" in row else "0"


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def main_table(forms: dict) -> str:
    rows = []
    for name, row in forms.items():
        rows.append([name, f"{row['cells']:.3f}", gain(row, "cells"), f"{row['subjects']:.3f}", gain(row, "subjects")])
        if "mae" in row:
            error = f"{row['mae']:.4f} ± {row['mae_se']:.4f}"
            rows[-1] += [f"{row['rank_correlation']:.3f}", error, f"{row['seconds']:.1f}"]
        else:
            rows[-1] += [""] * 3
    head = ["likelihood", "cells", "gain", "subjects", "gain", "rank correlation", "error of the mean", "s"]
    return table(head, rows)


def resolution_table(out: dict, value) -> str:
    names = [name for name in out[MAIN]["forms"] if name != HURDLE]
    rows = [[name, *[value(out[key]["forms"][name]) for key in RESOLUTIONS]] for name in names]
    return table(["likelihood", *RESOLUTIONS], rows)


def censoring_table(rows: list) -> str:
    shown = []
    for row in rows:
        error = f"{row['mae']:.4f} ± {row['mae_se']:.4f}"
        ranks = f"{row['rank_correlation']:.3f}"
        shown.append([row["form"], row["fitted_at"], gain(row, "cells"), gain(row, "subjects"), error, ranks])
    return table(["likelihood", "fitted at", "cells", "subjects", "error of the mean", "rank correlation"], shown)


def ladder_table(forms: dict) -> str:
    rows = []
    for name in forms[LADDER[0]]:
        errors = np.mean([forms[benchmark][name]["mae"] for benchmark in LADDER])
        rows.append([name, *[gain(forms[benchmark][name], "subjects") for benchmark in LADDER], f"{errors:.4f}"])
    return table(["likelihood", *LADDER, "error of the mean"], rows)


def filled(block: str) -> str:
    """Prose at the page's width; tables and headings as they are."""
    if block.startswith(("|", "#")):
        return block
    bullets = block.rstrip().split("\n- ")
    lines = [
        fill(" ".join(part.split()), 120, subsequent_indent="  " * part.startswith("- "), break_on_hyphens=False)
        for part in bullets[:1]
    ]
    lines += [
        fill("- " + " ".join(part.split()), 120, subsequent_indent="  ", break_on_hyphens=False) for part in bullets[1:]
    ]
    return "\n".join(lines)


def write_page(out: dict) -> None:
    resolutions, ladder = out["resolutions"], out["ladder"]
    main, exact = resolutions[MAIN], resolutions["native"]
    beta, other = "Beta, censored ends", REFERENCE
    fitted = {(row["form"], row["fitted_at"]): row for row in out["censoring"]}
    wins = {name: sum(ladder[name][b][beta]["subjects_gain"] > 0 for b in LADDER) for name in (MAIN, "native")}
    agree = sum(
        (f[beta]["log_likelihood"] > f[other]["log_likelihood"]) == (f[beta]["cells_gain"] > 0)
        for f in (main["forms"], *ladder[MAIN].values())
    )
    naive = main["forms"][other]["naive_mae"]
    hurdle = main["forms"][HURDLE]
    best = min(row["mae"] for row in main["forms"].values() if "mae" in row)

    def cost(name: str) -> float:
        return main["forms"][beta]["cells"] - main["forms"][name]["cells"]

    text = f"""# Which likelihood for continuous probabilities

`python benchmarks/continuous_likelihoods.py` fits each candidate by a plain marginal EM of its own and scores the
probability that it gives to the resolution interval of every held-out value. Written by the script.

**Answer.** A Beta with its precision estimated, values rounded to .01, and the two end intervals, below .005 and above
.995, counted by their probability (censored), not by a density at a point.

- *Do not squeeze.* Moving 0 and 1 half a step inside costs {cost("Beta, squeezed"):.2f} nats a cell on the judge's
  data at .01; a fixed precision of 10 with values clipped at 1e-6, as published,
  {cost("Beta, phi = 10, clipped at 1e-6"):.2f}. Only the two end intervals matter: exact probabilities for the three
  steps next to them change nothing.
- *Coarse is better.* Fitted to the values as stored and scored at .01, the Beta loses
  {fitted[beta, MAIN]["subjects_gain"] - fitted[beta, "native"]["subjects_gain"]:.2f} nats a cell on new subjects, and
  the predicted mean of a new subject is off by {fitted[beta, "native"]["mae"]:.3f} instead of
  {fitted[beta, MAIN]["mae"]:.3f} (at .1, by {fitted[beta, "1e-1"]["mae"]:.3f}). Whether a judge said 1e-4 or 1e-7 says
  little about who is better, and a Beta listens to it. The logit-normal loses
  {-fitted[other, "native"]["subjects_gain"]:.2f}, and is off by {fitted[other, "native"]["mae"]:.3f} instead of
  {fitted[other, MAIN]["mae"]:.3f}.
- *Beta or logit-normal?* At .01 they are close. On the judge's data the logit-normal is ahead by
  {-main["forms"][beta]["cells_gain"]:.3f} ± {main["forms"][beta]["cells_gain_se"]:.3f} nats a cell; on the ladder's
  probabilities of the right choice the Beta is ahead on new subjects in {wins[MAIN]} of {len(LADDER)} benchmarks, and
  in {wins["native"]} with values as stored. Values as stored with most of them within .001 of an end are the
  logit-normal's case: {-exact["forms"][beta]["cells_gain"]:.2f} nats a cell. The marginal likelihoods of the same
  intervals tell which to take: at .01 they prefer the form that predicts held-out cells better in {agree} of
  {len(LADDER) + 1} data sets.
- *What else there is to gain.* Errors have heavy tails: a t on the logit scale gains
  {np.mean([ladder[MAIN][b]["logit-t, censored ends"]["subjects_gain"] for b in LADDER]):.2f} nats a cell over the
  logit-normal on the ladder, as much as a curve learnt from the data (graded), but
  {main["forms"]["logit-t, censored ends"]["cells_gain"]:.3f} on the judge's data, and its predicted means are no
  better. A precision per item helps in some data sets and harms in others. An ordered logit for the ends, three more
  parameters, gains {hurdle["cells_gain"] - main["forms"][beta]["cells_gain"]:.3f} over the Beta on cells and
  {hurdle["subjects_gain"] - main["forms"][beta]["subjects_gain"]:+.3f} on subjects.
- *Means.* The mean of one random half of a new subject's items predicts the other half's mean to within {naive:.3f} on
  the judge's data; the best candidate, to within {best:.3f}. Report observed means where items are observed; the curves
  serve the items that are not.

**What to do.** Leave the resolution at .01 if means are what you report. If your values were rounded more coarsely,
give that step. Give a finer one only if differences next to 0 and 1 matter to you, and then use the logit-normal.

## How it was done

eta = a theta + d, theta ~ N(0, 1), normal priors on (log a, d) whose means and spreads are estimated. Beta: mean
logistic(eta). Logit-normal and t: logit y = eta + sigma e, so the mean is an integral over e. Graded: cumulative model
of about 20 bins with common thresholds, within a bin the logit is uniform. A value y at resolution r stands for
[y - r/2, y + r/2], cut at 0 and 1; fits use the density times the interval's width on the logit scale, and exact
probabilities at the ends ("squeezed": the density there too, at half a step inside); scores are exact. `native` takes
values as stored, with steps of 1/64 on the logit scale and 1e-7 at the ends.

*Judge*: `alpaca_eval` of the shared test data, 39 subjects by 805 items: a language model's probability that an answer
beats a baseline's, three quarters below .008. *Ladder*: the 84 final checkpoints of the packaged data, 200 items a
benchmark, outcome p_choices. Cells: a tenth of the training subjects' cells. Subjects: a fifth of the subjects is held
out at a time, ability from a random half of their items, the other half scored. Gains are differences in mean log
probability per cell from the {other[0].lower() + other[1:]}, ± standard error by a bootstrap over subjects. Rank
correlation: of held-out abilities with the subjects' mean values. Error of the mean: absolute, of the predicted mean of
the scored half. s: CPU seconds of one fit.

## The judge's data at .01

{main["share_at_0"]:.0%} of the cells are at 0, {main["share_at_1"]:.0%} at 1; {main["held_out_subjects"]} subjects are
held out, 8 at a time. Empirical: shares of 40 bins, overall, by subject or by item (drawn towards the overall ones).

{main_table(main["forms"])}

## The judge's data at other resolutions: fitted and scored there

Gain on held-out cells.

{resolution_table(resolutions, lambda row: gain(row, "cells"))}

Gain on held-out subjects.

{resolution_table(resolutions, lambda row: gain(row, "subjects"))}

## The judge's data: fitted at one resolution, scored at .01

{censoring_table(out["censoring"])}

## The ladder, held-out subjects

At .01.

{ladder_table(ladder[MAIN])}

As stored.

{ladder_table(ladder["native"])}
"""
    PAGE.write_text("\n\n".join(filled(block) for block in text.strip().split("\n\n")) + "\n")


def main() -> None:
    for name in sys.argv[1:] or SECTIONS:
        if name != "page":
            part = rounded(SECTIONS[name]())
            out = (json.loads(RESULTS.read_text()) if RESULTS.exists() else {}) | {name: part}
            RESULTS.parent.mkdir(exist_ok=True)
            RESULTS.write_text(json.dumps(out, indent=1) + "\n")
    print(f"{time.process_time():.0f} s of one core", file=sys.stderr)
    out = json.loads(RESULTS.read_text())
    if out.keys() >= SECTIONS.keys():
        write_page(out)


if __name__ == "__main__":
    main()
