"""`python -m mtjax.audit`: files with planted truth, mined solutions, mistake records, configs, and every misuse."""

import json
import pathlib

import numpy as np
import pytest

from mtjax import audit, score, train
from mtjax.data.mistake_record import Mistake, to_lines
from mtjax.data.selection.unflagged import Unflagged
from mtjax.data.sources import Jsonl
from mtjax.errors import ExitCode
from mtjax.runs.audit import score_of

TINY = str(pathlib.Path(__file__).parent.parent / "configs" / "tiny.py")


def write(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(path)


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def run(*words):
    return audit.main([str(word) for word in words])


@pytest.fixture
def planted(tmp_path):
    """Thirty questions, of which one stands twice and two have wrong right answers, with the truth in a field."""
    records = []
    for n in range(30):
        a, b = n + 2, 3 * n + 1
        text = f"A baker number {n} sells {a} loaves in the morning and {b} in the evening, how many loaves is that?"
        wrong = n in (4, 17)
        right = f"{a} + {b} = {a + b}\n#### {a + b + wrong}"
        truth = ["right/0"] if wrong else False
        records.append({"id": f"q{n}", "question": text, "answer": str(a + b), "right": [right], "planted": truth})
    copy = records[3] | {"id": "copy", "question": records[3]["question"].upper(), "planted": "duplicates"}
    return write(tmp_path / "data.jsonl", [*records, copy])


def test_planted_truth_a_filtered_copy_and_the_same_bytes_again(planted, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(planted, "--truth=planted", f"--output={out}") == ExitCode.DONE
    said = capsys.readouterr().out
    assert "31 problems" in said
    flags = lines(out / "flags.jsonl")
    assert {(flag["check"], flag["id"], flag["part"], flag["fix"]) for flag in flags} == {
        ("answers", "q4", "right/0", "flip"), ("answers", "q17", "right/0", "flip"), ("duplicates", "copy", "", "drop"),
    }  # fmt: skip
    report = (out / "report.md").read_text()
    rows = {
        row.split("|")[1].strip(): [cell.strip() for cell in row.split("|")[2:-1]]
        for row in report.splitlines()
        if "|" in row
    }
    assert rows["answers"] == ["2", "2", "2", "2", "2", "1.000 [1.000, 1.000]", "1.000"]
    assert rows["duplicates"] == ["1", "1", "1", "1", "1", "1.000 [1.000, 1.000]", "1.000"]
    assert "--against" in report  # contamination is skipped, and says why
    assert "<html" in (out / "report.html").read_text()
    clean = lines(out / "clean.jsonl")
    assert len(clean) == 28  # the two are left without a solution
    assert not {"copy", "q4", "q17"} & {record["id"] for record in clean}
    again = tmp_path / "again"
    assert run(planted, "--truth=planted", f"--output={again}") == ExitCode.DONE
    for name in ("flags.jsonl", "report.md", "report.html", "clean.jsonl"):
        assert (again / name).read_bytes() == (out / name).read_bytes(), name
    kept = Unflagged(str(out / "flags.jsonl"), checks=("duplicates",))
    problems = Jsonl(planted, columns=("id", "question", "answer", "right")).problems().items
    assert len(kept(problems, 0).items) == 30


def test_dropped_records_leave_the_others_byte_for_byte_and_a_control_of_the_same_size(planted, tmp_path):
    out = tmp_path / "out"
    columns = ["--columns", "id", "question", "answer", "right"]
    assert run(planted, *columns, "--checks", "duplicates", "--control=True", f"--output={out}") == ExitCode.DONE
    original = pathlib.Path(planted).read_text().splitlines()
    assert (out / "clean.jsonl").read_text().splitlines() == original[:-1]
    assert len(lines(out / "control.jsonl")) == 30


def test_flip_moves_texts_to_the_other_side(planted, tmp_path):
    out = tmp_path / "out"
    assert run(planted, "--truth=planted", "--fix=flip", "--checks", "answers", f"--output={out}") == ExitCode.DONE
    by_id = {problem.id: problem for problem in Jsonl(str(out / "clean.jsonl")).problems().items}
    assert len(by_id) == 31
    assert by_id["q4"].right == ()
    assert by_id["q4"].wrong == ("6 + 13 = 19\n#### 20",)
    assert by_id["q5"].right == ("7 + 16 = 23\n#### 23",)


def test_truth_and_dates_in_files_and_judgements_made_elsewhere(tmp_path, capsys):
    mined = [
        {"schema": 1, "number": n, "id": f"p{n}", "question": f"q {n}", "answer": "1", "solutions": [
            {"text": f"so it is a{n}, say", "verdict": "right"}, {"text": f"so it is b{n}, say", "verdict": "wrong"}]}
        for n in range(24)
    ]  # fmt: skip
    folder = tmp_path / "mined"
    folder.mkdir()
    write(folder / "solutions.jsonl", mined)
    write(folder / "mistakes.jsonl", [{"not": "read"}])
    dates = write(tmp_path / "dates.jsonl", [{"id": f"p{n}", "date": f"2024-{n % 4 + 1:02d}-01"} for n in range(24)])
    truth = write(tmp_path / "truth.jsonl", [{"id": "p7", "truth": ["wrong/0"]}, {"id": "p8", "truth": True}])
    sure = lambda yes: {"right": float(yes), "wrong": float(not yes)}
    said = [
        {"id": f"p{n}", "part": f"{side}/0", "p": sure((side == "right") != (n == 7))}
        for n in range(24)
        for side in ("right", "wrong")
    ]
    judgements = write(tmp_path / "said.jsonl", said)
    out = tmp_path / "out"
    given = [f"--truth={truth}", f"--dates={dates}", f"--judgements={judgements}", f"--output={out}"]
    assert run(folder, *given, "--checks", "judges", "time_split") == ExitCode.DONE
    report = (out / "report.md").read_text()
    assert "| 2024-03 |" in report
    flags = lines(out / "flags.jsonl")
    assert [(flag["id"], flag["part"], flag["to"]) for flag in flags] == [
        ("p7", "right/0", "wrong"),
        ("p7", "wrong/0", "right"),
    ]
    row = next(line for line in report.splitlines() if line.startswith("| judges"))
    assert [cell.strip() for cell in row.split("|")[2:7]] == ["2", "1", "2", "2", "1"]  # of two planted one is found
    again = tmp_path / "again"  # the judgements that an audit keeps are read by the next one
    kept = f"--judgements={out / 'judges.jsonl'}"
    assert run(folder, kept, "--checks", "judges", f"--output={again}") == ExitCode.DONE
    assert len(lines(again / "flags.jsonl")) == 2


def test_classes_as_completions_are_flipped_and_a_control_flips_others(tmp_path):
    rng = np.random.default_rng(0)
    words = {"sport": ["ball", "goal", "team"], "food": ["soup", "bread", "salt"]}
    records = []
    for n in range(120):
        label = ("sport", "food")[n % 2]
        text = " ".join(rng.choice(words[label], 8)) + f" {n}"
        given = {"sport": "food", "food": "sport"}[label] if n in (10, 21, 50) else label
        planted = "labels" if n in (10, 21, 50) else False
        records.append({"prompt": text, "completion": f" {given}", "planted": planted})
    data, out = write(tmp_path / "classes.jsonl", records), tmp_path / "out"
    given = ["--truth=planted", "--fix=flip", "--control=True", "--checks", "labels", f"--output={out}"]
    assert run(data, *given) == ExitCode.DONE
    flags = lines(out / "flags.jsonl")
    assert [flag["number"] for flag in flags] == [10, 21, 50]
    assert flags[0]["to"] == "sport"
    clean, control = (Jsonl(str(out / f"{name}.jsonl")).problems().items for name in ("clean", "control"))
    assert [problem.right[0].strip() for problem in clean] == ["sport", "food"] * 60
    changed = [n for n, problem in enumerate(control) if problem.right[0].strip() != records[n]["completion"].strip()]
    assert len(changed) == 3
    assert changed != [10, 21, 50]


def test_mistake_records_pairs_and_a_folder_of_injection(tmp_path, capsys):
    folder = tmp_path / "injected"
    folder.mkdir()
    mistakes = [
        Mistake(id=f"m{n}", kind="solution", problem_id=f"p{n}", question=f"What is {n} + 1?", answer=str(n + 1),
                right_step=f"#### {n + 1}", wrong_step=f"#### {n + 2}", verdict="proved")
        for n in range(6)
    ]  # fmt: skip
    (folder / "mistakes.jsonl").write_text(to_lines([*mistakes, mistakes[0]]))
    out = tmp_path / "out"
    against = f"--against={folder / 'mistakes.jsonl'}"
    assert run(folder, against, "--limit=4", f"--output={out}") == ExitCode.DONE
    assert "no clean.jsonl, because nothing would be left in it" in capsys.readouterr().out
    assert {flag["check"] for flag in lines(out / "flags.jsonl")} == {"contamination"}
    assert len(lines(out / "flags.jsonl")) == 4
    assert not (out / "clean.jsonl").exists()


def test_a_config_is_compared_with_its_held_out_data_and_a_source_by_its_name(tmp_path, capsys):
    out = tmp_path / "out"
    words = ["--data.source.count=40", "--checks", "contamination", "duplicates", "hardness"]
    assert run(TINY, *words, f"--output={out}") == ExitCode.DONE
    assert "the held-out data of the config" in capsys.readouterr().out
    assert len(lines(out / "hardness.jsonl")) == 40
    other = tmp_path / "other"
    assert (
        run("data.source:arithmetic", "--source.count=25", "--checks", "duplicates", f"--output={other}")
        == ExitCode.DONE
    )
    assert "25 problems" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--checks", "lables"], "unknown check 'lables': did you mean 'labels'?"),
        (["--judges.confidence=2"], "judges.confidence"),
        (["--fix=repair"], "fix"),
        (["--truth=plantd"], "no problem has a truth in 'plantd'"),
        (["extra"], "'extra' is not understood"),
        (["--judgements=missing.jsonl"], "no file 'missing.jsonl'"),
        (["--truth=typo"], "truth 'lables': did you mean 'labels'?"),
        (["--source=gsm9k"], "gsm8k"),
    ],
)
def test_misuse_is_one_line(planted, tmp_path, capsys, words, message):
    columns = ["--columns", "id", "question", "answer", "right"]
    given = [word for word in words if not word.startswith("--source")] + (
        columns if "--source" not in words[0] else []
    )
    given += [word for word in words if word.startswith("--source")]
    given = [word.replace("--truth=typo", f"--truth={tmp_path / 'typo.jsonl'}") for word in given]
    write(tmp_path / "typo.jsonl", [{"id": "q3", "truth": ["lables"]}])
    assert run(planted, *given, f"--output={tmp_path / 'out'}") == ExitCode.BAD_INPUT
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_another_audit_in_the_same_folder_is_refused(planted, tmp_path, capsys):
    common = [planted, "--truth=planted", f"--output={tmp_path / 'out'}"]
    assert run(*common, "--checks", "duplicates") == ExitCode.DONE
    assert run(*common, "--checks", "duplicates", "--duplicates.threshold=0.9") == ExitCode.BAD_INPUT
    assert "was begun with other settings" in capsys.readouterr().err
    assert run(*common, "--checks", "duplicates", "--duplicates.threshold=0.9", "--overwrite=True") == ExitCode.DONE
    assert run("no_such_file.jsonl") == ExitCode.BAD_INPUT
    assert run("source:nothing") == ExitCode.BAD_INPUT


