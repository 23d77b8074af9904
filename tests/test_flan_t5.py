"""An encoder-decoder from config to export: every objective trains it as it is, packed or not, on 1 and 8 devices."""

import dataclasses
import json
import pathlib

import jax.numpy as jnp
import numpy as np
import pytest

from mtjax.config import Config, read_file
from mtjax.data.tasks import MistakeTask
from mtjax.data.tasks.triplet import TripletTask
from mtjax.distributed.sharding import MeshSpec
from mtjax.errors import ExitCode
from mtjax.model.adapters.lora import Lora
from mtjax.model.encoder import Encoder
from mtjax.model.policy import make_policy
from mtjax.objectives import OBJECTIVES
from mtjax.runs.loading import load_any
from mtjax.runs.loop import train
from mtjax.sampling.config import SamplingConfig
from mtjax.sampling.texts import sample_texts
from mtjax.types import Batch
from tests import test_every_objective_trains as by_task
from tests.devices import only_one_device

TINY = read_file(pathlib.Path(__file__).parents[1] / "configs" / "tiny_flan_t5.py")
TASKS = {**by_task.TASKS, "mistake": MistakeTask(decode_prefix="correct", loss_on="rationale")}
TASKS["triplet"] = TripletTask(prompt_weight=0.0)  # the encoder reads the prompt, and predicts nothing
# A decoder with an encoder has no value head.
TRAINED = [name for name, cls in sorted(OBJECTIVES.items()) if not getattr(cls, "needs_value", False)]


def config(folder, objective="mistake_tuning", **settings) -> Config:
    """The tiny config with one layer a stack, for a few steps."""
    shape = dataclasses.replace(TINY.model, width=16, layers=1, head_dim=8, mlp_width=16, encoder=Encoder(layers=1))
    made = OBJECTIVES[objective](**by_task.GIVEN.get(objective, {}))
    source = by_task.source_for(objective, dataclasses.replace(TINY.data.source, count=60))
    task = by_task.OWN_TASK.get(objective, TASKS[made.task])
    data = dataclasses.replace(TINY.data, task=task, source=source)
    changed = {"model": shape, "data": data, "objective": made, "run_dir": str(folder / "run"), "held_out": None}
    return dataclasses.replace(TINY, **changed | {"steps": 2, "tensorboard": False} | settings)


def losses(folder):
    return [json.loads(line)["loss"] for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]


def test_the_tiny_config_trains(tmp_path, one_device):
    assert train(config(tmp_path, steps=1, self_check=False)).exit_code == ExitCode.DONE
    loaded = load_any(str(tmp_path / "run"))
    assert loaded.tokenizer.closing == "<|end|>"
    assert loaded.model.config.encoder == Encoder(layers=1, end_id=loaded.tokenizer.end_id, start_id=37)
    assert 2 < losses(tmp_path)[0] < 6


@pytest.mark.slow
def test_a_run_is_decoded_scored_and_exported(tmp_path, one_device):
    assert train(config(tmp_path, export=str(tmp_path / "export"))).exit_code == ExitCode.DONE
    run, export = load_any(str(tmp_path / "run")), load_any(str(tmp_path / "export"))
    assert run.tokenizer.closing == export.tokenizer.closing == "<|end|>"
    assert run.model.config.encoder == export.model.config.encoder
    prompts = [run.decoding.prompt("12 + 5 - 3 =", prefix) for prefix in ("right", "wrong")]
    settings = SamplingConfig(max_new_tokens=6, samples=2)
    found, again = (
        sample_texts(one.model, one.params, one.tokenizer, prompts, settings, seed=0, rows=4) for one in (run, export)
    )
    assert found == again
    assert found[0] != found[1]
    # The log-probability that the sampler says is what the policy says of the complete row.
    ids = [*run.tokenizer.encode(prompts[0] + "<|end|>").ids, *found[0][0].tokens]
    tokens = jnp.zeros((1, 96), jnp.int32).at[0, : len(ids)].set(jnp.asarray(ids))
    segments = (jnp.arange(96) < len(ids))[None].astype(jnp.int32)
    scores = make_policy(run.model, run.params).scores(Batch(tokens, 0.0 * tokens, segments, {}))
    np.testing.assert_allclose(scores.logprob.sum(), found[0][0].logprob, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINED)
def test_every_objective_trains_packed_or_not_on_one_and_eight_devices(name, tmp_path):
    folders = {kind: tmp_path / kind for kind in ("one", "alone", "eight")}
    with only_one_device():
        assert train(config(folders["one"], name)).exit_code == ExitCode.DONE
        alone = config(folders["alone"], name)
        assert train(dataclasses.replace(alone, data=dataclasses.replace(alone.data, pack=False))).exit_code == 0
    assert train(config(folders["eight"], name, mesh=MeshSpec(data=2, fsdp=2, context=2))).exit_code == 0
    np.testing.assert_allclose(losses(folders["eight"]), losses(folders["one"]), rtol=1e-5)
    assert np.isfinite(losses(folders["alone"])).all()
    closed_form = getattr(OBJECTIVES[name](), "at_reference", None)
    if closed_form is not None:
        np.testing.assert_allclose([losses(folders[kind])[0] for kind in folders], closed_form, atol=1e-4)


@pytest.mark.slow
@pytest.mark.usefixtures("one_device")
def test_a_run_goes_on_from_another_and_lora_shares_its_base_with_the_reference(tmp_path):
    train(config(tmp_path / "first", "nll"))
    start, lora = str(tmp_path / "first" / "run"), Lora(rank=2, targets=("EncDecAttention.*", "wo"))
    model = dataclasses.replace(config(tmp_path).model, adapter=lora)
    second = config(tmp_path / "second", "dpo", init_from=start, model=model)
    second = dataclasses.replace(second, data=dataclasses.replace(second.data, tokenizer=None))
    assert train(second).exit_code == ExitCode.DONE
    np.testing.assert_allclose(losses(tmp_path / "second")[0], np.log(2), atol=1e-5)
    loaded = load_any(str(tmp_path / "second" / "run"))
    assert loaded.tokenizer.closing == "<|end|>"
    assert loaded.model.config.adapter is None
