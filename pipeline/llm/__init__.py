"""Advice by a language model: `engine` decides, `call` speaks to litellm, `answer` asks and checks, the rest limits."""

from pipeline.llm.engine import Llm, open_llm

__all__ = ["Llm", "open_llm"]
