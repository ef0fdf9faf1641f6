-- Which messages of a conversation have no vector of a model yet (see without_vector_v1 in rooms/vectors.sql).
-- conversation uuid; user_id; model; after: only messages with a greater seq; batch: so many at most; longest: of each so many characters.
-- Returns the conversation's state, and seq, mark and text of each; NULLs beside the state where there are no more; no row when there is no conversation.
SELECT state, seq, mark, said
FROM {schema}.without_vector_v1(%(conversation)s, %(user_id)s, %(model)s, %(after)s::bigint, %(batch)s::integer, %(longest)s::integer)
