"""A verbalised-learning job from its settings: examples, learner and optimizer, the loop, and what it found."""

import contextlib
import dataclasses
import json
import math
import pathlib

from mtjax.distributed.signals import signals
from mtjax.errors import ExitCode, InputError
from mtjax.io.files import write_text
from mtjax.mistakes.self_rethinking import Generate
from mtjax.mistakes.verbalised import Example, VerbaliseConfig, learn_text, not_equal, squared_error
from mtjax.runs.loading import Loaded
from mtjax.runs.model_or_server import Say, is_url, read_problems
from mtjax.runs.rethinking import Halt, from_model, from_server, in_turn


def run(name: str, config: VerbaliseConfig, say: Say = print, loaded: Loaded | None = None) -> ExitCode:
    """Learn a text with the model called `name`, or with one that is `loaded` already, as the learner.

    Raises:
        InputError: bad settings, problems without answers, prompts that are too long.
    """
    problems, golds = read_problems(config, say)
    examples = [Example(one.question, gold) for one, gold in zip(problems, golds, strict=True)]
    if config.held_out >= len(examples):
        raise InputError(
            f"held_out={config.held_out} of {len(examples)} problems leaves none to learn from; hold out fewer"
        )
    cut = len(examples) - config.held_out
    with contextlib.ExitStack() as stack:
        stopped = stack.enter_context(signals())

        def replies(who: str, model: Loaded | None, number: int) -> Generate:
            policy = from_server(who, config, say) if is_url(who) else from_model(who, config, model, stack, say)
            return in_turn(policy, config.seed, number, stopped)

        learner = replies(name, loaded, 0)
        optimizer = learner if config.optimizer is None else replies(config.optimizer, None, 1)
        try:
            found = learn_text(
                config.theta, examples[:cut], learner, optimizer,
                loss=squared_error if config.loss == "number" else not_equal, held_out=examples[cut:],
                config=dataclasses.replace(config.learning, seed=config.seed),
            )  # fmt: skip
        except Halt:
            say("stopped before the end; nothing is written")
            return ExitCode.STOPPED
    where = f"{config.held_out} held-out problems" if config.held_out else "the first problems"
    malformed = sum(step.malformed for step in found.steps)
    say(f"loss on {where}: {' '.join(f'{value:.6g}' for value in found.losses)} (start, and after each epoch)")
    if malformed:
        say(f"note: {malformed} of {len(found.steps)} replies of the optimizer lacked one of the two fields")
    say(f"\n{found.theta}")
    if config.output is not None:
        folder = pathlib.Path(config.output).expanduser()
        folder.mkdir(parents=True, exist_ok=True)
        known = lambda loss: loss if math.isfinite(loss) else None  # JSON has no infinity
        about = {"model": name, "optimizer": config.optimizer or name, "losses": [*map(known, found.losses)]}
        steps = [step._asdict() | {"loss": known(step.loss)} for step in found.steps]
        write_text(folder / "theta.txt", found.theta + "\n")
        write_text(folder / "verbalised.json", json.dumps({**about, "theta": found.theta, "steps": steps}, indent=2))
        say(f"wrote {folder}/theta.txt and verbalised.json")
    return ExitCode.DONE
