"""`mtjax.inspect` of models: what they are, parameters, memory, and what would not load, without their weights."""

import json
import pathlib
import re
import shutil

import numpy as np
import pytest
from safetensors.numpy import save_file

from mtjax import inspect
from mtjax.errors import InputError
from mtjax.inspection.model_view import memory_table, parameter_table, view_model
from mtjax.model import huggingface
from mtjax.model.adapters.lora import Lora
from mtjax.model.decoder import DecoderConfig
from mtjax.model.families import FAMILIES
from mtjax.model.families.tables import LLAMA_TENSORS
from mtjax.model.mixture import Mixture
from mtjax.model.sizes import SIZES
from tests.model import golden

PEFT = pathlib.Path(__file__).parents[1] / "fixtures" / "peft"
NORM = next(each for each in LLAMA_TENSORS if each.path == ("layers", "mlp_norm", "scale"))
QWEN2 = golden.COMMON | {"model_type": "qwen2", "tie_word_embeddings": True}


def cells(table):
    return {row[0]: row[1:] for row in table.rows}


def test_parameters_and_memory_by_hand():
    """Two layers of which one has 4 experts: parts and bytes worked out by hand, with a shape of odd sizes."""
    config = DecoderConfig(
        vocab_size=10, width=6, layers=2, heads=3, kv_heads=1, head_dim=4, mlp_width=7, tied=True,
        mixture=Mixture(4, 2, 5, dense_layers=(0,)),
    )  # fmt: skip
    attention, mlp, experts, norms = 2 * (6 * 12 * 2 + 6 * 4 * 2), 3 * 6 * 7, 4 * 3 * 6 * 5 + 6 * 4, 5 * 6
    parts = cells(parameter_table(config))
    assert {name: int(row[0]) for name, row in parts.items() if name not in ("all", "used for a token")} == {
        "embedding": 60, "attention": attention, "MLP": mlp, "experts": experts, "norms": norms
    }  # fmt: skip
    total = 60 + attention + mlp + experts + norms
    assert (parts["all"][0], parts["used for a token"][0]) == (f"{total:,}", f"{total - 2 * 3 * 6 * 5:,}")
    big = SIZES["llama-3.1-8b"]
    rows = cells(memory_table(big, 2, 1000))
    count, cache = 8_030_261_248, 2 * 32 * 2 * 1000 * 8 * 128
    own = 16 * 32 * ((4096 + 4096) * 2 + (4096 + 1024) * 2 + (4096 + 14336) * 3)
    assert rows["parameters"] == [f"{count * 4 / 1e9:,.2f} GB", f"{count * 2 / 1e9:,.2f} GB"]
    assert rows["sampling, a cache of 2 x 1,000 tokens"][1] == f"{(count + cache) * 2 / 1e9:,.2f} GB"
    assert rows["training LoRA of rank 16 on all linear matrices"][1] == f"{(count * 2 + own * 16) / 1e9:,.2f} GB"
    assert rows["the same, and a frozen reference"] == [f"{count * 20 / 1e9:,.2f} GB", "-"]


