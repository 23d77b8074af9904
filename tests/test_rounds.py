"""Rounds: what a round samples, trains and keeps; kills; stop rules; and that a second round compiles nothing."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from mtjax.config import HeldOut
from mtjax.data.sources import Arithmetic
from mtjax.data.tasks import GroupTask, PairTask
from mtjax.errors import ExitCode, InputError
from mtjax.io.journal import Journal
from mtjax.mistakes.curation import Helpers
from mtjax.mistakes.curation.distinct import Distinct
from mtjax.mistakes.curation.groups import Groups
from mtjax.mistakes.curation.pairs import Pairs
from mtjax.objectives.dpo import Dpo
from mtjax.objectives.policy_gradient import PolicyGradient
from mtjax.runs.loading import load_any
from mtjax.runs.rounds import loop
from mtjax.runs.rounds.attempts import chosen, draw, problems_of, sampler_of, seed_of
from mtjax.runs.rounds.config import Measure, Stops
from mtjax.runs.rounds.loop import run
from mtjax.runs.rounds.stopping import alarm, reason_to_stop
from mtjax.runs.rounds.trainer import Trainer
from mtjax.training.checkpoint import Checkpoints
from tests.tiny_rounds import EASY, Scripted, arrays_of, config, files_of

pytestmark = pytest.mark.usefixtures("one_device")
HELD_OUT = Measure(source=Arithmetic(count=6, seed=3, split="test", **EASY), samples=4, metrics=("verdicts",))
QUIET = {"say": lambda text: None}


class Killed(BaseException):
    """Stands for a kill: nothing handles it."""


def killed_at(patch, place, name, call):
    """Let the call number `call` of a method raise, after it has done its work where `call` is even."""
    own, seen = getattr(place, name), [0]

    def dying(*args, **named):
        seen[0] += 1
        if seen[0] == call and call % 2:
            raise Killed
        found = own(*args, **named)
        if seen[0] == call:
            raise Killed
        return found

    patch.setattr(place, name, dying)


def test_rounds_train_sample_and_keep_what_they_did(tmp_path):
    sampler = Scripted()
    outcome = run(config(tmp_path / "run"), make_sampler=sampler, **QUIET)
    assert outcome.exit_code == ExitCode.DONE
    assert [line["round"] for line in outcome.lines] == [0, 1, 2, 3]
    lines = [json.loads(line) for line in (tmp_path / "run" / "rounds.jsonl").read_text().splitlines()]
    assert lines == json.loads(json.dumps(outcome.lines))
    assert [line["updates"] for line in lines] == [0, 2, 4, 6]
    assert all(line["samples"] == 24 and line["right"] + line["wrong"] == 24 for line in lines[1:])
    assert lines[3]["total_tokens"] == sum(
        line["sampled_tokens"] + int(line["trained"]["tokens"]) for line in lines[1:]
    )
    kept = [json.loads(line) for line in (tmp_path / "run" / "attempts" / "0002.jsonl").read_text().splitlines()]
    assert [record["number"] for record in kept] == list(range(6))
    assert {s["verdict"] for record in kept for s in record["solutions"]} == {"right", "wrong"}
    metrics = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in metrics] == list(range(1, 7))
    loaded = load_any(str(tmp_path / "run"))  # other commands take the folder as a run; a step is a round
    assert loaded.step == 3
    same = jax.tree.map(lambda a, b: bool((np.asarray(a) == np.asarray(b)).all()), loaded.params, dict(outcome.params))
    assert all(jax.tree.leaves(same))


def test_a_kill_at_any_moment_changes_no_byte(tmp_path):
    """Kills while sampling, training, writing lines, saving and renewing the reference, each before and after."""
    settings = {
        "objective": Dpo(), "task": PairTask(full_per_problem=None), "curation": Pairs(), "renew_reference": 2,
        "rounds": 6,
    }  # fmt: skip
    through = tmp_path / "through"
    run(config(through, **settings), make_sampler=Scripted(), **QUIET)
    killed = tmp_path / "killed"
    moments = [
        (Journal, "append", 1), (Journal, "append", 2), (Journal, "finish", 1), (Trainer, "train", 2),
        (loop, "write_lines", 1), (Checkpoints, "save", 3), (Trainer, "renew_reference", 1), (Checkpoints, "save", 2),
        (loop, "write_lines", 2), (Trainer, "train", 1),
    ]  # fmt: skip
    for place, name, call in moments:
        with pytest.MonkeyPatch.context() as patch:
            killed_at(patch, place, name, call)
            with pytest.raises(Killed):
                run(config(killed, **settings), make_sampler=Scripted(), **QUIET)
    run(config(killed, **settings), make_sampler=Scripted(), **QUIET)
    assert files_of(killed) == files_of(through)
    assert arrays_of(killed) == arrays_of(through)
    assert arrays_of(killed, "references") == arrays_of(through, "references")


def test_a_finished_run_does_nothing_and_goes_on_for_more_rounds(tmp_path):
    through, raised = tmp_path / "through", tmp_path / "raised"
    settings = {"curation": Distinct(with_source=False), "train_optim": None}
    linear = dataclasses.replace(config(through).train.optim, schedule="linear", schedule_steps=6)
    settings["train_optim"] = linear
    run(config(through, rounds=3, **settings), make_sampler=Scripted(), **QUIET)
    run(config(raised, rounds=2, **settings), make_sampler=Scripted(), **QUIET)
    run(config(raised, rounds=3, **settings), make_sampler=Scripted(), **QUIET)
    assert files_of(raised) == files_of(through)  # the buffer is made again from the attempts
    sampler = Scripted()
    before = files_of(raised)
    assert run(config(raised, rounds=3, **settings), make_sampler=sampler, **QUIET).exit_code == ExitCode.DONE
    assert (sampler.asked, files_of(raised)) == ([], before)


def test_every_round_may_start_from_the_base_or_with_new_moments(tmp_path):
    """On the same data, a round from the base ends where the first did; with new moments alone it goes on."""
    problems = Arithmetic(count=12, **EASY).problems().items
    ended = {}
    for name, settings in (("base", {"begin": "base"}), ("new", {"moments": "new"}), ("kept", {})):
        trainer = Trainer(config(tmp_path / name, **settings))
        ended[name] = []
        for _ in range(2):
            trainer.train(problems, 1, lambda *_: None, lambda: False)
            ended[name].append(np.asarray(trainer.params["embed"]["embedding"]))
    assert (ended["base"][0] == ended["base"][1]).all()
    assert (ended["base"][0] == ended["kept"][0]).all()
    assert not (ended["new"][0] == ended["new"][1]).all()
    assert not (ended["new"][1] == ended["kept"][1]).all()


def test_problems_of_a_round_are_a_stream_and_its_seed_its_own():
    made = config("unused")
    rounds = [chosen(made, 12, number) for number in (1, 2, 3, 4)]
    assert sorted(rounds[0] + rounds[1]) == sorted(rounds[2] + rounds[3]) == list(range(12))
    assert rounds[:2] != rounds[2:]
    odd = dataclasses.replace(made, problems=5)
    assert all(len(set(chosen(odd, 12, number))) == 5 for number in range(1, 10))
    assert chosen(dataclasses.replace(made, problems=None), 12, 3) == list(range(12))
    assert len({seed_of(made, number) for number in range(100)}) == 100


def line(number, pass_1=None, pass_8=None, mixed=1, tokens=0):
    measured = {} if pass_1 is None else {"measured": {"pass@1": pass_1, "pass@4": pass_8}}
    return {"round": number, "mixed": mixed, "total_tokens": tokens, **measured}


def test_stop_rules_by_hand():
    made = lambda **stop: config("unused", measure=HELD_OUT, stop=Stops(**stop))
    start = line(0, 0.4, 0.9)
    rising, flat = line(1, 0.5, 0.9), line(2, 0.5, 0.9)
    assert reason_to_stop(made(patience=1), [start, rising]) == ""
    assert "not risen for 1 measurement" in reason_to_stop(made(patience=1), [start, rising, flat])
    assert reason_to_stop(made(patience=2), [start, rising, flat]) == ""
    assert "not risen" in reason_to_stop(made(patience=1, least_rise=0.2), [start, rising])
    fallen = line(1, 0.6, 0.7)
    assert "coverage is 0.200 lower" in reason_to_stop(made(coverage_drop=0.1), [start, fallen])
    assert reason_to_stop(made(coverage_drop=0.3), [start, fallen]) == ""
    assert "pass@4 is 0.200 lower" in alarm(made(), [start, fallen])
    assert alarm(made(), [start, rising]) == ""
    assert "stop.mixed" in reason_to_stop(made(), [start, line(1, 0.5, 0.9, mixed=0)])
    assert reason_to_stop(made(mixed=False), [start, line(1, 0.5, 0.9, mixed=0)]) == ""
    assert "stop.tokens=100" in reason_to_stop(made(tokens=100), [start, line(1, 0.5, 0.9, tokens=101)])
    assert reason_to_stop(made(tokens=1), [start]) == ""


def test_a_stop_rule_ends_the_run_and_its_last_round_is_saved(tmp_path):
    made = config(tmp_path / "run", rounds=9, stop=Stops(tokens=700))
    outcome = run(made, make_sampler=Scripted(), **QUIET)
    assert "stop.tokens" in outcome.why
    last = outcome.lines[-1]["round"]
    assert 1 < last < 9
    assert arrays_of(tmp_path / "run")[0] == last
    again = run(made, make_sampler=Scripted(), **QUIET)
    assert (again.why, again.lines) == (outcome.why, json.loads(json.dumps(outcome.lines)))
    nothing = run(config(tmp_path / "never"), make_sampler=Scripted(share=0.0), **QUIET)
    assert [line["trained"]["updates"] for line in nothing.lines[1:]] == [0, 0, 0]  # no right solution, no update


def groups(folder, **objective):
    task = GroupTask(template="{question}\n", size=4, logprobs="own", cut="keep")
    return config(
        folder, objective=PolicyGradient(reduction="sequence_mean", **objective), task=task, curation=Groups(),
        updates=None, train_batch_size=6,
    )  # fmt: skip


def test_one_update_on_fresh_groups_is_reinforce_whatever_the_surrogate(tmp_path):
    """Recorded log-probs are the policy's own scores, packed, and all slopes are those of REINFORCE."""
    from mtjax.model.policy import make_policy
    from mtjax.objectives.policy_losses import Surrogate
    from mtjax.types import TokenScores

    made = groups(tmp_path / "run")
    trainer = Trainer(made)
    asked = problems_of(made, trainer)
    drawn = draw(made, asked, sampler_of(made, trainer, asked.prompts), 1, {}, lambda: False)
    assert drawn.samples == 24
    rng = np.random.default_rng(0)
    attempts = [
        one._replace(
            mined=dataclasses.replace(
                one.mined,
                solutions=tuple(dataclasses.replace(s, reward=float(rng.normal())) for s in one.mined.solutions),
            )
        )
        for one in drawn.attempts
    ]
    problems = Groups(cut_reward=None)(attempts, None, Helpers(0, lambda texts: [])).problems
    for problem in problems:  # random texts do not end by themselves, and count here as they were judged
        candidates = tuple(dataclasses.replace(c, reward=float(n)) for n, c in enumerate(problem.candidates))
        problems[problems.index(problem)] = dataclasses.replace(problem, candidates=candidates)
    batches = trainer.batches_of(problems, 1)
    assert batches.steps_per_epoch == 1
    batch = jax.tree.map(jax.numpy.asarray, batches.batch_at(0))
    scores = jax.jit(lambda params: make_policy(trainer.model, params, chunk=16).scores(batch))(trainer.params)
    live = np.asarray(batch.weights) > 0
    assert live.sum() == sum(len(c.ids) for problem in problems for c in problem.candidates)
    gap = np.abs(np.asarray(scores.logprob) - np.asarray(batch.extras["sampled_logprob"]))[live]
    assert gap.max() < 1e-4

    class Fixed:
        def __init__(self, logprob):
            self.logprob = logprob

        def scores(self, _):
            zero = jax.numpy.zeros_like(self.logprob)
            return TokenScores(self.logprob, zero, zero)

        map_logits = hidden = scores

    def slopes(surrogate):
        objective = PolicyGradient(surrogate=surrogate, reduction="sequence_mean")
        loss = lambda logprob: objective(Fixed(logprob), batch, key=jax.random.key(0))[0].total
        return np.asarray(jax.grad(loss)(scores.logprob))

    wanted = slopes("reinforce")
    assert np.abs(wanted[live]).min() > 0
    for surrogate in Surrogate.__args__:
        if not surrogate.startswith("topr"):  # which weights by the reward's sign, and not by the advantage's
            np.testing.assert_allclose(slopes(surrogate), wanted, atol=1e-4 * np.abs(wanted).max(), err_msg=surrogate)


