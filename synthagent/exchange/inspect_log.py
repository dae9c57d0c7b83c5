"""Evaluated episodes -> logs that Inspect's viewer reads (inspect_ai, version 2 of its log format): one a policy.

Written without that package, which does not fit into our environment; a test opens the logs with its own reader.

Launch: `synthagent export inspect FOLDER`, then `inspect view --log-dir FOLDER`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from statistics import fmean
from typing import Any

from synthagent import __version__
from synthagent.errors import InputError
from synthagent.exchange.files import CARD, mark, replaceable_folder
from synthagent.reasoning.subjects import read_subjects
from synthagent.records import BENCHMARK, REASONING, EvaluatedEpisode, Evaluation, Rubric, Task
from synthagent.stage import Paths
from synthagent.store import directory_written_atomically, read_records

_NO_TIME = "2000-01-01T00:00:00+00:00"  # the format wants one; what is exported again is the same bytes
_PREFIX = "2000-01-01T00-00-00+00-00_synthagent_"  # of the files: by it Inspect knows a log among other JSON files
_STOP = {"answer": "stop", "token_limit": "max_tokens", "turn_limit": "unknown", "error": "unknown"}

_CARD = """\
{mark}
# Evaluated episodes as Inspect logs

One log a policy, and one for what it does greedily: `inspect view --log-dir .` shows them (`pip install inspect-ai`, in
an environment of its own). A sample is a task; `reward` is its score, whose explanation is the verdicts with their
evidence. Times are not known and stand as 2000-01-01.
"""

Who = tuple[str, str]  # policy, decoding


def export_inspect(out: Path, data: Path = Paths.data) -> str:
    """Write a log of every policy's evaluated episodes to `out`, and say how many.

    Raises:
        StoreError: a dataset is missing or cannot be read.
        InputError: there is no episode, or `out` holds other things.
    """
    episodes = sorted(read_records(data / Paths.episodes.name, EvaluatedEpisode), key=_who)
    if not episodes:
        raise InputError(f"{data / Paths.episodes.name}: no episode in it; run `dvc repro evaluate`")
    of = read_subjects(data, {episode.task_id for episode in episodes})
    rows = read_records(data / Paths.evaluation.name, Evaluation)
    earned = {_key(row): row for row in rows if row.benchmark in (BENCHMARK, REASONING)}
    by_policy = {who: list(those) for who, those in groupby(episodes, key=_who)}
    files = {who: f"{_PREFIX}{_name(who)}.json" for who in by_policy}
    out = replaceable_folder(out, "inspect", files.values())
    with directory_written_atomically(out) as folder:
        for who, those in by_policy.items():
            samples = [
                _sample(each, of.tasks[each.task_id], of.rubrics.get(each.task_id), earned.get(_key(each)))
                for each in those
            ]
            log = _log(_name(who), samples)
            (folder / files[who]).write_text(json.dumps(log), encoding="utf-8")
        (folder / CARD).write_text(_CARD.format(mark=mark("inspect")), encoding="utf-8")
    return f"{out}: {len(episodes)} episodes in {len(files)} logs; `inspect view --log-dir {out}` shows them"


def _who(row: EvaluatedEpisode | Evaluation) -> Who:
    return row.policy, row.decoding


def _key(row: EvaluatedEpisode | Evaluation) -> tuple[str, str, str, int]:
    return row.policy, row.decoding, row.task_id, row.sample


def _name(who: Who) -> str:
    policy, decoding = who
    return f"{policy}-greedy" if decoding == "greedy" else policy


def _log(name: str, samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    scores = [sample["scores"]["reward"]["value"] for sample in samples if sample["scores"]]
    metrics = {"mean": {"name": "mean", "value": fmean(scores)}} if scores else {}
    dataset = {"name": "held-out tasks", "samples": len({sample["id"] for sample in samples})}
    spec = {"task": BENCHMARK, "task_id": name, "run_id": name, "eval_id": name, "created": _NO_TIME}
    return {
        "version": 2,
        "status": "success",
        "eval": {
            **spec,
            "dataset": dataset,
            "model": f"{BENCHMARK}/{name}",
            "config": {},
            "packages": {"synthagent": __version__},
        },
        "results": {
            "total_samples": len(samples),
            "completed_samples": len(scores),
            "scores": [{"name": "reward", "scorer": "reward", "metrics": metrics}],
        },
        "stats": {"started_at": _NO_TIME, "completed_at": _NO_TIME},
        "samples": samples,
    }


def _sample(episode: EvaluatedEpisode, task: Task, rubric: Rubric | None, earned: Evaluation | None) -> dict[str, Any]:
    messages = list(_messages(episode.messages))
    written = [message for message in messages if message["role"] == "assistant"]
    choices = [{"message": written[-1], "stop_reason": _STOP[episode.end]}] if written else []
    return {
        "id": task.id,
        "epoch": episode.sample + 1,
        "input": messages[:2],
        "target": (earned.outcome if earned else None) or "",
        "messages": messages,
        "output": {"model": episode.policy, "choices": choices},
        "scores": {"reward": _score(episode, rubric, earned)} if earned else {},
        "metadata": {
            "domain": task.domain,
            "difficulty": task.difficulty,
            "split": task.split,
            "twin_of": task.twin_of,
            "end": episode.end,
            "facts": {fact.slot: fact.value for fact in task.facts},
        },
        **({"error": {"message": episode.error, "traceback": "", "traceback_ansi": ""}} if episode.error else {}),
    }


def _score(episode: EvaluatedEpisode, rubric: Rubric | None, earned: Evaluation) -> dict[str, Any]:
    texts = {c.id: f"{c.kind}: {c.text}" for c in rubric.criteria} if rubric else {}
    verdicts = [
        f"{'passed' if v.passed else 'FAILED'} {v.criterion} {texts.get(v.criterion, '')} ({v.by}: {v.evidence})"
        for v in episode.verdicts
    ]
    parts = {"reward_paper": earned.reward_paper, "gate": earned.gate}
    parts |= {"subgoals": earned.subgoals, "interactions": earned.interactions}
    last = episode.messages[-1] if episode.messages else {}
    return {
        "value": earned.reward,
        "answer": str(last.get("content") or ""),
        "explanation": "\n".join(verdicts),
        "metadata": parts,
    }


def _messages(messages: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Inspect's messages; a role that it does not know, which only a damaged record has, becomes the user's."""
    for message in messages:
        role = message.get("role")
        said: dict[str, Any] = {"role": role, "content": str(message.get("content") or "")}
        if role == "tool":
            said["tool_call_id"] = message.get("tool_call_id")
        elif role == "assistant":
            said["tool_calls"] = [_call(call) for call in message.get("tool_calls") or ()] or None
        elif role not in ("system", "user"):
            said["role"] = "user"
        yield said


def _call(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call.get("function") or {}
    written = {"id": str(call.get("id")), "function": str(function.get("name")), "type": "function"}
    try:
        arguments = json.loads(function.get("arguments") or "{}")
    except (ValueError, RecursionError, TypeError):
        arguments = None
    if isinstance(arguments, dict):
        return {**written, "arguments": arguments}
    return {**written, "arguments": {}, "parse_error": f"not a JSON object: {function.get('arguments')}"}
