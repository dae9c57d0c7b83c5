"""The tasks as an environment of OpenEnv (0.10), served over HTTP and websockets: reset, step, state.

A session is an episode after the other, each in a fresh world, with the limits and the reward of our own. `synthagent
export openenv FOLDER` writes the package that has this module, the tasks, and the server's entry point.
"""

# mypy: disable-error-code="import-not-found,misc"

from __future__ import annotations

import difflib
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from openenv.core.env_server.http_server import create_app
from openenv.core.env_server.interfaces import Environment

from synthagent.episodes.episode import Episode
from synthagent.episodes.turn import turn_of_chat
from synthagent.errors import InputError
from synthagent.exchange.openenv_client import WorldAction, WorldObservation, WorldState
from synthagent.exchange.playable import Playable, Rules, judged, outcome_of, read_playables
from synthagent.text import clean

NAME = "synthagent"
BUNDLED = Path(__file__).parents[2]  # of the package that is exported: where its tasks lie
MOST_SESSIONS = 256


class ServedTasks:
    """The tasks that a server has, by id and by split, in their order."""

    def __init__(self, playables: Sequence[Playable], rules: Rules) -> None:
        self.rules = rules
        self.by_id = {playable.task.id: playable for playable in playables}
        self.splits: dict[str, list[str]] = {}
        for playable in playables:
            self.splits.setdefault(playable.task.split, []).append(playable.task.id)

    def of_split(self, split: str) -> Sequence[str]:
        """The ids of a split.

        Raises:
            InputError: there is none of this name.
        """
        if split not in self.splits:
            raise InputError(f"split {clean(split)[:40]!r}: there is none of this name; {', '.join(self.splits)}")
        return self.splits[split]

    def find(self, task_id: str) -> Playable:
        """The task of an id.

        Raises:
            InputError: there is none; names the nearest.
        """
        if task_id not in self.by_id:
            near = ", ".join(difflib.get_close_matches(task_id, self.by_id, 3, 0.0))
            raise InputError(f"task {clean(task_id)[:100]!r}: there is none of this id; the nearest are {near}")
        return self.by_id[task_id]


class WorldEnvironment(Environment):
    """One session."""

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self, tasks: ServedTasks) -> None:
        super().__init__()
        self._tasks = tasks
        self._episode: Episode | None = None
        self._episode_id = ""

    def reset(
        self,
        seed: int | None = None,
        episode_id: str | None = None,
        task_id: str | None = None,
        split: str = "train",
        index: int | None = None,
        **_: Any,
    ) -> WorldObservation:
        """Start an episode: of the task that is named, else of the split's at `index`, else of one that `seed` draws.

        Raises:
            InputError: no such task or split.
            IndexError: the split has fewer tasks.
        """
        if task_id is None:
            ids = self._tasks.of_split(split)
            task_id = ids[index] if index is not None else random.Random(seed).choice(ids)
        task = self._tasks.find(task_id).task
        self._episode = Episode(task, max_turns=self._tasks.rules.max_turns)
        self._episode_id = episode_id or str(uuid4())
        tools = [tool.schema_of_openai for tool in task.tools]
        return WorldObservation(messages=list(self._episode.messages), tools=tools)

    def step(self, action: WorldAction, timeout_s: float | None = None, **_: Any) -> WorldObservation:
        """Take a turn. The last observation of an episode has its reward; a step after it changes nothing.

        Raises:
            InputError: there is no episode, or a call has no name.
        """
        if self._episode is None:
            raise InputError("step: there is no episode in this session; call reset first, over the same websocket")
        if self._episode.end is None:
            answers = list(self._episode.step(_turn_of(action)))
            if self._episode.end is None:
                return WorldObservation(messages=answers)
        playable = self._tasks.by_id[self._episode.task.id]
        reward = judged(self._episode, playable.rubric, self._tasks.rules, self._episode_id)
        return WorldObservation(done=True, reward=reward.reward, outcome=dict(outcome_of(reward, self._episode)))

    @property
    def state(self) -> WorldState:
        """Where the session's episode stands."""
        if self._episode is None:
            return WorldState()
        episode = self._episode
        return WorldState(
            episode_id=self._episode_id, step_count=episode.n_turns, task_id=episode.task.id, end=episode.end
        )

    def list_splits(self) -> list[str]:
        """As OpenEnv's `TaskProvider`, like the four below."""
        return list(self._tasks.splits)

    def num_tasks(self, split: str) -> int:
        return len(self._tasks.of_split(split))

    def get_task(self, split: str, index: int) -> dict[str, Any]:
        task = self._tasks.by_id[self._tasks.of_split(split)[index]].task
        return {"id": task.id, "index": index, "domain": task.domain, "difficulty": task.difficulty}

    def list_tasks(self, split: str) -> list[dict[str, Any]]:
        return self.get_task_range(split)

    def get_task_range(self, split: str, start: int | None = None, stop: int | None = None) -> list[dict[str, Any]]:
        return [self.get_task(split, index) for index in range(self.num_tasks(split))[start:stop]]


def _turn_of(action: WorldAction) -> Any:
    try:
        functions = [call["function"] for call in action.tool_calls]
        return turn_of_chat(clean(action.content), functions)
    except (KeyError, TypeError):
        raise InputError('step: each of tool_calls is {"function": {"name": .., "arguments": JSON text}}') from None


def application(tasks: Path | None = None, rubrics: Path | None = None, rules: Path | None = None) -> Any:
    """The server's FastAPI application, over the tasks of files, or over those of the package.

    Raises:
        InputError, StoreError: as `read_playables`.
    """
    found = read_playables(tasks or BUNDLED / "tasks.parquet", rubrics or BUNDLED / "rubrics.parquet")
    read = Rules.model_validate_json((rules or BUNDLED / "rules.json").read_text(encoding="utf-8"))
    served = ServedTasks(list(found), read)

    def session() -> WorldEnvironment:
        return WorldEnvironment(served)

    return create_app(
        session,
        WorldAction,
        WorldObservation,
        env_name=NAME,
        max_concurrent_envs=MOST_SESSIONS,
        state_cls=WorldState,
    )
