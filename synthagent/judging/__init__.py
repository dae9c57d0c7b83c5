"""Judging: criteria, checks and proofs of tasks; verdicts and rewards of episodes; how reliable a judge is."""
