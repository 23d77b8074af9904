"""Chat templates in the manner of published models, written for these tests, and a byte tokenizer for each.

They keep what distinguishes the families: headers and end tokens, what is trimmed, where the system message and the
tools go, how calls are written, and which turns lose their thoughts.
"""

import functools

from mtjax.data import tokenizer as tk

SMOLLM2 = """
{%- for m in messages -%}
{%- if loop.first and m.role != 'system' -%}
{{ '<|im_start|>system\\nYou are a small helper.<|im_end|>\\n' }}
{%- endif -%}
{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>' + '\\n' }}
{%- endfor -%}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif -%}
"""

LLAMA3 = """
{{- bos_token -}}
{%- set ns = namespace(system='') -%}
{%- if messages[0].role == 'system' -%}
{%- set ns.system = messages[0].content | trim -%}{%- set messages = messages[1:] -%}
{%- endif -%}
{{- '<|start_header_id|>system<|end_header_id|>\\n\\n' -}}
{%- if tools -%}{{- 'Functions:\\n' -}}{%- for t in tools -%}{{- t | tojson + '\\n\\n' -}}{%- endfor -%}{%- endif -%}
{{- ns.system + '<|eot_id|>' -}}
{%- for m in messages -%}
{%- if m.tool_calls -%}
{%- if m.tool_calls | length != 1 -%}{{- raise_exception('one call at a time') -}}{%- endif -%}
{%- set f = m.tool_calls[0].function -%}
{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}
{{- '{"name": "' + f.name + '", "parameters": ' + f.arguments | tojson + '}<|eot_id|>' -}}
{%- elif m.role == 'tool' -%}
{{- '<|start_header_id|>ipython<|end_header_id|>\\n\\n' + m.content | tojson + '<|eot_id|>' -}}
{%- else -%}
{{- '<|start_header_id|>' + m.role + '<|end_header_id|>\\n\\n' + m.content | trim + '<|eot_id|>' -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}{%- endif -%}
"""

_QWEN_HEAD = """
{%- set system = messages[0].content if messages[0].role == 'system' else DEFAULT -%}
{%- if tools -%}
{{- '<|im_start|>system\\n' + (system + '\\n\\n' if system else '') + '<tools>' -}}
{%- for t in tools -%}{{- '\\n' + t | tojson -}}{%- endfor -%}
{{- '\\n</tools><|im_end|>\\n' -}}
{%- elif system -%}{{- '<|im_start|>system\\n' + system + '<|im_end|>\\n' -}}{%- endif -%}
"""
_QWEN_CALLS = """
{%- for c in m.tool_calls -%}
{{- ('\\n' if m.content or not loop.first else '') + '<tool_call>\\n{"name": "' + c.function.name -}}
{{- '", "arguments": ' -}}
{{- ARGUMENTS + '}\\n</tool_call>' -}}
{%- endfor -%}
"""
_QWEN_TOOL = """
{%- if loop.first or messages[loop.index0 - 1].role != 'tool' -%}{{- '<|im_start|>user' -}}{%- endif -%}
{{- '\\n<tool_response>\\n' + m.content + '\\n</tool_response>' -}}
{%- if loop.last or messages[loop.index0 + 1].role != 'tool' -%}{{- '<|im_end|>\\n' -}}{%- endif -%}
"""
_QWEN_END = "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"

QWEN25 = (
    _QWEN_HEAD.replace("DEFAULT", "'You are a helper.'")
    + """
{%- for m in messages -%}
{%- if m.role == 'tool' -%}"""
    + _QWEN_TOOL
    + """
{%- elif m.tool_calls -%}
{{- '<|im_start|>assistant\\n' + (m.content or '') -}}"""
    + _QWEN_CALLS.replace("ARGUMENTS", "c.function.arguments | tojson")
    + """{{- '<|im_end|>\\n' -}}
{%- elif m.role != 'system' -%}{{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' -}}
{%- endif -%}
{%- endfor -%}"""
    + _QWEN_END
)

QWEN3 = (
    _QWEN_HEAD.replace("DEFAULT", "''")
    + """
{%- set ns = namespace(query=0) -%}
{%- for m in messages -%}{%- if m.role == 'user' -%}{%- set ns.query = loop.index0 -%}{%- endif -%}{%- endfor -%}
{%- for m in messages -%}
{%- if m.role == 'tool' -%}"""
    + _QWEN_TOOL
    + """
{%- elif m.role == 'assistant' -%}
{%- set said = m.content or '' -%}{%- set thoughts = m.reasoning_content or '' -%}
{%- if '</think>' in said -%}
{%- set thoughts = said.split('</think>')[0].split('<think>')[-1].strip('\\n') -%}
{%- set said = said.split('</think>')[-1].lstrip('\\n') -%}
{%- endif -%}
{{- '<|im_start|>assistant\\n' -}}
{%- if loop.index0 > ns.query and (loop.last or thoughts) -%}
{{- '<think>\\n' + thoughts.strip('\\n') + '\\n</think>\\n\\n' + said.lstrip('\\n') -}}
{%- else -%}{{- said -}}{%- endif -%}"""
    + _QWEN_CALLS.replace(
        "ARGUMENTS", "(c.function.arguments if c.function.arguments is string else c.function.arguments | tojson)"
    )
    + """{{- '<|im_end|>\\n' -}}
{%- elif m.role != 'system' -%}{{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' -}}
{%- endif -%}
{%- endfor -%}"""
    + _QWEN_END
    + "{%- if add_generation_prompt and enable_thinking is defined and enable_thinking is false -%}"
    + "{{- '<think>\n\n</think>\n\n' -}}{%- endif -%}"
)

