"""What each of two hosts runs in `test_rounds_hosts.py`: `python rounds_hosts.py FOLDER [small]`."""

import contextlib
import io
import json
import pathlib
import sys

from mtjax.data.sources import Arithmetic
from mtjax.data.tasks import CompletionTask
from mtjax.distributed import hosts
from mtjax.distributed.sharding import MeshSpec, make_mesh
from mtjax.errors import ExitCode
from mtjax.evaluation.config import EvaluateConfig
from mtjax.generate import Generate, generate
from mtjax.mistakes.mining import MineConfig, MineData
from mtjax.runs import mining
from mtjax.runs.evaluation import evaluate, save
from mtjax.runs.loading import load_any
from mtjax.runs.rounds.loop import run
from mtjax.sampling.config import SamplingConfig
from tests.killed_rounds import settings
from tests.tiny_rounds import EASY, config

DEVICES = 8


def commands(folder):
    """Mine, evaluate and ask the model of the run; its files are in `mined` and `evaluated`."""
    name, source = str(folder / "run"), Arithmetic(count=5, seed=3, split="test", **EASY)
    data = MineData(source=source, task=CompletionTask(template="{question}\n"))
    drawn = SamplingConfig(samples=3, max_new_tokens=8)
    mining.run(name, MineConfig(data=data, sampling=drawn, output=str(folder / "mined"), rows=8))
    mesh = make_mesh(MeshSpec())
    loaded = load_any(name, mesh=mesh)
    own = EvaluateConfig(data=settings(folder).train.data, sampling=drawn, limit=5, rows=8)
    save(evaluate(loaded, own, mesh), {}, folder / "evaluated")
    with contextlib.redirect_stdout(io.StringIO()) as said:
        generate(Generate(model=name, prompts=("1 + 2 =", "2 + 2 ="), sampling=drawn, raw=True, mesh=MeshSpec()))
    if hosts.index() == 0:
        (folder / "generated.txt").write_text(said.getvalue())


def main(folder, *words):
    """Run the rounds; each host leaves what it saw in `FOLDER/host-N.json`."""
    with hosts.session():
        if words == ("small",):
            made = config(folder / "run", rounds=1, problems=4, train_batch_size=8, rows=8, train_mesh=MeshSpec())
        else:
            made = settings(folder / "run", devices=-1)
        outcome = run(made)
        if not words and outcome.exit_code == ExitCode.DONE:
            commands(folder)
        (folder / f"host-{hosts.index()}.json").write_text(json.dumps(outcome.lines))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), *sys.argv[2:])
