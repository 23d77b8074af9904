"""The loop: from the start, or the newest checkpoint, to the last round, a stop rule or a signal."""

import contextlib
import json
import pathlib
import signal
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax

from mtjax import config as settings
from mtjax.data.tokenizer import Tokenizer
from mtjax.distributed import hosts
from mtjax.distributed.signals import signals
from mtjax.errors import ExitCode, InputError
from mtjax.io.files import write_text
from mtjax.io.lock import locked
from mtjax.io.progress import progress, say
from mtjax.mistakes.curation import Attempted, Curated
from mtjax.runs.adapters import keep_base
from mtjax.runs.rounds.attempts import Asked, Drawn, begun, draw, problems_of, replayed, sampler_of
from mtjax.runs.rounds.config import Rounds
from mtjax.runs.rounds.folder import SUMMARY, TIMES, open_folder, read_lines, with_schedule, write_lines, write_settings
from mtjax.runs.rounds.helping import helpers_of
from mtjax.runs.rounds.measuring import HeldOut
from mtjax.runs.rounds.stopping import alarm, best_round, reason_to_stop
from mtjax.runs.rounds.trainer import Halted, Trained, Trainer, closing
from mtjax.runs.same_run import snapshot_of
from mtjax.runs.start import keep_start
from mtjax.sampling.sampler import Sampler
from mtjax.training.checkpoint import Checkpoints, abstract_state, folders_of, read_about, saved_steps
from mtjax.training.metrics_log import MetricsLog, cut_back
from mtjax.training.trackers import Tracked
from mtjax.training.trackers.tensorboard import TensorBoard
from mtjax.types import LanguageModel, Params, short_repr

REFERENCES = "references"
"""Folder of the references that rounds have renewed, beside the checkpoints."""

MakeSampler = Callable[[Trainer], Sampler]
"""Makes the sampler of a round from the trainer, in place of the local model: a scripted one in tests."""


@short_repr
class Outcome(NamedTuple):
    """What a run of rounds ended with."""

    lines: list[dict[str, Any]]  # one for each round, the start being round 0; as rounds.jsonl has them
    model: LanguageModel
    params: Params
    tokenizer: Tokenizer
    exit_code: ExitCode  # `DONE` at the last round or by a stop rule; else `STOPPED` or `INTERRUPTED`
    why: str = ""  # the stop rule that ended the run; "" where none did


def run(
    config: Rounds,
    *,
    start: Params | None = None,
    make_sampler: MakeSampler | None = None,
    say: Callable[[str], None] = say,
) -> Outcome:
    """Run `config` to its last round, a stop rule or a signal; resumes what is in `train.run_dir`.

    Equal settings, start and seed give equal bytes, whether the run was killed or not: attempts (`attempts/`),
    measurements (`measured/`), `rounds.jsonl`, `metrics.jsonl` and parameters. Times are in `times.jsonl`. Of many
    hosts all call this alike, and the first one writes all files but checkpoints.

    Args:
        start: parameters to start from, in place of `train.init_from`; pass the same ones again to resume.
        make_sampler: makes the sampler of each round; None samples from the policy in memory.

    Raises:
        InputError: bad settings or data, or a folder of other settings.
        NonFiniteLoss: names round, update and examples; the last checkpoint stays as it was.
    """
    with contextlib.ExitStack() as stack:
        hosts.on_first(lambda: stack.enter_context(locked(config.train.run_dir, "--train.run_dir")))
        config = with_schedule(config)
        return _Run(config, start, make_sampler, say).run()


