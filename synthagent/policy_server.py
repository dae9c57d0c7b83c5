"""What the student's server and the training that asks it agree on: weights, and a fingerprint. Imports nothing heavy.

vLLM repeats the fingerprint in every answer. It tells one start of the server from the next, after which weights that
were loaded in the meantime are gone, and which weights the server was started on.
"""

from __future__ import annotations

import hashlib
import uuid
from pathlib import Path

from synthagent.stage import Paths

WEIGHTS = Paths.sft  # what GRPO starts from
LOAD = "load_student"  # of servers/student_weights.py
_MARK = "student"


def fingerprint_of(weights: Path) -> str:
    """The fingerprint of a server that is about to start on these weights."""
    return f"{_MARK}-{uuid.uuid4().hex[:8]}-{digest_of(weights)}"


def started_on(fingerprint: str) -> str | None:
    """The digest of the weights that the server with this fingerprint was started on; None: it does not say."""
    mark, _, rest = fingerprint.partition("-")
    return rest.rpartition("-")[2] if mark == _MARK else None


def digest_of(weights: Path) -> str:
    """A digest of the weights in a folder."""
    digest = hashlib.sha256()
    for path in sorted(weights.glob("*.safetensors")):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:12]
