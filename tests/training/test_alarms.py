"""Alarms ring on synthetic runs that show what they are for, keep quiet on those that do not, and survive a resume."""

import json
import math

import numpy as np
import pytest

from mtjax.config import CheckpointConfig, Config, parse
from mtjax.data.batches import DataConfig
from mtjax.data.problem import Pair, Problem
from mtjax.data.sources import InMemory
from mtjax.data.sources.arithmetic import Arithmetic
from mtjax.data.tasks import CompletionTask
from mtjax.data.tasks.pair import PairTask
from mtjax.data.tokenizer import load_tokenizer
from mtjax.errors import InputError
from mtjax.evaluation.coverage import pass_at_k
from mtjax.model.decoder import DecoderConfig
from mtjax.objectives.dpo import Dpo
from mtjax.objectives.nll import Nll
from mtjax.optim import OptimConfig
from mtjax.runs import loop
from mtjax.sampling.decoding import Decoding
from mtjax.training.alarms import Alarms, Sums, read_log
from mtjax.training.monitors import CoverageConfig, HeldOutCoverage, sampling_error
from tests.evaluation.scripted import bigram_model, script

pytestmark = pytest.mark.usefixtures("one_device")

BYTES = load_tokenizer("bytes")


def run_through(lines, alarms=None):
    """What the alarms log and tell over a run of lines."""
    alarms = alarms or Alarms()
    seen = [alarms.see(number, line) for number, line in enumerate(lines, start=1)]
    return [metrics for metrics, _ in seen], [sentence for _, told in seen for sentence in told]


def pairs_run(chosen, margin, noise=0.05, lines=200, seed=0, name="reward_chosen"):
    """A run whose chosen reward and margin follow two functions of its share done."""
    rng = np.random.default_rng(seed)
    values = lambda f: [f(step / lines) + noise * rng.normal() for step in range(lines)]
    return [{name: a, "reward_margin": b} for a, b in zip(values(chosen), values(margin), strict=True)]


def test_running_sums_give_the_mean_and_its_error_of_any_stretch():
    values = np.random.default_rng(0).normal(size=50)
    sums = Sums()
    for value in values:
        sums.add(value)
    part = values[50 - 7 - 20 : 50 - 7]
    expected = (part.mean(), part.var(ddof=1) / 20)
    np.testing.assert_allclose(sums.mean(20, 7), expected, rtol=1e-10)


@pytest.mark.parametrize("noise", [0.0, 0.05, 0.3])
def test_displacement_rings_once_and_says_so(noise):
    logged, told = run_through(pairs_run(lambda t: -2 * t, lambda t: t, noise))
    assert len(told) == 1
    assert "displacement: chosen texts become less likely (reward_chosen" in told[0]
    assert told[0].startswith("alarm    step ")
    assert logged[0] == {"alarm/displacement": 0.0}
    assert logged[-1] == {"alarm/displacement": 1.0}


QUIET = {
    "chosen falls, margin does not rise": (lambda t: -2 * t, lambda t: 0.0),
    "margin rises, chosen does not fall": (lambda t: 0.0, lambda t: 2 * t),
    "both get better": (lambda t: t, lambda t: 2 * t),
    "both get worse": (lambda t: -2 * t, lambda t: -t),
    "nothing happens": (lambda t: 0.0, lambda t: 0.0),
    "too little to matter": (lambda t: -0.09 * t, lambda t: 0.09 * t),
}


@pytest.mark.parametrize("name", QUIET)
@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_what_is_no_displacement_stays_quiet(name, noise):
    for seed in range(5):
        logged, told = run_through(pairs_run(*QUIET[name], noise, seed=seed))
        assert not told
        assert not any(metrics["alarm/displacement"] for metrics in logged)


def test_log_probs_serve_where_there_is_no_reward_and_other_runs_say_nothing():
    lines = pairs_run(lambda t: -20 * t, lambda t: t, name="logprob_chosen")
    assert "logprob_chosen" in run_through(lines)[1][0]
    logged, told = run_through(
        [{"loss": 2.0}, {"reward_chosen": 1.0}, {"reward_margin": 1.0, "logprob_chosen": math.nan}]
    )
    assert (logged, told) == ([{}, {}, {}], [])


def test_a_slow_fall_is_found_and_a_second_one_is_told_again():
    # 0.3 in 800 lines: 0.015 in a window of 40 lines, but 0.12 in one of 320.
    slow = pairs_run(lambda t: -0.3 * t, lambda t: 0.5 * t, noise=0.01, lines=800)
    assert len(run_through(slow)[1]) == 1
    fall = lambda t: -min(t, 0.1) * 10 - max(t - 0.9, 0) * 10  # in the first and in the last tenth
    logged, told = run_through(pairs_run(fall, lambda t: -fall(t), noise=0.01, lines=1000))
    assert len(told) == 2
    on = [int(metrics["alarm/displacement"]) for metrics in logged]
    assert (on[80], on[700], on[990]) == (1, 0, 1), on


