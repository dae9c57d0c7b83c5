"""The data of another git revision, through DVC: a revision -> a folder with the datasets of a run.

They are read from DVC's cache, or from the remote, and kept in `.cache/revisions/`, by the commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from synthagent.errors import InputError
from synthagent.stage import CACHE, Paths
from synthagent.text import visible

NEEDED = (Paths.tasks, Paths.rubrics, Paths.evaluation, Paths.episodes)
OPTIONAL = (Paths.rollouts, Paths.rewards)


def folder_of(rev: str, needed: Sequence[Path] = NEEDED, optional: Sequence[Path] = OPTIONAL) -> Path:
    """The folder that has a revision's datasets, as a project's root would.

    Raises:
        InputError: no such revision, or a dataset of it is neither in the cache nor in the remote.
    """
    from dvc.api import DVCFileSystem
    from dvc.exceptions import DvcException

    shown = visible(rev)
    try:
        system: Any = DVCFileSystem(rev=rev)
        commit = system.repo.scm.resolve_rev(rev)
    except Exception as error:  # scmrepo and dvc have exceptions of their own, without a common base
        raise InputError(f"--rev {shown}: {_line(error)}; `git log --oneline` names revisions") from None
    folder: Path = CACHE / "revisions" / commit[:12]
    for path in (*needed, *optional):
        if (folder / path).exists():
            continue
        temporary = (folder / path).with_suffix(".tmp")
        try:
            temporary.parent.mkdir(parents=True, exist_ok=True)
            system.get_file(path.as_posix(), str(temporary))
            temporary.replace(folder / path)
        except FileNotFoundError:
            temporary.unlink(missing_ok=True)
            if path in optional:
                continue
            if not system.exists(path.as_posix()):
                remedy = "choose a revision whose stages wrote it"
            else:
                remedy = "it is not in DVC's cache: `dvc fetch` it, or push it from where it was made"
            raise InputError(f"--rev {shown}: has no {path}; {remedy}") from None
        except (DvcException, OSError) as error:
            temporary.unlink(missing_ok=True)
            raise InputError(f"--rev {shown}: {path} cannot be read: {_line(error)}; try `dvc fetch`") from None
    return folder


def _line(error: BaseException) -> str:
    return visible(" ".join(str(error).split()) or type(error).__name__)[:300]
