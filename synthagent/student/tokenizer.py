"""The student's tokenizer: BPE over whole words, and a Hermes-style chat template.

Tools are rendered as signatures, `name(arg, arg)`: types and descriptions tell a million-parameter student nothing it
could use. The frame of a tool call is a handful of added tokens, so that its tokens go into names and values.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from synthagent.records import Message

END_OF_TURN = "<|im_end|>"
_PAD = "<|endoftext|>"
_START = "<|im_start|>"
_FRAMES = (
    '<tool_call>\n{"name": "',
    '", "arguments": {"',
    '": "',
    '", "',
    '"}}\n</tool_call>',
    '<tool_response>\n{"',
    '"}\n</tool_response>',
    "<answer>",
    "</answer>",
    f"{_START}user\n",
    f"{_START}assistant\n",
    f"{_START}system\n",
    # What stands between two turns, as far as it is always the same: an eighth of an episode's tokens otherwise.
    f"\n{_START}user\n",
    f'\n{_START}user\n<tool_response>\n{{"',
    f"{END_OF_TURN}\n{_START}assistant\n",
    f'"}}\n</tool_response>{END_OF_TURN}\n{_START}assistant\n',
    ")\n",
)
# A name is the same token wherever it stands, so that it can be copied from there: the spaces beside it go with the
# words around names, which are these. A letter before digits and the digits are tokens of their own, so that a key such
# as K17 is two tokens everywhere. A word before its verdict is a token apart, which stands in thoughts only.
_AROUND = (
    "a above ahead am an and answer as ask can confirm did do first found go hello hi i if is it kindly look me my "
    "never not of or please reason saw tell the then to unless user value want what you"
).replace(" ", "|")
_WORDS = rf"[a-z]+ (?=(?:yes|no)[,.:])|[A-Z](?=\d)|\d+| ?\b(?i:{_AROUND})\b ?|_?[A-Za-z]+|[^A-Za-z0-9_]+|_"

# `<` of other roles' text is replaced by U+2039, so that nothing they say can look like a frame.
TEMPLATE = """\
{%- for m in messages %}
{%- if m.role == 'assistant' %}{{- '<|im_start|>assistant\n' }}{%- generation %}{{- m.content or '' }}
{%- for call in m.tool_calls or [] %}{{- '<tool_call>\n{"name": "' + call.function.name + '", "arguments": ' }}
{{- call.function.arguments if call.function.arguments is string else call.function.arguments | tojson }}
{{- '}\n</tool_call>' }}{%- endfor %}{{- '<|im_end|>' }}{%- endgeneration %}{{- '\n' }}
{%- elif m.role == 'tool' %}{{- '<|im_start|>user\n<tool_response>\n' + m.content | replace('<', '\u2039') }}
{{- '\n</tool_response><|im_end|>\n' }}
{%- else %}{{- '<|im_start|>' + m.role + '\n' }}
{%- if m.role == 'system' %}{%- for tool in tools or [] %}
{{- tool.function.name + '(' + tool.function.parameters.properties.keys() | join(', ') + ')\n' }}
{%- endfor %}{%- endif %}
{{- m.content | replace('<', '\u2039') + '<|im_end|>\n' }}{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"""

# How TRL reads a turn back into a message.
RESPONSE_TEMPLATE: dict[str, Any] = {
    "defaults": {"role": "assistant"},
    "start_anchor": "<|im_start|>assistant\n",
    "fields": {
        "tool_calls": {
            "open": "<tool_call>",
            "close_pattern": r"</tool_call>\s*",
            "repeats": True,
            "content": "json",
            "transform": {"type": "function", "function": "{content}"},
        },
        "content": {"close_pattern": r"<\|im_end\|>\s*", "content": "text"},
    },
}


def train_tokenizer(texts: Iterable[str], lexicon: Sequence[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """Train on rendered episodes; every word of the lexicon becomes a token, alone and as the end of a tool's name."""
    tokenizer = Tokenizer(models.BPE())
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    words = pre_tokenizers.Split(Regex(_WORDS), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[_PAD, _START, END_OF_TURN],
        show_progress=False,
    )
    pretraining = [f"{word}\n_{word}\n" * 60 for word in lexicon]
    tokenizer.train_from_iterator([*map(_without_frames, texts), *pretraining], trainer)
    tokenizer.add_tokens([AddedToken(frame, normalized=False) for frame in _FRAMES])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END_OF_TURN, pad_token=_PAD, padding_side="left"
    )
    fast.chat_template = TEMPLATE
    fast.response_template = RESPONSE_TEMPLATE
    return fast


def render_plain(messages: Sequence[Message]) -> str:
    """The text of messages, near enough to train a tokenizer on."""
    parts = []
    for message in messages:
        calls = (call["function"] for call in message.get("tool_calls", ()))
        parts += [message["content"], *(f"{call['name']}\n{call['arguments']}" for call in calls)]
    return "\n".join(parts)


def _without_frames(text: str) -> str:
    for frame in (*_FRAMES, END_OF_TURN):
        text = text.replace(frame, "\n")
    return text
