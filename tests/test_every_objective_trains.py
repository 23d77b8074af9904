"""Every objective from config to run folder, on one device: a resume, kept log-probs of a reference."""

import dataclasses
import json

import numpy as np
import pytest

from mtjax.config import CheckpointConfig, Config, HeldOut
from mtjax.data.batches import DataConfig
from mtjax.data.sources import InMemory
from mtjax.data.sources.arithmetic import Arithmetic
from mtjax.data.tasks import CompletionTask, GroupTask, MistakeTask, PairTask
from mtjax.data.tasks.backspace import BackspaceTask
from mtjax.data.tasks.process_reward import ProcessRewardTask
from mtjax.data.tasks.step_values import StepValuesTask
from mtjax.data.tasks.triplet import TripletTask
from mtjax.data.tasks.until_error import UntilErrorTask
from mtjax.errors import ExitCode, InputError
from mtjax.model.decoder import DecoderConfig
from mtjax.model.value_head import ValueHead
from mtjax.objectives import OBJECTIVES
from mtjax.objectives.dco import Dco
from mtjax.objectives.regularizers.entropy_bonus import EntropyBonus
from mtjax.objectives.regularizers.z_loss import ZLoss
from mtjax.objectives.rise import Rise
from mtjax.optim import OptimConfig
from mtjax.runs.loading import load_any
from mtjax.runs.loop import train
from mtjax.training.early_stopping import EarlyStopping
from mtjax.training.reference import ReferenceConfig

pytestmark = pytest.mark.usefixtures("one_device")
SOURCE = Arithmetic(count=60, split="train", slip_probability=0.8)
TASKS = {"any": CompletionTask(polarities="both"), "mistake": MistakeTask(decode_prefix="correct"), "pair": PairTask()}
TASKS["group"] = GroupTask(size=3)
GIVEN = {"policy_gradient": {"old": "current"}}  # Generated data have no recorded log-probabilities.
TASKS |= {"process_reward": ProcessRewardTask(), "step_values": StepValuesTask()}
TASKS["triplet"] = TripletTask()
# The generated data know a success rate only as that of a group; XPO compares two.
OWN_TASK = {"nft": GroupTask(size=2), "xpo": GroupTask(size=2)}


def source_for(name, source):
    """TPO compares two right solutions with a wrong one; the generated data have one, and their answer alone."""
    if name != "tpo":
        return source
    problems = source.problems("raise").items
    return InMemory(tuple(dataclasses.replace(one, right=(*one.right, one.answer)) for one in problems))


def config(objective, folder, **settings):
    name = OBJECTIVES.name_of(objective)
    data = DataConfig(
        source=source_for(name, SOURCE),
        task=OWN_TASK.get(name, TASKS[objective.task]),
        tokenizer="arithmetic",
        sequence_length=96,
        max_segments=3,
    )
    head = ValueHead() if getattr(objective, "needs_value", False) else None
    return Config(
        model=DecoderConfig(
            width=16, layers=2, heads=2, kv_heads=2, head_dim=8, mlp_width=16, max_length=96, value_head=head
        ),
        data=data,
        objective=objective,
        optim=OptimConfig(learning_rate=1e-2, schedule="constant"),
        checkpoint=CheckpointConfig(every=1),
        held_out=HeldOut(
            source=source_for(name, dataclasses.replace(SOURCE, split="test", count=20)), every=2, batches=1
        ),
        batch_size=16,
        micro_batches=2,
        tensorboard=False,
        run_dir=str(folder / "run"),
        **({"steps": 2} | settings),
    )


def lines(folder):
    """The metrics of every step, without the measurement before the first."""
    return [line for line in every_line(folder) if line["step"]]


def every_line(folder):
    text = (folder / "run" / "metrics.jsonl").read_text()
    return [{k: v for k, v in json.loads(x).items() if not k.startswith("time/")} for x in text.splitlines()]


# The others of the default suite: dco below with a live filter, rise in test_mesh_trains.py.
QUICK = ("kto",)
EVERY = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in sorted(OBJECTIVES)]


@pytest.mark.parametrize("name", EVERY)
def test_an_objective_trains_resumes_and_is_measured(name, tmp_path):
    trains_resumes_and_is_measured(OBJECTIVES[name](**GIVEN.get(name, {})), tmp_path)


def trains_resumes_and_is_measured(objective, folder, **settings):
    through, broken = folder / "through", folder / "broken"
    whole = train(config(objective, through, steps=3, **settings))
    assert whole.exit_code == ExitCode.DONE
    train(config(objective, broken, steps=2, **settings))
    train(config(objective, broken, steps=3, **settings))
    assert lines(through)[2]["loss"] == lines(broken)[2]["loss"]  # bit for bit
    assert lines(through) != lines(broken)[:2]
    assert all(np.isfinite(value) for line in lines(through) for value in line.values())
    assert any("held_out_loss" in line for line in lines(through))
    if hasattr(objective, "at_reference") and objective.at_reference is not None:
        np.testing.assert_allclose(lines(through)[0]["loss"], objective.at_reference, atol=1e-4)
    assert load_any(str(broken / "run")).step == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "name"),
    [
        (UntilErrorTask(), "nll"),
        (UntilErrorTask(error="apart"), "cringe"),
        (BackspaceTask(rate=0.02), "sequence_match"),
        (GroupTask(size=2), "mml"),
        (GroupTask(size=2), "topr"),
    ],
    ids=lambda case: case if isinstance(case, str) else case.name,
)
def test_a_task_beside_an_objective_of_its_own(task, name, tmp_path):
    """Settings that the loop over objectives does not have: other tasks, with a tokenizer that has a backspace."""
    wanted = config(OBJECTIVES[name](), tmp_path)
    data = dataclasses.replace(wanted.data, task=task, tokenizer="bytes", sequence_length=192)
    model = dataclasses.replace(wanted.model, max_length=192)
    assert train(dataclasses.replace(wanted, data=data, model=model)).exit_code == ExitCode.DONE
    assert all(np.isfinite(value) for line in lines(tmp_path) for value in line.values())
    assert load_any(str(tmp_path / "run")).step == 2


