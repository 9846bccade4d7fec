"""Which items next: selection, and its replay on stored responses."""

from irsl.adaptive.replay import replay

__all__ = ["replay"]
