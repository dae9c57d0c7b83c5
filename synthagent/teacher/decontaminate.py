"""Decontamination: tasks x problems that they must not be copies of -> hits, each with its rule and what it matches.

instruction  word for word the same text; or 13 words in a row as in the problem's text (of 8 to 12 words: all of it);
             or nearly its words: what both have, each word weighed by how rare it is, over the geometric mean of what
             each has, is at least .55. Small words and endings do not count; with fewer than five words that count, a
             text is too short for this
tool         a tool of the same name with parameters of the same names
answer       a call of the same tool with the same values; or 13 words of an answer that is a text
embedding    where a model is at hand: its vectors of instruction and text are nearer than `near`

A tool, or an answer, has to have at least five different words, as in `calculate_area(base, height, unit)`: anybody
would name a tool `get_user(user_id)`, so that it is found in tasks that were copied from nowhere.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, Literal, TypeVar, get_args

import numpy as np

from synthagent.frozen import Json
from synthagent.llm.embeddings import Embeddings
from synthagent.problems import KnownProblem
from synthagent.records import Task
from synthagent.text import words_of
from synthagent.worlds import Call

G = TypeVar("G")
HitRule = Literal["instruction", "tool", "answer", "embedding"]
RULES: tuple[HitRule, ...] = get_args(HitRule)
NEAR = 0.55  # default tasks come as near as .43 to BFCL, its reworded problems .57 to .9 to themselves (decisions.md)
_ROW, _WHOLE, _FEWEST = 13, 8, 5
_ALIKE = 5  # letters of a word that count, so that endings do not
_TOGETHER = 256
_LONGEST = 80
_SMALL = frozenset(
    words_of(
        "a an the of in on at to for from with by and or is are was were be been it its i me my you your we our us "
        "that this these those what which who whose when where how please can could would will do does did have has "
        "had if so as not no there then than into about also s t ve m d ll re hi hello kindly"
    )
)
_NUMBERS = words_of("zero one two three four five six seven eight nine ten eleven twelve")
_UNSPACED = re.compile("[\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")  # scripts without spaces


@dataclass(frozen=True, slots=True)
class Hit:
    """A task that is, or may be, a copy of a problem."""

    task_id: str
    rule: HitRule
    problem: KnownProblem
    nearness: float
    matched: str

    @property
    def detail(self) -> str:
        """In words."""
        near = "" if self.nearness >= 1 else f" ({self.nearness:.2f})"
        return f"{self.rule} as in {self.problem.name}{near}: {self.matched}"


class Decontamination:
    """Problems, in an order in which tasks find those like them. Counts what was compared, and the hits.

    `embeddings`: None: no model is at hand.
    """

    def __init__(self, problems: Sequence[KnownProblem], embeddings: Embeddings | None = None) -> None:
        self._problems = problems
        self._texts: dict[str, KnownProblem] = {}
        self._answers: dict[str, KnownProblem] = {}
        self._tools: dict[str, KnownProblem] = {}
        self._calls: dict[tuple[str, ...], dict[str, tuple[frozenset[str], KnownProblem]]] = {}
        for problem in problems:
            for text in problem.instructions:
                self._texts.setdefault(text, problem)
            for text in problem.answer_texts:
                self._answers.setdefault(text, problem)
            for tool in problem.tools:
                self._tools.setdefault(_signature(tool.name, tool.parameters), problem)
            for call in problem.answers:
                values = _values(call.arguments)
                self._calls.setdefault(_words(call.name), {}).setdefault("; ".join(sorted(values)), (values, problem))
        self._near = _Near(list(self._texts))
        self._said, self._answered = _Rows(self._texts), _Rows(self._answers)
        self.embeddings = embeddings
        self._vectors = embeddings.of(list(self._texts)) if embeddings else None
        self._seen: dict[str, tuple[float, str]] = {}
        self.tasks, self.hit = 0, Counter[str]()
        self.common: Counter[str] = Counter()

    def hits(self, tasks: Sequence[Task]) -> list[list[Hit]]:
        """The hits of each task, at most one a rule."""
        found = [list(self._hits(task)) for task in tasks]
        if self.embeddings is not None and self._vectors is not None and tasks:
            cosines = self.embeddings.of([_request(task) for task in tasks]) @ self._vectors.T
            for hits, task, row in zip(found, tasks, cosines, strict=True):
                best, text = float(row.max()), list(self._texts)[int(row.argmax())]
                if best >= self.embeddings.near:
                    hits.append(Hit(task.id, "embedding", self._texts[text], min(best, 0.99), _short(text)))
        self.tasks += len(tasks)
        self.hit.update(hit.rule for hits in found for hit in hits)
        self.hit.update(["tasks"] * sum(map(bool, found)))
        return found

    def details(self) -> dict[str, Any]:
        """What was compared, and the hits, as JSON."""
        sources: dict[str, Counter[str]] = {}
        for problem in self._problems:
            sources.setdefault(problem.source, Counter())[problem.category] += 1
        rules = [rule for rule in RULES if rule != "embedding" or self.embeddings]
        return {
            "sources": {source: dict(counts) for source, counts in sources.items()},
            "problems": len(self._problems),
            "texts": len(self._texts),
            "texts_too_short": self._near.too_short,
            "tools": len(self._tools),
            "answers": sum(map(len, self._calls.values())) + len(self._answers),
            "tasks": self.tasks,
            "hits": {rule: self.hit[rule] for rule in rules},
            "tasks_hit": self.hit["tasks"],
            "tools_too_common": dict(sorted(self.common.items(), key=lambda item: (-item[1], item[0]))[:10]),
        }

    def _hits(self, task: Task) -> Iterator[Hit]:
        said = [task.instruction, _request(task)]
        best, text = max(map(self._nearest, said))
        if row := self._said.same_as(task.instruction) or self._said.found_in(said[1]):
            yield Hit(task.id, "instruction", *row)
        elif best >= NEAR:
            yield Hit(task.id, "instruction", self._texts[text], min(best, 0.99), _short(text))
        for tool in task.tools:
            signature = _signature(tool.name, tool.arguments)
            if (problem := self._tools.get(signature)) is None:
                continue
            if _tells(signature):
                yield Hit(task.id, "tool", problem, 1.0, signature)
                break
            self.common[signature] += 1
        if (hit := self._answer(task, said[1])) is not None:
            yield hit

    def _nearest(self, text: str) -> tuple[float, str]:
        if text not in self._seen:
            self._seen[text] = self._near.nearest(text)
        return self._seen[text]

    def _answer(self, task: Task, said: str) -> Hit | None:
        for name, arguments in _calls_of(task):
            given = _values(arguments)
            for values, problem in self._calls.get(_words(name), {}).values():
                written = f"{' '.join(_words(name))}: {'; '.join(sorted(values))}"
                if values and values <= given and _tells(written):
                    return Hit(task.id, "answer", problem, 1.0, written[:_LONGEST])
        row = self._answered.found_in(" ".join([said, *task.workflow]))
        return Hit(task.id, "answer", *row) if row else None


@dataclass(frozen=True, slots=True)
class Compared(Generic[G]):
    """A group of tasks that has been compared. `hits`: task id -> what it matches."""

    group: G
    hits: dict[str, str]


def in_batches(
    groups: Iterable[G], tasks_of: Callable[[G], Sequence[Task]], comparison: Decontamination | None
) -> Iterator[Compared[G]]:
    """Each group of tasks, compared; many at a time, as a model of embeddings wants them."""
    rest = iter(groups)
    while batch := list(islice(rest, _TOGETHER if comparison else 1)):
        tasks = [task for group in batch for task in tasks_of(group)]
        found = comparison.hits(tasks) if comparison else []
        details = {hits[0].task_id: hits[0].detail for hits in found if hits}
        for group in batch:
            yield Compared(group, {task.id: details[task.id] for task in tasks_of(group) if task.id in details})


class _Rows:
    """Rows of words of texts: 13, or all of a text of 8 to 12."""

    def __init__(self, texts: dict[str, KnownProblem]) -> None:
        self._rows: dict[str, tuple[str, KnownProblem]] = {}
        self._lengths = set[int]()
        self._whole = {" ".join(_spaced(text)): problem for text, problem in reversed(texts.items())}
        for text, problem in texts.items():
            words = _spaced(text)
            if len(words) >= _WHOLE:
                length = min(_ROW, len(words))
                self._lengths.add(length)
                for row in _rows(words, length):
                    self._rows.setdefault(row, (text, problem))

    def same_as(self, text: str) -> tuple[KnownProblem, float, str] | None:
        """Whose text this is, word for word."""
        row = " ".join(_spaced(text))
        return (self._whole[row], 1.0, _short(row)) if row and row in self._whole else None

    def found_in(self, text: str) -> tuple[KnownProblem, float, str] | None:
        """The first row of a text that is known: whose it is, and the row."""
        words = _spaced(text)
        for length in sorted(self._lengths):
            for row in _rows(words, length):
                if row in self._rows:
                    return self._rows[row][1], 1.0, _short(row)
        return None


class _Near:
    """Texts by their words: finds the one that has most in common with another, rare words above all."""

    def __init__(self, texts: Sequence[str]) -> None:
        terms = [_terms(text) for text in texts]
        self._texts = [text for text, some in zip(texts, terms, strict=True) if len(some) >= _FEWEST]
        self.too_short = len(texts) - len(self._texts)
        found: dict[str, list[int]] = {}
        for number, some in enumerate(some for some in terms if len(some) >= _FEWEST):
            for term in some:
                found.setdefault(term, []).append(number)
        self._where = {term: np.array(numbers) for term, numbers in found.items()}
        self._size = np.zeros(len(self._texts))
        for term, where in self._where.items():
            self._size[where] += self._weight(term)

    def nearest(self, text: str) -> tuple[float, str]:
        """How near the nearest text is, from 0 to 1, and which."""
        terms = _terms(text)
        own = sum(map(self._weight, terms))
        if not self._texts or not own:
            return 0.0, ""
        shared = np.zeros(len(self._texts))
        for term in terms:
            if (where := self._where.get(term)) is not None:
                shared[where] += self._weight(term)
        nearness = shared / np.sqrt(self._size * own)
        best = int(nearness.argmax())
        return float(nearness[best]), self._texts[best]

    def _weight(self, term: str) -> float:
        where = self._where.get(term)
        return math.log1p(len(self._texts) / (1 if where is None else len(where)))


def _terms(text: str) -> list[str]:
    """The words that count, without endings, each once."""
    words = {word for word in _spaced(text) if word not in _SMALL}
    numbers = {str(_NUMBERS.index(word)) for word in words if word in _NUMBERS}
    return sorted(numbers | {word[:_ALIKE] if word.isalpha() else word for word in words if word not in _NUMBERS})


def _spaced(text: str) -> list[str]:
    """The words; of a script without spaces, the characters."""
    return words_of(_UNSPACED.sub(r" \g<0> ", text))


def _rows(words: Sequence[str], length: int) -> Iterator[str]:
    return (" ".join(words[first : first + length]) for first in range(len(words) - length + 1))


def _words(name: str) -> tuple[str, ...]:
    """The words of a name: `getUser`, `get_user` and `get.user` are the same."""
    return tuple(re.findall(r"[^\W\d_]+|\d+", re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", name).lower()))


def _signature(name: str, parameters: Iterable[str]) -> str:
    return f"{'_'.join(_words(name))}({', '.join(sorted('_'.join(_words(one)) for one in parameters))})"


def _values(arguments: dict[str, Json]) -> frozenset[str]:
    return frozenset(f"{'_'.join(_words(name))} = {' '.join(_spaced(_text(v)))}" for name, v in arguments.items())


def _text(value: Json) -> str:
    return str(int(value) if isinstance(value, float) and value.is_integer() else value)


def _tells(text: str) -> bool:
    """Whether a text has enough different words to be nobody else's."""
    return len(set(re.findall(r"[^\W_]+", text))) >= _FEWEST


def _calls_of(task: Task) -> Iterator[tuple[str, dict[str, Json]]]:
    """The calls that are known to be right, with what is known of their values."""
    known = {fact.slot: fact.value for fact in task.facts}
    for step in task.reference:
        if isinstance(step, Call):
            yield step.tool, {argument: known[name] for argument, name in step.args.items() if name in known}
    yield from ((said.tool, said.args) for said in task.world.said)


def _request(task: Task) -> str:
    return " ".join([task.instruction, *(fact.phrase for fact in task.facts)])


def _short(text: str) -> str:
    return repr(text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "...")
