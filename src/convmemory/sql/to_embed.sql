-- Which conversations may have messages without a vector (see to_embed_v1 in rooms/vectors.sql).
-- user_id: whose, or NULL for everybody's; model; after uuid: the last one of the page before; batch: so many at most.
-- Returns the conversation and its owner.
SELECT conversation_id, user_id FROM {schema}.to_embed_v1(%(user_id)s::text, %(model)s, %(after)s::uuid, %(batch)s::integer)
