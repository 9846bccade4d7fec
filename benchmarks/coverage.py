"""Coverage of 90 % intervals with few subjects, on the anchored scale, with Monte Carlo errors over draws.

python benchmarks/coverage.py
"""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

import irsl

CASES = [(12, 120, 1, "1pl", 60), (12, 120, 50, "2pl", 60), (42, 300, 1, "2pl", 20)]
Z90 = float(norm.ppf(0.95))


def main() -> None:
    print("subjects x items x samples, model: coverage of difficulty, of ability")
    for n_subjects, n_items, n_samples, model, n_draws in CASES:
        inside = []
        for seed in range(n_draws):
            rng = np.random.default_rng(seed)
            theta, b = rng.normal(size=n_subjects), rng.normal(0.5, 1.5, n_items)
            a = np.ones(n_items) if model == "1pl" else rng.lognormal(0, 0.3, n_items)
            right = rng.binomial(n_samples, 1 / (1 + np.exp(-a * (theta[:, None] - b)))).astype(float)
            responses = irsl.Responses.from_matrix(right, n_samples=np.full_like(right, n_samples), kind="counts")
            fit = irsl.calibrate(responses, model=model)
            mean, sd = theta.mean(), theta.std()
            items, abilities = fit.bank.items, fit.abilities
            inside.append(
                (
                    (np.abs(items["difficulty"] - (b - mean) / sd) < Z90 * items["se_difficulty"]).mean(),
                    (np.abs(abilities["ability"] - (theta - mean) / sd) < Z90 * abilities["se_ability"]).mean(),
                )
            )
        share, error = np.mean(inside, axis=0), np.std(inside, axis=0) / np.sqrt(n_draws)
        print(
            f"{n_subjects} x {n_items} x {n_samples}, {model}: {share[0]:.3f} +- {error[0]:.3f}, "
            f"{share[1]:.3f} +- {error[1]:.3f}  ({n_draws} draws)"
        )


if __name__ == "__main__":
    main()
