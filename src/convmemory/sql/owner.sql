-- Whether a conversation is the user's. conversation uuid; user_id. No row: there is no such conversation.
SELECT user_id = %(user_id)s AS mine FROM {schema}.conversations WHERE conversation_id = %(conversation)s AND user_id <> ''
