"""Data go to a bucket of S3 and come back; what a remote lacks is said by DVC when it is used, by `doctor` before."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.projects import ROOT

from synthagent.ops.doctor import diagnose
from synthagent.ops.remotes import remotes

KEYS = {"AWS_ACCESS_KEY_ID": "someone", "AWS_SECRET_ACCESS_KEY": "a-very-secret-key", "AWS_DEFAULT_REGION": "us-east-1"}
BUCKET = "synthagent-data"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a server that speaks S3, with a bucket."""
    reason = "moto, flask or dvc-s3 is not installed (`make setup` installs them)"
    for package in ("dvc_s3", "flask", "flask_cors"):
        pytest.importorskip(package, reason=reason)
    moto = pytest.importorskip("moto.server", reason=reason)
    running = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    _, port = running.get_host_and_port()
    import boto3

    keys = {"aws_access_key_id": "someone", "aws_secret_access_key": "x", "region_name": "us-east-1"}
    boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}", **keys).create_bucket(Bucket=BUCKET)
    yield f"http://127.0.0.1:{port}"
    running.stop()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with data, under git and DVC."""
    folder = tmp_path / "project"
    folder.mkdir()
    git(folder, "init", "-q")
    dvc(folder, "init", "-q")
    (folder / "data.txt").write_text("what a run made")
    dvc(folder, "add", "-q", "data.txt")
    return folder


def run(folder: Path, *command: str, keys: bool = False) -> subprocess.CompletedProcess[str]:
    """A command that finds no credentials but those of the test."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    env |= {"HOME": str(folder), "AWS_EC2_METADATA_DISABLED": "true", **(KEYS if keys else {})}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


def dvc(folder: Path, *args: str, keys: bool = False) -> str:
    done = run(folder, sys.executable, "-m", "dvc", *args, keys=keys)
    assert done.returncode == 0, done.stderr
    return done.stdout


def git(folder: Path, *args: str) -> None:
    done = run(folder, "git", "-c", "user.name=A", "-c", "user.email=a@b.c", *args)
    assert done.returncode == 0, done.stderr


def add_remote(folder: Path, server: str) -> None:
    dvc(folder, "remote", "add", "-d", "storage", f"s3://{BUCKET}/{folder.parent.name}")
    dvc(folder, "remote", "modify", "storage", "endpointurl", server)


def test_data_are_pushed_to_a_bucket_and_pulled_in_a_clone(server: str, project: Path) -> None:
    add_remote(project, server)
    git(project, "add", "-A")
    git(project, "commit", "-qm", "a run")
    assert "1 file pushed" in dvc(project, "push", keys=True)
    git(project.parent, "clone", "-q", str(project), "clone")
    clone = project.parent / "clone"
    dvc(clone, "pull", keys=True)
    assert (clone / "data.txt").read_text() == "what a run made"
    assert dvc(clone, "status", keys=True) == "Data and pipelines are up to date.\n"
    for file in (clone / ".dvc" / "config", clone / "data.txt.dvc"):
        assert KEYS["AWS_SECRET_ACCESS_KEY"] not in file.read_text()


def test_without_credentials_nothing_is_pushed_and_the_data_stay(server: str, project: Path) -> None:
    add_remote(project, server)
    told = run(project, sys.executable, "-m", "dvc", "push")
    assert told.returncode != 0
    assert "Unable to locate credentials" in told.stderr
    assert (project / "data.txt").read_text() == "what a run made"
    dvc(project, "push", keys=True)  # the same command again


def test_a_bucket_that_is_not_there_is_named(server: str, project: Path) -> None:
    add_remote(project, server)
    dvc(project, "remote", "modify", "storage", "url", "s3://not-there/run")
    told = run(project, sys.executable, "-m", "dvc", "push", keys=True)
    assert told.returncode != 0
    assert "The specified bucket does not exist" in told.stderr


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder without credentials, which is also the working directory."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".dvc").mkdir()
    return tmp_path


def config(text: str, name: str = "config") -> None:
    (Path(".dvc") / name).write_text(text)


def test_a_package_that_a_remote_needs_is_named_with_what_installs_it(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("synthagent.ops.remotes.find_spec", lambda name: None)
    config(
        "[core]\n    remote = a\n['remote \"a\"']\n    url = s3://bucket/run\n"
        "['remote \"b\"']\n    url = gs://bucket/100%\n['remote \"c\"']\n    url = /mnt/run\n"
    )
    found = {each.name: each for each in remotes()}
    assert found["a"].fault == "s3:// needs dvc-s3"
    assert found["a"].remedy == "`pip install -c constraints.txt 'synthagent[s3]'`"
    assert found["b"].remedy == "`pip install -c constraints.txt dvc-gs`"
    assert found["c"].fault == ""


def test_credentials_that_are_nowhere_are_told_by_doctor_and_no_key_is_shown(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("synthagent.ops.remotes.find_spec", lambda name: True)
    config("['remote \"a\"']\n    url = s3://bucket/run\n")
    (told,) = [finding for finding in diagnose(ROOT / "params.yaml") if finding.name == "remote a"]
    assert told.state == "note"
    assert "no credentials" in told.text
    assert "AWS_ACCESS_KEY_ID" in told.remedy
    config("['remote \"a\"']\n    access_key_id = someone\n    secret_access_key = hidden\n", "config.local")
    assert [each.fault for each in remotes()] == [""]
    assert "hidden" not in str(list(remotes()))
    config("", "config.local")
    monkeypatch.setenv("AWS_PROFILE", "work")
    assert [each.fault for each in remotes()] == [""]
