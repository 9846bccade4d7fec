"""What was observed: the long table, kinds of outcome, the coded matrix, identity of items and subjects."""

from irsl.responses.matrix import ResponseMatrix
from irsl.responses.report import ReadReport
from irsl.responses.table import Responses

__all__ = ["ReadReport", "ResponseMatrix", "Responses"]
