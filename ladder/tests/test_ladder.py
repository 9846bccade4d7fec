"""Quick checks of the ladder's parts; they need torch and are not part of the project's own tests."""

from __future__ import annotations

import random

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ladder.analysis import pairs_ordered_differently  # noqa: E402
from ladder.items import _two_errors  # noqa: E402
from ladder.model import Architecture, KeyValueCache, LanguageModel  # noqa: E402
from ladder.numpy_subject import log_probabilities  # noqa: E402
from ladder.tokenizer import Tokenizer  # noqa: E402
from ladder.train import checkpoint_steps  # noqa: E402
from ladder.world import Settings, World, _value, held_out  # noqa: E402

from ladder import config, results, store  # noqa: E402

SMALL = Architecture(vocabulary=512, d_model=24, n_layers=2, n_heads=2, context=80)


def test_numpy_and_torch_agree():
    torch.manual_seed(0)
    network = LanguageModel(SMALL)
    arrays = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    tokens = [0, 5, 17, 100, 300, 4]
    with torch.no_grad():
        expected = torch.log_softmax(network.logits(network(torch.tensor([tokens]))), -1)[0].numpy()
    np.testing.assert_allclose(log_probabilities(arrays, SMALL, tokens), expected, atol=1e-4)


def test_cached_reading_equals_reading_at_once():
    torch.manual_seed(0)
    network, tokens = LanguageModel(SMALL), torch.randint(0, 512, (1, 12))
    caches = [KeyValueCache() for _ in network.blocks]
    with torch.no_grad():
        network(tokens[:, :8], caches=caches)
        later = [network(tokens[:, t : t + 1], position=t, caches=caches) for t in range(8, 12)]
        np.testing.assert_allclose(torch.cat(later, 1).numpy(), network(tokens)[:, 8:].numpy(), atol=1e-5)


@pytest.mark.parametrize("kind", ["arithmetic", "patterns", "recall", "agreement"])
def test_training_never_shows_a_held_out_prompt(kind):
    world, rng = World(), random.Random(0)
    draws = [world._draws[kind](rng, Settings()) for _ in range(300)]
    forbidden = {" ".join(d.prompt) for d in draws if held_out(d.prompt) and not d.exempt}
    assert forbidden
    rng = random.Random(0)
    shown = [" ".join(world.training_document(kind, rng, Settings())) for _ in range(300)]
    assert not [text for text in shown for prompt in forbidden if text.startswith(prompt + " ")]


def test_arithmetic_is_right():
    assert _value([4, "+", 5, "-", 6, "+", 7]) == 10
    assert _value([12, "*", 5]) == 60


def test_each_of_four_options_stands_in_the_same_relation_to_the_others():
    rng = random.Random(1)
    right = list("ABCDEFGH")
    wrong = _two_errors(right, lambda: {rng.randrange(8): "Z"})
    distance = lambda x, y: sum(a != b for a, b in zip(x, y, strict=True))  # noqa: E731
    options = [right, *wrong]
    assert {tuple(sorted(distance(x, y) for y in options)) for x in options} == {(0, 1, 1, 2)}


def test_merges_spell_the_word():
    tokenizer = Tokenizer.load()
    parts = tokenizer._merge("wilderness")
    assert "".join(parts) == "_wilderness"
    assert len(tokenizer) == 512


def test_queue_holds_every_run_once():
    queue = [run.name for run in config.load().queue]
    assert len(queue) == len(set(queue)) == 12 * 5 + 12 * 2


def test_checkpoints_end_at_the_last_step():
    steps = checkpoint_steps(config.load().training, 1562)
    assert len(steps) == 12
    assert steps[-1] == 1562


def test_rankings():
    assert pairs_ordered_differently([1, 2, 3], [1, 2, 3]) == 0
    assert pairs_ordered_differently([1, 2, 3], [3, 2, 1]) == 1
    assert pairs_ordered_differently([1, 1], [1, 2]) == 0.5


def test_rounding_counts_what_is_out_of_range():
    log_p = np.array([[[-1.0, -2.004, -3.0, -4.0], [-1.0, -400.0, -2.0, -3.0]]])
    found = results.influence(log_p, np.array([0, 0]), 0.01)
    assert found["values_below_range"] == 1
    assert found["acc_changed"] == 0
    assert found["largest_p_choices_change"] < 0.002


def test_work_is_claimed_once_and_freed_by_death(tmp_path):
    mark = tmp_path / "claims" / "run"
    assert store.claim(mark)
    assert not store.claim(mark)
    mark.write_text("999999999")  # no process has this number
    assert store.claim(mark)


def test_arrays_are_stored_without_pickle(tmp_path):
    store.write_arrays(tmp_path / "a.npz", {"x": np.arange(3)})
    np.testing.assert_array_equal(store.read_arrays(tmp_path / "a.npz")["x"], np.arange(3))
    np.savez(tmp_path / "b.npz", x=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle"):
        store.read_arrays(tmp_path / "b.npz")
