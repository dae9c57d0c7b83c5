"""One process of a training that accelerate started: a job's file -> what the job leaves.

Launch (by `synthagent.student.launch`): `accelerate launch --config_file FILE -m synthagent.student.launched JOB
THREADS`.
"""

from __future__ import annotations

import pickle
import sys
import time
from pathlib import Path

import torch

from synthagent.errors import SynthAgentError
from synthagent.store import write_text
from synthagent.student.processes import end_with_parent, rank, run_and_end

_PATIENCE_S = 2.0


def main(job_file: Path, threads: int) -> int:
    """Run the job, which ends this process; else the exit code.

    A mistake of the user is left beside its file, for who started the training to tell in one line.
    """
    end_with_parent()
    torch.set_num_threads(threads)
    job = pickle.loads(job_file.read_bytes())
    try:
        run_and_end(job)
    except SynthAgentError as error:
        write_text(job_file.with_name(f"fault-{rank()}.txt"), str(error))
        return 1
    except Exception:
        time.sleep(_PATIENCE_S)  # a process that waits for one that has failed fails, too: not for a fault of its own
        if any(job_file.parent.glob("fault-*.txt")):
            return 1
        raise


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
