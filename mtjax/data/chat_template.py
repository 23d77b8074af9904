"""Conversations through the chat template of a tokenizer: what the template is given, and what it gives."""

import contextlib
import dataclasses
import datetime
import functools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, cast

from mtjax.data.messages import Message, Tool
from mtjax.data.special_tokens import shield
from mtjax.errors import InputError, suggest

DATE = "2024-07-26"  # The date that chat templates read from the clock (`strftime_now`), so that runs repeat.
MARKS = re.compile(r"\{%-?\s*generation\s*-?%\}")  # What a template writes before the text of the assistant.


class CallForm(NamedTuple):
    """How a template takes the calls of tools."""

    as_text: bool = False  # arguments as JSON text instead of an object
    empty: bool = False  # missing content as "" instead of null


class ChatTemplate(NamedTuple):
    """The chat template of a tokenizer as functions."""

    render: Callable[..., str]  # `Tokenizer.render_chat`
    marks: Callable[..., list[tuple[int, int]]] | None  # `Tokenizer.generation_marks`


def shield_json(value: Any, special: tuple[str, ...]) -> Any:
    """JSON data with the special tokens in all its texts shielded."""
    if isinstance(value, str):
        return shield(value, special)
    if isinstance(value, Mapping):
        return {shield_json(key, special): shield_json(item, special) for key, item in value.items()}
    return [shield_json(item, special) for item in value] if isinstance(value, list | tuple) else value


def shield_message(message: Message, special: tuple[str, ...]) -> Message:
    """A message with the special tokens in all its texts shielded; arguments that are JSON text are looked into."""

    def call(one: Mapping[str, Any]) -> Any:
        arguments = one["function"]["arguments"]
        if isinstance(arguments, str):
            with contextlib.suppress(ValueError):
                found = json.loads(arguments)  # an escape may spell a special token
                if shield_json(found, special) != found:
                    one = {**one, "function": {**one["function"], "arguments": found}}
        return shield_json(one, special)

    texts = {key: shield(getattr(message, key), special) for key in ("content", "name", "reasoning_content")}
    return dataclasses.replace(message, **texts, tool_calls=tuple(map(call, message.tool_calls)))


def chat_template(name: str, fast: Any, special: tuple[str, ...]) -> ChatTemplate:
    """The chat template of a tokenizer of transformers; `name` and `special` are those of the `Tokenizer`."""

    def chosen(tools: Sequence[Tool], date: str, variables: Mapping[str, Any]) -> tuple[Any, str]:
        given = [dict(tool) for tool in tools] or None
        template = fast.get_chat_template(tools=given)
        check_variables(template, name, tuple(variables))
        _set_clock(template, date)
        return given, template

    def apply(
        turns: list[dict[str, Any]],
        tools: Sequence[Tool],
        date: str,
        add_generation_prompt: bool,
        variables: Mapping[str, Any] = MappingProxyType({}),
    ) -> str:
        given, _ = chosen(tools, date, variables)
        return fast.apply_chat_template(
            turns, tools=given, tokenize=False, add_generation_prompt=add_generation_prompt, **variables
        )

    @functools.cache
    def call_form() -> CallForm:
        """The first form in which the template shows a call; it raises or prints Python where it takes another.

        Where no form shows it, the first that the template does not refuse.
        """
        function, value = "function_4711", "value_4711"
        taken: list[CallForm] = []
        for form in (CallForm(as_text, empty) for as_text in (False, True) for empty in (False, True)):
            call = {"id": "call04711", "type": "function", "function": {"name": function, "arguments": {"key": value}}}
            turns = [{"role": "user", "content": "?"}, as_dict(Message("assistant", tool_calls=(call,)), form)]
            try:
                text = apply(turns, (), DATE, add_generation_prompt=False)
            except Exception:  # whatever a template raises
                continue
            if function in text and value in text and "{'key'" not in text:
                return form
            taken.append(form)
        return taken[0] if taken else CallForm()

    def as_dicts(messages: Sequence[Message], control: bool) -> list[dict[str, Any]]:
        form = call_form() if any(message.tool_calls for message in messages) else CallForm()
        return [as_dict(one if control else shield_message(one, special), form) for one in messages]

    def refused(messages: Sequence[Message], error: Exception) -> InputError:
        roles = ", ".join(message.role for message in messages) or "no messages"
        return InputError(
            f"the chat template of {name!r} refuses a conversation of {roles}: {error}; change the conversation, or "
            "use another template"
        )

    def render(
        messages: Sequence[Message],
        add_generation_prompt: bool,
        date: str = DATE,
        control: bool = False,
        tools: Sequence[Tool] = (),
        variables: Mapping[str, Any] = MappingProxyType({}),
    ) -> str:
        if fast.chat_template is None:
            raise InputError(
                f"tokenizer {name!r} has no chat template; use data.task completion, or a tokenizer of a chat model"
            )
        tools = tools if control else shield_json(tools, special)
        turns = as_dicts(messages, control)
        try:
            return apply(turns, tools, date, add_generation_prompt, variables)
        except InputError:  # of `variables`
            raise
        except Exception as error:  # whatever the template's own raise_exception or a missing field gives
            raise refused(messages, error) from error

    def marks(
        messages: Sequence[Message],
        date: str = DATE,
        tools: Sequence[Tool] = (),
        variables: Mapping[str, Any] = MappingProxyType({}),
    ) -> list[tuple[int, int]]:
        from transformers.utils.chat_template_utils import render_jinja_template

        given, template = chosen(tools, date, variables)
        options = {"chat_template": template, "return_assistant_tokens_mask": True, **fast.special_tokens_map}
        options |= variables
        turns = [{k: v for k, v in turn.items() if v is not None} for turn in as_dicts(messages, control=True)]
        both: Any = render_jinja_template([turns], tools=cast(Any, given), **options)  # texts, and the marks of each
        return list(both[1][0])

    has_marks = isinstance(fast.chat_template, str) and bool(MARKS.search(fast.chat_template))
    return ChatTemplate(render, marks if has_marks else None)


