"""How a LangChain message becomes two texts and comes back equal: the codec and what it leans on."""
