"""The comparison's arithmetic by hand: calibration, transitions, counted targets, and the words for intervals."""

import numpy as np
import pytest

from mtjax.data.sources.arithmetic import Arithmetic
from mtjax.errors import InputError
from mtjax.evaluation.metrics.calibration import calibration_error, reliability
from mtjax.experiments.arms import count_targets, look_steps
from mtjax.experiments.config import Setup
from mtjax.experiments.experiment import PLAIN, Experiment, Method
from mtjax.experiments.findings import Arms, Claim, coverage_verdict, prefix_text
from mtjax.experiments.report import errors_of, labels
from mtjax.experiments.results import Measured, Record, ResultsFolder
from mtjax.objectives.nll import Nll
from mtjax.reporting.intervals import Interval
from mtjax.types import Batch

ABOVE, BELOW, UNCLEAR = Interval(0.2, 0.1, 0.3, 0.95), Interval(-0.2, -0.3, -0.1, 0.95), Interval(0, -0.1, 0.1, 0.95)


def measured(right, kinds=None, greedy_kinds=None, confidence=None):
    right = np.array(right, bool)
    count = len(right)
    kinds = kinds or [["right" if good else "carry" for good in own] for own in right]
    greedy_kinds = greedy_kinds or ["right"] * count
    return Measured(
        right,
        [["1" if good else "2" for good in own] for own in right],
        kinds,
        np.array([kind == "right" for kind in greedy_kinds]),
        greedy_kinds,
        np.array(confidence if confidence is not None else [0.5] * count),
    )


def test_reliability_and_its_error():
    # (0, .5]: .2 and .4, one right: confidence .3, accuracy .5; (.5, 1]: .9 and 1, both right: confidence .95.
    bins = reliability([0.2, 0.9, 0.4, 1.0], [True, True, False, True], bins=2)
    np.testing.assert_allclose([(b.size, b.confidence, b.accuracy) for b in bins], [(2, 0.3, 0.5), (2, 0.95, 1.0)])
    assert calibration_error(bins) == pytest.approx((2 * 0.2 + 2 * 0.05) / 4)
    # An edge belongs to the bin below; 0 to the first; empty bins are left out.
    assert [(b.low, b.size) for b in reliability([0.0, 0.5, 0.5], [True] * 3, bins=4)] == [(0.0, 1), (0.25, 2)]
    with pytest.raises(InputError, match="2 confidences and 1 verdicts"):
        reliability([0.1, 0.2], [True])


def test_errors_that_went_away_and_appeared():
    start = measured([[1, 0]] * 2, greedy_kinds=["carry", "right"])
    one = measured([[1, 0]] * 2, greedy_kinds=["right", "carry"])
    two = measured([[1, 1]] * 2, greedy_kinds=["right", "right"])
    assert labels("ab", [one, two]) == {
        "a": ["right", "carry", "right", "right"],
        "b": ["right", "carry", "right", "right"],
    }
    assert labels("ab", [one, two], greedy=True) == {"a": ["right", "right"], "b": ["carry", "right"]}
    (changes, moves), numbers = errors_of({"start": [start], "arm": [one, two]}, "ab")
    # Share of sampled carries: 1/2 at the start, 1/4 after, in each problem alike.
    assert numbers["arm"]["change"]["carry"] == pytest.approx((-0.25, -0.25, -0.25, 0.95))
    # Greedy: problem a had a carry and has none in either seed (1/2 of all went); b has one in one of two (1/4 came).
    assert numbers["arm"]["greedy"] == {"kinds": ("right", "carry"), "table": [[0.25, 0.25], [0.5, 0.0]]}
    assert changes.rows[0] == ["start", 0.5, 0.5]
    assert moves.rows == [["arm", "-0.250 +0.500", "-0.500 +0.250"]]


def test_targets_are_counted_by_polarity():
    # Two examples of 2 and 1 targets, the second wrong; padding (segment 0) does not count whatever its weight.
    single = Batch(
        np.zeros((1, 6), np.int32),
        np.array([[0, 1, 1, 0, 0.5, 9.0]], np.float32),
        np.array([[1, 1, 1, 2, 2, 0]], np.int32),
        {"segment_polarity": np.array([[1.0, 0.0]], np.float32)},
    )
    assert count_targets(single) == (2.5, 2.0)
    pair = Batch(*(np.stack([x, x], axis=1) for x in single[:3]), {"segment_polarity": np.array([[[1, 1], [0, 0]]])})
    assert count_targets(pair) == (5.0, 2.5)


def test_looks_are_spread_and_end_at_the_end():
    assert look_steps(10, 4) == [2, 5, 7, 10]
    assert look_steps(3, 3) == [1, 2, 3]
    assert look_steps(5, 1) == [5]


def test_words_follow_the_interval():
    shown = [Claim("Says", "measure", x).shown for x in (ABOVE, BELOW, UNCLEAR)]
    assert shown == ["yes", "the opposite", "no significant difference"]
    assert prefix_text("mistake tuning", ABOVE).startswith("Mistake tuning learned to")
    assert "did not learn to" in prefix_text("mistake tuning", UNCLEAR)


