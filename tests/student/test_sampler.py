"""The sampler, checked against plain passes of the model and against the episodes it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from itertools import groupby
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from helpers.student import (
    LIMITS,
    PARAMS,
    Run,
    assert_logprobs_are_the_models,
    own_runs,
    sample,
    tasks_of_different_length,
)
from helpers.tasks import accepted_tasks, rubric_of
from transformers import MistralConfig, MistralForCausalLM

from synthagent.episodes.environment import LoopThread
from synthagent.episodes.episode import EMBEDDED, Episode, Response
from synthagent.episodes.rerun import rerun
from synthagent.episodes.turn import Question, ToolCall, Turn, parse_turn
from synthagent.errors import BadReplyError
from synthagent.judging.reward import score_world
from synthagent.params import EpisodeParams
from synthagent.records import Task
from synthagent.student.format import ChatFormat
from synthagent.student.model import Student, build_model
from synthagent.student.rows import KEPT
from synthagent.student.sampler import _AT_ONCE, _drawn


@pytest.fixture(scope="module")
def run(student: Student) -> Run:
    """Sampled episodes with prompts of many lengths."""
    return sample(student, tasks_of_different_length(student.tokenizer, 24))


def test_the_episodes_of_these_tests_have_everything_in_them(run: Run) -> None:
    """Else the tests below would say little."""
    assert len({len(row.prompt) for row in run.sampled}) > 10
    assert len({len(row.completion) for row in run.sampled}) > 5
    assert sum(0 in row.mask for row in run.sampled) > 5
    assert sum(episode.n_tool_calls for episode in run.episodes) > 5
    assert sum(episode.n_questions for episode in run.episodes) > 0
    assert len({episode.end for episode in run.episodes}) > 1


def test_log_probabilities_are_those_of_a_fresh_pass_of_the_model(student: Student, run: Run) -> None:
    assert_logprobs_are_the_models(student, run.sampled)


@pytest.mark.parametrize("temperature", [0.5, 1.7])
def test_log_probabilities_are_those_of_the_temperature(student: Student, temperature: float) -> None:
    tasks = tasks_of_different_length(student.tokenizer, 6)
    assert_logprobs_are_the_models(student, sample(student, tasks, temperature=temperature).sampled, temperature)


def test_log_probabilities_hold_for_an_untrained_student_too(untrained: Student) -> None:
    rows = sample(untrained, tasks_of_different_length(untrained.tokenizer, 6)).sampled
    assert all(row.completion for row in rows)
    assert_logprobs_are_the_models(untrained, rows)


def test_tokens_are_the_models_own_or_what_the_episode_says_and_nothing_else(student: Student, run: Run) -> None:
    """Walks each record of an episode beside its tokens: 1 exactly on what was sampled, 0 on what others said."""
    tokenizer = student.tokenizer
    for episode, row in zip(run.episodes, run.sampled, strict=True):
        assert row.prompt == ChatFormat.of(tokenizer).prompt_ids(episode.task)
        assert row.mask[0] == 1
        spoken = groupby(episode.messages[2:], key=lambda message: message["role"] == "assistant")
        expected = [(own, list(group)) for own, group in spoken]
        place = 0
        for own, messages in expected:
            if own:
                (message,) = messages
                end = next((i for i in range(place, len(row.mask)) if not row.mask[i]), len(row.mask))
                text = tokenizer.decode(row.completion[place:end], skip_special_tokens=True)
                turn, called = parse_turn(text), [c["function"]["name"] for c in message.get("tool_calls", ())]
                if row.completion[end - 1] == tokenizer.eos_token_id:
                    assert (turn.text, [call.name for call in turn.calls]) == (message["content"], called)
                else:  # cut off
                    assert message == {"role": "assistant", "content": text.partition("</answer>")[0]}
                place = end
            elif place < len(row.mask):
                ids = ChatFormat.of(tokenizer).observation_ids(messages)
                assert row.completion[place : place + len(ids)] == ids
                assert row.mask[place : place + len(ids)] == [0] * len(ids)
                place += len(ids)
        assert place == len(row.completion)


def test_every_turn_but_the_last_ends_with_the_end_of_a_turn(student: Student, run: Run) -> None:
    end = student.tokenizer.eos_token_id
    for row in run.sampled:
        *earlier, last = own_runs(row.completion, [bool(own) for own in row.mask])
        assert all(turn[-1] == end for turn in earlier)
        assert all(end not in turn[:-1] for turn in (*earlier, last))


def test_what_was_sampled_is_never_tokenised_again(student: Student) -> None:
    """At a high temperature the model spells words as the tokenizer would not; the ids stay the model's."""
    tokenizer = student.tokenizer
    rows = sample(student, tasks_of_different_length(tokenizer, 8), temperature=1.7).sampled
    turns = [turn for row in rows for turn in own_runs(row.completion, [bool(own) for own in row.mask])]
    unusual = [t for t in turns if tokenizer(tokenizer.decode(t), add_special_tokens=False)["input_ids"] != t]
    assert unusual
    assert_logprobs_are_the_models(student, rows, temperature=1.7)


