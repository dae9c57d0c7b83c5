"""Datasets of a run in the formats of others. Reads `data/*.parquet`; a file or folder appears complete or not at all.

Launch: `synthagent export messages FILE.jsonl`, `synthagent export verl FOLDER`, `synthagent export hf FOLDER`.
"""
