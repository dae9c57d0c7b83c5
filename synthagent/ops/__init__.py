"""Running it: vLLM servers, processes that end with their parent, ready-made params, what is missing."""
