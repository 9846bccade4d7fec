"""The names that others rely on (docs/mathematics.md and README use them): each resolves, lazily, and is listed."""

import inspect

import pytest

import irsl

PROMISED = {
    "read", "Responses", "calibrate", "ItemBank", "measure", "compare", "information", "AdaptiveSession", "replay",
    "pass_at_k", "total_variation", "decision_accuracy", "training_flops",
}  # fmt: skip
THERE = {
    "read", "Responses", "calibrate", "Calibration", "ItemBank", "measure", "information", "DataError", "ladder",
    "replay", "decision_accuracy", "total_variation", "training_flops",
}  # fmt: skip
SUPPORTED = sorted(PROMISED & set(irsl.__all__))


@pytest.mark.parametrize("name", irsl.__all__)
def test_every_public_name_resolves(name):
    thing = getattr(irsl, name)
    assert thing is getattr(irsl, name)
    if name != "__version__":
        assert inspect.getdoc(thing)


def test_what_was_public_stays_public():
    assert set(irsl.__all__) >= THERE
    assert irsl.__all__ == sorted(irsl.__all__)
    assert dir(irsl) == sorted(irsl.__all__)


@pytest.mark.parametrize("name", [name for name in SUPPORTED if inspect.isfunction(getattr(irsl, name))])
def test_arguments_after_the_second_are_keyword_only(name):
    """Design: keyword-only after the second argument, save pass_at_k."""
    if name == "pass_at_k":
        return
    kinds = [p.kind for p in inspect.signature(getattr(irsl, name)).parameters.values()]
    assert all(kind is inspect.Parameter.KEYWORD_ONLY for kind in kinds[2:])


@pytest.mark.parametrize(
    ("owner", "name", "arguments"),
    [
        ("", "read", "path kind"),
        ("", "calibrate", "responses model likelihood scale item_prior"),
        ("", "measure", "responses bank estimator level"),
        ("", "information", "ability bank likelihood"),
        ("Responses", "from_frames", "responses items subjects kind"),
        ("Responses", "from_matrix", "values subjects items n_samples benchmark kind"),
        ("Responses", "select", "outcome benchmark condition subjects"),
        ("Responses", "save", "folder"),
        ("ItemBank", "load", "path"),
        ("ItemBank", "save", "path"),
        ("ItemBank", "short_form", "n"),
    ],
)
def test_arguments_keep_their_names(owner, name, arguments):
    function = getattr(getattr(irsl, owner) if owner else irsl, name)
    assert set(inspect.signature(function).parameters) >= set(arguments.split())


def test_defaults_that_are_promised():
    def default(function, name):
        return inspect.signature(function).parameters[name].default

    assert [default(irsl.calibrate, n) for n in ("model", "likelihood", "scale", "item_prior")] == [
        "2pl", "auto", "benchmark", "empirical",
    ]  # fmt: skip
    assert default(irsl.measure, "estimator") == "eap"
    assert default(irsl.measure, "level") == 0.9


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'irsl' has no attribute 'callibrate'"):
        _ = irsl.callibrate
    assert not hasattr(irsl, "callibrate")
