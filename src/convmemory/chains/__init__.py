"""What LangChain's runs tell while they go: which turn a call belongs to, and what an answer cost."""
