"""The judge: messages of an episode + criteria that no check decides -> verdicts with evidence. Paper section 4.

One call a trajectory, one verdict a criterion. A verdict stands only if its quote is in the record; what is void or
left out is asked for once more, and then has no verdict: a score is never made up. What the agent wrote cannot instruct
the judge: it stands between marks that it cannot contain, on lines that it cannot begin.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, create_model
from pydantic.config import JsonDict

from synthagent.errors import BadReplyError
from synthagent.frozen import Record
from synthagent.judging.transcript import TranscriptLine, is_empty, is_quoted, one_line, pieces, shown, transcript
from synthagent.llm.client import Llm, Request
from synthagent.llm.prompts import Prompt, fenced, render
from synthagent.records import Criterion, Task, Verdict

_ATTEMPTS = 2
_MOST_QUOTES, _MOST_QUOTED = 150, 12_000  # pieces, characters: what servers take in a schema


class Judgement(Record):
    """One verdict, as the judge gives it."""

    criterion: Annotated[str, Field(min_length=1, max_length=40)]
    evidence: Annotated[str, Field(max_length=400)]
    passed: bool


class Judgements(Record):
    """The judge's answer."""

    verdicts: Annotated[tuple[Judgement, ...], Field(min_length=1, max_length=60)]


def shape_for(ids: Sequence[str], lines: Sequence[TranscriptLine] = ()) -> type[Judgements]:
    """`Judgements` whose schema asks for one verdict on each of `ids`, with a piece of `lines` or nothing as its quote.

    So guided decoding gives just that, and even a small judge quotes what is there. What the shape accepts is no
    narrower: of an answer with a verdict too many the others still count, and a quote may be any part of a line.
    """
    name = Field(min_length=1, max_length=40, json_schema_extra={"enum": [*ids]})
    quotes = pieces(lines)
    few = 0 < len(quotes) <= _MOST_QUOTES and sum(map(len, quotes)) <= _MOST_QUOTED
    quote: Any = Field(max_length=400, json_schema_extra={"enum": ["", *quotes]} if few else None)
    line: Any = create_model("Judgement", __base__=Judgement, criterion=(str, name), evidence=(str, quote))
    bounds: JsonDict = {"minItems": len(ids), "maxItems": len(ids)}
    lines = Field(min_length=1, max_length=60, json_schema_extra=bounds)
    shape: type[Judgements] = create_model("Judgements", __base__=Judgements, verdicts=(tuple[line, ...], lines))
    return shape


@dataclass(frozen=True, slots=True)
class Judged:
    """What the judge found. `void`: verdicts without their quote in the record, or given twice; `failed`: calls
    without a usable answer; `missing`: criteria that are left without a verdict."""

    verdicts: tuple[Verdict, ...]
    missing: tuple[str, ...]
    void: int = 0
    unknown: int = 0
    failed: int = 0
    tokens: int = 0


async def judge(
    messages: Sequence[dict[str, Any]],
    task: Task,
    criteria: Sequence[Criterion],
    llm: Llm,
    sample: int = 0,
    role: str = "judge",
) -> Judged:
    """Ask the judge about an episode; verdicts come in the order of `criteria`. `sample` tells repetitions apart.

    Raises:
        SynthAgentError: endpoint, budget or replay; never an answer that cannot be used.
    """
    lines = transcript(messages)
    if not lines:
        return Judged(tuple(map(_of_nothing, criteria)), ())
    found: dict[str, Verdict] = {}
    void = unknown = failed = tokens = 0
    for attempt in range(_ATTEMPTS):
        open_ones = [criterion for criterion in criteria if criterion.id not in found]
        if not open_ones:
            break
        request = Request.of(judge_prompt(lines, task, open_ones), sample * _ATTEMPTS + attempt)
        try:
            given = await llm.ask(role, request, shape_for([criterion.id for criterion in open_ones], lines))
        except BadReplyError as fault:
            failed, tokens = failed + 1, tokens + fault.tokens
            continue
        tokens += given.tokens
        accepted = accept(given.value.verdicts, open_ones, lines)
        found |= {verdict.criterion: verdict for verdict in accepted.verdicts}
        void, unknown = void + accepted.void, unknown + accepted.unknown
    return Judged(
        verdicts=tuple(found[c.id] for c in criteria if c.id in found),
        missing=tuple(c.id for c in criteria if c.id not in found),
        void=void,
        unknown=unknown,
        failed=failed,
        tokens=tokens,
    )


def _of_nothing(criterion: Criterion) -> Verdict:
    """The verdict on a record in which nothing happened, which needs no judge: nothing reached, nothing violated."""
    return Verdict(criterion=criterion.id, passed=criterion.kind == "constraint", by="judge", evidence="")


def accept(judgements: Sequence[Judgement], criteria: Sequence[Criterion], lines: Sequence[TranscriptLine]) -> Judged:
    """What stands of an answer: one verdict on a criterion that was asked about, with its quote in `lines`. Pure.

    A reached sub-goal or interaction and a violated constraint need a quote; the opposite may come with none. A quote
    that is given has to be one.
    """
    kinds = {criterion.id: criterion.kind for criterion in criteria}
    times = Counter(judgement.criterion for judgement in judgements)
    stands: dict[str, Verdict] = {}
    for given in judgements:
        if given.criterion not in kinds or times[given.criterion] > 1:
            continue
        needs_quote = given.passed != (kinds[given.criterion] == "constraint")
        if is_quoted(given.evidence, lines) or (is_empty(given.evidence) and not needs_quote):
            stands[given.criterion] = Verdict(
                criterion=given.criterion, passed=given.passed, by="judge", evidence=given.evidence
            )
    return Judged(
        verdicts=tuple(stands.values()),
        missing=tuple(name for name in kinds if name not in stands),
        void=sum(name in times and name not in stands for name in kinds),
        unknown=sum(count for name, count in times.items() if name not in kinds),
    )


def judge_prompt(lines: Sequence[TranscriptLine], task: Task, criteria: Sequence[Criterion]) -> Prompt:
    """What the judge is asked."""
    listed = "\n".join(f"{c.id} {c.kind}: {one_line(c.text, 500)}" for c in criteria)
    return render(
        "judge",
        request=fenced(one_line(task.instruction)),
        criteria=fenced(listed),
        record=fenced(shown(lines)),
        ids=[criterion.id for criterion in criteria],
    )
