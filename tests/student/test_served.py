"""Episodes by a server: the same tokens as in process, whoever is slow, and a server that goes away."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from helpers.fake_vllm import FakeVllm, fake_vllm, restart_in
from helpers.projects import default_params
from helpers.served import served_at
from helpers.student import LIMITS, Run, assert_logprobs_are_the_models, sample, tasks_of_different_length

from synthagent.episodes.environment import LoopThread
from synthagent.episodes.episode import EMBEDDED, Environment, Episode, Response
from synthagent.episodes.turn import Question, ToolCall
from synthagent.errors import EndpointError
from synthagent.params import EpisodeParams, Params
from synthagent.records import Task
from synthagent.student.model import Student, save_student
from synthagent.student.served import Served
from synthagent.student.server import PolicyServer, Weights


def params_at(server: FakeVllm, limits: EpisodeParams = LIMITS, wait_s: float = 30) -> Params:
    """The student is served by `server`."""
    return served_at(server.base_url, default_params(), wait_s).model_copy(update={"episode": limits})


@pytest.fixture
def loop() -> Iterator[LoopThread]:
    thread = LoopThread()
    yield thread
    thread.close(partial(asyncio.sleep, 0))


@pytest.fixture
def folder(student: Student, tmp_path: Path) -> Path:
    save_student(student, tmp_path / "student")
    return tmp_path / "student"


class Client:
    """A server of the student, and episodes by it at some step of a training."""

    def __init__(self, params: Params, folder: Path, loop: LoopThread) -> None:
        self.params, self.loop = params, loop
        self.server = PolicyServer(params, folder)
        loop.gather([self.server.load(Weights(folder, None))])

    def sample(self, student: Student, tasks: list[Task], step: int = 0, environment: Environment = EMBEDDED) -> Run:
        generation = Served(self.params, self.server, self.loop)
        generation._trainer = SimpleNamespace(state=SimpleNamespace(global_step=step))
        episodes = [Episode(task, environment, max_turns=self.params.episode.max_turns) for task in tasks]
        return Run(episodes, generation.run(student.format, episodes))

    def close(self) -> None:
        self.loop.gather([self.server.close()])


@pytest.mark.parametrize(
    "limits",
    [
        LIMITS,
        EpisodeParams(max_turns=3, max_tokens=40, max_turn_tokens=9, mapping=True),
        EpisodeParams(max_turns=2, max_tokens=23, max_turn_tokens=40, mapping=True),
    ],
)
def test_a_served_student_writes_token_for_token_what_it_writes_in_process(
    limits: EpisodeParams, student: Student, folder: Path, loop: LoopThread
) -> None:
    tasks = tasks_of_different_length(student.tokenizer, 12)
    here = sample(student, tasks, limits, greedy=True)
    with fake_vllm(folder, likeliest=True) as server:
        client = Client(params_at(server, limits), folder, loop)
        there = client.sample(student, tasks)
        client.close()
    assert [e.messages for e in there.episodes] == [e.messages for e in here.episodes]
    assert [e.end for e in there.episodes] == [e.end for e in here.episodes]
    for one, other in zip(here.sampled, there.sampled, strict=True):
        assert (one.prompt, one.completion, one.mask) == (other.prompt, other.completion, other.mask)
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)


def test_tokens_are_sampled_by_seeds_of_step_and_place_and_are_never_tokenised_again(
    student: Student, folder: Path, loop: LoopThread
) -> None:
    tasks = tasks_of_different_length(student.tokenizer, 6)
    with fake_vllm(folder) as server:
        client = Client(params_at(server), folder, loop)
        first, again = (client.sample(student, tasks, step=3) for _ in range(2))
        other = client.sample(student, tasks, step=4)
        client.close()
    assert first.sampled == again.sampled != other.sampled
    assert 1 < server.most_asking <= client.params.llm.max_concurrency < len(tasks)
    assert_logprobs_are_the_models(student, [*first.sampled, *other.sampled])
    asked = server.asked("/v1/completions")[1:]
    assert {(body["temperature"], body["top_p"], body["top_k"], body["ignore_eos"]) for body in asked} == {
        (1.0, 1.0, 0, True)
    }
    prompts = {tuple(body["prompt"]) for body in asked}
    for row in first.sampled:
        starts = [i for i, own in enumerate(row.mask) if own and (i == 0 or not row.mask[i - 1])]
        assert all(tuple(row.prompt + row.completion[:start]) in prompts for start in starts)


class Holding:
    """Answers one task's episode only when all others have ended."""

    def __init__(self, task: Task, others: int) -> None:
        self.task, self.others, self.episodes, self.held = task, others, set[Episode](), 0

    async def answer(self, episode: Episode, asked: ToolCall | Question) -> Response:
        self.episodes.add(episode)
        while episode.task is self.task and not self._others_have_ended():
            self.held += 1
            await asyncio.sleep(0.01)
        return await EMBEDDED.answer(episode, asked)

    def _others_have_ended(self) -> bool:
        others = [episode for episode in self.episodes if episode.task is not self.task]
        return len(others) == self.others and all(episode.end for episode in others)


