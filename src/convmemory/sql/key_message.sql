-- Have a message found by more than its own words (see key_v1 in migrations/0001_initial.sql).
-- conversation uuid; user_id; id: the message's; keys: what takes the place of what was there, or NULL.
-- Returns whether the message is there; no row when there is no conversation, or it is somebody else's.
SELECT there FROM {schema}.key_v1(%(conversation)s, %(user_id)s, %(id)s::uuid, %(keys)s::text)
