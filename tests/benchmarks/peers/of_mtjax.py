"""mtjax as a user has it: the step and the data path of `python -m mtjax.train`, with its defaults.

Arguments: sft | dpo, model folder, data file, and any overrides of the config.
"""

import sys
import tempfile

import jax
import numpy as np
from protocol import Laps

import mtjax
from mtjax.config import Config
from mtjax.data.batches import DataConfig
from mtjax.data.sources import Jsonl
from mtjax.data.tasks import CompletionTask, PairTask
from mtjax.io.command_line import parse
from mtjax.objectives.dpo import Dpo
from mtjax.objectives.nll import Nll
from mtjax.optim import OptimConfig
from mtjax.runs.assembly import assemble


def main(kind: str, model: str, file: str, *overrides: str) -> None:
    """Steps of rows of 1,024 tokens, packed."""
    task = CompletionTask(template="{question}") if kind == "sft" else PairTask(template="{question}")
    config = Config(
        init_from=model,
        data=DataConfig(source=Jsonl(file), task=task, sequence_length=1024),
        objective=Nll() if kind == "sft" else Dpo(beta=0.1),
        optim=OptimConfig(learning_rate=2e-5),
        steps=10_000,
        batch_size=2 if kind == "sft" else 1,
        run_dir=tempfile.mkdtemp(),
        overwrite=True,
    )
    run = assemble(parse(config, list(overrides), "peers"))
    laps = Laps(mtjax=mtjax.__version__, jax=jax.__version__, settings=str(run.fit), chunk=run.config.chunk_size)
    state = run.state
    for number in range(run.config.steps):
        laps.wait()
        batch = run.choose(state.params, number).batch
        state, values = run.update(state, batch, jax.random.fold_in(run.seed, number), run.reference.params)
        jax.block_until_ready((state, values))
        segments = np.asarray(batch.segments)
        sides = segments.reshape(segments.shape[0], -1, segments.shape[-1])[:, 0]
        laps.done(int((segments > 0).sum()), int(sum(len(np.unique(row[row > 0])) for row in sides)))


if __name__ == "__main__":
    main(*sys.argv[1:])
