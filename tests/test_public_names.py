"""Names that users import or call, which stay where they are (or move with a note in the CHANGELOG)."""

import importlib
import importlib.util

import pytest

DOORS = [
    "audit",
    "inspect",
    "convert",
    "train",
    "evaluate",
    "generate",
    "mine",
    "inject",
    "rethink",
    "explain",
    "export",
    "plan",
    "recipe",
    "transitions",
    "rounds",
    "list",
    "cache",
    "refine",
    "select_experts",
    "score",
    "merge",
    "harness",
]

NAMES = {
    "mtjax.config": ["Config", "CheckpointConfig", "HeldOut", "read_file", "load"],
    "mtjax.types": ["Batch", "TokenScores", "Mean", "LanguageModel", "Policy", "Objective", "Params", "Metrics"],
    "mtjax.model.huggingface": ["load", "save"],
    "mtjax.objectives.dpo": ["dpo_loss"],
    "mtjax.objectives.dco": ["dco_loss", "dco_weight"],
    "mtjax.evaluation.coverage": ["pass_at_k"],
    "mtjax.data.tasks": [
        *("CompletionTask", "MistakeTask", "ChatTask", "PairTask", "PLAIN", "QUESTION_ANSWER", "CHATML"),
    ],
    "mtjax.data.sources": [
        *("Jsonl", "InMemory", "Hub", "Tfds", "Arithmetic", "Gsm8k", "Gsm8kSolutions", "Svamp", "BigBenchMistake"),
        *("CotErrorSet", "Mined", "Mistakes", "Mixture"),
    ],
    "mtjax.optim": ["OptimConfig"],
    "mtjax.distributed.sharding": ["MeshSpec"],
    "mtjax.experiments.config": ["Comparison", "Coverage", "Demo"],
}


@pytest.mark.parametrize("module", NAMES)
def test_public_names_stay(module):
    found = importlib.import_module(module)
    assert [name for name in NAMES[module] if not hasattr(found, name)] == []


@pytest.mark.parametrize("door", DOORS)
def test_every_door_is_a_command(door):
    assert importlib.util.find_spec(f"mtjax.{door}") is not None


def test_results_are_shown_in_a_few_words():
    """In a notebook, the value of a cell is printed: not the weights and texts that it holds."""
    import jax
    import numpy as np

    from mtjax.data.problem import Problem, Problems
    from mtjax.data.tokenizer import load_tokenizer
    from mtjax.errors import ExitCode
    from mtjax.evaluation.grading import Graded
    from mtjax.model.decoder import DecoderConfig
    from mtjax.model.language_model import make_language_model
    from mtjax.runs.loading import Loaded
    from mtjax.runs.loop import Result
    from mtjax.training.state import TrainState
    from mtjax.types import Batch

    tokenizer = load_tokenizer("bytes")
    model = make_language_model(DecoderConfig(vocab_size=tokenizer.vocab_size, width=16, layers=1, mlp_width=16))
    params = jax.eval_shape(model.init, jax.random.key(0))
    params = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), params)
    state = TrainState(np.int32(7), params, (params, params))
    shown = repr(Result(state, model, tokenizer, ExitCode.DONE))
    count = sum(x.size for x in jax.tree.leaves(params))
    assert f"TrainState(step=7, params=<{len(jax.tree.leaves(params))} arrays, {count:,} numbers>" in shown
    assert "exit_code=<ExitCode.DONE: 0>" in shown
    assert len(shown) < 2000
    assert len(repr(Loaded(model, params, tokenizer))) < 1500
    assert repr(Problems([Problem("p", "q")] * 300)) == "Problems(items=<300 items>, skipped=0, notes=())"
    lists = ([["text" * 100] * 8] * 50, [["1"] * 8] * 50, [["right"] * 8] * 50, [["1"] * 8] * 50)
    assert len(repr(Graded(*lists))) < 200
    tokens = np.zeros((4, 96), np.int32)
    assert repr(Batch(tokens, tokens, tokens, {})).startswith("Batch(tokens=int32[4, 96], ")
