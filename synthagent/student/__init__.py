"""The embedded student: a tiny Qwen3 with its own tokenizer, and the sampler that runs it through episodes."""
