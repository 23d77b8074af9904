"""`lm-eval` through this adapter and through its own transformers backend, on one tiny checkpoint and two tasks.

Switched on by MTJAX_LM_EVAL, a Python with `lm_eval`, torch, transformers and what mtjax needs.
"""

import json
import os
import pathlib
import subprocess

import jax
import numpy as np
import pytest

from mtjax.data.tokenizer import load_tokenizer
from mtjax.model import huggingface
from mtjax.model.decoder import DecoderConfig
from mtjax.model.language_model import make_language_model

PYTHON = os.environ.get("MTJAX_LM_EVAL")
pytestmark = pytest.mark.skipif(not PYTHON, reason="MTJAX_LM_EVAL names no Python with lm_eval, torch and transformers")
ROOT = pathlib.Path(__file__).resolve().parents[2]

TASK = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: {kind}
doc_to_text: "Q: {{{{question}}}}\\nA:"
{rest}
metadata: {{version: 1}}
"""
CHOICE = 'doc_to_choice: "{{choices}}"\ndoc_to_target: "{{label}}"\nmetric_list: [{metric: acc}]'
TEXT = """doc_to_target: "{{choices[label]}}"
generation_kwargs: {until: ["\\n", "a"], max_gen_toks: 12, do_sample: false}
metric_list: [{metric: exact_match}]"""
ROLLING = "doc_to_target: '{{question}}'\nmetric_list: [{metric: word_perplexity}]"

SCRIPT = """
import json, sys
import lm_eval
from lm_eval.tasks import TaskManager
which, folder, tasks, out = sys.argv[1:]
if which == "transformers":
    from lm_eval.models.huggingface import HFLM
    model = HFLM(pretrained=folder, device="cpu", dtype="float32", batch_size=4)
else:
    from mtjax.evaluation.harness import harness_model
    from mtjax.runs.loading import load_any
    loaded = load_any(folder)
    model = harness_model(loaded.model, loaded.params, loaded.tokenizer, rows=4)
found = lm_eval.simple_evaluate(
    model, tasks=["choice", "text", "rolling"], task_manager=TaskManager(include_path=tasks), bootstrap_iters=0
)
kept = {name: [[doc["doc_id"], doc["resps"]] for doc in docs] for name, docs in found["samples"].items()}
json.dump({"results": found["results"], "resps": kept}, open(out, "w"), default=str)
"""


@pytest.mark.slow
def test_the_harness_says_what_its_transformers_backend_says(tmp_path):
    """Log-likelihoods to 1e-4, equal texts and equal metrics."""
    tokenizer, folder, tasks = load_tokenizer("smollm2"), tmp_path / "model", tmp_path / "tasks"
    config = DecoderConfig(vocab_size=tokenizer.vocab_size, width=32, layers=2, heads=2, kv_heads=1, init_scale=0.3)
    model = make_language_model(config)
    huggingface.save(folder, model, jax.jit(model.init)(jax.random.key(0)))
    tokenizer.save(folder)
    tasks.mkdir()
    docs = [{"question": f"What is {n} plus {n + 3}?", "choices": ["5", f"{2 * n + 3}"], "label": 1} for n in range(6)]
    (tasks / "docs.jsonl").write_text("".join(json.dumps(doc) + "\n" for doc in docs))
    kinds = {"choice": ("multiple_choice", CHOICE), "text": ("generate_until", TEXT)}
    for name, (kind, rest) in (kinds | {"rolling": ("loglikelihood_rolling", ROLLING)}).items():
        (tasks / f"{name}.yaml").write_text(TASK.format(name=name, data=tasks / "docs.jsonl", kind=kind, rest=rest))
    found = {}
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_DATASETS_CACHE": str(tmp_path / "cache")}
    for which in ("transformers", "mtjax"):
        out = tmp_path / f"{which}.json"
        words = [str(PYTHON), "-c", SCRIPT, which, str(folder), str(tasks), str(out)]
        subprocess.run(words, check=True, env=os.environ | offline | {"PYTHONPATH": str(ROOT)})
        found[which] = json.loads(out.read_text())
    ours, theirs = found["mtjax"], found["transformers"]
    assert ours["resps"]["text"] == theirs["resps"]["text"]
    numbers = lambda one, name: np.array(
        [float(np.ravel(resp)[0]) for _, resps in one["resps"][name] for resp in resps], float
    )
    for name in ("choice", "rolling"):
        np.testing.assert_allclose(numbers(ours, name), numbers(theirs, name), atol=1e-4, rtol=1e-5)
    assert ours["results"]["choice"]["acc,none"] == theirs["results"]["choice"]["acc,none"]
