"""Subjects from items: abilities and benchmark accuracies with intervals."""

from irsl.ability.information import information
from irsl.ability.measure import measure

__all__ = ["information", "measure"]
