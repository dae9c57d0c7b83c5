"""Files of another git revision, through DVC: from its cache, or else from its remote. Nothing here is changed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from dvc.api import DVCFileSystem

Absence = Literal["unknown", "unwritten", "uncached", "unreadable"]


class AbsentError(Exception):
    """Why a revision, or a file of it, cannot be had: git does not know the revision; the file was not written there;
    it is in no cache and no remote; or DVC cannot read it, and `str` of this says why."""

    def __init__(self, why: Absence, detail: str = "") -> None:
        super().__init__(detail)
        self.why = why


@dataclass(frozen=True, slots=True)
class VersionedFiles:
    """The files of a revision, and the commit that it stands for."""

    commit: str
    _system: DVCFileSystem

    def bring(self, path: Path, to: Path) -> None:
        """Copy a file to a place on this disk, where it appears whole or not at all.

        Raises:
            AbsentError: it cannot be had.
        """
        from dvc.exceptions import DvcException

        temporary = to.with_name(f"{to.name}.tmp")
        try:
            to.parent.mkdir(parents=True, exist_ok=True)
            self._system.get_file(path.as_posix(), str(temporary))
            temporary.replace(to)
        except FileNotFoundError:
            raise AbsentError("uncached" if self._system.exists(path.as_posix()) else "unwritten") from None
        except (DvcException, OSError) as error:
            raise AbsentError("unreadable", str(error) or type(error).__name__) from None
        finally:
            temporary.unlink(missing_ok=True)


def files_of(rev: str, root: Path = Path()) -> VersionedFiles:
    """The files of a commit, a branch, a tag or an experiment of the project in `root`.

    Raises:
        AbsentError: there is no such revision; or there is no git.
    """
    from dvc.api import DVCFileSystem

    try:
        system = DVCFileSystem(str(root), rev=rev)
        return VersionedFiles(system.repo.scm.resolve_rev(rev), system)  # it opens the repository when it is asked
    except Exception as error:  # scmrepo and dvc have exceptions of their own, without a common base
        raise AbsentError("unknown", str(error) or type(error).__name__) from None