def test_gains_are_paired():
    ours, theirs = (Record.of_start(measured(right)) for right in ([[1, 1], [1, 0]], [[1, 0], [0, 0]]))
    arms = Arms({"start": [theirs], "ours": [ours]})
    # pass@1: (1, 1/2) against (1/2, 0): each problem gains 1/2, so the interval has no width.
    assert arms.gain("ours", "start", 1) == pytest.approx((0.5, 0.5, 0.5, 0.95))
    np.testing.assert_allclose(arms.passes("ours", 2), [[1, 1]])
    np.testing.assert_allclose(arms.passes("ours", 1, step=0), [[0.5, 0]])


def curves(size, samples, start, entropy, dco):
    """Groups of `size` problems: how many of so many samples are right at the start, and at both ends."""
    record = lambda step, right: [Record({step: np.repeat(right, size).tolist()}, samples, None, None, [], {}, {})]
    return Arms({"start": record(0, start), "cross-entropy": record(5, entropy), "DCO, N = 4": record(5, dco)})


def test_the_report_says_whether_the_phenomenon_appeared():
    # Start 1 of 2 everywhere: pass@1 .5, pass@2 1. Cross-entropy 2 and 0: pass@1 .5, pass@2 .5.
    fell = curves(20, 2, (1, 1), (2, 0), (1, 1))
    assert fell.gain("cross-entropy", "start", 2).mean == pytest.approx(-0.5)
    assert "pass@1 did not change significantly" in coverage_verdict(fell, 2)
    assert "pass@2 fell" in coverage_verdict(fell, 2)
    assert "did not appear" in coverage_verdict(fell, 2)
    # Start 1 and 0 (pass@1 .25, pass@2 .5); cross-entropy 2 and 0: .5 and .5, which rose at pass@1 alone.
    rose = coverage_verdict(curves(20, 2, (1, 0), (2, 0), (1, 0)), 2)
    assert "pass@1 rose" in rose
    assert "did not appear" in rose


def test_the_report_says_what_dco_kept():
    # Start 1, 1, 1: pass@1 1/4, pass@4 1. Cross-entropy 4, 4, 0: 2/3 and 2/3. DCO 2, 2, 1 keeps pass@4 at 1.
    kept = coverage_verdict(curves(40, 4, [1, 1, 1], [4, 4, 0], [2, 2, 1]), 4)
    assert "the phenomenon appeared" in kept
    assert "DCO kept the coverage" in kept
    assert "below cross-entropy at pass@1" in kept
    # DCO as cross-entropy: nothing kept.
    lost = coverage_verdict(curves(40, 4, [1, 1, 1], [4, 4, 0], [4, 4, 0]), 4)
    assert "level with cross-entropy at pass@4" in lost
    assert "DCO did not keep the coverage" in lost


def test_a_measurement_survives_its_file(tmp_path):
    one = Record.of_start(measured([[1, 0], [0, 0]], confidence=[0.1, 1 / 3]))
    kept = ResultsFolder(Setup(output=str(tmp_path)), ())
    again = kept.part("arms/one", Record, lambda: one)
    assert again.curve == one.curve
    assert again.behind_wrong is None
    for name, value in vars(one.end).items():
        np.testing.assert_array_equal(vars(again.end)[name], value)


def test_results_of_a_changed_method_are_refused(tmp_path):
    settings = Setup(output=str(tmp_path / "results"))
    ResultsFolder(settings, (), {"a": "nll()"})
    ResultsFolder(settings, (), {"a": "nll()", "b": "dpo(beta=0.1)"})  # one more method is welcome
    with pytest.raises(InputError, match="holds results of other settings .method 'b'."):
        ResultsFolder(settings, (), {"b": "dpo(beta=0.2)"})


def test_a_folder_of_before_methods_were_kept_is_read(tmp_path):
    settings = Setup(output=str(tmp_path / "results"))
    ResultsFolder(settings, ())
    ResultsFolder(settings, (), {"a": "nll()"})
    with pytest.raises(InputError, match="method 'a'"):
        ResultsFolder(settings, (), {"a": "kto()"})


def an_experiment(**methods):
    return Experiment(
        title="t", pictures="p", methods=methods, train_on=Arithmetic(count=4), sections=("arms",), texts={}
    )


def test_methods_that_share_files_or_wait_for_a_later_one_are_refused():
    one, same = Method(PLAIN, Nll(), file="x"), Method(PLAIN, Nll(), file="x")
    with pytest.raises(InputError, match="methods 'a' and 'b' share the file name 'x'"):
        an_experiment(a=one, b=same)
    with pytest.raises(InputError, match="right_tokens_of='b' of 'a': expected a method before it"):
        an_experiment(a=Method(PLAIN, Nll(), right_tokens_of="b"), b=Method(PLAIN, Nll()))
