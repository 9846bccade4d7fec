"""irsl: `calibrate`, which gives items, their errors and abilities in one go.

Flags: `mapped` leaves the responses in their file; `kept` keeps the caller's array while calibrating.
"""

import time

import numpy as np

import irsl
from report import Report, forget_peak, memory

KIND = {"bernoulli": "binary", "beta": "probability"}


def main() -> None:
    report = Report()
    from_matrix, calibrate = irsl.Responses.from_matrix, irsl.calibrate  # imported before any clock starts
    report.facts["imported_mb"] = memory("VmRSS")
    values = np.load(report.responses, mmap_mode="r" if "mapped" in report.flags else None)
    with report.timed("seconds_from_matrix"):
        responses = from_matrix(values, kind=KIND[report.likelihood])
    if "kept" not in report.flags:
        del values
    report.facts |= {"before_mb": memory("VmRSS"), "peak_mb": memory("VmHWM")}
    forget_peak()
    passes = []
    with report.timed("seconds_items"):
        calibration = calibrate(responses, model=report.model, progress=lambda *_: passes.append(time.perf_counter()))
    fit, items = calibration.fits.row(0, named=True), calibration.bank.items
    report.facts |= {
        "peak_calibrate_mb": memory("VmHWM"),
        "steps": fit["n_iterations"],
        "seconds_per_pass": float(np.median(np.diff(passes))) if len(passes) > 1 else None,
        "converged": fit["converged"],
        "message": fit["message"],
        "precision": fit["precision"],
    }
    report.finish(
        difficulty=items["difficulty"],
        discrimination=items["discrimination"],
        ability=calibration.abilities["ability"],
    )


if __name__ == "__main__":
    main()
