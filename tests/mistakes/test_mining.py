"""Mining in one process: verdicts by hand, log-probs against the scores, and every way to interrupt it."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtjax.data.problem import Problem
from mtjax.data.sources.arithmetic import Arithmetic
from mtjax.data.sources.mined import FILE, MinedProblem, Solution, read_mined
from mtjax.data.tasks import CompletionTask
from mtjax.data.tokenizer import load_tokenizer
from mtjax.errors import InputError
from mtjax.io.journal import Journal
from mtjax.mistakes.mining import MineConfig, MineData, checked, mine, plain, yield_table
from mtjax.model.decoder import DecoderConfig
from mtjax.model.language_model import make_language_model
from mtjax.model.policy import make_policy
from mtjax.sampling.config import SamplingConfig
from mtjax.sampling.local import LocalSampler, as_sample, fit_prompts
from mtjax.sampling.sampler import ProblemSamples, Sample, Unusable
from mtjax.sampling.texts import TokenSample
from mtjax.types import Batch

TOKENIZER = load_tokenizer("arithmetic")
PROBLEMS = list(Arithmetic(count=11, low=1, high=9).problems().items)
GOLDS = [problem.answer for problem in PROBLEMS]
TASK = CompletionTask()


@pytest.fixture(scope="module")
def model():
    """A tiny decoder whose end token is likely, so that answers end by themselves now and then."""
    config = DecoderConfig(
        vocab_size=TOKENIZER.vocab_size,
        width=16,
        layers=1,
        heads=2,
        kv_heads=1,
        head_dim=8,
        mlp_width=16,
        max_length=64,
    )
    made = make_language_model(config)
    return made, jax.jit(made.init)(jax.random.key(1))


class Policy:
    """A sampler with its prompts and its seed, as `mine` calls it."""

    def __init__(self, sampler, prompts, seed):
        self.sampler, self.prompts, self.seed = sampler, prompts, seed

    def __call__(self, numbers, stopped):
        return self.sampler.draw(self.prompts.ids, self.seed, stopped, numbers)


def policy(model, *, seed=0, samples=3, rows=6, temperature=1.0, stop=(), problems=PROBLEMS, max_new_tokens=6, **more):
    made, params = model
    prompts = fit_prompts(made, TOKENIZER, problems, TASK.prompt, max_new_tokens, **more)
    sampler = LocalSampler(
        model=made,
        params=params,
        tokenizer=TOKENIZER,
        sampling=SamplingConfig(temperature=temperature, max_new_tokens=max_new_tokens, samples=samples, stop=stop),
        rows=rows,
    )
    return Policy(sampler, prompts, seed)


def journal(folder, count=None, **settings):
    return Journal(folder, FILE, count or len(PROBLEMS), settings or {"a": 1}, {"b": 2})


def run(folder, draw, **options):
    """Mine into a folder; whether it finished, and the bytes of all files."""
    place = journal(folder)
    try:
        done = mine(PROBLEMS, GOLDS, place, draw, lambda text: None, **options)
    finally:
        place.close()
    return done, {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


# Verdicts.


def test_samples_become_distinct_solutions_with_verdicts():
    problem = Problem("p", "12 + 7 - 5 =", "14", source="arithmetic")
    right, wrong = (
        "Step 1: 12 + 7 = 19\nStep 2: 19 - 5 = 14\nAnswer: 14",
        "Step 1: 12 + 7 = 18\nStep 2: 18 - 5 = 13\nAnswer: 13",
    )
    lucky = "Step 1: 12 + 7 = 18\nStep 2: 18 - 5 = 14\nAnswer: 14"
    samples = [
        Sample(right, -1.0, 20),
        Sample(wrong, -2.0, 20),
        Sample(right + "\n", -9.0, 21),
        Sample(right, -1.0, 20),
    ]
    samples += [
        Sample(right, -3.0, 20, finished=False),
        Sample(lucky),
        Sample("Answer: 3 hours 20 minutes"),
        Sample(" "),
    ]
    mined = checked(problem, "14", ProblemSamples(5, samples))
    assert (mined.number, mined.id, mined.drawn) == (5, "p", 8)
    assert sum(solution.count for solution in mined.solutions) == 8
    a, b, cut, c, unknown, empty = mined.solutions
    assert (a.text, a.count, a.logprob, a.tokens, a.verdict, a.first_wrong) == (right, 3, -1.0, 20, "right", None)
    assert (b.verdict, b.answer, b.first_wrong, b.error, b.untrue) == ("wrong", "13", 0, "calculation", True)
    assert (cut.finished, cut.count) == (False, 1)  # the same text, but it did not end
    assert (c.verdict, c.first_wrong, c.untrue) == ("right", 0, True)  # two false steps that cancel
    assert (unknown.verdict, empty.verdict, empty.answer) == ("unknown", "unknown", None)


def test_other_problems_have_no_step_checker():
    mined = checked(Problem("p", "How many?", "3"), "3", ProblemSamples(0, [Sample("1 + 1 = 5\n#### 3")]))
    assert (mined.solutions[0].verdict, mined.solutions[0].first_wrong, mined.solutions[0].untrue) == (
        "right",
        None,
        False,
    )


def test_the_yield_by_hand():
    one = lambda verdict, count=1, **more: Solution(
        text=f"{verdict}{count}{more}", verdict=verdict, count=count, **more
    )
    solutions = [
        (one("right", 4),),  # all right
        (one("wrong", 3), one("wrong", 1, finished=False)),  # all wrong
        (one("right", 1), one("right", 1, untrue=True), one("wrong", 2)),  # mixed
        (one("right", 3), one("unknown", 1)),  # not all right, and none wrong
        (),  # could not be asked
    ]
    mined = [
        MinedProblem(number=n, id=str(n), question="?", answer="1", drawn=sum(s.count for s in own), solutions=own)
        for n, own in enumerate(solutions)
    ]
    found = dict(yield_table(mined).rows)
    assert found == {
        "problems": "5",
        "all right": "1",
        "all wrong": "1",
        "mixed": "1",
        "undecided": "1",
        "not sampled": "1",
        "samples": "16",
        "right": "56.2%",  # 4 + 1 + 1 + 3 = 9 of 16
        "right behind a false step": "1",
        "unknown verdicts": "1",
        "truncated": "1",
        "unique right": "4",
        "unique wrong": "3",
        "pairs possible": "2",  # 2 x 1 in the mixed one
        "pairs for training": "1",  # without the one behind a false step
    }


# What is drawn.


def test_logprob_is_the_models_own_at_temperature_one_end_token_included(model):
    draw = policy(model, temperature=0.7, samples=4)
    draw.sampler = dataclasses.replace(draw.sampler, by_token=True)
    attempts = [attempt for batch in draw(range(len(PROBLEMS)), lambda: False) for attempt in batch]
    made, params = model
    rows, starts, expected, ends = [], [], [], 0
    for attempt in attempts:
        prompt = draw.prompts.ids[attempt.number]
        for sample in attempt.samples:
            assert len(sample.token_ids) == sample.tokens
            assert (sample.token_ids[-1] == TOKENIZER.end_id) == sample.finished
            rows.append([*prompt, *sample.token_ids])
            starts.append(len(prompt))
            expected.append(sample.logprob)
            ends += sample.finished
    assert ends > 3
    tokens = np.array([row + [0] * (64 - len(row)) for row in rows], np.int32)
    segments = np.array([[1] * len(row) + [0] * (64 - len(row)) for row in rows], np.int32)
    batch = Batch(jnp.asarray(tokens), jnp.ones(tokens.shape), jnp.asarray(segments), {})
    scores = jax.jit(lambda params: make_policy(made, params).scores(batch).logprob)(params)
    own = [float(row[start:].sum()) for row, start in zip(scores, starts, strict=True)]
    np.testing.assert_allclose(own, expected, atol=1e-4)


def test_a_text_is_readable_if_it_can_be_trained_on():
    """This tokenizer has "Answer: " with its space as one token, and texts are stripped before they are trained on."""
    as_drawn = lambda text: as_sample(TokenSample(text, (1, 2), -1.0, -1.0, True), TOKENIZER).readable
    assert as_drawn("Step 1: 5 + 3 = 8\nAnswer: 8")
    assert not as_drawn("Step 1: 5 + 3 = 8\nAnswer: ")
    assert not as_drawn("hello")
    # A special token that the model drew is trained on as text, which this tokenizer cannot write, and bytes can.
    assert not as_drawn("Step 1: 5 + 3 = <|pad|>8\nAnswer: 8")
    assert as_sample(TokenSample("<|pad|>8", (1, 2), -1.0, -1.0, True), load_tokenizer("bytes")).readable


def test_the_seed_decides(model, tmp_path):
    files = [run(tmp_path / str(n), policy(model, seed=seed))[1][FILE] for n, seed in enumerate((0, 0, 1))]
    assert files[0] == files[1] != files[2]


def test_problems_do_not_depend_on_each_other(model):
    """To the bit: all of them, without the last two, and some in another order."""
    drawn = lambda draw, numbers: {a.number: a for batch in draw(numbers, lambda: False) for a in batch}
    some = drawn(policy(model), range(11))
    assert sorted(some) == list(range(11))
    assert drawn(policy(model, problems=PROBLEMS[:9]), range(9)) == {number: some[number] for number in range(9)}
    assert drawn(policy(model), [7, 2, 10]) == {number: some[number] for number in (7, 2, 10)}


def test_more_samples_than_rows(model):
    (attempt,) = next(policy(model, samples=5, rows=2)([3], lambda: False))
    assert (attempt.number, len(attempt.samples)) == (3, 5)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_stopped_anywhere_and_begun_again_gives_the_same_bytes(model, tmp_path, temperature):
    draw = policy(model, temperature=temperature)
    done, through = run(tmp_path / "through", draw)
    assert done
    assert sorted(through) == ["manifest.json", FILE]
    assert [mined.number for mined in read_mined(str(tmp_path / "through"))] == list(range(11))
    folder = tmp_path / "stopped"
    for _ in range(5):  # after one problem each
        done, files = run(folder, draw, stopped=lambda: True)
        assert not done
        assert FILE not in files
    assert run(folder, draw) == (True, through)

    def none(todo, stopped):
        assert todo == []
        yield from ()

    assert run(folder, none) == (True, through)  # nothing is drawn again


def test_a_record_torn_at_any_byte_is_drawn_again(model, tmp_path):
    draw = policy(model)
    through = run(tmp_path / "through", draw)[1]
    folder = tmp_path / "torn"
    for _ in range(2):  # one problem each
        run(folder, draw, stopped=lambda: True)
    part = folder / f"{FILE}.part"
    whole = part.read_bytes()
    lines = whole.splitlines(keepends=True)
    assert len(lines) == 2
    for size in (len(whole) - 1, len(lines[0]) + 30, len(lines[0]) + 1, len(lines[0]), len(lines[0]) - 1, 5, 0):
        part.write_bytes(whole[:size])
        place = journal(folder)
        assert len(place) == whole[:size].count(b"\n")
        place.close()
        assert part.stat().st_size == sum(len(line) for line in lines[: whole[:size].count(b"\n")])
    part.write_bytes(whole[: len(whole) - 9] + b"\0" * 9)  # what a power failure may leave
    assert run(folder, draw) == (True, through)


def test_records_come_in_any_order_and_more_than_once(tmp_path):
    numbers = [3, 0, 3, 10, 2, 1, 0, 9, 8, 7, 6, 5, 4]
    texts = iter(range(100))

    def draw(todo, stopped):
        for number in numbers:
            yield [ProblemSamples(number, [Sample(f"Answer: {next(texts)}")])]

    done, _ = run(tmp_path / "m", draw)
    assert done
    mined = list(read_mined(str(tmp_path / "m")))
    assert [one.number for one in mined] == list(range(11))
    assert [one.solutions[0].text for one in mined][:4] == ["Answer: 1", "Answer: 5", "Answer: 4", "Answer: 0"]


def test_a_failing_policy_keeps_what_it_gave(tmp_path):
    def draw(todo, stopped):
        yield [ProblemSamples(number, [Sample("Answer: 1")]) for number in todo[:4]]
        raise InputError("the server is gone")

    with pytest.raises(InputError, match="gone"):
        run(tmp_path / "m", draw)
    place = journal(tmp_path / "m")
    assert place.missing() == [4, 5, 6, 7, 8, 9, 10]
    with pytest.raises(RuntimeError, match="7 of 11 records are missing, the first is 4"):
        place.finish()
    place.close()


def test_a_kill_between_the_last_two_acts(model, tmp_path):
    through = run(tmp_path / "m", policy(model))[1]
    (tmp_path / "m" / f"{FILE}.part").write_bytes(through[FILE])
    assert run(tmp_path / "m", policy(model)) == (True, through)


# Prompts.


def test_prompts_that_do_not_fit_are_named_or_noted(model):
    long = Problem("long", " + ".join(["1"] * 40) + " =", "40")
    strange = Problem("strange", "Was?", "1")
    problems = [PROBLEMS[0], long, strange]
    with pytest.raises(InputError, match="problem long: its prompt has .* tokens; the model's 64 leave 58"):
        fit_prompts(model[0], TOKENIZER, problems, TASK.prompt, 6)
    with pytest.raises(InputError, match="problem strange: .*on_error=skip"):
        fit_prompts(model[0], TOKENIZER, [strange], TASK.prompt, 6)
    with pytest.raises(InputError, match="no problem can be asked"):
        fit_prompts(model[0], TOKENIZER, [strange], TASK.prompt, 6, skip=True)
    prompts = fit_prompts(model[0], TOKENIZER, problems, TASK.prompt, None, skip=True)
    assert [isinstance(ids, Unusable) for ids in prompts.ids] == [False, True, True]
    assert len(prompts.ids[0]) + prompts.max_new_tokens <= 64
    draw = policy(model, problems=problems, skip=True)
    attempts = [attempt for batch in draw([0, 1, 2], lambda: False) for attempt in batch]
    attempts.sort(key=lambda attempt: attempt.number)
    assert [len(attempt.samples) for attempt in attempts] == [3, 0, 0]
    assert "tokens" in attempts[1].note


# Settings.


def test_settings_are_checked_and_plain():
    config = MineConfig(data=MineData(source=Arithmetic(count=3)))
    assert json.dumps(plain(config))
    assert plain(config.data)["source"]["kind"] == "Arithmetic"
    for name, value in {"rows": 0, "seed": -1, "limit": 0}.items():
        with pytest.raises(InputError, match=f"{name}={value}: expected at least"):
            MineConfig(data=config.data, **{name: value})
    for name in ("samples", "max_new_tokens"):
        with pytest.raises(InputError, match=f"{name}=0: expected at least 1"):
            SamplingConfig(**{name: 0})
