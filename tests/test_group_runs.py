"""A file of groups, as a user has it, to a trained run: resumed, in a chat, explained, and refused where it must be."""

import json
import pathlib
import re

import numpy as np
import pytest

from mtjax import explain, inspect, train
from mtjax.errors import ExitCode

pytestmark = pytest.mark.usefixtures("one_device")
CONFIG = str(pathlib.Path(__file__).parent.parent / "configs" / "tiny_grpo.py")
SMALL = ("--model.width=16", "--model.mlp_width=16", "--batch_size=4", "--tensorboard=False", "--data.cache_dir=None")


def written(folder, **more):
    """Groups of four candidates with recorded tokens and log-probs, in the bytes tokenizer."""
    rng, lines = np.random.default_rng(0), []
    for number in range(24):
        texts = [str(number + 3 + slip) for slip in (0, 0, 1, 2)]
        ids = [[*map(ord, text), 258] for text in texts]
        drawn = [(-rng.uniform(4, 6, size=len(own))).round(3).tolist() for own in ids]
        record = {"id": f"g{number}", "prompt": f"{number} + 3 =", "completions": texts, "rewards": [1, 1, 0, 0]}
        lines.append(json.dumps(record | {"completion_ids": ids, "logprobs": drawn} | more))
    file = folder / "groups.jsonl"
    file.write_text("\n".join(lines) + "\n")
    return str(file)


def words(folder, file, *more):
    data = ("data.source:files", f"--data.source.path={file}", "--data.tokenizer=bytes", "--data.task.size=4")
    return [CONFIG, *data, "--data.sequence_length=32", *SMALL, f"--run_dir={folder}/run", *more]


def steps(folder):
    text = (folder / "run" / "metrics.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines() if json.loads(line)["step"]]


RECORDED = ("--data.task.logprobs=own", "--objective.old=recorded", "--objective.kl_weight=0")


def test_a_file_of_groups_trains_and_is_shown(tmp_path, capsys):
    file = written(tmp_path)
    assert train.main(words(tmp_path, file, *RECORDED, "--steps=1", "--self_check=False")) == ExitCode.DONE
    (first,) = steps(tmp_path)
    assert first["reward"] == 0.5
    assert first["ratio"] != 1  # against what was recorded
    assert first["equal_groups"] == 0
    capsys.readouterr()
    assert inspect.main([file, "--task=group", "--model=bytes"]) == ExitCode.DONE
    assert re.search(r"reward 1, advantage 0\.866", capsys.readouterr().out)


@pytest.mark.slow
def test_a_run_of_groups_resumes_bit_for_bit_and_is_explained(tmp_path, capsys):
    through, broken = tmp_path / "through", tmp_path / "broken"
    for folder, count in ((through, 3), (broken, 2), (broken, 3)):
        folder.mkdir(exist_ok=True)
        file = written(folder)
        assert train.main(words(folder, file, *RECORDED, f"--steps={count}")) == ExitCode.DONE
    a, b = steps(through)[2], steps(broken)[2]
    own = [name for name in a if not name.startswith("time/")]
    assert {name: a[name] for name in own} == {name: b[name] for name in own}
    capsys.readouterr()
    assert explain.main([*words(through, file, *RECORDED), "--examples=1"]) == ExitCode.DONE
    assert "candidate 4, reward 0" in capsys.readouterr().out


@pytest.mark.slow
def test_groups_train_in_a_chat_template_against_a_reference(tmp_path):
    talk = [{"role": "system", "content": "Add."}, {"role": "user", "content": "1 + 3 ="}]
    file = written(tmp_path, prompt=talk, completion_ids=None, logprobs=None)
    chat = ("--data.task.template=chat", "--data.sequence_length=96", "--steps=1")
    assert train.main(words(tmp_path, file, *chat)) == ExitCode.DONE
    (line,) = steps(tmp_path)
    assert line["kl"] == 0
    assert np.isfinite(line["loss"])


def test_what_a_run_of_groups_lacks_is_said_before_it_starts(tmp_path, capsys):
    file = written(tmp_path, logprobs=None)
    assert train.main(words(tmp_path, file, "--objective.old=recorded", "--steps=1")) == ExitCode.BAD_INPUT
    assert "set data.task.logprobs=own, or set objective.old=current" in capsys.readouterr().err
    assert train.main(words(tmp_path, file, "--data.task.logprobs=own", "--steps=1")) == ExitCode.BAD_INPUT
    assert "groups.jsonl:1 (id 'g0'): a candidate has no logprobs" in capsys.readouterr().err
    assert train.main(words(tmp_path, file, "objective:nll", "--steps=1")) == ExitCode.BAD_INPUT
    assert "whose worse candidates it would imitate" in capsys.readouterr().err
