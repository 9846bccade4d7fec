"""Items from responses: the engine, priors, uncertainty, and the item bank."""

from irsl.calibration.bank import ItemBank, Scale
from irsl.calibration.calibrate import Calibration, calibrate
from irsl.calibration.parameters import ItemParameters

__all__ = ["Calibration", "ItemBank", "ItemParameters", "Scale", "calibrate"]
