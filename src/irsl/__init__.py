"""Measure language models with item response theory; turn the measurements into scaling laws and decisions."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from irsl._version import __version__

if TYPE_CHECKING:
    from irsl import ladder
    from irsl.ability import information, measure
    from irsl.adaptive import replay
    from irsl.calibration import Calibration, ItemBank, calibrate
    from irsl.errors import DataError, IrslError
    from irsl.laws import (
        JointLaw,
        SamplingLaw,
        allocate_samples,
        decision_accuracy,
        joint_law,
        samples_for_width,
        sampling_law,
        total_variation,
        training_flops,
    )
    from irsl.laws.pass_at_k import pass_at_k
    from irsl.readers import read
    from irsl.responses import Responses

# A name is imported when it is first used, so that `import irsl` takes milliseconds (PEP 562).
_HOME = {
    "Calibration": "irsl.calibration",
    "DataError": "irsl.errors",
    "IrslError": "irsl.errors",
    "ItemBank": "irsl.calibration",
    "JointLaw": "irsl.laws",
    "Responses": "irsl.responses",
    "SamplingLaw": "irsl.laws",
    "allocate_samples": "irsl.laws",
    "calibrate": "irsl.calibration",
    "decision_accuracy": "irsl.laws",
    "information": "irsl.ability",
    "joint_law": "irsl.laws",
    "measure": "irsl.ability",
    "pass_at_k": "irsl.laws.pass_at_k",
    "read": "irsl.readers",
    "replay": "irsl.adaptive",
    "samples_for_width": "irsl.laws",
    "sampling_law": "irsl.laws",
    "total_variation": "irsl.laws",
    "training_flops": "irsl.laws",
}

__all__ = [
    "Calibration",
    "DataError",
    "IrslError",
    "ItemBank",
    "JointLaw",
    "Responses",
    "SamplingLaw",
    "__version__",
    "allocate_samples",
    "calibrate",
    "decision_accuracy",
    "information",
    "joint_law",
    "ladder",
    "measure",
    "pass_at_k",
    "read",
    "replay",
    "samples_for_width",
    "sampling_law",
    "total_variation",
    "training_flops",
]


def __getattr__(name: str) -> Any:
    if name == "ladder":
        return import_module("irsl.ladder")
    if name not in _HOME:
        raise AttributeError(f"module 'irsl' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
