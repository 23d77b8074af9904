"""The comparison end to end at a toy size: every method, its accounting, and what a kill leaves behind."""

import shutil

import numpy as np
import pytest

from mtjax.data.sources.arithmetic import Arithmetic
from mtjax.errors import InputError
from mtjax.experiments.config import METHODS, Comparison
from mtjax.experiments.experiment import file_name
from mtjax.experiments.runner import best_rate
from mtjax.experiments.stages import Stages
from tests.experiments.tiny import EASY, SETUP, findings, report


def tiny(folder, **changes):
    settings = {
        "mine_source": Arithmetic(count=24, seed=1, **EASY),
        "validation_source": Arithmetic(count=8, seed=4, **EASY),
        "rates": (1e-3,),
        "tune_samples": 2,
        "looks": 2,
        "dco_n": 4,
        "seeds": (0,),
        "output": str(folder),
    }
    return Comparison(**(SETUP | settings | changes))


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    found = findings("compare", tiny(tmp_path_factory.mktemp("comparison") / "whole"))
    return found, *report(found)


@pytest.mark.slow
def test_every_method_runs_at_equal_cost(done):
    made, page, found = done
    outcome = made.outcome
    assert tuple(outcome.arms.trained) == METHODS == tuple(found["methods"])
    equal = 4 * 16 * 96  # updates, rows, positions of a row; a pair has two of the 16 rows
    for name, records in outcome.arms.trained.items():
        assert len(records) == 1
        for record in records:
            reference = equal if name in ("DPO + NLL", "RISE") else 0
            assert record.cost["positions"] == equal
            assert record.cost["reference_positions"] == reference
            assert record.cost["updates"] == len(record.losses) == 4
            assert 0 < record.cost["right_tokens"] <= record.cost["target_tokens"]
            assert list(record.curve) == [2, 4]
            # The last point of the curve is what was measured at the end.
            np.testing.assert_array_equal(record.curve[4], record.measured.right.sum(axis=1))
    assert all(record.behind_wrong is not None for record in outcome.arms["mistake tuning"])
    assert outcome.arms["right only"][0].cost["target_tokens"] == outcome.arms["right only"][0].cost["right_tokens"]
    assert outcome.injected.pairs > 0


@pytest.mark.slow
def test_the_results_hold_what_the_page_says(done):
    _, page, found = done
    assert found["rates"].keys() == found["tuning"].keys() == set(METHODS)
    for name, own in found["tuning"].items():
        assert own[f"{found['rates'][name]:g}"] == max(own.values())
    assert found["less_right_only"]["1"].keys() == set(METHODS) - {"right only"}
    for name in METHODS:
        first = found["arms"][name]["1"][0]
        np.testing.assert_allclose(first[0], np.mean(found["seeds"][name]["pass@1"]))
        np.testing.assert_allclose(found["over_training"][name]["1"]["4"], first[0])
        np.testing.assert_allclose(found["over_training"][name]["1"]["0"], found["arms"]["start"]["1"][0][0])
    assert found["sampling"]["solutions"] == 24 * 8
    assert found["calibration"].keys() == {"start", *METHODS}
    text = page.read_text()
    for words in (*METHODS, "What it cost", "Learning rates", "Which claims hold"):
        assert words in text
    assert text.count("<img") == 5  # arms, coverage, over training, calibration, prefix
    for claim in found["claims"]:
        low, high = claim["interval"][1:3]
        assert claim["shown"] == ("yes" if low > 0 else "the opposite" if high < 0 else "no significant difference")
    assert len(found["claims"]) == 10
    markdown = (page.parent / "report.md").read_text()
    for name in ("arms", "coverage", "over_training", "calibration", "prefix"):
        assert f"(pictures/comparison/{name}.png)" in markdown
        assert (page.parent / f"{name}.png").exists()
    assert "http://" not in text.replace("http://www.w3.org", "")


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_the_same(done, tmp_path):
    made, _, found = done
    settings = made.c
    folder = tmp_path / "resumed"
    shutil.copytree(settings.output, folder)
    # As after a kill: some parts are there, one is half written, the others and the report are not.
    for name in METHODS[2:]:
        for part in folder.glob(f"arms/{file_name(name, made.e.methods[name])}-*"):
            part.unlink()
    shutil.rmtree(folder / "start-0")
    (folder / "mined.json").unlink()
    (folder / "results.json").unlink()
    (folder / "arms" / "dco-0.001-seed0.json.writing").write_text('{"curve"')
    _, again = report(findings("compare", tiny(folder)))
    again["settings"]["output"] = found["settings"]["output"]
    assert again == found


@pytest.mark.slow
def test_a_finished_run_is_read_not_repeated(done, monkeypatch):
    made, page, _ = done
    before, text = (page.parent / "results.json").read_bytes(), page.read_bytes()
    monkeypatch.setattr(Stages, "train", lambda *_, **__: pytest.fail("trained again"))
    report(findings("compare", made.c))
    assert (page.parent / "results.json").read_bytes() == before
    assert page.read_bytes() == text


@pytest.mark.slow
def test_other_settings_are_refused_in_the_same_folder(done):
    made, _, _ = done
    with pytest.raises(InputError, match="other settings .beta."):
        findings("compare", tiny(made.c.output, beta=0.1))


def test_the_best_rate_is_the_lowest_of_equal_ones():
    assert best_rate({3e-3: 0.5, 1e-3: 0.5, 1e-4: 0.4}) == 1e-3
    assert best_rate({1e-4: 0.1}) == 1e-4


def test_impossible_settings_are_refused(tmp_path):
    with pytest.raises(InputError, match="there is no method 'mistake tunning'; did you mean 'mistake tuning'"):
        findings("compare", tiny(tmp_path / "a", methods=("right only", "mistake tunning")))
    with pytest.raises(InputError, match="right only"):
        tiny(tmp_path, methods=("DCO",))
    with pytest.raises(InputError, match="tune_seed"):
        tiny(tmp_path, tune_seed=0)
    with pytest.raises(InputError, match="batch_size"):
        tiny(tmp_path, batch_size=15)
    with pytest.raises(InputError, match="looks"):
        tiny(tmp_path, looks=9)
