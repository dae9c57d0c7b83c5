"""Every prompt as a file; see `synthagent.llm.prompts`."""
