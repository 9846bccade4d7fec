"""Published recoveries, drawn again from their recipes: the power table of the reference, and two Beta recipes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

import irsl

Array = NDArray[np.float64]

N_SAMPLES = 50
POWER_SUBJECTS = (2, 4, 8, 16, 32, 64, 128)
POWER_PUBLISHED = (0.448, 0.168, 0.116, 0.084, 0.059, 0.041, 0.029)  # joint maximum likelihood of the same counts
POWER_ITEMS, POWER_REPLICATIONS, POWER_NOISE = 100, 10, 0.01
SMALLEST = 1e-6
LARGEST = 15.0  # logits: items that all or none solved have no maximum
STANDSTILL = 1e-8


def power_table() -> list[dict[str, float]]:
    """RMSE of difficulties from counts of 50 by number of subjects, both centred, mean over ten replications.

    The reference fixes the slope at 1, so what compares with its difficulties is a b; `anchored` is the RMSE of b in
    standard deviations of ability, the truth anchored.
    """
    items = np.random.default_rng(7)
    rmse: dict[int, list[tuple[float, ...]]] = {m: [] for m in POWER_SUBJECTS}
    for replication in range(POWER_REPLICATIONS):
        b = items.normal(0.0, 1.0, POWER_ITEMS)
        for n_subjects in POWER_SUBJECTS:
            rng = np.random.default_rng(42 + 1000 * replication + n_subjects)
            theta = rng.normal(0.0, 1.0, n_subjects)
            p = expit(theta[:, None] - b)
            rng.binomial(1, p), rng.normal(0.0, POWER_NOISE, p.shape)  # the reference's own draws come first
            counts = rng.binomial(N_SAMPLES, p).astype(np.float64)
            responses = irsl.Responses.from_matrix(counts, n_samples=N_SAMPLES, kind="counts")
            bank = irsl.calibrate(responses, model="1pl", likelihood="binomial").bank.items
            found, a = bank["difficulty"].to_numpy(), bank["discrimination"].to_numpy()
            anchored = (b - theta.mean()) / theta.std()
            of_b = [_rmse(_centred(value), _centred(b)) for value in (a * found, joint_maximum_likelihood(counts))]
            rmse[n_subjects].append((*of_b, _rmse(found, anchored)))
    rows = []
    for n_subjects, published in zip(POWER_SUBJECTS, POWER_PUBLISHED, strict=True):
        centred, joint, anchored = np.array(rmse[n_subjects]).T
        error = centred.std(ddof=1) / np.sqrt(centred.size)
        rows.append(
            {
                "subjects": n_subjects,
                "published": published,
                "irsl": float(centred.mean()),
                "monte carlo error": float(error),
                "joint": float(joint.mean()),
                "anchored": float(anchored.mean()),
            }
        )
    return rows


def joint_maximum_likelihood(counts: Array, n_passes: int = 2000) -> Array:
    """Difficulties of counts of 50 by Newton steps on difficulties and abilities in turn, the slope fixed at 1."""
    theta, b = np.zeros(counts.shape[0]), np.zeros(counts.shape[1])
    for _ in range(n_passes):
        p = expit(theta[:, None] - b)
        step = np.clip((counts - N_SAMPLES * p).sum(axis=0) / (N_SAMPLES * p * (1 - p)).sum(axis=0), -1.0, 1.0)
        b = np.clip(b - step, -LARGEST, LARGEST)
        b -= b.mean()
        p = expit(theta[:, None] - b)
        theta += (counts - N_SAMPLES * p).sum(axis=1) / (N_SAMPLES * p * (1 - p)).sum(axis=1)
        if np.abs(step).max() < STANDSTILL:
            break
    return b


def recipes() -> list[dict[str, float | str | None]]:
    """Recovery of the recipes R1 (Rasch, Beta with precision 10) and R4 (2PL, Beta with precision 50)."""
    rng = np.random.default_rng(0)
    theta, b = rng.normal(size=200), rng.normal(size=100)
    rows = _recovered("R1", rng, theta, np.ones(100), b, 10.0, "1pl")
    rng = np.random.default_rng(3)
    theta = rng.normal(size=500)
    theta = (theta - theta.mean()) / theta.std()
    a, d = rng.lognormal(0.0, 0.3, 50), 0.7 * rng.normal(size=50)
    rows += _recovered("R4", rng, theta, a, -d / a, 50.0, "2pl")
    published = {
        ("R1", "difficulty, centred"): 0.0509,
        ("R1", "ability, centred"): 0.0652,
        ("R1", "precision"): 10.30,
        ("R4", "discrimination"): 0.028,
        ("R4", "intercept"): 0.020,
        ("R4", "ability"): 0.041,
    }
    return [{**row, "published": published.get((str(row["recipe"]), str(row["quantity"])))} for row in rows]


def _recovered(
    name: str, rng: np.random.Generator, theta: Array, a: Array, b: Array, precision: float, model: str
) -> list[dict[str, float | str]]:
    p = expit(a * (theta[:, None] - b))
    y = np.clip(rng.beta(precision * p, precision * (1.0 - p)), SMALLEST, 1.0 - SMALLEST)
    calibration = irsl.calibrate(irsl.Responses.from_matrix(y, kind="probability"), model=model)
    bank, ability = calibration.bank.items, calibration.abilities["ability"].to_numpy()
    found_a, found_b = bank["discrimination"].to_numpy(), bank["difficulty"].to_numpy()
    mean, sd = theta.mean(), theta.std()
    true_a, true_b = a * sd, (b - mean) / sd
    values: dict[str, float] = {
        "difficulty": _rmse(found_b, true_b),
        "ability": _rmse(ability, (theta - mean) / sd),
        "precision": float(calibration.precision or np.nan),
    }
    if model == "1pl":  # the recipe fixes the slope at 1, and both at a mean of 0
        values["difficulty, centred"] = _rmse(_centred(found_a * found_b), _centred(b))
        values["ability, centred"] = _rmse(_centred(found_a[0] * ability), _centred(theta))
    else:
        values["discrimination"] = _rmse(found_a, true_a)
        values["intercept"] = _rmse(-found_a * found_b, -true_a * true_b)
    return [{"recipe": name, "quantity": quantity, "irsl": value} for quantity, value in values.items()]


def _centred(values: Array) -> Array:
    return np.asarray(values - values.mean())


def _rmse(found: Array, truth: Array) -> float:
    return float(np.sqrt(((found - truth) ** 2).mean()))
