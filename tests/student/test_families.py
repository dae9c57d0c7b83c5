"""Students of real families: each acts in an episode, and none of its tokens is ever tokenised again."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from helpers.families import FAMILIES, MISTRAL_V3, Family, trl_template
from helpers.student import LIMITS, PARAMS, Demo, own_runs, sample
from helpers.tasks import task_of_level

from synthagent.episodes.episode import Episode
from synthagent.episodes.turn import MALFORMED, ToolCall, Turn
from synthagent.errors import InputError
from synthagent.params import Thinking
from synthagent.records import Task
from synthagent.student.format import IGNORED, ChatFormat
from synthagent.student.model import Student, build_model
from synthagent.student.tokenizer import render_plain

TASK = task_of_level(1)
SEVERAL = [family for family in FAMILIES if family.several]


@dataclass(frozen=True)
class Small:
    """A family and its small tokenizer."""

    family: Family
    tokenizer: Any


@pytest.fixture(scope="module")
def texts(demos: list[Demo]) -> list[str]:
    return [render_plain(demo.messages) for demo in demos[:40]]


@pytest.fixture(scope="module", params=FAMILIES, ids=lambda family: family.name)
def small(request: pytest.FixtureRequest, texts: list[str]) -> Small:
    return Small(request.param, request.param.tokenizer(texts))


def character_by_character(tokenizer: Any, text: str) -> list[int]:
    """Tokens for a text that no tokenizer would give for it: a token a character, but for the marks."""
    marks = sorted((token.content for token in tokenizer.added_tokens_decoder.values()), key=len, reverse=True)
    known, ids = tokenizer.get_vocab(), []
    for part in re.split(f"({'|'.join(map(re.escape, marks))})", text):
        pieces = [part] if part in marks else part
        for piece in pieces:
            ids.append(next(known[p] for p in (piece, {" ": "Ġ", "\n": "Ċ"}.get(piece), "▁") if p in known))
    return ids


class Speaking(torch.nn.Module):
    """A real network that says, whatever it thinks, the token that follows in a plan what it has seen."""

    def __init__(self, real: Any, plan: Sequence[int]) -> None:
        super().__init__()
        self.real, self.plan, self.seen = real, plan, list[int]()

    @property
    def config(self) -> Any:
        return self.real.config

    @property
    def device(self) -> torch.device:
        return torch.device(self.real.device)

    def forward(self, input_ids: torch.Tensor, **given: Any) -> Any:
        self.seen += input_ids[0].tolist()
        logits = torch.full_like(self.real(input_ids=input_ids, **given).logits, -50.0)
        logits[:, -1, self.plan[len(self.seen)]] = 50.0
        return SimpleNamespace(logits=logits)


@dataclass(frozen=True)
class Spoken:
    """What a student says in a turn, and how it is meant."""

    text: str
    turn: Turn


def speeches(family: Family, chat: ChatFormat, task: Task) -> Iterator[Spoken]:
    """Turns of all kinds, the last one with an answer."""
    tool = task.tools[0]
    call = ToolCall(tool.name, dict.fromkeys(tool.arguments, "K17"))
    write = family.write
    yield Spoken("Which  one is it ?", Turn("Which  one is it ?"))
    if not family.several:
        yield Spoken(write(call), Turn(calls=(call,)))
    else:
        other = replace(call, arguments=dict.fromkeys(tool.arguments, "J 4"))
        yield Spoken(write(call) + "\n" + write(other), Turn(calls=(call, other)))
    for end in family.ends[1:]:
        yield Spoken(f"<|python_tag|>{write(call)}{end}", Turn(calls=(call,)))
    yield Spoken("<answer>Refused</answer>", Turn("<answer>Refused</answer>"))


def test_what_a_student_sees_is_what_it_wrote_and_what_it_was_told_between(small: Small) -> None:
    """Its tokens are such as its tokenizer would never give for its text, so that any re-tokenising would show."""
    chat = ChatFormat.of(small.tokenizer)
    opened = chat.template.render(Episode(TASK).messages, more=True).endswith("<think>\n")
    episode, ids, mask = Episode(TASK), [], []
    for spoken in speeches(small.family, chat, TASK):
        text = f"Hm .\n</think>\n\n{spoken.text}" if opened else f"<think>Hm .</think>{spoken.text}"
        if not text.endswith(small.family.ends[1:]) or len(small.family.ends) == 1:
            text += small.family.ends[0]
        written = character_by_character(small.tokenizer, text)
        assert small.tokenizer(text, add_special_tokens=False)["input_ids"] != written
        observations = episode.step(replace(spoken.turn, thought="Hm ."))
        told = [] if episode.end else chat.observation_ids(observations)
        ids += written + told
        mask += [1] * len(written) + [0] * len(told)
    assert episode.end == "answer"

    torch.set_num_threads(1)
    model = Speaking(build_model(small.tokenizer, PARAMS, seed=0), chat.prompt_ids(TASK) + ids)
    student = Student(model, small.tokenizer)
    limits = LIMITS.model_copy(update={"max_tokens": 4000, "max_turn_tokens": 1000, "max_turns": 9})
    run = sample(student, [TASK], limits, greedy=True)
    (row,), (acted,) = run.sampled, run.episodes
    assert row.prompt == chat.prompt_ids(TASK)
    assert row.completion == ids
    assert row.mask == mask
    assert model.seen == (row.prompt + row.completion)[:-1]
    assert acted.messages == episode.messages
    assert acted.end == "answer"


def test_training_sees_what_sampling_produces(small: Small, demos: list[Demo]) -> None:
    chat = ChatFormat.of(small.tokenizer)
    for demo in demos[::20]:
        row = chat.tokenise(demo.messages, demo.task.tools)
        assert all(label in (token, IGNORED) for token, label in zip(row["input_ids"], row["labels"], strict=True))
        ids, episode = chat.prompt_ids(demo.task), Episode(demo.task)
        for run in own_runs(row["input_ids"], [label != IGNORED for label in row["labels"]]):
            assert run[-1] in chat.end_ids
            assert not chat.end_ids & {*run[:-1]}
            ids += run
            observations = episode.step(chat.turn(run, demo.task.tools))
            ids += chat.observation_ids(observations) if not episode.end else []
        assert episode.messages == demo.messages
        assert row["input_ids"][: len(ids)] == ids
        assert small.tokenizer.decode(row["input_ids"][len(ids) :]).strip() == ""


def test_the_pieces_come_to_the_text_that_the_template_writes(small: Small, demos: list[Demo]) -> None:
    chat = ChatFormat.of(small.tokenizer)
    row = chat.tokenise(demos[0].messages, demos[0].task.tools)
    whole = chat.template.render(demos[0].messages, tools=demos[0].task.tools)
    assert small.tokenizer(whole, add_special_tokens=False)["input_ids"] == row["input_ids"]


def test_a_prompt_holds_the_tools_schemas(small: Small) -> None:
    text = small.tokenizer.decode(ChatFormat.of(small.tokenizer).prompt_ids(TASK))
    for tool in TASK.tools:
        for part in ("name", "parameters"):
            schema = json.dumps(tool.schema_of_openai["function"][part])
            assert re.sub(r"\s", "", schema) in re.sub(r"\s", "", text)


def test_a_call_that_cannot_be_read_is_a_call_that_the_world_refuses(small: Small) -> None:
    chat = ChatFormat.of(small.tokenizer)
    broken = {
        "Qwen2.5": '<tool_call>{"name"</tool_call>',
        "Qwen3": "<tool_call>[]</tool_call>",
        "Llama 3.2": '{"name": "look", "parameters": {"id"',
        "Mistral": "[TOOL_CALLS]look[ARGS]{",
    }
    if text := broken.get(small.family.name):
        assert chat.turn(character_by_character(small.tokenizer, text)).calls == (MALFORMED,)


def test_what_is_in_a_thought_is_neither_call_nor_answer(small: Small) -> None:
    chat = ChatFormat.of(small.tokenizer)
    inside = f"{small.family.write(ToolCall('look', {}))} <answer>Done</answer>"
    prefilled = chat.template.render(Episode(TASK).messages, more=True).endswith("<think>\n")
    text = inside if prefilled else f"<think>{inside}</think>Which one?"
    turn = chat.turn(character_by_character(small.tokenizer, text))
    assert (turn.calls, turn.answer) == ((), None)


def test_special_tokens_that_mean_nothing_in_a_turn_are_not_in_its_text(small: Small) -> None:
    chat = ChatFormat.of(small.tokenizer)
    said = "".join(f"a{mark}" for mark in small.family.special)
    text = chat.text(character_by_character(small.tokenizer, said))
    assert not [mark for mark in small.family.special if "start" in mark and "call" not in mark and mark in text]
    assert not [end for end in small.family.ends if end in text]


@pytest.mark.parametrize("family", SEVERAL, ids=lambda family: family.name)
def test_thoughts_are_trained_on_only_where_they_are_kept(family: Family, texts: list[str]) -> None:
    tokenizer = family.tokenizer(texts)
    kept, dropped = (ChatFormat.of(tokenizer, thinking) for thinking in ("keep", "drop"))
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Move it."},
        {"role": "assistant", "content": "Which one?", "reasoning_content": "There are many."},
    ]
    for chat, said in ((kept, True), (dropped, False)):
        text = tokenizer.decode(chat.tokenise(messages, TASK.tools)["input_ids"])
        assert ("There are many." in text) == said
    assert kept.turn(character_by_character(tokenizer, "<think>Hm.</think>Yes.")).thought
    assert dropped.turn(character_by_character(tokenizer, "<think>Hm.</think>Yes.")).thought == ""


_CHANNELS = ("<|endoftext|>", "<|start|>", "<|message|>", "<|channel|>", "<|end|>", "<|call|>", "<|return|>")
GPT_OSS = replace(FAMILIES[0], template=trl_template("gptoss"), special=_CHANNELS, ends=("<|return|>",))
LFM2_5 = replace(FAMILIES[4], template=trl_template("lfm2_2_5"))
OLD_MISTRAL = replace(FAMILIES[-1], template=MISTRAL_V3)


@pytest.mark.parametrize(
    ("family", "thinking", "first", "then"),
    [
        pytest.param(OLD_MISTRAL, "keep", r"\[AVAILABLE_TOOLS\]", r"\[INST\]", id="Mistral 2024 moves its tools"),
        pytest.param(LFM2_5, "keep", "<think>", r"<\|tool_call_start\|>", id="LFM2.5 forgets thoughts"),
        pytest.param(GPT_OSS, "keep", "analysis", "commentary", id="gpt-oss forgets thoughts"),
        pytest.param(GPT_OSS, "drop", r"<\|return\|>", r"<\|end\|>", id="gpt-oss ends the last turn otherwise"),
    ],
)
def test_a_family_that_writes_earlier_turns_anew_is_refused_with_both_texts(
    family: Family, thinking: Thinking, first: str, then: str, texts: list[str]
) -> None:
    with pytest.raises(InputError, match=f"in two ways: .*{first}.* and, in a longer conversation, .*{then}.*"):
        ChatFormat.of(family.tokenizer(texts), thinking)


def test_a_family_that_forgets_thoughts_suits_a_student_without_any(texts: list[str]) -> None:
    assert ChatFormat.of(LFM2_5.tokenizer(texts), "drop").template.thinking == "drop"


def test_a_template_of_trls_stands_in_for_one_that_forgets(texts: list[str]) -> None:
    qwen = ChatFormat.of(FAMILIES[1].tokenizer(texts))
    assert qwen.template.source == trl_template("qwen3_training")
    assert qwen.tokenizer.chat_template == FAMILIES[1].template


def test_an_episode_that_a_template_cannot_write_is_refused_in_one_line(texts: list[str]) -> None:
    """Llama calls one tool a turn."""
    call = {"id": "call_1_0", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    messages = [*Episode(TASK).messages, {"role": "assistant", "content": "", "tool_calls": [call, call]}]
    with pytest.raises(InputError, match="refuses an episode: This model only supports single tool-calls at once"):
        ChatFormat.of(FAMILIES[3].tokenizer(texts)).tokenise(messages, TASK.tools)
    thoughtful = [*Episode(TASK).messages, {"role": "assistant", "content": "?", "reasoning_content": "Hm."}]
    with pytest.raises(InputError, match=r"has no place for a thought; drop thoughts"):
        ChatFormat.of(FAMILIES[3].tokenizer(texts)).tokenise(thoughtful, TASK.tools)
