-- A database as 0.1 made and filled it: its statements, and a dump of what it stored. {schema} is its name; literal braces are doubled.

-- The ground the migrations stand on: the PostgreSQL schema and the list of what was applied to it.
CREATE SCHEMA IF NOT EXISTS {schema};
CREATE TABLE IF NOT EXISTS {schema}.schema_migrations (
    version    integer PRIMARY KEY,
    name       text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);

-- The initial schema: conversations, messages, retrieved contexts, and the append that keeps them in order.
-- {schema} is the PostgreSQL schema everything lives in; literal braces are doubled.

CREATE TABLE {schema}.conversations (
    conversation_id uuid PRIMARY KEY,
    user_id         text NOT NULL,
    external_id     text,                                   -- the caller's own name for it, scoped to user_id
    dept_id         text,
    title           text,
    title_source    text NOT NULL DEFAULT 'none',           -- 'none', 'auto' or 'user'
    incarnation     bigint NOT NULL,                        -- differs when a deleted conversation is made again
    version         bigint NOT NULL DEFAULT 0,              -- grows with every change; what the cache is compared by
    last_seq        bigint NOT NULL DEFAULT 0,              -- position of the newest message
    last_human_seq  bigint NOT NULL DEFAULT 0,              -- position of the newest human message: where its turn starts
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    metadata        jsonb NOT NULL DEFAULT '{{}}'
);

-- serves list_conversations.sql
CREATE INDEX conversations_by_user ON {schema}.conversations (user_id, updated_at DESC, conversation_id DESC);

CREATE TABLE {schema}.messages (
    conversation_id uuid NOT NULL REFERENCES {schema}.conversations ON DELETE CASCADE,
    seq             bigint NOT NULL,                        -- gap-free from 1, given under the conversation's row lock
    id              uuid NOT NULL,                          -- made by the client before the first attempt
    role            text NOT NULL,
    content         text NOT NULL,                          -- what people read and search; exact unless body carries its own
    body            text NOT NULL,                          -- the lossless encoding (codec.py); text, because jsonb is not
    tokens_used     integer,
    latency_ms      integer,
    created_at      timestamptz NOT NULL DEFAULT now(),
    metadata        jsonb,
    PRIMARY KEY (conversation_id, seq)
);

-- what makes an append idempotent
CREATE UNIQUE INDEX messages_by_id ON {schema}.messages (conversation_id, id);

CREATE TABLE {schema}.message_contexts (
    conversation_id uuid NOT NULL,
    seq             bigint NOT NULL,
    position        integer NOT NULL,                       -- order in which the retriever gave it, from 0
    doc_id          text,
    content         text NOT NULL,
    score           double precision,
    metadata        jsonb NOT NULL DEFAULT '{{}}',
    PRIMARY KEY (conversation_id, seq, position),
    FOREIGN KEY (conversation_id, seq) REFERENCES {schema}.messages ON DELETE CASCADE
);

-- Conversations whose cached window could not be told of a committed write. Whoever reaches Redis first drops the
-- window and then the mark. No foreign key: a deleted conversation can be marked too.
CREATE TABLE {schema}.dirty_windows (
    conversation_id uuid PRIMARY KEY,
    incarnation     bigint NOT NULL,
    version         bigint NOT NULL,
    marked_at       timestamptz NOT NULL DEFAULT now()
);

