"""A file of groups, as a user has it, to a trained run: resumed, in a chat, explained, and refused where it must be."""

import dataclasses
import json
import pathlib
import re

import jax
import numpy as np
import pytest

from mtjax import explain, inspect, train
from mtjax.data.batches import DataConfig, make_batches
from mtjax.data.sources import InMemory
from mtjax.data.sources.mined import Mined, MinedProblem, Solution, from_json, to_json
from mtjax.data.tasks import GroupTask
from mtjax.data.tokenizer import load_tokenizer
from mtjax.errors import ExitCode
from mtjax.model.decoder import DecoderConfig
from mtjax.model.language_model import make_language_model
from mtjax.model.policy import make_policy
from mtjax.sampling.config import SamplingConfig
from mtjax.sampling.local import LocalSampler

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


@pytest.mark.slow
def test_what_mining_records_is_what_training_computes(tmp_path):
    """Samples of a model, as mining keeps them, to a batch: the ratio of the model to itself is 1 at every token."""
    tokenizer = load_tokenizer("bytes")
    shape = DecoderConfig(width=16, layers=1, heads=2, kv_heads=1, head_dim=8, mlp_width=16, max_length=64)
    model = make_language_model(dataclasses.replace(shape, vocab_size=tokenizer.vocab_size))
    params = jax.jit(model.init)(jax.random.key(0))
    sampling = SamplingConfig(temperature=0.7, samples=4, max_new_tokens=12)
    sampler = LocalSampler(model=model, params=params, tokenizer=tokenizer, sampling=sampling, rows=4, by_token=True)
    ((drawn,),) = [list(batch) for batch in sampler.draw(["1 + 1 =\n"], 0, lambda: False)]
    kept = [
        Solution(**(one._asdict() | {"readable": True}), verdict=verdict)
        for one, verdict in zip(drawn.samples, ("right", "wrong", "wrong", "right"), strict=True)
    ]
    mined = MinedProblem(number=0, id="p", question="1 + 1 =", answer="2", drawn=4, solutions=tuple(kept))
    (tmp_path / "solutions.jsonl").write_text(json.dumps(to_json(mined)) + "\n")
    assert from_json(json.loads((tmp_path / "solutions.jsonl").read_text()), "x") == mined
    # All were cut at 12 tokens, which by itself gives no reward; here they count as they were judged.
    (problem,) = Mined(str(tmp_path), cut="wrong", strip=False).problems().items
    assert [one.reward for one in problem.candidates] == [None, 0.0, 0.0, None]
    judged = dataclasses.replace(
        problem, candidates=tuple(dataclasses.replace(one, reward=float(n)) for n, one in enumerate(problem.candidates))
    )
    for which, same in (("own", True), ("proposal", False)):
        task = GroupTask(template="{question}\n", size=4, cut="keep", logprobs=which)
        data = DataConfig(source=InMemory((judged,)), task=task, sequence_length=32, max_segments=1)
        batch = make_batches(data, tokenizer, batch_size=1, seed=0).batch_at(0)
        live = batch.weights > 0
        assert live.sum(axis=-1).tolist() == [[one.tokens for one in drawn.samples]]
        scores = make_policy(model, params, chunk=16).scores(jax.tree.map(jax.numpy.asarray, batch)).logprob
        gap = np.abs(np.asarray(scores) - batch.extras["sampled_logprob"])[live]
        assert (gap.max() < 1e-5) == same
