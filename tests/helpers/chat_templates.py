"""Chat templates of other families of models, shortened, and small tokenizers that have them."""

from __future__ import annotations

from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

# Qwen2.5: arguments are an object; all results of a turn stand in one turn of the user.
QWEN = """\
{{- '<|im_start|>system\n' + messages[0].content }}
{%- if tools %}{{- '\n\n# Tools\n<tools>' }}{%- for tool in tools %}{{- '\n' }}{{- tool | tojson }}{%- endfor %}
{{- '\n</tools>' }}{%- endif %}{{- '<|im_end|>\n' }}
{%- for m in messages[1:] %}
{%- if m.role == 'user' %}{{- '<|im_start|>user\n' + m.content + '<|im_end|>\n' }}
{%- elif m.role == 'assistant' %}{{- '<|im_start|>assistant\n' }}{%- generation %}{{- m.content }}
{%- for call in m.tool_calls or [] %}
{%- if m.content or not loop.first %}{{- '\n' }}{%- endif %}
{{- '<tool_call>\n{"name": "' + call.function.name + '", "arguments": ' }}{{- call.function.arguments | tojson }}
{{- '}\n</tool_call>' }}{%- endfor %}{{- '<|im_end|>' }}{%- endgeneration %}{{- '\n' }}
{%- elif m.role == 'tool' %}
{%- if loop.previtem.role != 'tool' %}{{- '<|im_start|>user' }}{%- endif %}
{{- '\n<tool_response>\n' + m.content + '\n</tool_response>' }}
{%- if loop.last or loop.nextitem.role != 'tool' %}{{- '<|im_end|>\n' }}{%- endif %}
{%- endif %}{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"""

# Llama 3.1: headers, trimmed texts, results as JSON, one call a turn; no text after the end of a turn. Its own calls
# are bare JSON; here they are framed, as its fine-tunes for tools often have them.
LLAMA = """\
{{- bos_token }}
{%- for m in messages %}
{%- if m.role == 'assistant' %}{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{%- generation %}
{%- if 'tool_calls' in m %}
{%- if m.tool_calls | length != 1 %}{{- raise_exception('This model only supports single tool-calls at once!') }}
{%- endif %}{%- set call = m.tool_calls[0].function %}
{{- (m.content | trim + '<tool_call>{"name": "' + call.name + '", "arguments": ') | trim }}
{%- for key, value in call.arguments | items %}{{- ' {' if loop.first else ', ' }}{{- key | tojson + ': ' }}
{{- value | tojson }}{%- endfor %}{{- '}}</tool_call>' }}
{%- else %}{{- m.content | trim }}{%- endif %}{{- '<|eot_id|>' }}{%- endgeneration %}
{%- elif m.role == 'tool' %}
{{- '<|start_header_id|>ipython<|end_header_id|>\n\n' }}{{- m.content | tojson }}{{- '<|eot_id|>' }}
{%- else %}{{- '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' }}
{%- if m.role == 'system' %}{%- for tool in tools or [] %}{{- tool | tojson(indent=4) }}{{- '\n\n' }}{%- endfor %}
{%- endif %}{{- m.content | trim + '<|eot_id|>' }}{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{%- endif %}"""

# Llama 3.1 as it is released writes a call so.
LLAMA_BARE = (
    LLAMA.replace('<tool_call>{"name"', '{"name"').replace('"arguments"', '"parameters"').replace("</tool_call>", "")
)

# SmolLM2 knows no calls: it writes the content, which is empty.
SMOLLM = """\
{%- for m in messages %}{{- '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"""

_SPECIAL = ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|im_start|>", "<|im_end|>")


def tokenizer_with(template: str | None) -> Any:
    """A tokenizer of bytes that knows the special tokens of these families."""
    bytewise = Tokenizer(models.BPE())
    bytewise.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytewise.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bytewise.train_from_iterator([], trainers.BpeTrainer(special_tokens=[*_SPECIAL], initial_alphabet=alphabet))
    # As in base models, the end of a text is not the end of a turn.
    fast = PreTrainedTokenizerFast(
        tokenizer_object=bytewise, bos_token=_SPECIAL[0], eos_token="<|endoftext|>", pad_token="<|endoftext|>"
    )
    fast.chat_template = template
    return fast
