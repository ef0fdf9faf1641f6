-- Give a conversation a title that a model made, or where that failed and it has none, an automatic one; never in the place of a user's.
-- conversation uuid; user_id; title; source: 'model' or 'auto'; life uuid, version: what it must be at: anything that was changed since the
-- model was shown its messages may have been one of them, and one that is made anew counts from the beginning.
-- Returns the conversation's row where that was done.
UPDATE {schema}.conversations SET version = version + 1, title = %(title)s, title_source = %(source)s
WHERE conversation_id = %(conversation)s AND user_id = %(user_id)s AND life = %(life)s AND version = %(version)s AND title_source IN ('none', 'auto')
RETURNING conversation_id
