"""The value head: by hand, in one pass with the scores, with dropout, on a mesh, and in the files of models."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtjax.distributed.sharding import MeshSpec, make_mesh
from mtjax.errors import InputError
from mtjax.model import catalog, huggingface, peft
from mtjax.model.adapters.lora import Lora
from mtjax.model.decoder import DecoderConfig
from mtjax.model.fingerprint import fingerprint_of
from mtjax.model.language_model import make_language_model, without_adapter
from mtjax.model.policy import make_policy
from mtjax.model.value_head import FILE, VALUE, ValueHead, save_value_head
from mtjax.optim import OptimConfig, make_optimizer
from mtjax.runs.adapters import fitted
from mtjax.training.state import init_state
from mtjax.types import Batch

SMALL = DecoderConfig(vocab_size=16, width=8, layers=1, heads=2, kv_heads=1, head_dim=4, mlp_width=8, init_scale=0.3)
HEAD = dataclasses.replace(SMALL, value_head=ValueHead())
TOKENS = jnp.arange(12).reshape(2, 6) % 16
BATCH = Batch(TOKENS, jnp.ones(TOKENS.shape), jnp.asarray([[1, 1, 1, 2, 2, 0], [1] * 6]), {})


@pytest.fixture(scope="module")
def params():
    """Random numbers, made without compiling anything."""
    drawn = lambda x: jnp.asarray(0.3 * np.random.default_rng(x.size).normal(size=x.shape), jnp.float32)
    return jax.tree.map(drawn, jax.eval_shape(make_language_model(HEAD).init, jax.random.key(0)))


def test_values_are_tanh_of_a_linear_map_in_the_pass_of_the_scores(params, one_device):
    """`tanh(w h + b)` in float32, also in bfloat16 models; the model runs once for both, and both have gradients."""
    model, calls = make_language_model(HEAD), []
    counted = model._replace(hidden=lambda *given: calls.append(1) or model.hidden(*given))

    def both(params):
        policy = make_policy(counted, params, chunk=4)
        return policy.scores(BATCH).logprob.sum() + (policy.values(BATCH) ** 2).sum(), policy.values(BATCH)

    (_, values), gradient = jax.jit(jax.value_and_grad(both, has_aux=True))(params)
    assert calls == [1]
    hidden = np.asarray(jax.jit(make_language_model(SMALL).hidden)(params, TOKENS, BATCH.segments))
    w, b = (np.asarray(params[VALUE][name]) for name in ("kernel", "bias"))
    np.testing.assert_allclose(values, np.tanh(hidden @ w + b), atol=1e-5)
    assert values.shape == TOKENS.shape
    wanted = 2 * ((values * (1 - values**2))[..., None] * hidden).sum((0, 1))
    np.testing.assert_allclose(gradient[VALUE]["kernel"], wanted, atol=1e-4)
    assert np.abs(gradient["layers"]["mlp"]["up"]["kernel"]).max() > 0
    assert model.value(params, jnp.asarray(hidden, jnp.bfloat16)).dtype == jnp.float32
    with pytest.raises(InputError, match="no value head .*set model.value_head:value_head"):
        make_policy(make_language_model(SMALL), params).values(BATCH)


def test_dropout_is_for_training_alone_and_reaches_no_other_part(params):
    model = make_language_model(HEAD)
    hidden, noisy = jnp.full((4000, 8), 0.2), model.with_noise(params, jax.random.key(1))
    assert (model.value(params, hidden) == model.value(params, hidden)[0]).all()
    dropped = np.arctanh(np.asarray(model.value(noisy, hidden), np.float64))
    wanted = 0.2 * params[VALUE]["kernel"].sum() + params[VALUE]["bias"][0]
    np.testing.assert_allclose(dropped.mean(), wanted, atol=0.01)
    assert dropped.std() > 0.01
    same = (model.hidden(given, TOKENS, BATCH.segments) for given in (params, noisy))
    np.testing.assert_array_equal(*same)
    assert make_language_model(dataclasses.replace(SMALL, value_head=ValueHead(dropout=0.0))).with_noise is None


def test_its_file_stands_beside_model_and_adapter_and_is_read_on_a_mesh(params, tmp_path):
    model = make_language_model(HEAD)
    huggingface.save(tmp_path / "m", model, params)
    found, loaded = huggingface.load(tmp_path / "m")
    assert found.config.value_head == HEAD.value_head
    jax.tree.map(np.testing.assert_array_equal, loaded, params)
    mesh = make_mesh(MeshSpec(fsdp=4, data=2))
    placed = huggingface.load(tmp_path / "m", mesh=mesh)[1]
    assert placed[VALUE]["kernel"].addressable_shards[0].data.shape == (2,)
    # An adapter on it: the head is trained with the adapter, stands in its folder, and stays when that is merged.
    adapted = make_language_model(dataclasses.replace(HEAD, adapter=Lora(rank=2)))
    start = {"base": {name: part for name, part in params.items() if name != VALUE}, VALUE: params[VALUE]}
    state = init_state(adapted, make_optimizer(OptimConfig(), 10), jax.random.key(0), params=start)
    assert set(adapted.trained(state.params)) == {"adapter", VALUE}
    (tmp_path / "adapter").mkdir()
    peft.save_adapter(tmp_path / "adapter", adapted, state.params, str(tmp_path / "m"), fingerprint_of(start["base"]))
    save_value_head(tmp_path / "adapter", adapted, state.params)
    again, same = catalog.load_model(str(tmp_path / "adapter"))
    assert again.config == dataclasses.replace(adapted.config, adapter=again.config.adapter)
    jax.tree.map(np.testing.assert_array_equal, same[VALUE], params[VALUE])
    jax.tree.map(np.testing.assert_array_equal, without_adapter(again, same)[1][VALUE], params[VALUE])


def test_a_run_keeps_or_makes_or_leaves_it_as_its_settings_say(params, tmp_path, capsys):
    with_head, without = make_language_model(HEAD), make_language_model(SMALL)
    assert fitted(with_head, with_head, params)[VALUE] is params[VALUE]
    assert VALUE not in fitted(without, with_head, params)
    assert "the start has a value head, which is left out" in capsys.readouterr().err
    plain = {name: part for name, part in params.items() if name != VALUE}
    state = init_state(with_head, make_optimizer(OptimConfig(), 10), jax.random.key(0), params=plain)
    assert state.params[VALUE]["kernel"].shape == (8,)
    huggingface.save(tmp_path / "m", without, plain)
    wide = make_language_model(dataclasses.replace(HEAD, width=10))
    save_value_head(tmp_path / "m", wide, {VALUE: {"kernel": np.zeros(10), "bias": np.zeros(1)}})
    with pytest.raises(InputError, match=rf"{FILE} has .*\(1, 10\).*expected finite v_head.summary.weight \(1, 8\)"):
        huggingface.load(tmp_path / "m")
