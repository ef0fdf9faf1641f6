-- Bring retrieved documents over, each once a user. scores: names in metadata that are of one retrieval alone.
WITH found AS (
    SELECT x.*, c.user_id, coalesce(n.now_, x.conversation_id) AS now_, (
               SELECT jsonb_object_agg(e.key, e.value) FROM jsonb_each(x.metadata) AS e
               WHERE e.key = ANY (%(scores)s::text[]) AND jsonb_typeof(e.value) = 'number') AS figures
    FROM {schema}.message_contexts_0_1 AS x
    JOIN {schema}.conversations_0_1 AS c ON c.conversation_id = x.conversation_id
    LEFT JOIN {schema}.named_0_1 AS n ON n.conversation_id = x.conversation_id
), known AS MATERIALIZED (
    SELECT f.now_, f.user_id, f.seq, f.position, f.doc_id, f.content, f.score, f.figures, kept.metadata, CASE
               WHEN f.content <> '' OR kept.metadata <> '{{}}' THEN {schema}.document_v1(f.user_id, f.content, kept.metadata) END AS document
    FROM found AS f
    CROSS JOIN LATERAL (
        SELECT f.metadata - ARRAY(SELECT jsonb_object_keys(f.figures)) AS metadata) AS kept
), stored AS (
    INSERT INTO {schema}.documents (document, user_id, content, metadata)
    SELECT DISTINCT ON (k.document) k.document, k.user_id, k.content, k.metadata FROM known AS k WHERE k.document IS NOT NULL
)
INSERT INTO {schema}.message_documents (conversation_id, seq, position, doc_id, score, document, figures)
SELECT k.now_, k.seq, k.position, k.doc_id, k.score, k.document, k.figures FROM known AS k
