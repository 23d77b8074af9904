"""Which measurement is the best, when a run ends early, and what is refused."""

import pytest

from mtjax.errors import InputError
from mtjax.training.early_stopping import BestSoFar, EarlyStopping, measured

KNOWN = ["held_out_loss", "held_out/reward_accuracy", "held_out/z0", "coverage/pass@1"]


def run_through(settings, values, name="held_out_loss"):
    """Steps that were the best so far, and the step after which the run ends."""
    so_far, best = BestSoFar(settings), []
    for step, value in enumerate(values):
        best += [step] if so_far.see(step, {name: value}) else []
        if so_far.ended:
            return best, step, so_far
    return best, None, so_far


def test_a_run_ends_after_so_many_measurements_without_an_improvement():
    best, ended, so_far = run_through(EarlyStopping(patience=2), [3.0, 2.0, 2.5, 1.5, 1.5, 1.6, 0.1])
    assert (best, ended, so_far.best) == ([1, 3], 5, (3, 1.5))
    assert so_far.ended == "held_out_loss has not improved in 2 measurements since 1.5 at step 3"
    # The start counts for the patience and is never the best checkpoint.
    assert run_through(EarlyStopping(patience=2), [1.0, 3.0, 2.0, 2.5])[:2] == ([1, 2], 2)
    assert run_through(EarlyStopping(patience=2, least_change=0.5), [3.0, 2.0, 1.7, 1.6, 1.4])[:2] == ([1, 2, 3], 3)
    assert run_through(None, [3.0, 2.0, 2.5, 2.5, 2.5, 2.5, 1.0])[:2] == ([1, 6], None)


def test_accuracy_improves_upwards_and_what_is_not_a_number_is_no_improvement():
    settings = EarlyStopping("held_out/reward_accuracy", patience=2)
    assert run_through(settings, [0.5, 0.6, 0.8, 0.7, float("nan"), 0.9], settings.metric)[:2] == ([1, 2], 4)
    turned = EarlyStopping("held_out/z0", patience=1, goal="lower")
    assert run_through(turned, [0.5, 0.4, 0.6], turned.metric)[:2] == ([1], 2)


def test_a_resumed_run_decides_as_one_that_was_never_stopped():
    settings, values = EarlyStopping(patience=3), [3.0, 2.0, 2.5, 2.6, 2.7]
    lines = [{"step": step, "held_out_loss": value} for step, value in enumerate(values)] + [{"step": 9, "loss": 1.0}]
    for cut in range(6):
        so_far = BestSoFar(settings, measured(lines[:cut], settings.metric))
        for line in lines[cut:]:
            so_far.see(line["step"], line)
        assert (so_far.best, so_far.waited, bool(so_far.ended)) == ((1, 2.0), 3, True)


@pytest.mark.parametrize(
    ("settings", "known", "says"),
    [
        ({}, [], "set held_out or coverage"),
        ({"metric": "reward_accuracy"}, KNOWN, "did you mean 'held_out/reward_accuracy'"),
        ({"metric": "held_out/z0"}, KNOWN, "--early_stopping.goal=lower or higher"),
    ],
)
def test_a_metric_that_cannot_be_watched_is_refused(settings, known, says):
    with pytest.raises(InputError, match=says):
        EarlyStopping(**settings).check(known)
    EarlyStopping("held_out/z0", goal="higher").check(KNOWN)
    with pytest.raises(InputError, match="nothing in the held-out data has it"):
        BestSoFar(EarlyStopping()).see(0, {"coverage/pass@1": 1.0})