@pytest.mark.slow
def test_noise_on_embeddings_and_a_regularizer_resume(tmp_path):
    """NEFTune's noise follows the step, so that a resumed run is the one that ran through."""
    model = dataclasses.replace(config(OBJECTIVES["nll"](), tmp_path).model, neftune_alpha=5.0)
    settings = {"model": model, "regularizers": (ZLoss(), EntropyBonus())}
    through, broken = tmp_path / "through", tmp_path / "broken"
    for folder, steps in ((through, 3), (broken, 2), (broken, 3)):
        train(dataclasses.replace(config(OBJECTIVES["nll"](), folder, steps=steps), **settings))
    assert lines(through)[2]["loss"] == lines(broken)[2]["loss"]
    assert "regularizer/z_loss" in lines(through)[0]


@pytest.mark.slow
def test_every_gate_of_rise_is_closed_at_the_start_of_a_compiled_run(tmp_path, capsys):
    """Policy and reference differ by rounding there, which must not open half of the gates."""
    objective = Rise(beta=0.1, nll_weight=0.5, nll_on="all")
    wanted = config(objective, tmp_path, steps=50)
    stopping = EarlyStopping("held_out/reward_accuracy", patience=1, least_change=1.0)  # more than can be gained
    often = dataclasses.replace(wanted.held_out, every=1)
    wanted = dataclasses.replace(wanted, early_stopping=stopping, held_out=often)
    assert train(wanted).exit_code == ExitCode.DONE
    start, line = every_line(tmp_path)
    assert line["gate_open"] == 0
    np.testing.assert_allclose(line["loss"], np.log(2), atol=1e-4)
    # Before the first step all that the objective says is measured on held-out data, where policy and reference agree.
    assert start["step"] == 0
    np.testing.assert_allclose(start["held_out_loss"], np.log(2), atol=1e-4)
    assert start["held_out/reward_margin"] == pytest.approx(0, abs=1e-5)
    assert {f"held_out/{name}" for name in line if name.startswith(("logprob", "reward", "ranking"))} <= start.keys()
    # There are no pairs of steps: their metrics are absent, not 0.
    assert line["step_share"] == 0
    assert not any(name.endswith("_step") for name in start.keys() | line.keys())
    # The measurement after step 1 has not improved, so the run is finished there, also when it is started again.
    assert train(wanted).exit_code == ExitCode.DONE
    assert every_line(tmp_path) == [start, line]
    assert "early    stop at step 1: held_out/reward_accuracy has not improved" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rise"])
def test_kept_log_probs_train_like_a_frozen_copy(name, tmp_path):
    objective = OBJECTIVES[name]()
    frozen, cached, again = (tmp_path / part for part in ("frozen", "cached", "again"))
    train(config(objective, frozen))
    kept = ReferenceConfig(kind="cached", cache_dir=str(tmp_path / "kept"))
    train(config(objective, cached, reference=kept))
    for a, b in zip(lines(frozen), lines(cached), strict=True):
        np.testing.assert_allclose(a["loss"], b["loss"], rtol=1e-5)
    parts = sorted((tmp_path / "kept").rglob("part-*"))
    before = [part.stat().st_mtime_ns for part in parts]
    train(config(objective, again, reference=kept, seed=0, steps=1))
    assert before == [part.stat().st_mtime_ns for part in parts]
    with pytest.raises(InputError, match="another weights"):  # another seed, another start
        train(config(objective, tmp_path / "other", reference=kept, seed=5))


@pytest.mark.slow
def test_a_live_filter_trains_and_resumes(tmp_path):
    from mtjax.training.live_filter import LiveFilter

    settings = {"live_filter": LiveFilter(threshold=0.5)}
    through, broken = tmp_path / "through", tmp_path / "broken"
    for folder, steps in ((through, 3), (broken, 2), (broken, 3)):
        train(config(Dco(n=64), folder, steps=steps, **settings))
    assert lines(through)[2]["loss"] == lines(broken)[2]["loss"]
    assert 0 < lines(through)[0]["live_share"] <= 1


def test_a_reference_that_changed_under_a_run_is_refused(tmp_path):
    objective = OBJECTIVES["dpo"]()
    train(config(objective, tmp_path, steps=1))
    file = tmp_path / "run" / "reference.json"
    file.write_text(file.read_text().replace('"weights": "', '"weights": "0'))
    with pytest.raises(InputError, match="began with a reference of fingerprint 0"):
        train(config(objective, tmp_path, steps=2))


def test_single_sequences_and_pairs_do_not_mix(tmp_path):
    with pytest.raises(InputError, match="objective 'nll' takes single sequences, but data.task is 'pair'"):
        dataclasses.replace(config(OBJECTIVES["dpo"](), tmp_path), objective=OBJECTIVES["nll"]())
    with pytest.raises(InputError, match="objective 'dpo' needs the task 'pair', but data.task is 'completion'"):
        dataclasses.replace(config(OBJECTIVES["nll"](), tmp_path), objective=OBJECTIVES["dpo"]())
