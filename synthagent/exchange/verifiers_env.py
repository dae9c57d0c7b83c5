"""The tasks as an environment of `verifiers` (0.4): a taskset with our reward, and the harness in which a model acts.

verifiers, and with it prime-rl, finds an environment by the name of an installed package, which exports a `Taskset`, a
`Harness` and an `Env`: `synthagent export verifiers FOLDER` writes that package, with this module in it.

The harness runs no program: each message of the model is a turn of an episode, and what world and user answer are the
next messages of the conversation. The reward is that of the turns, played again: what a trace says that others said
counts for nothing.
"""

# mypy: disable-error-code="import-not-found,misc,untyped-decorator"

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import aiohttp
import verifiers.v1 as vf

from synthagent.episodes.episode import Episode, opening
from synthagent.episodes.turn import ToolCall, Turn, parse_arguments
from synthagent.exchange.playable import Playable, Rules, judged, played, read_playables
from synthagent.records import Message, Rubric, Task

PACKAGE = "synthagent_verifiers"
BUNDLED = Path(__file__).parents[2]  # of the package that is exported: where its tasks lie


class WorldData(vf.TaskData):
    """A row: all that is needed to act in a task and to judge an episode, so that it survives verifiers' wire."""

    world: dict[str, Any]
    """The task, as `synthagent schema task` says; what only the user knows is in it."""
    rubric: dict[str, Any]
    rules: dict[str, Any]


class WorldTask(vf.Task[WorldData]):
    """Our reward as the task's, and what it is made of as metrics."""

    @property
    def key(self) -> str:
        """The task's own id."""
        return str(self.data.id)

    @vf.reward(weight=1.0)
    async def reward(self, trace: vf.Trace) -> float:
        """What the episode earned; an episode without an answer, 0."""
        value = judged_of(self.data, trace)["reward"]
        assert isinstance(value, float)
        return value

    @vf.metric
    async def parts(self, trace: vf.Trace) -> Mapping[str, float]:
        """`gate`, `subgoals`, `interactions` and the paper's reward."""
        found = judged_of(self.data, trace)
        return {name: found[name] for name in ("gate", "subgoals", "interactions", "reward_paper")}


class WorldsConfig(vf.TasksetConfig):
    """Which tasks: of the package, or of Parquet files; all that need no model, or those of a split."""

    tasks: Path | None = None
    """A file of tasks; none: those of the package."""
    rubrics: Path | None = None
    """What judges them."""
    rules: Path | None = None
    """JSON with `max_turns` and `reward`; none: the rules of the run that the package was exported from."""
    split: Literal["train", "heldout", "unseen_domain"] | None = None


class Worlds(vf.Taskset[WorldTask, WorldsConfig]):
    """The taskset."""

    def load(self) -> Iterator[WorldTask]:
        """A task for each row that has a rubric and needs no model."""
        config = self.config
        rules = Rules.model_validate_json((config.rules or BUNDLED / "rules.json").read_text(encoding="utf-8"))
        tasks, rubrics = config.tasks or BUNDLED / "tasks.parquet", config.rubrics or BUNDLED / "rubrics.parquet"
        for playable in read_playables(tasks, rubrics, config.split):
            yield WorldTask(data_of(playable, rules), config.task)


class WorldHarnessConfig(vf.HarnessConfig):
    """Nothing beyond what every harness has."""


