"""girth: marginal maximum likelihood with its defaults, then its EAP, and its MLE where the EAP is not finite."""

import girth
import numpy as np

from report import Report


def main() -> None:
    report = Report()
    values = np.load(report.responses)
    answers = np.where(np.isnan(values), -1, values).astype(int).T.copy()
    if (answers < 0).any():
        answers = girth.tag_missing_data(answers, [0, 1])
    fit = girth.rasch_mml if report.model == "1pl" else girth.twopl_mml
    with report.timed("seconds_items"):
        found = fit(answers)
    difficulty = np.ravel(found["Difficulty"])
    discrimination = np.broadcast_to(found["Discrimination"], difficulty.shape).copy()
    with report.timed("seconds_abilities"):
        ability = girth.ability_eap(answers, difficulty, discrimination)
    instead = {}
    if not np.isfinite(ability).all():
        with report.timed("seconds_abilities_instead"):
            instead["ability_instead"] = girth.ability_mle(answers, difficulty, discrimination)
        report.facts["instead"] = "ability_mle"
    report.finish(difficulty=difficulty, discrimination=discrimination, ability=ability, **instead)


if __name__ == "__main__":
    main()
