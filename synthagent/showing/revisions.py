"""The data of another git revision, through DVC: a revision -> a folder with the datasets of a run.

They are read from DVC's cache, or from the remote, and kept in `.cache/revisions/`, by the commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from synthagent.errors import InputError
from synthagent.stage import CACHE, Paths
from synthagent.text import visible
from synthagent.versioned import AbsentError, files_of

NEEDED = (Paths.tasks, Paths.rubrics, Paths.evaluation, Paths.episodes)
OPTIONAL = (Paths.rollouts, Paths.rewards, Paths.reasoning)


def folder_of(rev: str, needed: Sequence[Path] = NEEDED, optional: Sequence[Path] = OPTIONAL) -> Path:
    """The folder that has a revision's datasets, as a project's root would.

    Raises:
        InputError: no such revision, or a dataset of it is neither in the cache nor in the remote.
    """
    shown = visible(rev)
    try:
        files = files_of(rev)
    except AbsentError as absent:
        raise InputError(f"--rev {shown}: {_line(absent)}; `git log --oneline` names revisions") from None
    folder: Path = CACHE / "revisions" / files.commit[:12]
    for path in (*needed, *optional):
        if (folder / path).exists():
            continue
        try:
            files.bring(path, folder / path)
        except AbsentError as absent:
            if absent.why == "unreadable":
                raise InputError(f"--rev {shown}: {path} cannot be read: {_line(absent)}; try `dvc fetch`") from None
            if path in optional:
                continue
            remedy = "it is not in DVC's cache: `dvc fetch` it, or push it from where it was made"
            if absent.why == "unwritten":
                remedy = "choose a revision whose stages wrote it"
            raise InputError(f"--rev {shown}: has no {path}; {remedy}") from None
    return folder


def _line(error: AbsentError) -> str:
    return visible(" ".join(str(error).split()))[:300]
