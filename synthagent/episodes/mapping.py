"""The mapping M: what the simulated tools of a task have said -> what they say again, in every episode of the task.

    (tool, canonical arguments, state) -> response

The state is a digest of the state-changing calls that went well so far in the episode, so that a read after a write may
differ from the read before it. One `Mappings` holds the M of all tasks of a stage; `data/mappings.parquet` keeps it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from synthagent.episodes.rerun import rerun
from synthagent.episodes.world import Event, ToolEvent, answered_by, is_simulated
from synthagent.llm.store import canonical
from synthagent.records import MappingEntry, Task, Trajectory


class Key(NamedTuple):
    """What decides a response, within a task. `args`: canonical JSON."""

    tool: str
    args: str
    state: str


def key_of_call(tool: str, args: Mapping[str, Any], state: str) -> Key:
    """The key of a call. Order of arguments, `1.0` for `1` and spaces around a text make no difference."""
    return Key(tool, canonical(_plain(args)), state)


def state_of(task: Task, events: Sequence[Event]) -> str:
    """The digest of the state-changing calls among `events` that went well; empty before the first."""
    state = ""
    changes = {tool.name for tool in task.tools if tool.changes_state}
    for event in events:
        if isinstance(event, ToolEvent) and event.ok and event.valid and event.tool in changes:
            step = canonical([state, event.tool, _plain(event.args), event.result])
            state = hashlib.sha256(step.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return state


def digest_of(task: Task) -> str:
    """What a simulated world is, whatever its task is called: its tools and its background."""
    content = canonical(
        [
            [tool.model_dump() for tool in task.tools],
            task.world.background,
            [said.model_dump() for said in task.world.said],
        ]
    )
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:16]


class Mappings:
    """The M of many tasks, shared by all episodes of a stage process; to be used in one event loop.

    With `enabled` false there is no M: every call is answered anew, and the answers are only kept for the metrics.
    """

    def __init__(self, enabled: bool = True) -> None:
        self.enabled = enabled
        self._of: dict[str, dict[Key, MappingEntry]] = {}
        self._begun: set[str] = set()
        self._anew: list[MappingEntry] = []
        self._under_way: dict[tuple[str, Key], asyncio.Future[MappingEntry | None]] = {}
        self._counts: Counter[str] = Counter()

    @classmethod
    def load(cls, entries: Iterable[MappingEntry], enabled: bool = True) -> Mappings:
        """The mappings that consist of `entries`."""
        mappings = cls(enabled)
        for entry in entries:
            mappings.add(entry)
        return mappings

    def add(self, entry: MappingEntry) -> None:
        """Take in an entry; what is known already stays."""
        self._of.setdefault(entry.task_id, {}).setdefault(_key(entry), entry)

    def begin(self, task: Task) -> None:
        """Make sure that what the task's tools are known to say is in its M."""
        if task.id in self._begun:
            return
        self._begun.add(task.id)
        self._of.setdefault(task.id, {})
        for said in task.world.said:
            key = key_of_call(said.tool, said.args, said.state)
            self.add(_entry(task.id, key, said.response, "task"))

    def entries_of(self, task_id: str) -> Sequence[MappingEntry]:
        """The M of one task, in the order in which it grew."""
        return list(self._of.get(task_id, {}).values())

    async def answer(self, task: Task, key: Key, make: Callable[[], Awaitable[MappingEntry]]) -> MappingEntry:
        """The entry under `key`; `make` is awaited for it at most once at a time, and the first that it gives stands.

        Should it fail, all who wait for it get the same error; should it be cancelled, one of them takes over.
        """
        self._counts["calls"] += 1
        if not self.enabled:
            self._anew.append(entry := await make())
            return entry
        self.begin(task)
        place = (task.id, key)
        while (known := self._of[task.id].get(key)) is None and (pending := self._under_way.get(place)) is not None:
            known = await asyncio.shield(pending)
            if known is not None:
                break
        if known is not None:
            self._counts["hits"] += 1
            return known
        future: asyncio.Future[MappingEntry | None] = asyncio.get_running_loop().create_future()
        self._under_way[place] = future
        try:
            made = await make()
            self.add(made)
            future.set_result(made)
            return made
        except Exception as error:
            future.set_exception(error)
            future.exception()  # it may be that nobody else waits
            raise
        finally:
            del self._under_way[place]
            if not future.done():
                future.set_result(None)

    def entries(self) -> Iterator[MappingEntry]:
        """All entries, in an order that only their content decides."""
        known = self._anew if not self.enabled else [e for entries in self._of.values() for e in entries.values()]
        yield from sorted(known, key=lambda e: (e.task_id, *_key(e), canonical(e.response)))

    def metrics(self) -> dict[str, Any]:
        """calls, hits (answered without asking a model), hit_rate; size: mean entries a task; contradiction_rate."""
        entries = list(self.entries())
        tasks = len({entry.task_id for entry in entries})
        calls, hits = self._counts["calls"], self._counts["hits"]
        return {
            "calls": calls,
            "hits": hits,
            "hit_rate": round(hits / calls, 4) if calls else None,
            "size": round(len(entries) / tasks, 2) if tasks else 0.0,
            "contradiction_rate": contradiction_rate(entries),
        }