@pytest.mark.slow
@pytest.mark.usefixtures("one_device")
def test_a_run_scores_judges_and_embeds(planted, tmp_path, capsys):
    """A tiny run of bytes: its data with its own log-probabilities, as a judge of labels, and as features."""
    run_dir, out = tmp_path / "run", tmp_path / "out"
    small = ["--model.width=16", "--model.mlp_width=16", "--batch_size=4", "--no_tensorboard", "--data.tokenizer=bytes"]
    small += ["--data.source.count=30", "--data.sequence_length=512", "--data.boundary=split"]
    assert train.main([TINY, *small, f"--run_dir={run_dir}", "--steps=1"]) == ExitCode.DONE
    assert run(run_dir, "--checks", "membership", "long_tail", "duplicates") == ExitCode.DONE
    said = capsys.readouterr().out
    assert "words alone, no model" in said
    assert len(lines(run_dir / "audit" / "membership.jsonl")) == len(lines(run_dir / "audit" / "long_tail.jsonl")) > 0
    columns = ["--columns", "id", "question", "answer", "right"]
    wrong = write(tmp_path / "both.jsonl", [one | {"wrong": ["0"]} for one in lines(pathlib.Path(planted))])
    given = [f"--model={run_dir}", "--judge_models", run_dir, "--checks", "labels", "judges", "--limit=8"]
    assert run(wrong, *given, *columns, "wrong", f"--output={out}") == ExitCode.DONE
    judged = lines(out / "judges.jsonl")
    assert len(judged) == 16
    assert all(len(one["judgements"]) == 4 for one in judged)
    assert all(abs(sum(p.values()) - 1) < 1e-5 for one in judged for p in one["judgements"])
    file = tmp_path / "questions.npz"
    assert (
        score.main([str(run_dir), TINY, "--data.source.count=5", "--by=embedding", f"--output={file}"]) == ExitCode.DONE
    )
    assert np.load(file)["embeddings"].shape == (5, 16)


@pytest.mark.parametrize("judged", [{"p": [0.1, 0.9]}, {"p": {"right": -1, "wrong": 2}}, {"p": {"right": "a"}},
                                    {"judgements": {"right": 0.5}}, {"p": {"right": float("nan")}}])  # fmt: skip
def test_judgements_are_probabilities_by_label(planted, tmp_path, capsys, judged):
    file = write(tmp_path / "said.jsonl", [{"id": "q0", "part": "right/0", **judged}])
    given = [f"--judgements={file}", "--truth=planted", "--checks", "judges", f"--output={tmp_path / 'out'}"]
    assert run(planted, *given) == ExitCode.BAD_INPUT
    assert "said.jsonl:1: judgements" in capsys.readouterr().err


def test_planted_texts_count_for_a_check_of_texts_that_flags_none():
    truth = {3: frozenset({"right/0", "wrong/1"}), 4: frozenset({"duplicates"})}
    assert score_of("labels", [], truth)[1:] == (2, 0)
    assert score_of("duplicates", [], truth)[1:] == (1, 0)
