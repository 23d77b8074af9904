"""Atomic files and folders: the old content or the new one, whatever happens in between."""

import os
import stat

import pytest

from mtjax.io.files import atomic_file, atomic_folder, write_text


def test_a_file_is_replaced_when_the_block_ends(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("old")
    with atomic_file(file) as temporary:
        temporary.write_text("new")
        assert file.read_text() == "old"
    assert file.read_text() == "new"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("old")
    with pytest.raises(ZeroDivisionError), atomic_file(file) as temporary:
        temporary.write_text(f"half{1 / 0}")
    assert file.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_file_has_the_usual_permissions(tmp_path):
    write_text(tmp_path / "a.txt", "x")
    (tmp_path / "b.txt").write_text("x")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a.txt", "b.txt")}
    assert len(modes) == 1


def test_a_folder_is_replaced_as_one(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "old").write_text("")
    with pytest.raises(ZeroDivisionError), atomic_folder(folder) as temporary:
        (temporary / "new").write_text(f"{1 / 0}")
    assert os.listdir(folder) == ["old"]
    with atomic_folder(folder) as temporary:
        (temporary / "new").write_text("")
    assert os.listdir(folder) == ["new"]
    assert os.listdir(tmp_path) == ["model"]


def test_the_first_of_two_makers_wins_where_asked(tmp_path):
    folder = tmp_path / "cache"
    with atomic_folder(folder, keep_existing=True) as second:
        (second / "by").write_text("second")
        with atomic_folder(folder, keep_existing=True) as first:
            (first / "by").write_text("first")
    assert (folder / "by").read_text() == "first"
    assert os.listdir(tmp_path) == ["cache"]