def test_a_batch_gives_each_episode_what_it_would_get_alone(student: Student) -> None:
    tasks = tasks_of_different_length(student.tokenizer, 12)
    together = sample(student, tasks, greedy=True)
    for task, episode, row in zip(tasks, together.episodes, together.sampled, strict=True):
        alone = sample(student, [task], greedy=True)
        assert alone.episodes[0].messages == episode.messages
        assert (alone.sampled[0].completion, alone.sampled[0].mask) == (row.completion, row.mask)


def test_greedy_episodes_do_not_depend_on_a_seed_and_take_the_likeliest_token(student: Student) -> None:
    tasks = tasks_of_different_length(student.tokenizer, 4)
    first, second = (sample(student, tasks, seed=seed, greedy=True).sampled for seed in (0, 1))
    assert first == second
    row = first[0]
    with torch.no_grad():
        logits = student.model(input_ids=torch.tensor([row.prompt + row.completion])).logits[0]
    likeliest = logits[len(row.prompt) - 1 : -1].argmax(-1).tolist()
    assert all(a == b for a, b, own in zip(row.completion, likeliest, row.mask, strict=True) if own)


def test_the_same_seed_gives_the_same_tokens_and_another_seed_others(student: Student) -> None:
    tasks = tasks_of_different_length(student.tokenizer, 6)
    first, again, other = (sample(student, tasks, seed=seed) for seed in (3, 3, 4))
    assert first.sampled == again.sampled
    assert [e.messages for e in first.episodes] == [e.messages for e in again.episodes]
    assert first.sampled != other.sampled


def test_tokens_are_drawn_as_often_as_they_are_likely_and_never_where_they_are_impossible() -> None:
    odds = torch.tensor([[0.0, 0.7, 0.0, 0.3, 0.0], [0.25, 0.25, 0.25, 0.25, 0.0], [0.0, 0.0, 0.0, 0.0, 1.0]])
    generator = torch.Generator().manual_seed(0)
    draws = torch.stack([_drawn(odds.log(), generator) for _ in range(4_000)])
    found = torch.nn.functional.one_hot(draws, 5).float().mean(0)
    assert (found - odds).abs().max() < 0.03
    assert (found[odds == 0] == 0).all()


def test_several_samples_of_one_task_differ(student: Student) -> None:
    task = tasks_of_different_length(student.tokenizer, 3)[1]
    rows = sample(student, [task] * 6).sampled
    assert len({tuple(row.completion) for row in rows}) > 1
    assert_logprobs_are_the_models(student, rows)


@pytest.mark.parametrize("max_tokens", [1, 7, 60])
@pytest.mark.parametrize("max_turn_tokens", [1, 9, 40])
@pytest.mark.parametrize("max_turns", [1, 3])
def test_limits_hold(student: Student, max_tokens: int, max_turn_tokens: int, max_turns: int) -> None:
    limits = EpisodeParams(max_turns=max_turns, max_tokens=max_tokens, max_turn_tokens=max_turn_tokens, mapping=True)
    run = sample(student, tasks_of_different_length(student.tokenizer, 8), limits)
    for episode, row in zip(run.episodes, run.sampled, strict=True):
        turns = list(own_runs(row.completion, [bool(own) for own in row.mask]))
        assert 1 <= len(row.completion) <= max_tokens
        assert len(turns) <= max_turns
        assert all(len(turn) <= max_turn_tokens for turn in turns)
        assert episode.n_turns <= max_turns
        assert episode.end is not None
        if episode.end == "turn_limit":
            assert episode.n_turns == max_turns


def test_each_limit_ends_episodes_under_its_name(student: Student) -> None:
    tasks = tasks_of_different_length(student.tokenizer, 16)
    few_turns = sample(student, tasks, LIMITS.model_copy(update={"max_turns": 1}))
    assert "turn_limit" in {episode.end for episode in few_turns.episodes}
    for change in ({"max_tokens": 12}, {"max_turn_tokens": 3}):
        short = sample(student, tasks, LIMITS.model_copy(update=change))
        assert {episode.end for episode in short.episodes} == {"token_limit"}