class WorldHarness(vf.Harness[WorldHarnessConfig]):
    """The model behind the endpoint acts in the task's world until the episode ends."""

    APPENDS_SYSTEM_PROMPT = True
    EXECUTES_CODE = False
    NEEDS_CONTAINER = False

    async def launch(
        self,
        ctx: vf.ModelContext,
        trace: vf.Trace,
        runtime: vf.Runtime,
        endpoint: str,
        secret: str,
        mcp_urls: dict[str, str],
        data: vf.TaskData,
    ) -> vf.ProgramResult:
        """As verifiers' `Harness.launch`; a call of the model that is refused ends it."""
        episode = episode_of(data)
        system, prompt = self.resolve_prompt(data)
        messages: list[Message] = [{"role": "system", "content": system}, {"role": "user", "content": prompt}]
        tools = [tool.schema_of_openai for tool in episode.task.tools]
        headers = {"Authorization": f"Bearer {secret}"}
        async with aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=None)) as session:
            while episode.end is None:
                body = {"model": ctx.model, "messages": messages, "tools": tools}
                async with session.post(f"{endpoint}/chat/completions", json=body) as response:
                    if response.status != 200:
                        why = (await response.text())[:2_000]
                        return vf.ProgramResult(exit_code=1, stdout="", stderr=f"{response.status}: {why}")
                    (choice,) = (await response.json())["choices"]
                if choice["finish_reason"] == "length":
                    break
                messages += [choice["message"], *answers_to(choice["message"], episode)]
        return vf.ProgramResult(exit_code=0, stdout="", stderr="")


class WorldEnvConfig(vf.SingleAgentEnvConfig):
    """One agent, which runs in this process: it executes nothing."""

    agent: vf.AgentConfig = vf.AgentConfig(runtime=vf.SubprocessConfig())


class WorldEnv(vf.SingleAgentEnv, vf.Env[WorldEnvConfig]):
    """The environment."""


def load_environment(
    tasks: str | Path | None = None,
    rubrics: str | Path | None = None,
    split: str | None = None,
    rules: str | Path | None = None,
) -> WorldEnv:
    """The environment of the tasks of files, or of those of the package; the arguments are as of `WorldsConfig`."""
    chosen = {"id": PACKAGE, "tasks": tasks, "rubrics": rubrics, "split": split, "rules": rules}
    config = WorldEnvConfig.model_validate({"taskset": chosen})
    return WorldEnv(config)


def data_of(playable: Playable, rules: Rules) -> WorldData:
    """The row of a task."""
    system, request = opening(playable.task)
    return WorldData(
        id=playable.task.id,
        name=playable.task.id,
        system_prompt=system["content"],
        prompt=request["content"],
        world=playable.task.model_dump(mode="json"),
        rubric=playable.rubric.model_dump(mode="json"),
        rules=rules.model_dump(mode="json"),
    )


def episode_of(data: WorldData) -> Episode:
    """A fresh episode of a row."""
    rules = Rules.model_validate(data.rules)
    return Episode(Task.model_validate(data.world), max_turns=rules.max_turns)


def answers_to(said: Mapping[str, Any], episode: Episode) -> list[Message]:
    """What world or user answer to a message of the model, under the ids that it gave its calls."""
    calls = said.get("tool_calls") or ()
    answers = episode.step(turn_of(said.get("content"), (call["function"] for call in calls)))
    return [
        {**answer, "tool_call_id": calls[place]["id"]} if answer["role"] == "tool" else answer
        for place, answer in enumerate(answers)
    ]


def turn_of(text: str | None, calls: Iterable[Mapping[str, Any]]) -> Turn:
    """The turn that a message makes. Only native calls are calls: text that looks like one is said to the user."""
    made = (ToolCall(str(call["name"]), parse_arguments(str(call["arguments"]))) for call in calls)
    return Turn((text or "").strip(), tuple(made))


def judged_of(data: WorldData, trace: vf.Trace) -> Mapping[str, Any]:
    """What the turns of a trace earn."""
    rules, rubric = Rules.model_validate(data.rules), Rubric.model_validate(data.rubric)
    said = trace.assistant_messages
    if trace.calls and trace.calls[-1].finish_reason == "length":
        said = said[:-1]  # a message that was cut off is no turn, whatever it says
    turns = (turn_of(m.content, (call.model_dump() for call in m.tool_calls or ())) for m in said)
    episode = played(Task.model_validate(data.world), turns, rules)
    return judged(episode, rubric, rules).model_dump()
