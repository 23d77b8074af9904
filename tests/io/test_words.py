"""The choices that a command line may still make: our list of them is what tyro itself offers."""

import contextlib
import io
import re

import pytest
import tyro

from mtjax.config import Config, read_file
from mtjax.io.words import choices_of


def offered_by_tyro(config, words):
    """The choices that tyro lists behind a word that it does not know."""
    said, kind = io.StringIO(), tyro.conf.CascadeSubcommandArgs[type(config)]
    with contextlib.redirect_stderr(said), pytest.raises(SystemExit):
        tyro.cli(kind, args=[*words, "--no_such_setting=1"], default=config, use_underscores=True)
    text = re.sub(r"[\s│]+", " ", said.getvalue())
    listed = re.search(r"Available subcommands: (.*?)(?: ─|Perhaps| Arguments similar)", text)
    return re.findall(r"[a-z][\w.]*:[\w-]+", listed[1])


@pytest.mark.parametrize("words", [[], ["held_out:held_out", "objective:dpo", "model.adapter:none"]])
def test_the_choices_are_those_of_tyro(words):
    config = read_file("configs/tiny.py")
    assert sorted(choices_of(Config, words)) == sorted(offered_by_tyro(config, words))