def test_a_checkpoint_and_its_adapter_are_described_from_heads_and_configs(capsys):
    assert inspect.main([str(PEFT / "dora")]) == 0
    out = capsys.readouterr().out
    for part in ("adapter in the format of PEFT", "DoRA of rank 3, alpha 6", "2 layers of width 8", "loads       yes"):
        assert part in out
    view = dict(view_model(str(PEFT / "base")).facts)
    assert view["what"] == "Hugging Face model of type llama (LlamaForCausalLM)"
    assert "tensors of F32; 0.00 GB in 1 file" in view["weights"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"quantization_config": {"quant_method": "awq", "bits": 4}}, "checkpoint is quantised (awq, 4 bits)"),
        ({"model_type": "gpt_oss"}, "Its attention sinks and MXFP4 weights cannot be held exactly"),
        ({"logit_scale": 0.1}, "logit_scale is 0.1, but the qwen2 decoder has no such setting"),
        ({"hidden_size": 40}, "expected (48, 40) from config.json"),
        ({"num_hidden_layers": 5}, "'model.layers.4.input_layernorm.weight' is missing"),
        (None, "no config.json there; the folder holds a GGUF file of llama.cpp (m.gguf): convert it"),
    ],
)
def test_what_would_not_load_is_said_with_the_reason(change, message, tmp_path, capsys):
    if change is None:
        (tmp_path / "m.gguf").write_bytes(b"GGUF")
    else:
        golden.write(tmp_path, QWEN2)
        (tmp_path / "config.json").write_text(json.dumps(QWEN2 | change))
    assert inspect.main([str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "no, see below" in out
    assert message in out.split("would not load: ")[1]


def test_tensors_of_another_type_and_files_alone_are_named(tmp_path, capsys):
    golden.write(tmp_path, QWEN2)
    packed = {name: (x * 9).astype(np.int8) for name, x in golden.tensors(QWEN2).items()}
    save_file(packed, tmp_path / "model.safetensors")
    view = view_model(str(tmp_path))
    assert "tensors of I8" in dict(view.facts)["weights"]
    assert "is of type I8; expected one of F64, F32" in view.problems[0]
    file = tmp_path / "x.gguf"
    file.write_bytes(b"GGUF")
    assert inspect.main([str(file)]) == 2
    assert "x.gguf' is a GGUF file of llama.cpp, not a model folder" in capsys.readouterr().err
    for words, error in (
        ([str(tmp_path), "--html=x.html"], "'--html' is for data"),
        ([str(tmp_path), "--steps=3"], "'--steps=3' is for data"),
        ([str(tmp_path / "nothing"), "--what=model"], "is not a model or run folder"),
    ):
        assert inspect.main(words) == 2
        assert error in capsys.readouterr().err
    shutil.copytree(PEFT / "rslora", tmp_path / "adapter")
    assert inspect.main([str(tmp_path / "adapter")]) == 0
    assert "which is not here" in capsys.readouterr().out.split("would not load: ")[1]


def test_a_run_shows_its_model_and_its_data(tmp_path, capsys):
    """The model by the snapshot of the run, and by `--what` one of the two."""
    from mtjax import config as settings

    tiny = settings.read_file("configs/tiny.py")
    run = tmp_path / "run"
    (run / "checkpoints" / "7").mkdir(parents=True)
    words = [f"--run_dir={run}", "model.adapter:lora", "--model.adapter.rank=3", "--data.source.count=20"]
    (run / "config.py").write_text(settings.snapshot(settings.parse(tiny, words, "train")))
    assert inspect.main([str(run)]) == 0
    both = capsys.readouterr().out
    for part in ("started from random parameters", "steps 7", "LoRA of rank 3", "training the adapter", "packing"):
        assert part in both
    assert inspect.main([str(run / "checkpoints" / "7"), "--what=model"]) == 0
    assert capsys.readouterr().out in both
    assert inspect.main([str(run), "--what=data"]) == 0
    assert capsys.readouterr().out in both
    assert Lora(rank=3) == settings.read_run(run).model.adapter


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda table: [each for each in table if each != NORM],
            "lacks the parameter 'layers.mlp_norm.scale' (1 in all)",
        ),
        (lambda table: [*table, NORM._replace(path=("layers", "extra"))], "has the unknown parameter 'layers.extra'"),
    ],
)
def test_a_family_whose_table_is_not_the_parameters_neither_loads_nor_is_exported(change, said, monkeypatch, tmp_path):
    family = FAMILIES["llama"]
    model, params = huggingface.load(PEFT / "base")
    monkeypatch.setattr(family, "tensors", change(family.tensors))
    view = view_model(str(PEFT / "base"))
    assert dict(view.facts)["loads"] == "no, see below"
    assert said in view.problems[0]
    for fails in (lambda: huggingface.load(PEFT / "base"), lambda: huggingface.save(tmp_path / "out", model, params)):
        with pytest.raises(InputError, match=re.escape(said)):
            fails()
    assert not (tmp_path / "out").exists()