@pytest.mark.parametrize(
    "limits", [LIMITS, EpisodeParams(max_turns=3, max_tokens=70, max_turn_tokens=20, mapping=True)]
)
def test_an_episode_scored_live_and_its_record_scored_later_earn_the_same(
    student: Student, limits: EpisodeParams
) -> None:
    live = sample(student, tasks_of_different_length(student.tokenizer, 24), limits, seed=5)
    for episode in live.episodes:
        again = rerun(episode.task, episode.messages, limits.max_turns)
        rubric = rubric_of(episode.task)
        assert score_world(rubric, again.world) == score_world(rubric, episode.world)
        assert score_world(rubric, again.world, "paper", False) == score_world(rubric, episode.world, "paper", False)
        if episode.end in ("answer", "turn_limit"):
            assert (again.end, again.messages) == (episode.end, episode.messages)


def shapes_of(student: Student, tasks: list[Task]) -> list[tuple[int, int]]:
    """Rows and width of what goes through the network in each step; the log-probabilities are the model's."""
    shapes: list[tuple[int, int]] = []
    hook = student.model.get_input_embeddings().register_forward_pre_hook(
        lambda _, inputs: shapes.append(tuple(inputs[0].shape))
    )
    run = sample(student, tasks)
    hook.remove()
    assert any(0 in row.mask for row in run.sampled)
    assert_logprobs_are_the_models(student, run.sampled)
    return shapes


def test_a_prompt_goes_through_once_and_observations_several_tokens_at_a_time(student: Student) -> None:
    tasks = tasks_of_different_length(student.tokenizer, 3)
    first, *steps = shapes_of(student, [task for task in tasks for _ in range(4)])
    assert first[0] == 3
    assert steps[0][0] == 12
    assert max(width for _, width in steps) > 12
    assert all(width == 1 or rows * width <= _AT_ONCE / KEPT for rows, width in steps)


def test_steps_of_fixed_places_read_one_token_a_row_and_write_what_the_model_says(
    student: Student, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("synthagent.student.rows.can_replay", lambda *_: True)  # which a CPU runs without a recording
    tasks = tasks_of_different_length(student.tokenizer, 3)
    first, *steps = shapes_of(student, [task for task in tasks for _ in range(4)])
    assert first[0] == 3
    assert {width for _, width in steps} == {1}
    assert steps[0][0] == 12 > steps[-1][0]


def test_a_student_with_a_window_reads_one_token_a_step_lest_padding_narrow_it(untrained: Student) -> None:
    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=untrained.model.config.vocab_size,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        sliding_window=40,
        eos_token_id=untrained.tokenizer.eos_token_id,
        pad_token_id=untrained.tokenizer.pad_token_id,
        initializer_range=0.3,
    )
    model = MistralForCausalLM(config).eval()
    end = untrained.format.end_id
    with torch.no_grad():  # its turns end soon
        model.lm_head.bias = torch.nn.Parameter(torch.zeros(config.vocab_size).index_fill_(0, torch.tensor([end]), 6.0))
    windowed = Student(model, untrained.tokenizer)
    _, *steps = shapes_of(windowed, tasks_of_different_length(untrained.tokenizer, 6))
    assert {width for _, width in steps} == {1}


class Slow:
    """Answers as the worlds and the embedded user do, after a while. `faulty`: a task for which it cannot."""

    def __init__(self, faulty: Task | None = None) -> None:
        self.faulty, self.together, self.most, self.asked = faulty, 0, 0, 0

    async def answer(self, episode: Episode, asked: ToolCall | Question) -> Response:
        self.together += 1
        self.asked += 1
        self.most = max(self.most, self.together)
        await asyncio.sleep(0.01)
        self.together -= 1
        if episode.task is self.faulty:
            raise BadReplyError("tools: refusal", "no")
        return await EMBEDDED.answer(episode, asked)


@pytest.fixture
def loop() -> Iterator[LoopThread]:
    thread = LoopThread()
    yield thread
    thread.close(partial(asyncio.sleep, 0))


def test_a_row_that_waits_for_its_answer_writes_what_it_would_have_written(student: Student, loop: LoopThread) -> None:
    tasks = tasks_of_different_length(student.tokenizer, 12)
    at_once = sample(student, tasks, greedy=True)
    waiting = sample(student, tasks, greedy=True, environment=Slow(), loop=loop)
    assert any(episode.n_turns > 1 for episode in at_once.episodes)
    assert [e.messages for e in waiting.episodes] == [e.messages for e in at_once.episodes]
    assert [e.end for e in waiting.episodes] == [e.end for e in at_once.episodes]
    for one, other in zip(at_once.sampled, waiting.sampled, strict=True):
        assert (one.completion, one.mask) == (other.completion, other.mask)
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)


