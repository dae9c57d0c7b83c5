"""The Python tool: runs code that a model wrote, where it reaches nothing of ours.

    with sandboxes(params.reasoning.python, count=2) as pool, pool.session() as session:
        session.run("x = 6 * 7")
        session.run("x")  # Ran(output="42\\n", error=None)

`pool.py` starts sandboxes and lends them to episodes, `keeper.py` runs inside one, `filter.py` says which system
calls code may make.
"""

from synthagent.sandbox.pool import FAULTS, REMEDY, Pool, Ran, Session, available, sandboxes

__all__ = ["FAULTS", "REMEDY", "Pool", "Ran", "Session", "available", "sandboxes"]
