-- Note which row conversations are now. old, now_: one item a conversation.
INSERT INTO {schema}.named_0_1 (conversation_id, now_) SELECT o.old, o.now_ FROM unnest(%(old)s::uuid[], %(now_)s::uuid[]) AS o (old, now_)
