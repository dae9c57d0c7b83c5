"""Tokenizers of real families made small: their special tokens, their way of splitting text, their chat templates."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from synthagent.episodes.turn import ToolCall

_SPLIT = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_CHATML = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_HEADERS = ("<|start_header_id|>", "<|end_header_id|>")
_LLAMA = ("<|begin_of_text|>", "<|end_of_text|>", *_HEADERS, "<|eom_id|>", "<|eot_id|>", "<|python_tag|>")
_LFM_CALLS = ("<|tool_call_start|>", "<|tool_call_end|>")
_LFM = ("<|pad|>", "<|startoftext|>", *_CHATML, "<|tool_list_start|>", "<|tool_list_end|>", *_LFM_CALLS)
_MARKS = ("INST", "SYSTEM_PROMPT", "AVAILABLE_TOOLS", "TOOL_RESULTS")
_MISTRAL = (
    "<unk>",
    "<s>",
    "</s>",
    *(f"[{slash}{mark}]" for mark in _MARKS for slash in ("", "/")),
    "[TOOL_CALLS]",
    "[ARGS]",
)
_FRAMES = ("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<think>", "</think>")

# Mistral since 2025, shortened: tools beside the system prompt, every call behind its name.
MISTRAL = """\
{{- bos_token }}
{%- for m in messages %}
{%- if m.role == 'system' %}{{- '[SYSTEM_PROMPT]' + m.content + '[/SYSTEM_PROMPT]' }}
{%- if tools %}{{- '[AVAILABLE_TOOLS]' }}{{- tools | tojson }}{{- '[/AVAILABLE_TOOLS]' }}{%- endif %}
{%- elif m.role == 'user' %}{{- '[INST]' + m.content + '[/INST]' }}
{%- elif m.role == 'tool' %}{{- '[TOOL_RESULTS]' + m.content + '[/TOOL_RESULTS]' }}
{%- else %}{{- m.content }}
{%- for call in m.tool_calls or [] %}{{- '[TOOL_CALLS]' + call.function.name + '[ARGS]' }}
{{- call.function.arguments if call.function.arguments is string else call.function.arguments | tojson }}
{%- endfor %}{{- eos_token }}
{%- endif %}{%- endfor %}"""

# Mistral until 2024, shortened: a list of calls, with ids of nine letters; tools stand before what was said last.
MISTRAL_V3 = """\
{{- bos_token }}
{%- set asked = messages | selectattr('role', 'equalto', 'user') | list %}
{%- for m in messages[1:] %}
{%- if m.role == 'user' %}
{%- if tools and m == asked[-1] %}{{- '[AVAILABLE_TOOLS] ' }}{{- tools | tojson }}
{{- '[/AVAILABLE_TOOLS]' }}{%- endif %}
{{- '[INST] ' + (messages[0].content + '\n\n' if loop.first else '') + m.content + '[/INST]' }}
{%- elif m.role == 'tool' %}
{%- if m.tool_call_id | length != 9 %}{{- raise_exception('nine letters and digits, please') }}{%- endif %}
{{- '[TOOL_RESULTS] {"content": ' + m.content + ', "call_id": "' + m.tool_call_id + '"}[/TOOL_RESULTS]' }}
{%- elif m.tool_calls %}{{- '[TOOL_CALLS] [' }}
{%- for call in m.tool_calls %}
{%- if call.id | length != 9 %}{{- raise_exception('nine letters and digits, please') }}{%- endif %}
{{- (call.function | tojson)[:-1] + ', "id": "' + call.id + '"}' }}
{{- ', ' if not loop.last }}{%- endfor %}{{- ']' + eos_token }}
{%- else %}{{- ' ' + m.content | trim + eos_token }}
{%- endif %}{%- endfor %}"""


def trl_template(name: str) -> str:
    """A chat template as its model's makers released it; TRL ships a copy."""
    found = find_spec("trl")
    assert found is not None
    assert found.origin is not None
    return (Path(found.origin).parent / "chat_templates" / f"{name}.jinja").read_text(encoding="utf-8")


def hermes(call: ToolCall) -> str:
    return f'<tool_call>\n{{"name":  "{call.name}", "arguments" : {json.dumps(call.arguments)}}}\n</tool_call>'


def llama(call: ToolCall) -> str:
    return f'{{"name":  "{call.name}", "parameters" : {json.dumps(call.arguments)}}}'


def mistral(call: ToolCall) -> str:
    return f"[TOOL_CALLS]{call.name}[ARGS]{json.dumps(call.arguments, indent=1)}"


def xml(call: ToolCall) -> str:
    parameters = "".join(f"<parameter={key}>\n{value}\n</parameter>\n" for key, value in call.arguments.items())
    return f"<tool_call>\n<function={call.name}>\n{parameters}</function>\n</tool_call>"


def lfm(call: ToolCall) -> str:
    arguments = ", ".join(f"{key}={value!r}" for key, value in call.arguments.items())
    return f"<|tool_call_start|>[{call.name}({arguments})]<|tool_call_end|>"


@dataclass(frozen=True)
class Family:
    """A family of models, as far as its tokenizer tells.

    `write`: a call as its models write it. `several`: they call more than one tool in a turn. `ends`: the tokens that
    may end a turn.
    """

    name: str
    template: str
    special: tuple[str, ...]
    ends: tuple[str, ...]
    write: Callable[[ToolCall], str]
    several: bool = True
    metaspace: bool = False

    def tokenizer(self, texts: Iterable[str]) -> Any:
        """A tokenizer of this family, trained on some texts."""
        small = Tokenizer(models.BPE(byte_fallback=self.metaspace, unk_token="<unk>" if self.metaspace else None))
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        if self.metaspace:
            small.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
            small.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="first")])
            alphabet = [*map(chr, range(32, 127)), "\n"]
        else:
            bytewise = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
            small.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(_SPLIT), "isolated"), bytewise])
            small.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=700, special_tokens=[*self.special], initial_alphabet=alphabet, show_progress=False
        )
        small.train_from_iterator(texts, trainer)
        small.add_tokens([AddedToken(frame, normalized=False) for frame in _FRAMES if frame in self.template])
        first = next(
            mark for mark in self.special if mark in ("<s>", "<|begin_of_text|>", "<|startoftext|>", _CHATML[0])
        )
        small.post_processor = processors.TemplateProcessing(
            single=f"{first}:0 $A:0", special_tokens=[(first, self.special.index(first))]
        )
        fast = PreTrainedTokenizerFast(
            tokenizer_object=small,
            bos_token=first,
            eos_token=self.ends[0],
            pad_token=self.special[0],
            clean_up_tokenization_spaces=True,  # as Llama's is released
        )
        fast.chat_template = self.template
        return fast


FAMILIES: Sequence[Family] = (
    Family("Qwen2.5", trl_template("qwen2_5"), _CHATML, ("<|im_end|>",), hermes),
    Family("Qwen3", trl_template("qwen3"), _CHATML, ("<|im_end|>",), hermes),
    Family("Qwen3.5", trl_template("qwen3_5_think"), _CHATML, ("<|im_end|>",), xml),
    Family("Llama 3.2", trl_template("llama3_2"), _LLAMA, ("<|eot_id|>", "<|eom_id|>"), llama, several=False),
    Family("LFM2", trl_template("lfm2_v2"), _LFM, ("<|im_end|>",), lfm),
    Family("Mistral", MISTRAL, _MISTRAL, ("</s>",), mistral, metaspace=True),
)