def test_several_updates_refuse_to_take_texts_for_fresh(tmp_path):
    made = dataclasses.replace(groups(tmp_path / "run", old="current"), passes=2)
    with pytest.raises(InputError, match="a round makes 2 updates, but train.objective.old='current'"):
        run(made, make_sampler=Scripted(), **QUIET)


def test_a_second_round_and_a_second_run_compile_nothing(tmp_path):
    compiled = []
    made = lambda name: dataclasses.replace(groups(tmp_path / name), measure=HELD_OUT, rounds=2)
    listen = lambda event, *_, **__: compiled.append(event) if "backend_compile" in event else None
    rounds = []
    own = loop._Run.round

    def counted(self, number, *args):
        before = len(compiled)
        found = own(self, number, *args)
        rounds.append(len(compiled) - before)
        return found

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(loop._Run, "round", counted)
            for name in ("one", "two"):
                run(made(name), **QUIET)
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert rounds[0] > 0
    assert rounds[1:] == [0, 0, 0]


def test_what_rounds_cannot_do_is_refused_with_the_way_out(tmp_path):
    with pytest.raises(
        InputError, match="makes data for the task pair or mistake, but train.data.task is 'completion'"
    ):
        config(tmp_path, curation=Pairs())
    with pytest.raises(InputError, match="train.held_out has no use in rounds.*set `measure`"):
        config(tmp_path, train_held_out=HeldOut(source=HELD_OUT.source))
    with pytest.raises(InputError, match="the schedule has no end"):
        config(tmp_path, updates=None, train_optim=dataclasses.replace(config(tmp_path).train.optim, schedule="cosine"))
    run(config(tmp_path / "run", rounds=1), make_sampler=Scripted(), **QUIET)
    with pytest.raises(InputError, match="begun with other settings: .*updates was '2', is '3'"):
        run(config(tmp_path / "run", rounds=1, updates=3), make_sampler=Scripted(), **QUIET)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.py").write_text("")
    with pytest.raises(InputError, match="holds a training run, not rounds"):
        run(config(tmp_path / "other"), make_sampler=Scripted(), **QUIET)
