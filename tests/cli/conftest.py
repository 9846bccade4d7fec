"""Running the command line as a user does."""

import sys
import warnings

import pytest

from irsl.cli import main


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Run `irsl ...` in an empty folder: exit status, standard output and error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["irsl", *map(str, arguments)])
        with warnings.catch_warnings():  # also puts back the showwarning that main replaces
            warnings.simplefilter("default")
            try:
                main()
                status = 0
            except SystemExit as stop:
                status = stop.code or 0
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call