MISTRAL = """
{{- bos_token -}}
{%- set ns = namespace(last=0, system='') -%}
{%- if messages[0].role == 'system' -%}
{%- set ns.system = messages[0].content + '\\n\\n' -%}{%- set messages = messages[1:] -%}
{%- endif -%}
{%- for m in messages -%}{%- if m.role == 'user' -%}{%- set ns.last = loop.index0 -%}{%- endif -%}{%- endfor -%}
{%- for m in messages -%}
{%- if m.role == 'user' -%}
{%- if tools and loop.index0 == ns.last -%}
{{- '[AVAILABLE_TOOLS]' + tools | tojson + '[/AVAILABLE_TOOLS]' -}}
{%- endif -%}
{{- '[INST]' + (ns.system if loop.index0 == ns.last else '') + m.content + '[/INST]' -}}
{%- elif m.tool_calls -%}
{{- '[TOOL_CALLS][' -}}
{%- for c in m.tool_calls -%}
{%- if c.id | length != 9 -%}{{- raise_exception('ids of calls have nine characters') -}}{%- endif -%}
{{- '{"name": "' + c.function.name + '", "arguments": ' + c.function.arguments | tojson + ', "id": "' + c.id + '"}' -}}
{{- '' if loop.last else ', ' -}}
{%- endfor -%}
{{- ']' + eos_token -}}
{%- elif m.role == 'tool' -%}
{{- '[TOOL_RESULTS]{"content": ' + m.content + ', "call_id": "' + m.tool_call_id + '"}[/TOOL_RESULTS]' -}}
{%- elif m.role == 'assistant' -%}{{- m.content | trim + eos_token -}}
{%- else -%}{{- raise_exception('only user, assistant and tool') -}}
{%- endif -%}
{%- endfor -%}
"""

GEMMA2 = """
{{- bos_token -}}
{%- if messages[0].role == 'system' -%}{{- raise_exception('System role not supported') -}}{%- endif -%}
{%- for m in messages -%}
{%- if (m.role == 'user') != (loop.index0 % 2 == 0) -%}{{- raise_exception('roles must alternate') -}}{%- endif -%}
{{- '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\\n' -}}
{{- m.content | trim + '<end_of_turn>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<start_of_turn>model\\n' -}}{%- endif -%}
"""

GEMMA3 = GEMMA2.replace(
    "{{- raise_exception('System role not supported') -}}",
    "{%- set first = messages[0].content + '\\n\\n' -%}{%- set messages = messages[1:] -%}",
).replace("m.content | trim", "(first if loop.first and first else '') + m.content | trim")

SPECIAL = {
    "smollm2": ("<|im_end|>", "<|im_start|>"),
    "llama3": ("<|eot_id|>", "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>"),
    "qwen25": ("<|im_end|>", "<|im_start|>"),
    "qwen3": ("<|im_end|>", "<|im_start|>"),
    "mistral": ("</s>", "<s>", *(f"[{x}{n}]" for n in ("INST", "TOOL_RESULTS", "AVAILABLE_TOOLS") for x in ("", "/"))),
    "gemma2": ("<end_of_turn>", "<bos>", "<start_of_turn>"),
    "gemma3": ("<end_of_turn>", "<bos>", "<start_of_turn>"),
}
"""Special tokens by family: the one that closes a turn, then the begin token or another."""
TEMPLATES = {name: globals()[name.upper()] for name in SPECIAL}


@functools.cache
def chat_tokenizer(name):
    """Bytes with the special tokens and the template of a family."""
    return with_template(TEMPLATES[name], *SPECIAL[name])


def with_template(template, end, *others):
    """Bytes with these special tokens and a chat template."""
    from tokenizers import AddedToken
    from transformers import PreTrainedTokenizerFast

    made = tk.bytes_tokenizer()
    made.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in (end, *others)])
    bos = {"bos_token": others[0]} if others and others[0] in ("<|begin_of_text|>", "<s>", "<bos>") else {}
    fast = PreTrainedTokenizerFast(tokenizer_object=made, eos_token=end, chat_template=template, **bos)
    return tk._from_transformers("chatty", fast)
