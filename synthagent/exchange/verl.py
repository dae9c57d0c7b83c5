"""Tasks with rubrics -> `SPLIT.parquet` in the format of verl's RL datasets.

Launch: `synthagent export verl FOLDER`.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa

from synthagent import __version__
from synthagent.episodes.episode import opening
from synthagent.errors import InputError
from synthagent.exchange.files import (
    CARD,
    SPLITS,
    Writers,
    dataset,
    mark,
    openai_tools,
    read,
    replaceable_folder,
    told,
)
from synthagent.records import Rubric, Task
from synthagent.stage import Paths, progress
from synthagent.store import directory_written_atomically, read_keys

_MESSAGE = pa.struct([("role", pa.string()), ("content", pa.string())])
_VERL = pa.schema(
    [
        ("data_source", pa.string()),
        ("prompt", pa.list_(_MESSAGE)),
        ("ability", pa.string()),
        ("reward_model", pa.struct([("style", pa.string()), ("ground_truth", pa.string())])),
        (
            "extra_info",
            pa.struct(
                [
                    ("index", pa.int64()),
                    ("split", pa.string()),
                    ("task_id", pa.string()),
                    ("domain", pa.string()),
                    ("difficulty", pa.int64()),
                    ("world_kind", pa.string()),
                    ("tools", pa.string()),
                    ("task", pa.string()),
                ]
            ),
        ),
    ]
)

_VERL_CARD = """\
{mark}
# Tasks in verl's format

{counts}

One file a split, for `data.train_files` and `data.val_files`. `prompt` holds the constraints with the tools, and the
request; verl has no tools of a row's own, so they stand in the system message, to be called as Qwen does.
`reward_model.ground_truth` is the rubric as JSON: `{{"task_id": .., "criteria": [..]}}`; `style` is `rule` if code
decides every criterion, else `model`. `extra_info.task` is the whole task as JSON, world and facts included, and
`extra_info.tools` its tools: what an agent loop or a reward function of yours needs to run and judge an episode.

Written by synthagent {version}. There, `synthagent.records.Task.model_validate_json` reads a task,
`synthagent.episodes.episode.Episode` runs it turn by turn, and `synthagent.judging.scoring.score_episode` judges it by
a `synthagent.records.Rubric`. Install that version to use these names; another may have moved them.
"""


def export_verl(out: Path, data: Path = Paths.data) -> str:
    """Write every task that has a rubric to `out`/SPLIT.parquet, and say how many.

    Source of the format: verl, docs/preparation/prepare_data.rst.

    Raises:
        InputError: `out` holds something else, or no task has a rubric.
        StoreError: a dataset is missing, or `out` cannot be written.
    """
    target = replaceable_folder(out, "verl", [f"{split}.parquet" for split in SPLITS])
    judged = {row.task_id: _reward_model(row) for row in read(data, "rubrics", Rubric)}
    total = len(read_keys(dataset(data, "tasks"), Task))
    counts: Counter[str] = Counter()
    with directory_written_atomically(target) as folder:
        with Writers(folder, _VERL) as writers:
            for task in progress(read(data, "tasks", Task), total, "export"):
                if task.id not in judged:
                    continue
                writers.write(task.split, _verl_row(task, counts[task.split], judged[task.id]))
                counts[task.split] += 1
        if not counts:
            raise InputError(f"{data / 'rubrics.parquet'}: no rubric of any task; run `dvc repro rubrics`")
        card = _VERL_CARD.format(mark=mark("verl"), counts=told(counts), version=__version__)
        (folder / CARD).write_text(card, encoding="utf-8")
    return f"{out}: {told(counts)}; {total - sum(counts.values())} tasks without a rubric left out"


def _reward_model(rubric: Rubric) -> dict[str, str]:
    """`style`: `rule` where code decides every criterion."""
    style = "rule" if all(criterion.check for criterion in rubric.criteria) else "model"
    return {"style": style, "ground_truth": rubric.model_dump_json(include={"task_id", "criteria"})}


def _verl_row(task: Task, index: int, reward_model: dict[str, str]) -> dict[str, Any]:
    return {
        "data_source": "synthagent",
        "prompt": _prompt(task),
        "ability": "tool_use",
        "reward_model": reward_model,
        "extra_info": {
            "index": index,
            "split": task.split,
            "task_id": task.id,
            "domain": task.domain,
            "difficulty": task.difficulty,
            "world_kind": task.world_kind,
            "tools": json.dumps(openai_tools(task), ensure_ascii=False),
            "task": task.model_dump_json(),
        },
    }


def _prompt(task: Task) -> list[dict[str, str]]:
    """The opening of an episode, with the tools and the form of a turn in the system message."""
    tools = "\n".join(json.dumps(tool, ensure_ascii=False) for tool in openai_tools(task))
    system, *rest = opening(task)
    form = (
        "Each turn is one of three: one or more tool calls, each as "
        '<tool_call>\n{"name": NAME, "arguments": {ARGUMENT: VALUE}}\n</tool_call>; a question to the user, as plain '
        "text; or the end, as <answer>ANSWER</answer>."
    )
    text = f"{system['content']}\n\n# Tools\n\n<tools>\n{tools}\n</tools>\n\n{form}"
    return [{"role": "system", "content": text}, *({"role": m["role"], "content": m["content"]} for m in rest)]
