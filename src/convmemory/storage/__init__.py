"""How values lie in the two tiers: PostgreSQL rows, Redis sessions and keys, URLs, SQL and Lua files, titles."""
