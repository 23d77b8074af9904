"""Names that users import or call, which stay where they are (or move with a note in the CHANGELOG)."""

import importlib
import importlib.util

import pytest

DOORS = [
    "train",
    "evaluate",
    "generate",
    "mine",
    "inject",
    "rethink",
    "explain",
    "plan",
    "recipe",
    "transitions",
    "list",
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
