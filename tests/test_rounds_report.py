"""The report of rounds, its comparison and its live view, from a folder that is written by hand."""

import json

import pytest

from mtjax import rounds
from mtjax.errors import ExitCode, InputError
from mtjax.runs.rounds import report

QUESTIONS = ["2 + 3 =", "4 + 4 =", "1 + 1 ="]
RIGHT = ["Step 1: 2 + 3 = 5\nAnswer: 5", "Step 1: 4 + 4 = 8\nAnswer: 8", "Step 1: 1 + 1 = 2\nAnswer: 2"]
WRONG = ["Step 1: 2 + 3 = 6\nAnswer: 6", "Step 1: 4 + 4 = 9\nAnswer: 9", "Step 1: 1 + 1 = 3\nAnswer: 3"]


def written(folder, start, end, ended=True):
    """A run of two rounds, measured at its start and its end: how many of four answers of each problem are right."""
    (folder / "measured").mkdir(parents=True)
    lines = []
    for number, counts in ((0, start), (1, None), (2, end)):
        line = {"round": number, "updates": 3 * number, "total_tokens": 100 * number}
        if number:
            trained = {"updates": 3, "tokens": 60.0, "examples": 5, "means": {"loss": 0.5}}
            line |= {"right": 3, "wrong": 1, "mixed": 2, "samples": 4, "sampled_tokens": 40, "trained": trained}
        if counts is not None:
            line["measured"] = {"pass@1": sum(counts) / 12, "pass@4": sum(c > 0 for c in counts) / 3}
            answers = [
                {
                    "id": f"p{place}", "question": question, "texts": [RIGHT[place]] * c + [WRONG[place]] * (4 - c),
                    "verdicts": ["right"] * c + ["wrong"] * (4 - c),
                }
                for place, (question, c) in enumerate(zip(QUESTIONS, counts, strict=True))
            ]  # fmt: skip
            text = "".join(json.dumps(answer) + "\n" for answer in answers)
            (folder / "measured" / f"{number:04}.jsonl").write_text(text)
        lines.append(line)
    (folder / "rounds.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if ended:
        (folder / "rounds.json").write_text(json.dumps({"round": 2, "why": "enough", "best": 2}))
    return str(folder)


def test_the_report_says_what_rose_what_flipped_and_what_it_cost(tmp_path, monkeypatch):
    monkeypatch.setattr("mtjax.reporting.plots.WIDTHS", (9.0,))
    page = report.write(written(tmp_path / "run", (0, 4, 2), (4, 0, 2)))
    text = (tmp_path / "run" / "report.md").read_text()
    assert page.is_file()
    assert "2 rounds, 6 updates, 200 tokens sampled and trained. pass@1 went from 0.500 to 0.500" in text
    assert "pass@4 went from 0.667 to 0.667" in text
    assert "The run ended early: enough." in text
    learnt, lost = text.split("## What it learnt")[1].split("## What it lost")
    assert "2 + 3 =" in learnt.replace("\\", "")
    assert WRONG[0] in learnt  # before
    assert RIGHT[0] in learnt  # and after
    assert RIGHT[1] in lost
    assert "1 + 1 =" not in learnt.replace("\\", "") + lost.replace("\\", "")


def test_seeds_are_compared_as_one_and_other_problems_are_refused(tmp_path):
    folders = [written(tmp_path / f"a-{n}", (0, 4, 2), (4, 4, n)) for n in (1, 3)]
    folders.append(written(tmp_path / "b", (0, 4, 2), (0, 4, 2)))
    start, a, b = report.compared(folders).rows
    assert (start[0], a[:3], b[:3]) == ("start", ["a", 2, 2], ["b", 1, 2])
    assert [start[3].mean, a[3].mean, a[4].mean] == [0.5, pytest.approx((4 + 4 + 2) / 12), pytest.approx(4 / 12)]
    assert b[4].mean == 0
    assert a[-2:] == [80, 120]
    other = tmp_path / "other"
    written(other, (1, 1, 1), (1, 1, 1))
    file = other / "measured" / "0000.jsonl"
    file.write_text(file.read_text().replace('"p0"', '"q0"'))
    with pytest.raises(InputError, match="other was measured on other problems"):
        report.compared([folders[0], str(other)])
    with pytest.raises(InputError, match="has no rounds.jsonl"):
        report.compared([str(tmp_path)])


def test_a_run_is_watched_until_it_ends(tmp_path, capsys, monkeypatch):
    folder = written(tmp_path / "run", (0, 4, 2), (4, 4, 2), ended=False)
    waited = []

    def sleep(seconds):
        waited.append(seconds)
        (tmp_path / "run" / "rounds.json").write_text(json.dumps({"round": 2, "why": ""}))

    monkeypatch.setattr("mtjax.rounds.time.sleep", sleep)
    assert rounds.main(["--watch", folder]) == ExitCode.DONE
    said = capsys.readouterr().out
    assert len(waited) == 1
    assert "run: going on after round 2" in said
    assert "run: ended after round 2" in said


def test_wrong_words_are_answered(tmp_path, capsys):
    for words, message in (
        (["--watch"], "--watch: expected one run folder"),
        (["--compare"], "--compare: expected run folders"),
        (["configs/tiny.py"], "defines no `rounds = Rounds(...)`"),
        (["configs/rounds_grpo.py", "curation:pears"], "pairs"),
    ):
        assert rounds.main(words) == ExitCode.BAD_INPUT
        assert message in capsys.readouterr().err
