"""Paper 16, Verbalized Machine Learning (arXiv 2406.04344): the loop with a scripted optimizer."""

import json
import math
import re

import pytest

from mtjax.errors import ExitCode, InputError
from mtjax.mistakes.verbalised import (
    Example,
    VerbalisedConfig,
    filled,
    learn_text,
    not_equal,
    parse_reply,
    squared_error,
)
from mtjax.verbalise import main
from tests.sampling.fake_server import FakeServer

EXAMPLES = [Example(str(x), str(3 * x)) for x in range(1, 9)]
THETA = "Multiply by {slope}."


def learner(prompts):
    """Reads the slope in the text and applies it, as a model that follows instructions would."""
    out = []
    for prompt in prompts:
        slope, x = re.search(r"Multiply by (\S+)\.\n\nInput: (\S+)", prompt).groups()
        out.append(f"y = {float(slope) * float(x)}")
    return out


def optimizer(prompts):
    """Halves the residual that it reads, and says the new slope."""
    (prompt,) = prompts
    slope = float(re.search(r"Multiply by (\S+)\.", prompt)[1])
    rows = re.findall(r"Input: (\S+)\nOutput: y = (\S+)\nTarget: (\S+)\n", prompt)
    wanted = sum(float(y) / float(x) for x, _, y in rows) / len(rows)
    return [f"Reasoning: outputs are off by a factor\nNew instructions: {THETA.format(slope=(slope + wanted) / 2)}"]


def learn(optimizer=optimizer, **settings):
    config = VerbalisedConfig(batch=4, epochs=3, **settings)
    return learn_text(THETA.format(slope=1), EXAMPLES, learner, optimizer, config=config)


def test_the_loss_falls_every_step_and_the_best_text_is_returned():
    found = learn()
    losses = [step.loss for step in found.steps]
    assert len(found.steps) == 6
    assert all(after < before for before, after in zip(losses[::2], losses[2::2], strict=False))
    assert found.losses == sorted(found.losses, reverse=True)
    assert found.theta == found.steps[-1].theta == THETA.format(slope=3 - 2 / 2**6)
    assert found == learn()


def test_a_malformed_reply_leaves_the_text():
    found = learn(lambda prompts: ["Multiply by 5."])
    assert all(step.malformed and step.theta == THETA.format(slope=1) for step in found.steps)
    assert found.theta == THETA.format(slope=1)
    worse = learn(lambda prompts: ["Reasoning: why not\nNew instructions: Multiply by 9."])
    assert worse.theta == THETA.format(slope=1)  # it was tried, and is worse
    assert worse.steps[-1].theta == "Multiply by 9."


def test_the_optimizer_sees_what_was_tried():
    seen = []

    def watching(prompts):
        seen.extend(prompts)
        return optimizer(prompts)

    learn(watching, history=2)
    assert "Earlier" not in seen[0]
    assert [prompt.count("\nLoss ") for prompt in seen] == [0, 1, 2, 2, 2, 2]


def test_the_parts():
    both = parse_reply("**Reasoning:** too low\n\n**New instructions:** Add 2.\nThen 3.")
    assert both == ("too low", "Add 2.\nThen 3.")
    assert parse_reply("Reasoning: x\nNew instructions: ") is None
    assert squared_error("y = 2.5 or -1", "1") == 4
    assert math.isinf(squared_error("none", "1"))
    assert (not_equal(" A b", "a  B"), not_equal("a", "b")) == (0, 1)
    assert filled("{theta} {input} {other}", theta="{input}", input="x") == "{input} x {other}"
    with pytest.raises(InputError, match=r"verbalised\.learner lacks \{input\}"):
        VerbalisedConfig(learner="{theta}")
    with pytest.raises(InputError, match="no examples"):
        learn_text("t", [], learner, optimizer)


def says(prompt, seed, i):
    """A server that follows instructions, and another model behind it that improves them."""
    text = prompt.removeprefix("user:")
    return optimizer([text])[0] if "Targets" in text or "Target:" in text else learner([text])[0]


def test_the_command_learns_over_a_server(tmp_path, capsys):
    lines = [json.dumps({"question": one.input, "answer": one.target}) for one in EXAMPLES]
    (tmp_path / "data.jsonl").write_text("\n".join(lines))
    words = ["data.source:jsonl", f"--data.source.path={tmp_path}/data.jsonl", "--loss=number", "--held_out=2"]
    with FakeServer(say=says).running() as url:
        learnt = ["--learning.batch=3", "--learning.epochs=2", f"--output={tmp_path}/out"]
        assert main([url, *words, f"--theta={THETA.format(slope=1)}", *learnt]) == ExitCode.DONE
        assert main([url, *words, "--theta= "]) == ExitCode.BAD_INPUT
        assert main([url, *words, "--theta=x", "--held_out=8"]) == ExitCode.BAD_INPUT
    said = capsys.readouterr()
    assert "say which text to start from" in said.err
    with FakeServer(say=lambda prompt, seed, i: "no number").running() as url:
        assert main([url, *words, "--theta=x", "--learning.epochs=1", f"--output={tmp_path}/none"]) == ExitCode.DONE
    text = (tmp_path / "none" / "verbalised.json").read_text()
    kept = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert kept["losses"] == [None, None]  # infinite: no reply has a number
    assert "held_out=8 of 8 problems leaves none" in said.err
    assert (tmp_path / "out" / "theta.txt").read_text() == f"{THETA.format(slope=3 - 2 / 2**4)}\n"
    kept = json.loads((tmp_path / "out" / "verbalised.json").read_text())
    assert kept["losses"] == sorted(kept["losses"], reverse=True)
    assert len(kept["steps"]) == 4