def coverage_line(rates, rng, samples=16):
    right = rng.binomial(samples, rates)
    line = {}
    for k in (1, samples):
        line[f"coverage/pass@{k}"] = float(np.mean(pass_at_k(samples, right, k)))
        line[f"coverage/pass@{k}_error"] = sampling_error(right, samples, k)
    return line


def coverage_run(rates, measurements=12, seed=0):
    rng = np.random.default_rng(seed)
    lines = []
    for share in np.linspace(0, 1, measurements):
        lines += [{"loss": 1.0}, coverage_line(np.clip(rates(share), 0, 1), rng)]
    return lines


EASY = np.arange(100) < 50


def test_the_coverage_alarm_rings_when_answers_become_surer_and_less_varied():
    # The easy half is solved ever more often; 30 others, once solved by one sample in ten, by none.
    collapse = lambda t: np.where(EASY, 0.3 + 0.5 * t, np.where(np.arange(100) < 80, 0.1 * (1 - t) ** 3, 0))
    for seed in range(3):
        logged, told = run_through(coverage_run(collapse, seed=seed))
        assert len(told) == 1
        assert "coverage: pass@1 rises and pass@16 falls: " in told[0]
        assert "since step " in told[0]
        assert logged[-1] == {"alarm/coverage": 1.0}
        assert logged[0] == {}  # a line without a measurement says nothing


@pytest.mark.parametrize(
    "rates",
    [
        lambda t: np.where(EASY, 0.2 + 0.6 * t, 0.02),  # pass@1 rises, pass@16 keeps
        lambda t: np.where(EASY, 0.2 + 0.6 * t, 0.1 * t),  # both rise
        lambda t: np.where(EASY, 0.5 - 0.4 * t, 0.1 * (1 - t)),  # both fall
        lambda t: np.linspace(0, 0.5, 100),  # nothing happens
    ],
    ids=["pass@k keeps", "both rise", "both fall", "nothing happens"],
)
def test_what_is_no_loss_of_coverage_stays_quiet(rates):
    for seed in range(4):
        assert not run_through(coverage_run(rates, seed=seed))[1]


def test_one_k_alone_or_no_errors_are_no_reason_to_fail():
    assert run_through([{"coverage/pass@1": 0.1}, {"coverage/pass@1": 0.9}]) == ([{}, {}], [])
    # Without errors any change counts, as in a log from elsewhere.
    bare = [{"coverage/pass@1": 0.1, "coverage/pass@8": 0.9}, {"coverage/pass@1": 0.3, "coverage/pass@8": 0.5}]
    assert len(run_through(bare)[1]) == 1


def test_a_resumed_run_raises_the_same_alarms(tmp_path):
    fall = lambda t: -min(t, 0.2) * 10
    lines = pairs_run(fall, lambda t: -fall(t), noise=0.02, lines=200)
    covered = coverage_run(lambda t: np.where(EASY, 0.3 + 0.5 * t, 0.1 * (1 - t) ** 3), measurements=100)
    lines = [{**a, **b} for a, b in zip(lines, covered, strict=True)]
    through, told = run_through(lines)
    assert len(told) == 2
    for cut in (1, 25, 60, 150):
        kept = [
            {"step": step, **line, **logged} for step, (line, logged) in enumerate(zip(lines, through, strict=True), 1)
        ]
        (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in kept[:cut]))
        again = Alarms(read_log(tmp_path))
        rest = [again.see(step, line) for step, line in enumerate(lines[cut:], cut + 1)]
        assert [metrics for metrics, _ in rest] == through[cut:]
        assert [sentence for _, more in rest for sentence in more] == [t for t in told if int(t.split()[2][:-1]) > cut]
    assert read_log(tmp_path / "absent") == []


def test_the_sampling_error_is_that_of_drawing_again():
    rng = np.random.default_rng(0)
    rates = rng.uniform(0.05, 0.95, size=40)
    again = [np.mean(pass_at_k(12, rng.binomial(12, rates), 4)) for _ in range(4000)]
    told = [sampling_error(rng.binomial(12, rates), 12, 4) for _ in range(50)]
    # The rates are known from 12 samples only, so each estimate is off by some percent, and their mean by a few.
    np.testing.assert_allclose(np.mean(told), np.std(again), rtol=0.1)


# --- measured during a run