def test_rows_are_answered_together(student: Student, loop: LoopThread) -> None:
    environment, tasks = Slow(), tasks_of_different_length(student.tokenizer, 12)
    run = sample(student, tasks, greedy=True, environment=environment, loop=loop)
    assert environment.asked == sum(episode.n_tool_calls + episode.n_questions for episode in run.episodes)
    assert environment.most > 1


def test_an_answer_that_cannot_be_had_ends_its_own_episode_only(student: Student, loop: LoopThread) -> None:
    tasks = tasks_of_different_length(student.tokenizer, 6)
    run = sample(student, tasks, greedy=True, environment=Slow(tasks[0]), loop=loop)
    assert (run.episodes[0].end, run.episodes[0].error) == ("error", "tools: refusal")
    rest = sample(student, tasks[1:], greedy=True)
    assert [e.messages for e in run.episodes[1:]] == [e.messages for e in rest.episodes]


def test_the_loop_of_models_is_needed_only_where_something_waits(student: Student) -> None:
    with pytest.raises(RuntimeError, match="event loop"):
        sample(student, tasks_of_different_length(student.tokenizer, 6), greedy=True, environment=Slow())


def test_all_calls_of_a_turn_are_read_back_in_their_order(student: Student) -> None:
    """A student may call several tools in a turn; what it reads is what the template makes of all their results."""
    task = tasks_of_different_length(student.tokenizer, 3)[0]
    calls = tuple(ToolCall(tool.name, {}) for tool in task.tools)
    observations = Episode(task).step(Turn(calls=calls))
    text = student.format.observation_text(observations)
    places = [text.index(observation["content"].split('"')[1]) for observation in observations]
    assert len(observations) == len(task.tools) > 1
    assert places == sorted(places)
    assert text.count("<tool_response>") == len(observations)


def test_sampling_leaves_the_model_in_the_mode_it_was_in(student: Student) -> None:
    for training in (True, False):
        student.model.train(training)
        sample(student, accepted_tasks()[:1])
        assert student.model.training == training


class Answering(torch.nn.Module):
    """A network on `meta`, which refuses tensors of any other device; what it would say is made up on the CPU."""

    def __init__(self, real: Any, end: int) -> None:
        super().__init__()
        self.real, self.end, self.steps = real, end, 0

    @property
    def config(self) -> Any:
        return self.real.config

    @property
    def device(self) -> torch.device:
        return torch.device(self.real.device)

    def forward(self, **given: Any) -> Any:
        logits = self.real(**given).logits
        assert logits.device.type == "meta"
        self.steps += 1
        said = torch.zeros(logits.shape)
        ends = [(row + self.steps) % 3 == 0 for row in range(len(said))]  # turns end at different steps
        said[:, -1, self.end] = torch.tensor([1.0 if end else -1.0 for end in ends])
        return SimpleNamespace(logits=said)


@pytest.fixture
def elsewhere(untrained: Student) -> Student:
    """A student whose network is on `meta`."""
    with torch.device("meta"):
        real = build_model(untrained.tokenizer, PARAMS, seed=0)
    real.set_attn_implementation("eager")  # the others look into the attention mask, which has no values there
    return Student(Answering(real, untrained.format.end_id), untrained.tokenizer)


def test_everything_that_the_model_is_given_is_on_its_device(elsewhere: Student) -> None:
    tasks = tasks_of_different_length(elsewhere.tokenizer, 6)
    limits = LIMITS.model_copy(update={"max_turns": 2})
    run = sample(elsewhere, tasks, limits, seed=None, greedy=True)
    assert len({len(row.completion) for row in run.sampled}) > 1  # rows leave the batch one after another
    assert any(0 in row.mask for row in run.sampled)
    assert {episode.end for episode in run.episodes} <= {"turn_limit", "token_limit"}


def test_the_random_generator_is_on_the_models_device(elsewhere: Student) -> None:
    """There is none on `meta`, and torch says so; one on the CPU would be made without a word."""
    with pytest.raises(RuntimeError, match="META device"):
        sample(elsewhere, tasks_of_different_length(elsewhere.tokenizer, 2), seed=1)
    assert elsewhere.model.steps == 0
