"""The command line. Commands import what they use when they run, so that --help is instant."""

from irsl.cli.app import main

__all__ = ["main"]
