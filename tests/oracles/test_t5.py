"""Random checkpoints of T5 against PyTorch: packed log-probabilities, gradients, greedy decoding, buckets, export."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from mtjax import export
from mtjax.model import huggingface, peft
from mtjax.model.adapters.lora import Lora
from mtjax.model.families import FAMILIES
from mtjax.model.families.tensors import hub_tensors, whole_to_hub
from mtjax.model.policy import make_policy
from mtjax.model.relative import bucket_of
from mtjax.sampling.config import SamplingConfig
from mtjax.sampling.engine import Request, make_engine
from mtjax.types import Batch
from tests.oracles.test_round_trips import adapted
from tests.oracles.test_transformers import SEEDS, pytestmark, torch_does  # noqa: F401

SIZES = [(9, 7), (23, 3), (0, 12), (40, 1)]  # of prompt and answer, without their end tokens


torch_t5 = functools.partial(torch_does, script="t5_with_torch.py")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("t5")
    torch_t5("make", folder, 2 * SEEDS)
    return folder


def packed():
    """All prompts and answers in one row of 128 tokens; which tokens are answers; the prompts alone."""
    draw = np.random.default_rng(7)
    pairs = [[[*draw.integers(2, 53, n).tolist(), 1] for n in pair] for pair in SIZES]
    tokens, segments, targets, place = np.zeros((1, 128), np.int32), np.zeros((1, 128), np.int32), [], 0
    for number, (prompt, answer) in enumerate(pairs, 1):
        size = len(prompt) + len(answer)
        tokens[0, place : place + size], segments[0, place : place + size] = prompt + answer, number
        targets += range(place + len(prompt), place + size)
        place += size
    return jnp.asarray(tokens), jnp.asarray(segments), np.array(targets), [prompt for prompt, _ in pairs]


@pytest.mark.parametrize("seed", range(2 * SEEDS))
def test_packed_scores_gradients_decoding_and_export_equal_transformers(seed, made, tmp_path, one_device):
    folder = made / f"t5_{seed}"
    oracle = np.load(f"{folder}.npz")
    model, params = huggingface.load(folder)
    tokens, segments, targets, prompts = packed()
    batch = Batch(tokens, jnp.zeros(tokens.shape).at[0, targets].set(1), segments, {})

    def loss(params):
        scores = make_policy(model, params).scores(batch)
        logits = model.logits(params, model.hidden(params, tokens, segments)[0, targets - 1])
        return -jnp.sum(scores.logprob * batch.weights) / len(targets), (scores.logprob, logits)

    (found, (logprob, logits)), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
    np.testing.assert_allclose(logits, oracle["logits"], atol=2e-4)
    theirs = jax.nn.log_softmax(oracle["logits"])[np.arange(len(targets)), tokens[0, targets]]
    np.testing.assert_allclose(logprob[0, targets], theirs, atol=2e-4)
    np.testing.assert_allclose(found, oracle["loss"], atol=1e-5)

    table = FAMILIES["t5"].table(model.config)
    ours = {hub: whole_to_hub(parts) for hub, parts in hub_tensors(table, gradient)}
    wanted = {key.removeprefix("gradient "): oracle[key] for key in oracle.files if key.startswith("gradient ")}
    assert ours.keys() == wanted.keys()
    largest = max(float(np.max(np.abs(each))) for each in wanted.values())
    apart = np.max([np.max(np.abs(ours[key] - wanted[key])) for key in wanted]) / largest
    assert apart < 1e-3
    print(f"t5 {seed}: logits {np.max(np.abs(logits - oracle['logits'])):.1e}, gradients {apart:.1e} of the largest")

    engine = make_engine(model, SamplingConfig(temperature=0.0, max_new_tokens=8), slots=len(prompts), end_ids=(1,))
    drawn = sorted(engine(params, [Request(prompt, number) for number, prompt in enumerate(prompts)], 0))
    padded = [[*answer.tokens, *[0] * (8 - len(answer.tokens))] for answer in drawn]
    np.testing.assert_array_equal(padded, oracle["greedy"])

    out = huggingface.save(tmp_path / "out", model, params, origin=huggingface.read_origin(folder))
    plain = huggingface.save(tmp_path / "plain", model, params)
    before, after = (safetensors.numpy.load_file(x / "model.safetensors") for x in (folder, out))
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[key], after[key]) for key in before)
    torch_t5("logits", out, plain)
    for exported in (out, plain):
        np.testing.assert_allclose(np.load(f"{exported}.npz")["logits"], oracle["logits"], atol=1e-3)
        assert json.loads((exported / "config.json").read_text())["decoder_start_token_id"] in (0, 2)


@pytest.mark.parametrize(
    "adapter", [Lora(rank=3, alpha=6.0), Lora(rank=2, targets=("EncDecAttention.*", "wo"))], ids=repr
)
@pytest.mark.parametrize("seed", range(2))
def test_an_adapter_and_its_merge_have_these_logits_in_peft(seed, adapter, made, tmp_path, one_device, capsys):
    source, (tokens, segments, targets, _) = made / f"t5_{seed}", packed()
    model, params = adapted(source, adapter, 5)
    ours = model.logits(params, model.hidden(params, tokens, segments)[0, targets - 1])
    assert np.abs(ours - np.load(f"{source}.npz")["logits"]).max() > 1e-2
    own, merged = tmp_path / "adapter", tmp_path / "merged"
    own.mkdir()
    peft.save_adapter(own, model, params, str(source))
    assert export.main([str(own), str(merged), "--tokenizer=arithmetic", "--dtype=float32"]) == 0
    torch_t5("logits", own, merged)
    for folder in (own, merged):
        apart = np.abs(np.load(f"{folder}.npz")["logits"] - ours).max()
        print(f"t5 {seed} {folder.name}: {apart:.1e}")
        assert apart < 1e-3


def test_buckets_of_every_distance_equal_transformers(tmp_path):
    torch_t5("buckets", tmp_path / "buckets.npz")
    for name, wanted in np.load(tmp_path / "buckets.npz").items():
        buckets, most, both = map(int, name.split())
        np.testing.assert_array_equal(bucket_of(jnp.arange(-300, 301), buckets, most, bool(both)), wanted, name)
