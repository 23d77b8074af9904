"""How a model is asked and what ends its answers: the one place that everything that decodes takes both from."""

import dataclasses
import json
import pathlib

from mtjax.data.messages import Message, message_record
from mtjax.data.problem import Problem
from mtjax.data.tasks import Task
from mtjax.data.tasks.templated import TemplateTask
from mtjax.data.tokenizer import Tokenizer
from mtjax.errors import InputError, suggest
from mtjax.io.files import write_text
from mtjax.sampling.config import SamplingConfig
from mtjax.sampling.sampler import Contrasted

_SLOT = "QUESTION-SLOT"  # Stands for the question where the text around it is looked for.
_SYSTEM = (
    "{%- set mtjax = (messages[0]['content'] + SUFFIX)[0 if messages[0]['content'] else 1:] %}"
    "{%- set messages = [dict(messages[0], content=mtjax)] + messages[1:] %}"
)
_SUFFIX = (
    "{%- set mtjax = namespace(last=-1, out=[]) %}"
    "{%- for m in messages %}{%- if m['role'] == 'user' %}{%- set mtjax.last = loop.index0 %}{%- endif %}{%- endfor %}"
    "{%- for m in messages %}{%- if loop.index0 == mtjax.last %}{%- set m = dict(m, content=m['content'] + SUFFIX) %}"
    "{%- endif %}{%- set mtjax.out = mtjax.out + [m] %}{%- endfor %}{%- set messages = mtjax.out %}"
)
_STRIP = (
    "{%- set mtjax = namespace(out=[]) %}{%- for m in messages %}{%- set mtjax.out = mtjax.out + "
    "[dict(m, content=m['content'] | trim) if m['content'] else m] %}{%- endfor %}{%- set messages = mtjax.out %}"
)
"""What is put before a chat template, in Jinja: a last line of the system message or of the user's last message, and
the cutting of white space around contents."""


def asked(
    task: Task, problem: Problem, polarity: bool | None, tokenizer: Tokenizer, sampling: SamplingConfig
) -> str | Contrasted:
    """The prompt of a problem, as `task.prompt`; for a decoder that reads two, with that after the other prefix.

    Raises:
        InputError: such a decoder, and a task without prefixes of right and wrong answers.
    """
    prompt = task.prompt(problem, polarity, tokenizer)
    if not sampling.reads_two:
        return prompt
    others = [task.prompt(problem, known, tokenizer) for known in task.prefixes.values()]
    if len(others) < 2:
        raise InputError(
            f"decoder:contrastive compares the prefixes of right and wrong answers, and the task {task.name} has none: "
            "take a run that was trained with data.task:mistake, or another decoder"
        )
    return Contrasted(prompt, next(other for other in others if other != prompt))


