-- Delete a conversation's newest message, if it still is the one of that id (see pop_v1 in migrations/0001_initial.sql).
-- conversation uuid; user_id; id: of the message's row; new_stamp: the conversation's afterwards; first_stamp: what it was to be
-- at the first attempt of this call; own: names of the caches the caller tells; batch: so many contexts go at once.
-- Returns the conversation's stamp, or '' where another message has come, whether something is left to be taken away, and
-- whether only contexts went and there are more, so that it is to be called again; no row: it is gone already, or the conversation is
-- somebody else's.
SELECT stamp, left_anywhere, more FROM {schema}.pop_v1(%(conversation)s, %(user_id)s, %(id)s, %(first_stamp)s, %(new_stamp)s, %(own)s::text[], %(batch)s)