-- Append a batch: one call, one commit. Makes and titles the conversation if need be, gives each new message the next
-- seq, leaves out those that are there already. Inside a VOLATILE function every statement sees what was committed
-- before it began, so what follows the row lock sees everything the lock waited for.
-- p_known holds the ids that may be there already (a caller's own, or all of them when a batch is sent again); p_human is the
-- place of the batch's newest human message, from 1, or 0. Returns no row when the conversation is somebody else's. seqs is
-- NULL when every message was new and therefore stands at last_seq - stored + 1 .. last_seq.
-- "Is it there already" is asked for one id at a time, and as a scalar subquery, because that can only be answered row by row
-- from messages_by_id, however long the conversation is, and needs no other plan for another array.
CREATE FUNCTION {schema}.append_v1(
    p_conversation uuid, p_user text, p_external text, p_dept text, p_incarnation bigint, p_title text,
    p_ids uuid[], p_roles text[], p_contents text[], p_bodies text[],
    p_tokens integer[], p_latencies integer[], p_created timestamptz[], p_metadata jsonb[],
    p_known uuid[], p_human integer, p_contexts jsonb, p_dirty boolean,
    OUT incarnation bigint, OUT version bigint, OUT last_seq bigint, OUT last_human_seq bigint,
    OUT stored integer, OUT seqs bigint[]
) RETURNS SETOF record LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    c {schema}.conversations;
    one uuid;
    known boolean := false;
BEGIN
    FOR attempt IN 1..100 LOOP -- a row that stays out of sight is hidden by a row-level security policy
        SELECT * INTO c FROM {schema}.conversations WHERE conversation_id = p_conversation FOR NO KEY UPDATE;
        EXIT WHEN FOUND;
        INSERT INTO {schema}.conversations (conversation_id, user_id, external_id, dept_id, incarnation)
        VALUES (p_conversation, p_user, p_external, p_dept, p_incarnation) ON CONFLICT DO NOTHING;
    END LOOP;
    IF c.user_id IS DISTINCT FROM p_user THEN
        RETURN;
    END IF;
    incarnation := c.incarnation;
    version := c.version;
    last_human_seq := c.last_human_seq;

    FOREACH one IN ARRAY p_known LOOP
        SELECT true INTO known FROM {schema}.messages WHERE conversation_id = p_conversation AND id = one;
        EXIT WHEN known;
    END LOOP;
    IF known THEN
        INSERT INTO {schema}.messages
            (conversation_id, seq, id, role, content, body, tokens_used, latency_ms, created_at, metadata)
        SELECT p_conversation, c.last_seq + row_number() OVER (ORDER BY m.n), m.id, m.role, m.content, m.body,
               m.tokens, m.latency, coalesce(m.created, now()), m.metadata
        FROM unnest(p_ids, p_roles, p_contents, p_bodies, p_tokens, p_latencies, p_created, p_metadata)
             WITH ORDINALITY AS m (id, role, content, body, tokens, latency, created, metadata, n)
        WHERE (SELECT true FROM {schema}.messages AS old
               WHERE old.conversation_id = p_conversation AND old.id = m.id) IS NULL;
        GET DIAGNOSTICS stored = ROW_COUNT;
        SELECT coalesce(max(m.seq), c.last_human_seq) INTO last_human_seq FROM {schema}.messages AS m
        WHERE m.conversation_id = p_conversation AND m.seq > c.last_seq AND m.role = 'human';
        SELECT array_agg(m.seq ORDER BY i.n) INTO seqs
        FROM unnest(p_ids) WITH ORDINALITY AS i (id, n)
        JOIN {schema}.messages AS m ON m.conversation_id = p_conversation AND m.id = i.id;
    ELSE
        INSERT INTO {schema}.messages
            (conversation_id, seq, id, role, content, body, tokens_used, latency_ms, created_at, metadata)
        SELECT p_conversation, c.last_seq + m.n, m.id, m.role, m.content, m.body,
               m.tokens, m.latency, coalesce(m.created, now()), m.metadata
        FROM unnest(p_ids, p_roles, p_contents, p_bodies, p_tokens, p_latencies, p_created, p_metadata)
             WITH ORDINALITY AS m (id, role, content, body, tokens, latency, created, metadata, n);
        GET DIAGNOSTICS stored = ROW_COUNT;
        IF p_human > 0 THEN
            last_human_seq := c.last_seq + p_human;
        END IF;
    END IF;

    IF p_contexts IS NOT NULL THEN
        INSERT INTO {schema}.message_contexts (conversation_id, seq, position, doc_id, content, score, metadata)
        SELECT p_conversation, m.seq, x.position, x.doc_id, x.content, x.score, coalesce(x.metadata, '{{}}')
        FROM jsonb_to_recordset(p_contexts)
             AS x (n integer, position integer, doc_id text, content text, score double precision, metadata jsonb)
        JOIN {schema}.messages AS m ON m.conversation_id = p_conversation AND m.id = p_ids[x.n]
        ON CONFLICT DO NOTHING;
    END IF;

    last_seq := c.last_seq + stored;
    IF stored > 0 THEN
        version := c.version + 1;
        UPDATE {schema}.conversations AS now_ SET
            version = c.version + 1, last_seq = c.last_seq + stored, last_human_seq = append_v1.last_human_seq, updated_at = now(),
            title = CASE WHEN c.title_source = 'none' THEN coalesce(p_title, c.title) ELSE c.title END,
            title_source = CASE WHEN c.title_source = 'none' AND p_title IS NOT NULL THEN 'auto' ELSE c.title_source END
        WHERE now_.conversation_id = p_conversation;
    END IF;
    IF p_dirty THEN
        INSERT INTO {schema}.dirty_windows AS d (conversation_id, incarnation, version)
        VALUES (p_conversation, append_v1.incarnation, append_v1.version)
        ON CONFLICT (conversation_id) DO UPDATE
        SET incarnation = excluded.incarnation, version = excluded.version, marked_at = now();
    END IF;
    RETURN NEXT;
END $$;

-- Delete a conversation's messages and keep the conversation: the row lock first, so that no append slips between.
-- Returns no row when the conversation is not there or somebody else's.
CREATE FUNCTION {schema}.clear_v1(p_conversation uuid, p_user text, p_dirty boolean)
RETURNS TABLE (incarnation bigint, version bigint)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    c {schema}.conversations;
BEGIN
    UPDATE {schema}.conversations AS now_
    SET version = now_.version + 1, last_seq = 0, last_human_seq = 0, updated_at = now()
    WHERE now_.conversation_id = p_conversation AND now_.user_id = p_user
    RETURNING * INTO c;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    DELETE FROM {schema}.messages AS m WHERE m.conversation_id = p_conversation;
    IF p_dirty THEN
        INSERT INTO {schema}.dirty_windows AS d (conversation_id, incarnation, version)
        VALUES (p_conversation, c.incarnation, c.version)
        ON CONFLICT (conversation_id) DO UPDATE
        SET incarnation = excluded.incarnation, version = excluded.version, marked_at = now();
    END IF;
    RETURN QUERY SELECT c.incarnation, c.version;
END $$;

-- Delete the newest message, if it still is the one of that id; the row lock first, so that no append slips between.
-- Returns no row when it is not: another message came, it is gone already, or the conversation is somebody else's.
CREATE FUNCTION {schema}.pop_v1(p_conversation uuid, p_user text, p_id uuid, p_dirty boolean)
RETURNS TABLE (incarnation bigint, version bigint)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    c {schema}.conversations;
    place bigint;
BEGIN
    SELECT * INTO c FROM {schema}.conversations
    WHERE conversation_id = p_conversation AND user_id = p_user FOR NO KEY UPDATE;
    DELETE FROM {schema}.messages AS m
    WHERE m.conversation_id = c.conversation_id AND m.id = p_id
      AND m.seq = (SELECT max(n.seq) FROM {schema}.messages AS n WHERE n.conversation_id = c.conversation_id)
    RETURNING m.seq INTO place;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    UPDATE {schema}.conversations AS now_ SET
        version = c.version + 1, last_seq = place - 1, updated_at = now(),
        last_human_seq = CASE WHEN c.last_human_seq < place THEN c.last_human_seq ELSE coalesce(
            (SELECT m.seq FROM {schema}.messages AS m
             WHERE m.conversation_id = p_conversation AND m.role = 'human' ORDER BY m.seq DESC LIMIT 1), 0) END
    WHERE now_.conversation_id = p_conversation RETURNING * INTO c;
    IF p_dirty THEN
        INSERT INTO {schema}.dirty_windows AS d (conversation_id, incarnation, version)
        VALUES (p_conversation, c.incarnation, c.version)
        ON CONFLICT (conversation_id) DO UPDATE
        SET incarnation = excluded.incarnation, version = excluded.version, marked_at = now();
    END IF;
    RETURN QUERY SELECT c.incarnation, c.version;
END $$;

INSERT INTO {schema}.conversations VALUES ('01a2194a-59dc-7a3d-86bb-74f318d89e53', 'ana', NULL, 'hr', 'By hand', 'user', 3697751622564234988, 1, 5, 2, '2026-11-26 19:17:12.797387+00', '2026-11-26 19:17:12.800992+00', '{{"a": {{"b": [1, 2]}}}}');
INSERT INTO {schema}.conversations VALUES ('7577bc65-c947-5eec-b50a-71a4999e24c6', 'ana', 'vacation plans', NULL, 'where to?', 'auto', 4051973225012972704, 1, 3, 3, '2026-11-26 19:17:12.807919+00', '2026-11-26 19:17:12.807919+00', '{{}}');
INSERT INTO {schema}.conversations VALUES ('0d784392-f5d1-56fc-ae62-6ad98dfbd60e', 'bob', 'vacation plans', NULL, 'bob''s own', 'auto', 3102359324245406360, 1, 2, 1, '2026-11-26 19:17:12.80891+00', '2026-11-26 19:17:12.80891+00', '{{}}');
INSERT INTO {schema}.conversations VALUES ('4dfa47cf-b770-55ee-84bc-14a9c62af427', 'änna', 'ünïcode', NULL, 'nul here', 'auto', 2362025683773044316, 1, 3, 3, '2026-11-26 19:17:12.809766+00', '2026-11-26 19:17:12.809766+00', '{{}}');
INSERT INTO {schema}.conversations VALUES ('269ece70-17bf-5c6a-bd88-b4eee08137e0', 'bob', 'emptied', NULL, 'a', 'auto', 3484880128003887232, 2, 0, 0, '2026-11-26 19:17:12.810355+00', '2026-11-26 19:17:12.81101+00', '{{}}');
INSERT INTO {schema}.conversations VALUES ('9ee6d939-0b5a-5fb0-bc16-a596aeb63938', 'bob', 'never spoken in', NULL, NULL, 'none', 4591167681191204596, 0, 0, 0, '2026-11-26 19:17:12.811847+00', '2026-11-26 19:17:12.811847+00', '{{}}');
INSERT INTO {schema}.messages VALUES ('01a2194a-59dc-7a3d-86bb-74f318d89e53', 1, '01a2194a-59df-7799-b8fd-4123141773f2', 'system', 'be kind', '{{"c":"SystemMessage"}}', NULL, NULL, '2026-11-26 19:17:12.800992+00', NULL);
INSERT INTO {schema}.messages VALUES ('01a2194a-59dc-7a3d-86bb-74f318d89e53', 2, '7a6af1dc-bcfd-5280-ac15-c4144c047850', 'human', 'hello', '{{"c":"HumanMessage","d":{{"id":"h-1"}}}}', NULL, NULL, '2026-11-26 19:17:12.800992+00', NULL);
INSERT INTO {schema}.messages VALUES ('01a2194a-59dc-7a3d-86bb-74f318d89e53', 3, 'b5583305-19aa-59e2-bf54-bb7ce04c9fd6', 'ai', '', '{{"c":"AIMessage","d":{{"response_metadata":{{"model_name":"gpt"}},"id":"run-1","tool_calls":[{{"name":"search","args":{{"q":"tide"}},"id":"t1","type":"tool_call"}}],"usage_metadata":{{"input_tokens":3,"output_tokens":4,"total_tokens":7}}}}}}', 7, 120, '2026-11-26 19:17:12.800992+00', '{{"mine": true, "name": "a name of mine", "model": "gpt", "tool_calls": ["search"], "first_token_ms": 20}}');
INSERT INTO {schema}.messages VALUES ('01a2194a-59dc-7a3d-86bb-74f318d89e53', 4, '01a2194a-59df-788d-af1f-87ecae045f34', 'tool', 'high', '{{"c":"ToolMessage","d":{{"name":"search","tool_call_id":"t1","status":"error"}}}}', NULL, NULL, '2026-11-26 19:17:12.800992+00', '{{"name": "search", "status": "error", "tool_call_id": "t1"}}');
INSERT INTO {schema}.messages VALUES ('01a2194a-59dc-7a3d-86bb-74f318d89e53', 5, 'e7e4dc17-26c8-5ff6-a84f-16c38b461e70', 'ai', 'the tide is high [1]', '{{"c":"AIMessage","d":{{"id":"run-2"}}}}', NULL, NULL, '2026-11-26 19:17:12.800992+00', '{{"rating": 5}}');
INSERT INTO {schema}.messages VALUES ('7577bc65-c947-5eec-b50a-71a4999e24c6', 1, '01a2194a-59e7-7fd4-978f-5499661e3a6f', 'human', 'where to?', '{{"c":"HumanMessage"}}', NULL, NULL, '2026-11-26 19:17:12.807919+00', NULL);
INSERT INTO {schema}.messages VALUES ('7577bc65-c947-5eec-b50a-71a4999e24c6', 2, 'f95f2a6e-dcc1-53d0-b5cb-14b02137af81', 'ai', 'to the sea', '{{"c":"AIMessage","d":{{"id":"run-3"}}}}', NULL, NULL, '2026-11-26 19:17:12.807919+00', NULL);
INSERT INTO {schema}.messages VALUES ('7577bc65-c947-5eec-b50a-71a4999e24c6', 3, '1edf68c2-25cd-5c30-9f32-58a91556af67', 'human', 'a picture', '{{"c":"HumanMessage","t":[{{"type":"text","text":"a picture"}},{{"type":"image_url","image_url":{{"url":"data:,x"}}}}],"d":{{"name":"ana","id":"h-2"}}}}', NULL, NULL, '2026-11-26 19:17:12.807919+00', '{{"name": "ana"}}');
INSERT INTO {schema}.messages VALUES ('0d784392-f5d1-56fc-ae62-6ad98dfbd60e', 1, '01a2194a-59e8-7c68-922d-dc3e1504302d', 'human', 'bob''s own', '{{"c":"HumanMessage"}}', NULL, NULL, '2026-11-26 19:17:12.80891+00', NULL);
INSERT INTO {schema}.messages VALUES ('0d784392-f5d1-56fc-ae62-6ad98dfbd60e', 2, '01a2194a-59e8-7e2a-8968-cfb8b244f35e', 'ai', 'fine', '{{"c":"AIMessage"}}', NULL, NULL, '2026-11-26 19:17:12.80891+00', NULL);
INSERT INTO {schema}.messages VALUES ('4dfa47cf-b770-55ee-84bc-14a9c62af427', 1, '01a2194a-59e9-7f30-967f-bd63c65a81a2', 'human', 'nul  here', '{{"c":"HumanMessage","t":{{"$cm":"str","v":"bnVsIAAgaGVyZQ=="}}}}', NULL, NULL, '2026-11-26 19:17:12.809766+00', NULL);
INSERT INTO {schema}.messages VALUES ('4dfa47cf-b770-55ee-84bc-14a9c62af427', 2, '01a2194a-59e9-7ccb-b39d-75faa437288b', 'ai', 'half � pair', '{{"c":"AIMessage","t":{{"$cm":"str","v":"aGFsZiDtoIAgcGFpcg=="}}}}', NULL, NULL, '2026-11-26 19:17:12.809766+00', NULL);
INSERT INTO {schema}.messages VALUES ('4dfa47cf-b770-55ee-84bc-14a9c62af427', 3, '01a2194a-59e9-7d95-af94-d90fa918bf2b', 'human', '', '{{"c":"HumanMessage","t":[{{"type":"tool_result","tool_use_id":"t9","content":"42"}}]}}', NULL, NULL, '2026-11-26 19:17:12.809766+00', NULL);
INSERT INTO {schema}.message_contexts VALUES ('01a2194a-59dc-7a3d-86bb-74f318d89e53', 5, 0, 'd1', 'tide table', 0.5, '{{"score": 0.5, "source": "almanac"}}');
INSERT INTO {schema}.message_contexts VALUES ('01a2194a-59dc-7a3d-86bb-74f318d89e53', 5, 1, 'd1', 'tide table', 0.25, '{{"score": 0.25, "source": "almanac"}}');
INSERT INTO {schema}.message_contexts VALUES ('01a2194a-59dc-7a3d-86bb-74f318d89e53', 5, 2, NULL, 'other', NULL, '{{}}');
INSERT INTO {schema}.message_contexts VALUES ('0d784392-f5d1-56fc-ae62-6ad98dfbd60e', 2, 0, 'd1', 'tide table', 0.5, '{{"source": "almanac"}}');
INSERT INTO {schema}.schema_migrations VALUES (1, 'initial', '2026-11-26 19:17:12.781462+00');
