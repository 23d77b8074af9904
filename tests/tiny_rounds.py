"""Rounds at a toy size: sums of two small numbers, a model of one layer, and a sampler that follows a script."""

import dataclasses
import hashlib

from mtjax.config import CheckpointConfig, Config
from mtjax.data.batches import DataConfig
from mtjax.data.sources import Arithmetic
from mtjax.data.tasks import CompletionTask
from mtjax.mistakes.curation import RightOnly
from mtjax.model.decoder import DecoderConfig
from mtjax.objectives.nll import Nll
from mtjax.optim import OptimConfig
from mtjax.runs.rounds.config import Rounds, Stops
from mtjax.sampling.config import SamplingConfig
from mtjax.sampling.sampler import ProblemSamples, Sample
from mtjax.training.checkpoint import place_of
from mtjax.training.checksums import saved_checksums

EASY = {"min_operands": 2, "max_operands": 2, "high": 4}
MODEL = DecoderConfig(width=16, layers=1, heads=2, kv_heads=1, head_dim=8, mlp_width=16, max_length=64)


def config(folder, *, objective=None, task=None, **changes):
    """Three rounds of six problems; `changes` are settings of `Rounds`, or of its `train` after `train_`."""
    own = {name[6:]: value for name, value in changes.items() if name.startswith("train_")}
    data = DataConfig(
        source=Arithmetic(count=12, **EASY), task=task or CompletionTask(), tokenizer="arithmetic", boundary="allow",
        sequence_length=48, max_segments=2,
    )  # fmt: skip
    train = Config(
        model=MODEL, data=data, objective=objective or Nll(), batch_size=4, run_dir=str(folder), tensorboard=False,
        optim=OptimConfig(learning_rate=1e-2, schedule="constant"), checkpoint=CheckpointConfig(every=1), seed=1,
    )  # fmt: skip
    rest = {name: value for name, value in changes.items() if not name.startswith("train_")}
    settings = {"problems": 6, "updates": 2, "rows": 12, "curation": RightOnly(), "stop": Stops(mixed=False)}
    sampling = SamplingConfig(samples=4, max_new_tokens=16)
    return Rounds(train=dataclasses.replace(train, **own), **{"sampling": sampling, **settings, **rest})


class Scripted:
    """Draws right and wrong solutions by the prompt, the seed and the number, three problems at a time."""

    def __init__(self, share=0.5, samples=4):
        self.share, self.samples, self.asked = share, samples, []

    def __call__(self, trainer):
        self.tokenizer = trainer.tokenizer
        return self

    def draw(self, prompts, seed, stopped, numbers=None):
        wanted = list(range(len(prompts))) if numbers is None else list(numbers)
        for first in range(0, len(wanted), 3):
            batch = wanted[first : first + 3]
            self.asked += batch
            yield [ProblemSamples(n, [self.sample(prompts[n], seed, n, k) for k in range(self.samples)]) for n in batch]
            if stopped():
                return

    def sample(self, prompt, seed, number, place):
        question = self.tokenizer.decode(prompt).strip()
        left, sign, right = question.removesuffix("=").split()
        value = int(left) + int(right) if sign == "+" else int(left) - int(right)
        drawn = hashlib.sha256(f"{seed} {number} {place}".encode()).digest()[0] / 256
        said = value if drawn < self.share else value + 1
        text = f"Step 1: {left} {sign} {right} = {said}\nAnswer: {said}"
        ids = (*self.tokenizer.encode(text).ids, self.tokenizer.end_id)
        logprobs = tuple(-0.25 for _ in ids)
        return Sample(text, sum(logprobs), len(ids), token_ids=ids, token_logprobs=logprobs, proposal_logprobs=logprobs)


def files_of(folder):
    """The bytes of everything that a run repeats: all but times, checkpoints' own files and settings with its place."""
    kept = ("rounds.jsonl", "metrics.jsonl", "report.md", "report.html")
    found = {name: (folder / name).read_bytes() for name in kept if (folder / name).is_file()}
    for part in ("attempts", "measured"):
        for file in sorted((folder / part).glob("*")):
            if file.name != "manifest.json":
                found[f"{part}/{file.name}"] = file.read_bytes()
    return found


def arrays_of(folder, place="checkpoints"):
    """Checksums of every array of the newest checkpoint, as they are kept beside it."""
    steps = sorted(int(path.name) for path in (folder / place).iterdir() if path.name.isdigit())
    return steps[-1], saved_checksums(place_of(folder / place) / str(steps[-1]), required=True)