class _Run:
    """The parts of a run whose folder is locked."""

    def __init__(
        self, config: Rounds, start: Params | None, make_sampler: MakeSampler | None, say: Callable[[str], None]
    ):
        self.config, self.say, self.folder = config, say, pathlib.Path(config.train.run_dir)
        self.journal_settings = open_folder(config)
        self.snapshot = snapshot_of(config.train)
        self.trainer = Trainer(config, start)
        self.asked: Asked = problems_of(config, self.trainer)
        self.held_out = None if config.measure is None else HeldOut(config, config.measure, self.trainer)
        self.make_sampler = make_sampler
        self.kept: Any = None
        self.seconds: dict[str, float] = {}
        self.references: Checkpoints | None = None  # of a reference that rounds renew

    def run(self) -> Outcome:
        """All rounds."""
        config, trainer, folder = self.config, self.trainer, self.folder
        c = config.train
        places = folders_of(folder, c.checkpoint.folder)
        first = hosts.on_first(lambda: max(saved_steps(places[0]), default=0))
        if trainer.keeps_base and not first:
            keep_base(places[0].parent, trainer.state.params["base"])
        made_by = settings.flatten(c.objective, "objective")
        checkpoints, best = Checkpoints(places[0], c.checkpoint.keep, made_by), Checkpoints(places[1], 1, made_by)
        with contextlib.ExitStack() as stack:
            stack.push(closing(checkpoints, best))
            if config.renew_reference and trainer.compared is not None:
                self.references = Checkpoints(places[0].parent / REFERENCES, (c.checkpoint.keep or 0) + 1)
                stack.push(closing(self.references))
            if found := checkpoints.restore_latest(abstract_state(trainer.saved())):
                first = found[0]
                trainer.restore(found[1], int(hosts.on_first(lambda: read_about(places[0], first)["updates"])))
                self.restore_reference(first)
            write_settings(config)
            hosts.on_first(lambda: keep_start(folder, c, trainer.tokenizer, anew=not found))
            hosts.on_first(lambda: (folder / SUMMARY).unlink(missing_ok=True))  # of a run with fewer rounds
            lines = read_lines(folder, first)
            if first and (not lines or lines[-1]["round"] != first):
                raise InputError(f"{folder / 'rounds.jsonl'} lacks round {first}, which is saved; bring the file back")
            hosts.on_first(lambda: cut_back(folder / "metrics.jsonl", trainer.updates if first else -1))
            self.kept = replayed(config, self.asked, config.curation, first, self.curate)
            sinks = [*([TensorBoard()] if c.tensorboard else []), *([c.tracker] if c.tracker else [])]
            log = MetricsLog(Tracked(folder, settings.flatten(c), trainer.updates), list(dict.fromkeys(sinks)))
            stack.callback(log.close)
            stopped = stack.enter_context(signals())
            if first:
                self.say(f"round {first} of {config.rounds} is saved; going on from it")
            try:
                why = self.rounds(first, lines, checkpoints, best, log, stopped)
            except Halted:
                saved = checkpoints.steps()
                self.say(f"stopped  after round {saved[-1] if saved else 0}; the same command goes on from there")
                code = ExitCode.INTERRUPTED if stopped() == signal.SIGINT else ExitCode.STOPPED
                return Outcome(lines, trainer.model, trainer.params, trainer.tokenizer, code)
        summary = {"round": lines[-1]["round"], "why": why, "best": best_round(lines)}
        hosts.on_first(lambda: write_text(folder / SUMMARY, json.dumps(summary) + "\n"))
        return Outcome(lines, trainer.model, trainer.params, trainer.tokenizer, ExitCode.DONE, why)

    def rounds(
        self, first: int, lines: list[dict[str, Any]], checkpoints: Checkpoints, best: Checkpoints, log: MetricsLog,
        stopped: Callable[[], Any],
    ) -> str:  # fmt: skip
        """The rounds after `first`; returns why they ended early, or ""."""
        config, trainer = self.config, self.trainer
        if not lines:
            lines.append({"round": 0, "updates": 0, "total_tokens": 0, **self.measured(0)})
            self.wrote(lines)
        with progress("rounds", config.rounds, first) as advance:
            for number in range(first + 1, config.rounds + 1):
                if why := reason_to_stop(config, lines):
                    return why
                if stopped():
                    raise Halted
                self.seconds, began = {}, time.perf_counter()
                lines.append(self.round(number, lines[-1], log, stopped))
                why = reason_to_stop(config, lines)
                last = number == config.rounds or bool(why)
                if "measured" not in lines[-1] and why:
                    lines[-1] |= self.measured(number)
                self.wrote(lines)
                about = self.about(number)
                if "measured" in lines[-1] and best_round(lines) == number:
                    self.timed("save", best.save, number, trainer.saved(), about)
                if last or number % config.train.checkpoint.every == 0:
                    log.sync()
                    self.timed("save", checkpoints.save, number, trainer.saved(), about)
                self.write_times(number, time.perf_counter() - began)
                self.announce(lines)
                advance(1, "")
                if why:
                    return why
        return reason_to_stop(config, lines) if lines[-1]["round"] < config.rounds else ""

    def round(self, number: int, before: dict[str, Any], log: MetricsLog, stopped: Callable[[], Any]) -> dict[str, Any]:
        """One round; returns its line."""
        config, trainer = self.config, self.trainer
        drawn = self.attempts(number, stopped)
        curated = self.timed("curate", self.curate, drawn.attempts, self.kept, number)
        self.kept = curated.kept
        every = config.train.log_every
        note = lambda update, values: log.write(update, values) if update % every == 0 else None
        trained: Trained = self.timed("train", trainer.train, curated.problems, number, note, stopped)
        if self.references is not None and number % (config.renew_reference or 1) == 0:
            self.timed("renew", self.renew_reference, number)
        right, wrong = (sum(one.mined.samples(side) for one in drawn.attempts) for side in ("right", "wrong"))
        mixed = sum(bool(one.mined.samples("right") and one.mined.samples("wrong")) for one in drawn.attempts)
        tokens = drawn.tokens + int(trained.tokens)
        line: dict[str, Any] = {
            "round": number, "updates": trainer.updates, "total_tokens": before["total_tokens"] + tokens,
            "problems": len(drawn.attempts), "mixed": mixed, "samples": drawn.samples, "right": right, "wrong": wrong,
            "sampled_tokens": drawn.tokens, "curated_problems": len(curated.problems), **curated.counts,
            "trained": {**trained._asdict(), "means": trained.means},
        }  # fmt: skip
        measure = config.measure
        if measure and (number % measure.every == 0 or number == config.rounds):
            line |= self.measured(number)
        return line

    def measured(self, number: int) -> dict[str, Any]:
        """What is measured of the policy after a round; {} where nothing is."""
        if self.held_out is None:
            return {}
        found = {"measured": self.timed("measure", self.held_out.measure, number)}
        return found | ({"metrics": numbers} if (numbers := self.held_out.numbers(number)) else {})

    def attempts(self, number: int, stopped: Callable[[], Any]) -> Drawn:
        """The attempts of a round."""
        with self.trainer.on_mesh():
            made = self.make_sampler
            sampler = sampler_of(self.config, self.trainer, self.asked.prompts) if made is None else made(self.trainer)
            begins = begun(self.config, self.trainer, self.asked, self.kept, number)
            drawn = draw(self.config, self.asked, sampler, number, self.journal_settings, stopped, begins)
        self.seconds["sample"], self.seconds["grade"] = drawn.seconds
        return drawn

    def renew_reference(self, number: int) -> None:
        """Make the reference the policy after round `number`, and keep it, since later checkpoints do not hold it."""
        assert self.references is not None
        self.trainer.renew_reference()
        self.references.save(number, self.trainer.own_reference())

    def restore_reference(self, number: int) -> None:
        """The reference as it was after round `number`."""
        every = self.config.renew_reference
        if self.references is None or every is None or number < every:
            return
        renewed = number - number % every
        like = abstract_state(self.trainer.own_reference())
        if renewed not in self.references.steps():
            raise InputError(
                f"{self.references.folder} lacks the reference of round {renewed}, which round {number} was trained "
                "against; bring it back, or start again with train.overwrite"
            )
        self.trainer.renew_reference(self.references.restore(renewed, like))

    def curate(self, attempts: Sequence[Attempted], kept: Any, number: int) -> Curated:
        """The training data of a round."""
        helpers = helpers_of(self.config, self.trainer, number, self.journal_settings)
        return self.config.curation(attempts, kept, helpers)  # type: ignore[no-any-return]

    def timed(self, phase: str, call: Callable[..., Any], *args: Any) -> Any:
        """What a call returns, its seconds added to those of a phase."""
        since = time.perf_counter()
        found = call(*args)
        if phase == "train":
            jax.block_until_ready(self.trainer.state.params)
        self.seconds[phase] = self.seconds.get(phase, 0.0) + time.perf_counter() - since
        return found

    def about(self, number: int) -> dict[str, Any]:
        """What a checkpoint keeps beside the state."""
        own = {"made_of": self.trainer.facts, "updates": self.trainer.updates, "round": number}
        return {**own, "snapshot": self.snapshot}

    def wrote(self, lines: list[dict[str, Any]]) -> None:
        """Write the lines so far."""
        self.timed("write", write_lines, self.folder, lines)

    def write_times(self, number: int, total: float) -> None:
        """Add the seconds of a round, by phase, to the file of times."""
        if hosts.index():
            return
        rounded = {name: round(seconds, 4) for name, seconds in self.seconds.items()}
        with (self.folder / TIMES).open("a") as out:
            out.write(json.dumps({"round": number, "total": round(total, 4), **rounded}) + "\n")

    def announce(self, lines: Sequence[dict[str, Any]]) -> None:
        """Print a round in one line, and the alarm of coverage."""
        line = lines[-1]
        judged = line["right"] + line["wrong"]
        said = [f"round    {line['round']}/{self.config.rounds}", f"{line['right'] / max(judged, 1):.1%} right"]
        said += [f"{line['mixed']} of {line['problems']} problems mixed", f"{line['trained']['updates']} updates"]
        if (loss := line["trained"]["means"].get("loss")) is not None:
            said.append(f"loss {loss:.4f}")
        said += [f"{name} {value:.3f}" for name, value in line.get("measured", {}).items()]
        self.say("  ".join(said))
        if not judged:
            self.say(
                f"warning  none of {line['samples']:,} attempts could be judged; look at the grader and at attempts/"
            )
        if "measured" in line and (warning := alarm(self.config, lines)):
            self.say(f"warning  {warning}")