def as_dict(message: Message, form: CallForm) -> dict[str, Any]:
    """A message as a template gets it, without what it does not have."""
    turn: dict[str, Any] = {"role": message.role, "content": message.content}
    about = {key: getattr(message, key) for key in ("name", "tool_call_id", "reasoning_content")}
    turn |= {key: value for key, value in about.items() if value}
    if message.tool_calls:
        turn["tool_calls"] = [_in_form(call, form.as_text) for call in message.tool_calls]
        if not message.content and not form.empty:
            turn["content"] = None
    return turn


OWN = {"messages", "tools", "documents", "add_generation_prompt", "strftime_now", "raise_exception"}
OWN |= {f"{name}_token" for name in ("bos", "eos", "unk", "pad", "sep", "cls", "mask")}
"""Variables of a template that are not set by settings."""


@functools.lru_cache(maxsize=64)
def check_variables(template: str, name: str, given: tuple[str, ...]) -> None:
    """InputError for a variable that the chat template of the tokenizer `name` does not read."""
    from jinja2 import TemplateSyntaxError, meta
    from transformers.utils import chat_template_utils

    if not given:
        return
    with contextlib.suppress(TemplateSyntaxError):
        compiled: Any = chat_template_utils._compile_jinja_template(template)
        known = meta.find_undeclared_variables(compiled.environment.parse(template)) - OWN - {*compiled.globals}
        for one in given:
            if one not in known:
                reads = suggest(one, sorted(known)) if known else "it reads none"
                raise InputError(
                    f"data.task.chat_template_kwargs: the chat template of {name!r} has no variable {one!r}: {reads}"
                )


def variables_of(settings: Sequence[str]) -> dict[str, Any]:
    """Variables of a chat template from `NAME=VALUE`; a value that is JSON (`false`, `3`, `"x"`) is read as that.

    >>> variables_of(["enable_thinking=false", "effort=high"])
    {'enable_thinking': False, 'effort': 'high'}
    """
    found: dict[str, Any] = {}
    for setting in settings:
        name, mark, value = setting.partition("=")
        if not mark or not name.isidentifier() or name in OWN or name in found:
            why = "is set by mtjax" if name in OWN else "stands twice" if name in found else "expected NAME=VALUE"
            raise InputError(f"data.task.chat_template_kwargs: {setting!r}: {why}, such as enable_thinking=false")
        try:
            found[name] = json.loads(value)
        except ValueError:
            # As on Python's side of a config file.
            found[name] = {"True": True, "False": False, "None": None}.get(value, value)
    return found


def _in_form(call: Mapping[str, Any], as_text: bool) -> dict[str, Any]:
    """A tool call with its arguments as JSON text or as an object."""
    function = dict(call["function"])
    arguments = function["arguments"]
    if as_text and not isinstance(arguments, str):
        arguments = json.dumps(arguments, ensure_ascii=False)
    if not as_text and isinstance(arguments, str):
        try:
            arguments = json.loads(arguments) if arguments.strip() else {}
        except ValueError as error:
            raise InputError(
                f"the arguments of the tool call {function['name']!r} are not JSON ({error}): {arguments!r:.60}, and "
                "the chat template needs an object; fix the record"
            ) from error
    return {**call, "function": function | {"arguments": arguments}}


def _set_clock(template: str, date: str) -> None:
    """Let a chat template read this date from the clock; transformers keeps one compiled form of each template."""
    from transformers.utils import chat_template_utils

    if "strftime_now" in template:
        compiled: Any = chat_template_utils._compile_jinja_template(template)
        compiled.globals["strftime_now"] = datetime.datetime.fromisoformat(date).strftime
