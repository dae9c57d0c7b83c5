"""The Python tool: runs code that a model wrote, where it reaches nothing of ours.

    with sandboxes(params.reasoning.python, count=2) as pool, pool.session() as session:
        session.run("x = 6 * 7")
        session.run("x")  # Ran(output="42\\n", error=None)

`pool.py` lends sandboxes to episodes, `process.py` starts one, `keeper.py` runs inside it, `filter.py` says which
system calls code may make.
"""

from synthagent.sandbox.pool import FAULTS, Ran, SandboxPool, Session, available, sandboxes
from synthagent.sandbox.process import PACKAGES, REMEDY

__all__ = ["FAULTS", "PACKAGES", "REMEDY", "Ran", "SandboxPool", "Session", "available", "sandboxes"]