def test_a_slow_episode_does_not_hold_the_others(student: Student, folder: Path, loop: LoopThread) -> None:
    tasks = tasks_of_different_length(student.tokenizer, 12)
    plain = sample(student, tasks, greedy=True)
    asking = [t for t, e in zip(tasks, plain.episodes, strict=True) if e.n_tool_calls + e.n_questions][:4]
    environment = Holding(asking[0], len(asking) - 1)
    with fake_vllm(folder, likeliest=True) as server:
        client = Client(params_at(server), folder, loop)
        run = client.sample(student, asking, environment=environment)
        client.close()
    assert environment.held
    alone = {t.id: e.messages for t, e in zip(tasks, plain.episodes, strict=True)}
    assert [e.messages for e in run.episodes] == [alone[e.task.id] for e in run.episodes]


def killed_at(server: FakeVllm, turn: int, act: Any) -> None:
    """Have something happen to the server while it answers request number `turn` for tokens."""
    count = 0

    def before(path: str, _: dict[str, Any]) -> None:
        nonlocal count
        count += path == "/v1/completions"
        if count == turn:
            count += 1
            act()

    server.before = before


def test_a_server_that_dies_in_mid_step_is_waited_for_and_the_turn_begins_again(
    student: Student, folder: Path, loop: LoopThread, capsys: pytest.CaptureFixture[str]
) -> None:
    tasks = tasks_of_different_length(student.tokenizer, 8)
    with fake_vllm(folder) as server:
        client = Client(params_at(server), folder, loop)
        untroubled = client.sample(student, tasks)
        killed_at(server, 5, lambda: restart_in(server, 0.5))
        troubled = client.sample(student, tasks)
        client.close()
    assert troubled.sampled == untroubled.sampled
    assert [e.messages for e in troubled.episodes] == [e.messages for e in untroubled.episodes]
    loads = server.asked("/collective_rpc")
    assert len(loads) == 2
    assert len(server.asked("/reset_prefix_cache")) == 2
    said = [line for line in capsys.readouterr().out.splitlines() if "waiting" in line]
    assert len(said) == 1
    assert server.base_url in said[0]


def test_a_server_that_was_started_again_unseen_is_given_the_weights_before_its_tokens_count(
    student: Student, folder: Path, loop: LoopThread
) -> None:
    tasks = tasks_of_different_length(student.tokenizer, 4)
    with fake_vllm(folder) as server:
        client = Client(params_at(server), folder, loop)
        first = client.sample(student, tasks)
        server.stop()
        server.start()
        assert client.sample(student, tasks).sampled == first.sampled
        client.close()
    assert len(server.asked("/collective_rpc")) == 2


def test_a_server_that_stays_away_is_told_in_one_line_with_the_remedy(
    student: Student, folder: Path, loop: LoopThread
) -> None:
    tasks = tasks_of_different_length(student.tokenizer, 8)
    with fake_vllm(folder) as server:
        client = Client(params_at(server, wait_s=0.5), folder, loop)
        killed_at(server, 5, server.stop)
        with pytest.raises(EndpointError) as raised:
            client.sample(student, tasks)
        client.close()
    message = str(raised.value)
    assert "\n" not in message
    for part in (server.base_url, "serve.start_timeout_s", "synthagent serve policy", "nothing is trained"):
        assert part in message


@pytest.mark.parametrize(
    ("path", "answer", "said"),
    [
        ("/collective_rpc", (404, {"detail": "Not Found"}), "synthagent serve policy"),
        ("/v1/completions", (400, {"error": {"message": "maximum context length is 64"}}), "context length is 64"),
        ("/v1/completions", (200, {"choices": [{"text": "hi"}]}), "does not answer with tokens"),
    ],
)
def test_a_server_of_another_kind_is_told(
    path: str, answer: Any, said: str, student: Student, folder: Path, loop: LoopThread
) -> None:
    with fake_vllm(folder) as server:
        honest = server.answer
        if path == "/collective_rpc":
            server.answer = lambda there, body: answer if there == path else honest(there, body)  # type: ignore[method-assign]
            with pytest.raises(EndpointError, match=said):
                Client(params_at(server), folder, loop)
            return
        client = Client(params_at(server), folder, loop)
        server.answer = lambda there, body: answer if there == path else honest(there, body)  # type: ignore[method-assign]
        if "system_fingerprint" not in answer[1]:
            answer[1]["system_fingerprint"] = server.fingerprint
        with pytest.raises(EndpointError, match=said):
            client.sample(student, tasks_of_different_length(student.tokenizer, 2))
        client.close()
