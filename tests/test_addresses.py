"""An address of an object store where a path belongs is refused in one line, and nothing is written."""

import pathlib

import pytest

from mtjax import evaluate, explain, generate, inject, mine, plan, recipe, rethink, train
from mtjax.config import load
from mtjax.data.sources.jsonl import Files
from mtjax.errors import InputError
from mtjax.validation import check_types, refuse_address

TINY = "configs/tiny.py"
SOURCE = ["source:arithmetic", "--source.count=4"]


@pytest.mark.parametrize(
    ("command", "words", "named"),
    [
        (train, [TINY, "--run_dir=gs://bucket/run"], "run_dir='gs://bucket/run'"),
        (train, [TINY, "--run_dir=https://host/run"], "run_dir='https://host/run'"),
        (train, [TINY, "--export=s3://bucket/x"], "export='s3://bucket/x'"),
        (train, [TINY, "--data.cache_dir=gs://bucket/x"], "data.cache_dir='gs://bucket/x'"),
        (train, [TINY, "--reference.cache_dir=gs://bucket/x"], "reference.cache_dir='gs://bucket/x'"),
        (train, [TINY, "--init_from=gs://bucket/x"], "init_from='gs://bucket/x'"),
        (train, [TINY, "data.source:jsonl", "--data.source.path=hdfs://b/x"], "data.source.path='hdfs://b/x'"),
        (train, [TINY, "data.source:jsonl", "--data.source.path=gs:/b/x.jsonl"], "data.source.path='gs:/b/x.jsonl'"),
        (explain, [TINY, "--html=gs://bucket/x.html"], "html='gs://bucket/x.html'"),
        (plan, [TINY, "--topology=v5p-64", "--json=gs://bucket/x.json"], "json='gs://bucket/x.json'"),
        (inject, ["--output=gs://bucket/x", *SOURCE], "output='gs://bucket/x'"),
        (mine, ["gs://bucket/run", TINY], "model 'gs://bucket/run' is not a folder"),
        (mine, ["smollm2", TINY, "--output=gs://bucket/x"], "output='gs://bucket/x'"),
        (evaluate, ["smollm2", TINY, "--output=gs://bucket/x"], "output='gs://bucket/x'"),
        (evaluate, ["gs://bucket/run", TINY], "model 'gs://bucket/run' is not a folder"),
        (generate, ["gs://bucket/run", "1 + 1"], "model='gs://bucket/run'"),
        (rethink, ["smollm2", TINY, "--mistakes=gs://bucket/x"], "mistakes='gs://bucket/x'"),
        (recipe, ["configs/demo.py", "--output=gs://bucket/x"], "output='gs://bucket/x'"),
    ],
)
def test_an_address_is_refused_before_anything_is_written(command, words, named, tmp_path, monkeypatch, capsys):
    words = [str(pathlib.Path(word).absolute()) if word.startswith("configs/") else word for word in words]
    monkeypatch.chdir(tmp_path)
    assert command.main(words) == 2
    said = capsys.readouterr().err
    assert (named if " is not " in named else f"{named}: expected a path on this machine") in said
    assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_checkpoints_may_go_to_an_object_store_which_is_the_way_out_for_a_run_folder(capsys):
    assert load(TINY, ["--checkpoint.folder=gs://bucket/run"]).checkpoint.folder == "gs://bucket/run"
    assert train.main([TINY, "--run_dir=gs://bucket/run"]) == 2
    assert "--checkpoint.folder=gs://bucket/run" in capsys.readouterr().err


def test_data_may_lie_on_an_object_store():
    for address in ("gs://bucket/train.jsonl", "s3://bucket/shards/*.parquet"):
        assert load(TINY, ["data.source:files", f"--data.source.path={address}"]).data.source.path == address
    with pytest.raises(InputError, match="with two slashes: --source.path=gs://bucket/x.jsonl"):
        check_types(Files("gs:/bucket/x.jsonl"), "source")


@pytest.mark.parametrize(
    ("address", "way_out"),
    [
        ("file:///data/x", "write it as a path: --run_dir=/data/x"),
        ("hdfs://bucket/run", "copy it to this machine, or mount it"),
        ("hf://user/run", "copy it to this machine, or mount it"),
        ("s3://bucket/run", "--checkpoint.folder=s3://bucket/run"),
    ],
)
def test_the_way_out_for_a_run_folder_is_one_that_works(address, way_out, capsys):
    assert train.main([TINY, f"--run_dir={address}"]) == 2
    said = capsys.readouterr().err
    assert way_out in said
    assert said.count("\n") == 1
    assert ("checkpoint.folder" in said) == address.startswith("s3")


@pytest.mark.parametrize("address", ["hdfs://bucket/run", "hf://user/run", "az://bucket/run", "file:///data/x"])
def test_checkpoints_on_a_store_of_another_kind_are_refused_before_anything_is_written(address, tmp_path, capsys):
    assert train.main([TINY, f"--run_dir={tmp_path / 'run'}", f"--checkpoint.folder={address}"]) == 2
    said = capsys.readouterr().err
    assert f"checkpoint.folder='{address}' cannot be reached; expected a folder, gs://... or s3://..." in said
    assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_texts_names_and_servers_are_no_paths():
    for name, value in (
        ("source.problems.question", "gs://bucket/run"),
        ("model", "http://localhost:8000/v1"),
        ("server.model", "s3://bucket/model"),
        ("run_dir", "runs/gs:x"),
        ("output", "a text with gs://bucket/x in it"),
    ):
        refuse_address(name, value)
