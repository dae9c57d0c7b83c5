"""The remotes that data are shared over: what each needs that is not here, and the remedy. No remote is asked."""

from __future__ import annotations

import configparser
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

_KEYS = ("access_key_id", "profile", "credentialpath")  # of a remote, that name credentials
_VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_SHARED_CREDENTIALS_FILE")
_PACKAGED = ("azure", "gdrive", "gs", "hdfs", "oss", "s3", "ssh", "webdav", "webdavs", "webhdfs")


@dataclass(frozen=True, slots=True)
class Remote:
    """A remote of DVC's config. `fault`: what it lacks here; empty: nothing that can be seen without asking it."""

    name: str
    fault: str
    remedy: str


def remotes(folder: Path = Path(".dvc")) -> Iterator[Remote]:
    """The remotes of a project; raises configparser.Error or UnicodeDecodeError where its config cannot be read."""
    config = configparser.ConfigParser(interpolation=None)
    config.read([folder / "config", folder / "config.local"], encoding="utf-8")
    for section in config.sections():
        kind, _, name = section.strip("'").partition(" ")
        if kind == "remote":
            yield _remote(name.strip('"'), config[section])


def _remote(name: str, options: Mapping[str, str]) -> Remote:
    scheme, found, _ = options.get("url", "").partition("://")
    if not found or scheme not in _PACKAGED:
        return Remote(name, "", "")
    package = f"dvc-{scheme}"
    if find_spec(package.replace("-", "_")) is None:
        wanted = "'synthagent[s3]'" if scheme == "s3" else package
        return Remote(name, f"{scheme}:// needs {package}", f"`pip install -c constraints.txt {wanted}`")
    if scheme == "s3" and not _has_credentials(options):
        told = "no credentials in the environment, in ~/.aws or in .dvc/config.local; a machine may still have a role"
        return Remote(name, told, "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE")
    return Remote(name, "", "")


def _has_credentials(options: Mapping[str, str]) -> bool:
    files = [Path.home() / ".aws" / name for name in ("credentials", "config")]
    return (
        any(key in options for key in _KEYS) or any(map(os.environ.get, _VARIABLES)) or any(f.exists() for f in files)
    )
