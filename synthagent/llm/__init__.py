"""The client of language models: one for all roles, a store of what they answered, prompts as files."""
