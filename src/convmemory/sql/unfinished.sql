-- A conversation of which a delete or clear has left something to be taken away, also where somebody is at it. No row: there is none.
SELECT conversation_id FROM {schema}.conversations WHERE left_over > 0 ORDER BY conversation_id LIMIT 1