def made_entry(task: Task, key: Key, response: Mapping[str, Any], equal: bool) -> MappingEntry:
    """The entry of an answer that a model gave just now."""
    return _entry(task.id, key, response, "equal" if equal else "model")


def entries_in(task: Task, trajectory: Trajectory) -> list[MappingEntry]:
    """The entries of M that a trajectory shows, in the order of its calls: of tools that a model answers.

    Raises:
        RecordError: the trajectory cannot be run again.
    """
    events = rerun(task, trajectory.messages, max(1, trajectory.n_turns)).world.events
    found = []
    for number, event in enumerate(events):
        if isinstance(event, ToolEvent) and event.valid and answered_by(task, event.tool) == "model":
            key = key_of_call(event.tool, event.args, state_of(task, events[:number]))
            found.append(_entry(task.id, key, event.result, "model"))
    return found


class HitCounter:
    """Counts each trajectory's `mapping_hits`: its calls that M knew, had the episodes run one after another.

    Run at once, they share the hits by chance; counted so, a record does not depend on it, and the sum is the same.
    """

    def __init__(self, mappings: Mappings) -> None:
        self._enabled = mappings.enabled
        self._known = {e.task_id: {_key(e) for e in mappings.entries_of(e.task_id)} for e in mappings.entries()}

    def counted(self, task: Task, trajectory: Trajectory) -> Trajectory:
        """The trajectory with its hits. Feed the trajectories in the order of the dataset."""
        if not self._enabled or not is_simulated(task):
            return trajectory
        known = self._known.setdefault(task.id, set())
        known |= {key_of_call(said.tool, said.args, said.state) for said in task.world.said}
        hits = 0
        for entry in entries_in(task, trajectory):
            hits += _key(entry) in known
            known.add(_key(entry))
        return trajectory.model_copy(update={"mapping_hits": hits})


def contradiction_rate(entries: Iterable[MappingEntry]) -> float | None:
    """The share of entries that contradict another: one call, in one state, but another answer.

    One call is: same task, tool and state, and arguments that are equal but for case, spaces, punctuation and how
    numbers are written; answers are compared as loosely.
    """
    groups: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for entry in entries:
        groups[entry.task_id, entry.tool, entry.state, _loose(entry.args)].append(_loose(entry.response))
    total = sum(map(len, groups.values()))
    contradicting = sum(len(answers) for answers in groups.values() if len(set(answers)) > 1)
    return round(contradicting / total, 4) if total else None


def _entry(task_id: str, key: Key, response: Mapping[str, Any], source: Any) -> MappingEntry:
    args = json.loads(key.args)
    return MappingEntry(
        task_id=task_id, tool=key.tool, args=args, state=key.state, response=dict(response), source=source
    )


def _key(entry: MappingEntry) -> Key:
    return key_of_call(entry.tool, entry.args, entry.state)


def _plain(value: Any) -> Any:
    match value:
        case Mapping():
            return {str(name): _plain(part) for name, part in value.items()}
        case list() | tuple():
            return [_plain(part) for part in value]
        case str():
            return value.strip()
        case float() if value.is_integer():
            return int(value)
        case _:
            return value


def _loose(value: Any) -> str:
    """A value's text without what only form decides."""
    match value:
        case Mapping():
            return canonical({_loose(name): _loose(part) for name, part in value.items()})
        case list() | tuple():
            return canonical([_loose(part) for part in value])
        case bool() | None:
            return str(value).lower()
        case _:
            text = re.sub(r"(?<=\d),(?=\d{3})", "", str(value)).lower().strip()
            try:
                return format(float(text), "g") if len(text) < 15 else text
            except ValueError:
                return "".join(re.findall(r"\w+", text))
