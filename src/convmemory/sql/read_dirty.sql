-- Windows that must be dropped before Redis is trusted: at most limit of them, the oldest mark first.
SELECT conversation_id, incarnation, version FROM {schema}.dirty_windows ORDER BY marked_at LIMIT %(limit)s
