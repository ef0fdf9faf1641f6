-- Drop what 0.1 had, and what was noted of it.
DROP TABLE {schema}.message_contexts_0_1, {schema}.messages_0_1, {schema}.conversations_0_1, {schema}.named_0_1, {schema}.renewed_0_1
