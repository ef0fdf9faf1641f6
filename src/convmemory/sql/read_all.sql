-- Every message of a conversation and the stamp they were read under, in one snapshot.
-- conversation uuid; user_id. Returns the columns of read_window.sql, oldest first.
SELECT c.user_id = %(user_id)s AS mine, c.stamp::text, c.last_seq, c.last_human_seq, m.seq, m.body, m.content
FROM {schema}.conversations AS c
LEFT JOIN {schema}.messages AS m ON m.conversation_id = c.conversation_id AND c.user_id = %(user_id)s
WHERE c.conversation_id = %(conversation)s
ORDER BY m.seq
