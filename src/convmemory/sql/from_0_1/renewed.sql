-- Note what messages are now. One item a message.
INSERT INTO {schema}.renewed_0_1 (conversation_id, seq, id, role, metadata, facts)
SELECT * FROM unnest(%(conversations)s::uuid[], %(seqs)s::bigint[], %(ids)s::uuid[], %(roles)s::text[], %(metadata)s::jsonb[], %(facts)s::jsonb[])