@dataclasses.dataclass(frozen=True)
class Decoding:
    """The prompt format of a model, and what ends its answers.

    A training run has the task that it was trained with, whose template and prefix surround each question. Another
    model has none: its prompts are turns of the chat template, or stand as they are if there is no template.
    """

    tokenizer: Tokenizer
    task: Task | None = None  # The task of a training run.
    stop: tuple[str, ...] = ()  # Texts that end an answer.

    def prompt(self, text: str, prefix: str | None = None, *, raw: bool = False) -> str:
        """The text that the model reads to answer `text`.

        Args:
            prefix: a name in `task.prefixes`, such as "right" or "wrong"; None is the task's own.
            raw: take the text as it stands.

        Raises:
            InputError: a prefix that the task does not have.
        """
        polarity = self._polarity(prefix)
        if raw:
            return text
        if self.task is not None:
            return self.task.prompt(Problem("", text), polarity, self.tokenizer)
        if self.tokenizer.chat_template is None:
            return text
        return self.tokenizer.render_chat((Message(role="user", content=text),), True)

    def asked(
        self, text: str, sampling: SamplingConfig, prefix: str | None = None, *, raw: bool = False
    ) -> str | Contrasted:
        """`prompt`, and for a decoder that reads two also the one after the other prefix.

        Raises:
            InputError: as `prompt`; a decoder that reads two, with `raw` or a model without such prefixes.
        """
        prompt = self.prompt(text, prefix, raw=raw)
        if not sampling.reads_two:
            return prompt
        if self.task is None or raw:
            raise InputError(
                "decoder:contrastive compares the prefixes of right and wrong answers, which only the run of a mistake "
                "task has, and not with --raw: choose another decoder"
            )
        return asked(self.task, Problem("", text), self._polarity(prefix), self.tokenizer, sampling)

    def _polarity(self, prefix: str | None) -> bool | None:
        if prefix is None:
            return None
        known = self.task.prefixes if self.task is not None else {}
        if prefix not in known:
            has = suggest(prefix, known) if known else "only the run of a mistake task has prefixes; leave it out"
            raise InputError(f"prefix={prefix!r}: {has}")
        return known[prefix]

    def sampling(self, wanted: SamplingConfig) -> SamplingConfig:
        """Settings of sampling with the run's stop texts, unless they have their own."""
        return wanted if wanted.stop or not self.stop else dataclasses.replace(wanted, stop=self.stop)

    def frame(self, prefix: str | None = None) -> tuple[str, str] | None:
        """The text before and after the question; None if the prompt does not hold the question once."""
        before, _, after = (text := self.prompt(_SLOT, prefix)).partition(_SLOT)
        return (before, after) if text.count(_SLOT) == 1 else None

    def reads(self, prefix: str | None = None) -> str:
        """What the model reads, in one sentence for the user."""
        frame = self.frame(prefix)
        shown = "prompts of its own kind" if frame is None else repr("{prompt}".join(frame))
        return f"the model reads {shown}" + ("" if self.task is None else f" (task {self.task.name})")

    def other_prefixes(self, prefix: str | None = None) -> list[str]:
        """Names of the prefixes that give another prompt."""
        names = self.task.prefixes if self.task is not None else {}
        return [name for name in names if self.prompt(_SLOT, name) != self.prompt(_SLOT, prefix)]

    def warnings(self, text: str, *, raw: bool) -> list[str]:
        """What is likely to be wrong with a prompt: raw without the prefix of the task, or with a second one."""
        if self.task is None or len(self.task.prefixes) < 2:
            return []
        frames = {name: self.frame(name) for name in self.task.prefixes}
        ends = {name: found[1].strip() for name, found in frames.items() if found is not None}
        has = [name for name, end in ends.items() if text.rstrip().endswith(end)]
        if raw and not has:
            listed = " or ".join(repr(end) for end in ends.values())
            return [f"the prompt {text!r:.60} does not end in {listed}, after which this run learnt to answer"]
        if has and not raw:
            return [
                f"the prompt {text!r:.60} ends in {ends[has[0]]!r} already, which is added again; --raw avoids that"
            ]
        return []

    def chat_template(self) -> str | None:
        """A Jinja chat template that renders one turn of a user as `prompt` does; None if there is none.

        For tools that know chat templates only. Earlier turns are rendered in the same way; a system message is
        refused where the training had none.
        """
        own = self.tokenizer.chat_template
        if self.task is None or (self.tokenizer.closing is not None and not self.task.is_chat):
            return own  # `tokenizer(text)` closes a prompt for an encoder; rendered chats are not closed
        if self.task.is_chat:
            return None if own is None else self._changed(own)
        if (found := self.frame()) is None:
            return own
        exact = f" {_SLOT} " in self.task.prompt(Problem("", f" {_SLOT} "), None, self.tokenizer)
        bos = "" if self.tokenizer.bos_id is None else "{{- bos_token }}"
        closing = self.tokenizer.decode([self.tokenizer.end_id]) if self.task.ends({}) else ""
        before, after, closing = (json.dumps(text, ensure_ascii=False) for text in (*found, closing))
        return (
            f"{bos}{{%- for message in messages %}}{{%- if message['role'] == 'user' %}}"
            f"{{{{- {before} + message['content']{'' if exact else '.strip()'} + {after} }}}}"
            f"{{%- elif message['role'] == 'assistant' %}}{{{{- message['content'] + {closing} }}}}"
            "{%- else %}{{- raise_exception('the training had no messages of the role ' + message['role']) }}"
            "{%- endif %}{%- endfor %}"
        )

    def _changed(self, own: str) -> str:
        """The tokenizer's chat template with what the task puts into a conversation, read off a conversation."""
        task, write = self.task, lambda value: json.dumps(value, ensure_ascii=False)
        assert task is not None
        plain = [*task.opening(), Message("user", _SLOT)]
        made = own
        if isinstance(task, TemplateTask):
            placed, lead = task.placed(plain, None)
            if lead:
                shown = write(self.prompt(_SLOT).removeprefix(self.tokenizer.render_chat(plain, True, task.date)))
                ending = f"{{%+ if add_generation_prompt %}}{{{{ {shown} }}}}{{% endif %}}"
                made = made.removesuffix("\n") + ending
            if said := placed[-1].content.removeprefix(_SLOT):
                made = _SUFFIX.replace("SUFFIX", write(said)) + made
            if placed[0].role == "system" and placed[0] not in plain:
                said = placed[0].content.removeprefix(f"{task.system}\n" if task.system else "")
                made = _SYSTEM.replace("SUFFIX", write(f"\n{said}")) + made
                plain = [Message("system", task.system), *plain[-1:]]
            if task.strip:
                made = _STRIP + made
        if plain[0].role == "system":
            turns = write([message_record(message) for message in plain[:1]])
            added = f"{{%- if messages[0]['role'] != 'system' %}}{{% set messages = {turns} + messages %}}{{% endif %}}"
            made = added + made
        begin, shown = self.tokenizer.bos_id, self.tokenizer.render_chat((Message("user", _SLOT),), True)
        if begin is not None and not shown.startswith(self.tokenizer.decode([begin])):
            made = "{{- bos_token }}" + made  # training puts it before a text that does not begin with it
        return made

    def card(self) -> str:
        """The section of a model card that says how the model is asked, in Markdown."""
        block = lambda text: "\n".join(f"    {line}" for line in text.split("\n"))
        found = {name: self.frame(name) for name in (None, *self.other_prefixes())}
        shown = {name: "{prompt}".join(one) if one else "(a prompt of the task's own)" for name, one in found.items()}
        lines = [
            "## Prompts",
            "",
            "The model was trained to answer after this text, with the question as `{prompt}`:",
            "",
        ]
        lines += [block(shown[None]), "", "`chat_template.jinja` renders the turn of a user so."]
        for name in self.other_prefixes():
            lines += ["", f"With the prefix `{name}` it reads:", "", block(shown[name])]
        if self.stop:
            lines += ["", f"An answer ends before {' or '.join(f'`{text!r}`' for text in self.stop)}."]
        return "\n".join(lines) + "\n"

    def with_template(self) -> Tokenizer:
        """The tokenizer to export: the folder that it saves has `chat_template`."""
        template = self.chat_template()
        if template == self.tokenizer.chat_template or template is None:
            return self.tokenizer

        def save(folder: str | pathlib.Path) -> None:
            self.tokenizer.save(folder)
            write_text(pathlib.Path(folder) / "chat_template.jinja", template)

        return self.tokenizer._replace(save=save, chat_template=template)
