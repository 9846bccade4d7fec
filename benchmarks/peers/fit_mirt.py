"""mirt for Python: EM with its defaults but without standard errors, which cost it ten times as long; then its EAP."""

import mirt
import numpy as np

from report import Report


def main() -> None:
    report = Report()
    values = np.load(report.responses)
    answers = np.where(np.isnan(values), -1, values).astype(int)
    with report.timed("seconds_items"):
        found = mirt.fit_mirt(answers, model=report.model.upper(), compute_standard_errors=False)
    parameters = found.model.parameters
    difficulty = np.ravel(parameters["difficulty"])
    with report.timed("seconds_abilities"):
        ability = np.ravel(mirt.fscores(found, answers, method="EAP").theta)
    report.facts |= {"steps": int(found.n_iterations), "converged": bool(found.converged)}
    report.finish(
        difficulty=difficulty,
        discrimination=np.broadcast_to(np.ravel(parameters["discrimination"]), difficulty.shape),
        ability=ability,
    )


if __name__ == "__main__":
    main()
