"""Do natural tasks teach calls that others ask for? Trainings on them -> what their checkpoints do in BFCL and tau2.

`cells` says what is trained, `measure` lets a checkpoint act, `__main__` puts them in order, keeps what is done and
prints the table. See docs/natural.md.

Launch: `python -m benchmarks.transfer`, or `make transfer`.
"""
