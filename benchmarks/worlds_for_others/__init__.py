"""Whether episodes earn the same through interfaces of others as in process: `python -m benchmarks.worlds_for_others`.

What runs in environments of others is `benchmarks/peers/verifiers_worlds.py` and `benchmarks/peers/openenv_worlds.py`.
"""
