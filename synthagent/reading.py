"""The datasets of a run as pandas frames: a project, a revision -> what its `data/` holds. For notebooks and scripts.

    from synthagent.reading import load_run

    run = load_run()              # data/ as it is
    before = load_run("HEAD~1")   # a commit, a branch, a tag, or the name of a DVC experiment
    run.tasks.groupby("split").size()

Nothing is written. A dataset is read when it is first asked for, so that half a run can be looked at. Those of a
revision come through DVC's API: from its cache, or else from its remote.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from synthagent.errors import InputError, StoreError
from synthagent.frozen import Record
from synthagent.records import (
    EvaluatedEpisode,
    Evaluation,
    MappingEntry,
    Persona,
    Rejected,
    Reward,
    Rubric,
    Task,
    Trajectory,
)
from synthagent.stage import Paths
from synthagent.store import read_records
from synthagent.versioned import AbsentError, VersionedFiles, files_of

if TYPE_CHECKING:
    from pandas import DataFrame

R = TypeVar("R", bound=Record)


@dataclass(frozen=True, slots=True)
class DatasetFile:
    """Where a dataset lies, what its rows are, and which column is the key of a row, if one is."""

    path: Path
    record: type[Record]
    key: str | None = None


DATASETS: Mapping[str, DatasetFile] = {
    "personas": DatasetFile(Paths.personas, Persona, "id"),
    "tasks": DatasetFile(Paths.tasks, Task, "id"),
    "rejected": DatasetFile(Paths.rejected, Rejected, "id"),
    "demos": DatasetFile(Paths.demos, Trajectory, "id"),
    "rubrics": DatasetFile(Paths.rubrics, Rubric, "task_id"),
    "dropped": DatasetFile(Paths.dropped, Rejected, "id"),
    "rollouts": DatasetFile(Paths.rollouts, Trajectory, "id"),
    "mappings": DatasetFile(Paths.mappings, MappingEntry),
    "rewards": DatasetFile(Paths.rewards, Reward, "trajectory_id"),
    "evaluation": DatasetFile(Paths.evaluation, Evaluation),
    "episodes": DatasetFile(Paths.episodes, EvaluatedEpisode, "id"),
}
_CURVE = Paths.plots / "grpo.csv"


def load_run(rev: str | None = None, root: Path | None = None) -> LoadedRun:
    """The run of a project: what its `data/` holds now, or at a revision.

    Args:
        rev: a commit, a branch, a tag or an experiment; None: the files as they are.
        root: a folder in the project; None: the current one.

    Raises:
        InputError: there is no project, or no such revision.
    """
    start = (root or Path.cwd()).resolve()
    for folder in (start, *start.parents):
        if (folder / "dvc.yaml").exists() or (folder / Paths.data).is_dir():
            return LoadedRun(folder, rev, None if rev is None else _files_of(folder, rev))
    raise InputError(f"{start}: no data/ and no dvc.yaml, here or above; start in a project, or give load_run its root")


class LoadedRun:
    """The datasets of a run, each a frame whose index is the row's key. `rev`: None where they are the files of now."""

    def __init__(self, root: Path, rev: str | None, files: VersionedFiles | None) -> None:
        self.root, self.rev, self._files = root, rev, files
        self._rows: dict[str, list[Any]] = {}

    def records(self, name: str) -> list[Any]:
        """The rows of a dataset of `DATASETS`, as records.

        Raises:
            InputError: there is no dataset of this name.
            StoreError: it is not there, or cannot be read; says what to do.
        """
        if name not in DATASETS:
            raise InputError(f"{name}: no dataset of this name; there are {', '.join(DATASETS)}")
        if name not in self._rows:
            self._rows[name] = self._read(DATASETS[name])
        return self._rows[name]

    def record(self, name: str, key: str) -> Any:
        """The row of a dataset that has this key, as a record.

        Raises:
            InputError: no such dataset, or no such row.
            StoreError: as `records`.
        """
        column = DATASETS[name].key if name in DATASETS else None
        for row in self.records(name):
            if column is not None and getattr(row, column) == key:
                return row
        raise InputError(f"{key}: no such row in {DATASETS[name].path}{self._when}; its keys are its frame's index")

    @cached_property
    def personas(self) -> DataFrame:
        """Who the tasks are for."""
        return self._frame("personas")

    @cached_property
    def tasks(self) -> DataFrame:
        """The tasks with their proofs."""
        return self._frame("tasks")

    @cached_property
    def rejected(self) -> DataFrame:
        """What was refused, and why."""
        return self._frame("rejected")

    @cached_property
    def demos(self) -> DataFrame:
        """The teacher's demonstrations."""
        return self._frame("demos")

    @cached_property
    def rubrics(self) -> DataFrame:
        """What episodes are judged by."""
        return self._frame("rubrics")

    @cached_property
    def dropped(self) -> DataFrame:
        """Tasks whose workflow was hardly demonstrated."""
        return self._frame("dropped")

    @cached_property
    def rollouts(self) -> DataFrame:
        """Episodes of the student before RL."""
        return self._frame("rollouts")

    @cached_property
    def mappings(self) -> DataFrame:
        """What simulated tools have said."""
        return self._frame("mappings")

    @cached_property
    def rewards(self) -> DataFrame:
        """What the rollouts earned, with every verdict."""
        return self._frame("rewards")

    @cached_property
    def evaluation(self) -> DataFrame:
        """What every policy earned on tasks that were never trained on."""
        return self._frame("evaluation")

    @cached_property
    def episodes(self) -> DataFrame:
        """The evaluated episodes themselves, with every verdict."""
        return self._frame("episodes")

    @cached_property
    def curve(self) -> DataFrame:
        """GRPO by step, as in `data/plots/grpo.csv`."""
        import pandas as pd

        with tempfile.TemporaryDirectory() as folder:
            return pd.read_csv(self._file(_CURVE, Path(folder))).set_index("step")

    @property
    def _when(self) -> str:
        return "" if self.rev is None else f" of revision {self.rev}"

    def _frame(self, name: str) -> DataFrame:
        import pandas as pd

        columns = list(DATASETS[name].record.model_fields)
        frame = pd.DataFrame([row.model_dump(mode="json") for row in self.records(name)], columns=columns)
        key = DATASETS[name].key
        return frame if key is None else frame.set_index(key)

    def _read(self, dataset: DatasetFile) -> list[Any]:
        with tempfile.TemporaryDirectory() as folder:
            file = self._file(dataset.path, Path(folder))
            try:
                return list(read_records(file, dataset.record))
            except StoreError as error:
                if self.rev is None:
                    raise
                fault = str(error).removeprefix(f"{file}: ").rsplit("; ", 1)[0]
                raise StoreError(
                    f"{dataset.path}{self._when}: {fault}; choose a later revision, or `git worktree add ../then "
                    f"{self.rev}` and read it there"
                ) from None

    def _file(self, path: Path, folder: Path) -> Path:
        """A file of the run on this disk; one of a revision is brought into `folder`."""
        if self._files is None:
            if not (self.root / path).exists():
                raise StoreError(f"{path}: no such file; run the stage that writes it (see dvc.yaml), or `dvc repro`")
            return self.root / path
        try:
            self._files.bring(path, folder / path.name)
        except AbsentError as absent:
            match absent.why:
                case "unwritten":
                    raise StoreError(f"{path}{self._when}: not written there; choose a later revision") from None
                case "uncached":
                    raise StoreError(
                        f"{path}{self._when}: not in DVC's cache here, nor in a remote; `dvc fetch --all-commits`, or "
                        "choose another revision"
                    ) from None
                case _:
                    raise StoreError(
                        f"{path}{self._when}: cannot be fetched ({absent}); see `dvc remote list`"
                    ) from None
        return folder / path.name


def _files_of(root: Path, rev: str) -> VersionedFiles:
    try:
        return files_of(rev, root)
    except AbsentError as absent:
        raise InputError(f"load_run: revision {rev}: {absent}; `git log` and `dvc exp show` list revisions") from None