def test_pass_at_k_and_confidence_of_a_scripted_model():
    # It says "7" three times in four and "8" else, and then ends: log p is log 3/4 or log 1/4.
    problems = tuple(Problem(f"p{n}", "3+4", "7" if n else "8") for n in range(4))
    params = script(BYTES, "7", "8", shares=(0.75, 0.25))
    settings = CoverageConfig(source=InMemory(problems), samples=64, ks=(1, 4), max_tokens=3)
    coverage = HeldOutCoverage(settings, bigram_model(BYTES.vocab_size), Decoding(BYTES, CompletionTask()), None)
    found = coverage.measure(params)
    # Three problems of rate 3/4, one of 1/4: pass@1 5/8; pass@4 (3 (1 - 1/256) + 1 - 81/256) / 4 = 0.918.
    assert found["coverage/pass@1"] == pytest.approx(5 / 8, abs=4 * found["coverage/pass@1_error"])
    assert found["coverage/pass@4"] == pytest.approx(0.918, abs=4 * found["coverage/pass@4_error"] + 0.02)
    assert found["coverage/pass@1_error"] == pytest.approx(math.sqrt(0.1875 / 64 / 4), rel=0.1)
    assert found["coverage/cut"] == 0
    # Of the range -3..-1 are the 8s, of -1..0 the 7s.
    eights = found["coverage/confidence/-3_to_-1"]
    assert eights == pytest.approx(0.25, abs=0.12)
    assert found["coverage/confidence/-1_to_0"] == pytest.approx(1 - eights)
    expected = eights * math.log(0.25) + (1 - eights) * math.log(0.75)
    assert found["coverage/logprob"] == pytest.approx(expected, abs=1e-4)
    # F(64, 1/4) = 64 (3/4)^63 / 4 / (1 - (3/4)^64) = 2.2e-7: nothing left to learn.
    assert 0 < found["coverage/dco_weight"] < 1e-6
    assert coverage.measure(params) == found


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"ks": (1, 32)}, "coverage.ks=32: expected 1 to coverage.samples=16"),
        ({"every": 0}, "expected at least 1"),
        ({"temperature": 0.0}, "coverage.temperature=0.0: expected more than 0"),
    ],
)
def test_settings_that_cannot_be_met_are_refused(settings, words):
    with pytest.raises(InputError, match=words):
        CoverageConfig(source=Arithmetic(count=4), **settings)


def test_prompts_without_room_are_refused_before_the_run():
    settings = CoverageConfig(source=InMemory((Problem("p", "x" * 60, "1"),)), max_tokens=8)
    with pytest.raises(InputError, match="coverage.source has 62 tokens and the model room for 64"):
        HeldOutCoverage(settings, bigram_model(BYTES.vocab_size), Decoding(BYTES, CompletionTask()), None)


SHAPE = DecoderConfig(width=16, layers=1, heads=2, kv_heads=2, head_dim=8, mlp_width=24, max_length=64)


def metrics_of(folder):
    lines = read_log(folder)
    return [{name: value for name, value in line.items() if not name.startswith("time/")} for line in lines]


def test_any_run_logs_coverage_and_goes_on_as_it_would_have(tmp_path):
    data = DataConfig(
        source=Arithmetic(count=40, max_operands=3), task=CompletionTask(), tokenizer="arithmetic", sequence_length=64
    )
    config = Config(
        model=SHAPE,
        data=data,
        objective=Nll(),
        optim=OptimConfig(schedule="constant"),
        coverage=CoverageConfig(source=Arithmetic(count=6, seed=1), every=2, samples=4, max_tokens=4, rows=8),
        checkpoint=CheckpointConfig(every=2),
        steps=4,
        batch_size=8,
        log_every=3,
        tensorboard=False,
        run_dir=str(tmp_path / "through"),
    )
    loop.train(config)
    through = metrics_of(tmp_path / "through")
    # Before the first step, every second and behind the last; and each third line as always.
    assert [line["step"] for line in through] == [0, 2, 3, 4]
    assert ["coverage/pass@4" in line for line in through] == [True, True, False, True]
    assert {"coverage/pass@1", "coverage/pass@4_error", "coverage/cut", "alarm/coverage"} <= set(through[1])
    again = parse(config, ["--steps=2", f"--run_dir={tmp_path / 'cut'}"], "test")
    loop.train(again)
    loop.train(parse(again, ["--steps=4"], "test"))
    assert metrics_of(tmp_path / "cut") == through


@pytest.mark.slow
def test_training_on_near_equal_pairs_is_told_to_displace(tmp_path, capsys):
    # Chosen and rejected share all but their last letter, and the batch is small: both fall.
    pairs = [Problem(f"p{n}", f"{n}?", pairs=(Pair("", f"the word {n} a", f"the word {n} b"),)) for n in range(8)]
    config = Config(
        model=SHAPE,
        data=DataConfig(source=InMemory(tuple(pairs)), task=PairTask(), tokenizer="bytes", sequence_length=32),
        objective=Dpo(beta=0.1),
        optim=OptimConfig(learning_rate=2e-2, schedule="constant", warmup_steps=1),
        steps=60,
        batch_size=8,
        checkpoint=CheckpointConfig(every=100),
        tensorboard=False,
        run_dir=str(tmp_path / "run"),
    )
    loop.train(config)
    lines = metrics_of(tmp_path / "run")
    assert lines[-1]["reward_margin"] > lines[0]["reward_margin"] + 0.1
    assert lines[-1]["reward_chosen"] < -0.2
    assert capsys.readouterr().out.count("displacement: chosen texts become less likely") == 1
    assert (lines[0]["alarm/displacement"], lines[-1]["alarm/displacement"]) == (0, 1)
