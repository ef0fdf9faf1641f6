-- compatible: 1
-- The initial schema: conversations, messages, retrieved contexts, the writes that keep them in order, and what these leave
-- behind for the caches that nobody tells. {schema} is the PostgreSQL schema it all lives in; literal braces are doubled.

-- What tells this database's keys in Redis from those of any other, and what the rows of named conversations follow from. A copy
-- that is to live beside the original wants an id of its own (UPDATE ... SET id = DEFAULT), and keeps names as they are.
CREATE TABLE {schema}.installation (
    id       uuid NOT NULL DEFAULT gen_random_uuid(),
    names    uuid NOT NULL DEFAULT gen_random_uuid(),
    journals boolean NOT NULL DEFAULT false,                -- whether writes may wait in Redis (allow_journals_v1)
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one)
);
INSERT INTO {schema}.installation DEFAULT VALUES;

-- What every append changes stands side by side, from updated_at to last_seq: an update logs what lies between the first byte that changed
-- and the last, and of a number that grows a little the last bytes stay.
CREATE TABLE {schema}.conversations (
    conversation_id uuid PRIMARY KEY,
    user_id         text NOT NULL,                          -- '' once it is deleted and its messages wait to be taken away
    external_id     text,                                   -- the caller's own name for it, scoped to user_id
    dept_id         text,
    title           text,
    title_source    text NOT NULL DEFAULT 'none',           -- 'none', 'auto', 'model' or 'user'
    archived        boolean NOT NULL DEFAULT false,         -- put away: lists leave it out
    pinned          boolean NOT NULL DEFAULT false,         -- to stand in front of the others
    created_at      timestamptz NOT NULL DEFAULT now(),
    life            uuid NOT NULL DEFAULT gen_random_uuid(), -- another one after a clear or a delete: what waits in a journal is of one
    left_over       bigint NOT NULL DEFAULT 0,              -- messages up to here, which nobody sees, wait to be taken away (sweep_v1)
    gaps            bigint NOT NULL DEFAULT 0,              -- how many seqs up to last_seq no message has any more
    cleared         bigint NOT NULL DEFAULT 0,              -- nobody sees a message up to this seq any more
    updated_minute  timestamptz NOT NULL GENERATED ALWAYS AS (date_bin('1 minute', updated_at, '2000-01-01 00:00:00+00')) STORED,
    updated_at      timestamptz NOT NULL DEFAULT now(),
    former          bigint,                                 -- the stamp before the newest append
    stamp           bigint NOT NULL DEFAULT uuid_hash_extended(gen_random_uuid(), 0), -- another one with every change: what windows are compared by
    version         bigint NOT NULL DEFAULT 0,              -- grows with every change, for people and programs
    last_human_seq  bigint NOT NULL DEFAULT 0,              -- position of the newest human message: where its turn starts
    last_seq        bigint NOT NULL DEFAULT 0,              -- the newest seq that was given: none is given twice
    metadata        jsonb NOT NULL DEFAULT '{{}}'
) WITH (fillfactor = 70); -- most updates change no indexed column, and find room on their own page

-- Serves list_conversations.sql, which sorts what is of one minute. With updated_at itself in it every append would write to
-- each index of the table.
CREATE INDEX conversations_by_user ON {schema}.conversations (user_id, updated_minute DESC);

-- serves sweep_v1
CREATE INDEX conversations_left_over ON {schema}.conversations (conversation_id) WHERE left_over > 0;

-- What is of one length stands first, and a long text next: elsewhere they would be padded. No foreign key to conversations: it would look the conversation up,
-- and lock it, for each message, which append_v1 has done already. A trigger takes the messages of a deleted conversation along.
CREATE TABLE {schema}.messages (
    conversation_id uuid NOT NULL,
    seq             bigint NOT NULL,                        -- ever growing from 1, given under the conversation's row lock
    id              uuid NOT NULL,                          -- made by the client before the first attempt
    created_at      timestamptz NOT NULL DEFAULT now(),
    tokens_used     integer,
    latency_ms      integer,
    content         text NOT NULL,                          -- what people read and search; exact unless body carries its own
    body            text NOT NULL,                          -- the lossless encoding (codec.py); text, because jsonb is not
    role            text NOT NULL,
    metadata        jsonb,                                  -- the caller's
    facts           jsonb,                                  -- what the library noted: model, names of tools, losses
    words_of        text,                                   -- whose words it is found by, in which language (words_of_v1); NULL: by none
    keys            text,                                   -- more that it is found by, the caller's: facts, a summary; none knows a message's new words
    PRIMARY KEY (conversation_id, seq)
);

-- What makes an append idempotent. The id first: those that follow from nothing grow with time, and fill the last page; those that
-- follow from a LangChain id begin alike in a conversation (ids.py). And no plan can walk a conversation by it.
CREATE UNIQUE INDEX messages_by_id ON {schema}.messages (id, conversation_id);

-- Messages that were removed one by one, in the last 30 days, where writes may wait in a journal: one that is still there is not
-- stored again. (What a clear or a delete took was of another life.)
CREATE TABLE {schema}.removed_rows (
    conversation_id uuid NOT NULL REFERENCES {schema}.conversations ON DELETE CASCADE,
    id              uuid NOT NULL,                          -- of the message
    removed_at      timestamptz NOT NULL DEFAULT now(),
    version         bigint NOT NULL DEFAULT 0,              -- of the conversation, from which on it was not there
    PRIMARY KEY (conversation_id, id)
);

-- serves tidy_removed.sql
CREATE INDEX removed_rows_by_time ON {schema}.removed_rows (removed_at);

-- Entries of journals that PostgreSQL refused for what is in them, so that what came after them could be stored.
CREATE TABLE {schema}.journal_refused (
    conversation_id uuid NOT NULL REFERENCES {schema}.conversations ON DELETE CASCADE,
    entry           text NOT NULL,                          -- the id that the entry had in its journal
    number          bigint GENERATED ALWAYS AS IDENTITY,    -- in the order in which they were refused
    user_id         text NOT NULL,
    refused_at      timestamptz NOT NULL DEFAULT now(),
    cause           text NOT NULL,
    written         jsonb NOT NULL,                         -- the entry as it was: its messages, and what was known of them
    PRIMARY KEY (conversation_id, entry)
);

-- What was retrieved, once a user however often it was retrieved: its key is the SHA-256 of whose it is, its text and its metadata.
CREATE TABLE {schema}.documents (
    document bytea PRIMARY KEY,
    user_id  text NOT NULL,
    content  text NOT NULL,
    metadata jsonb NOT NULL
);

-- Which documents a message leaned on. They hang on the conversation, and whoever deletes single messages deletes theirs: a key on
-- messages would fire a trigger for each message of a large conversation. And none on documents: it would write to each of them
-- whenever it is retrieved (retrieved_v1 and sweep_documents_v1 see to it that none is missing).
CREATE TABLE {schema}.message_documents (
    conversation_id uuid NOT NULL REFERENCES {schema}.conversations ON DELETE CASCADE,
    seq             bigint NOT NULL,
    score           double precision,
    position        integer NOT NULL,                       -- order in which the retriever gave it, from 0
    doc_id          text,
    document        bytea,                                  -- NULL where only its id and score are kept
    figures         jsonb,                                  -- of its metadata what is of this retrieval alone, such as a score
    PRIMARY KEY (conversation_id, seq, position)
);

-- serves sweep_documents_v1
CREATE INDEX message_documents_by_document ON {schema}.message_documents (document);

-- Documents that a message has let go of. If no other message has them they are taken away, by whoever comes next.
CREATE TABLE {schema}.loose_documents (
    user_id  text NOT NULL,
    id       bigint GENERATED ALWAYS AS IDENTITY,           -- in a sequence: two deletes never wait for each other here
    document bytea NOT NULL,
    PRIMARY KEY (user_id, id)
);

-- The retrieved documents of messages, for people and programs.
CREATE VIEW {schema}.message_contexts AS
SELECT r.conversation_id, r.seq, r.position, r.doc_id, coalesce(d.content, '') AS content, r.score,
       coalesce(d.metadata, '{{}}') || coalesce(r.figures, '{{}}') AS metadata
FROM {schema}.message_documents AS r
LEFT JOIN LATERAL (SELECT o.content, o.metadata FROM {schema}.documents AS o WHERE o.document = r.document OFFSET 0) AS d ON true;

-- Policies are those of whoever asks, and not those of the view's owner; PostgreSQL 14 knows no such view.
DO $$
BEGIN
    IF current_setting('server_version_num')::integer >= 150000 THEN
        ALTER VIEW {schema}.message_contexts SET (security_invoker = on);
    END IF;
END $$;

-- Who caches windows of these conversations: a Redis server by the name it has for itself, with database number and key
-- prefix. A window is good only under the era of its cache. Any row may be deleted at any moment: its processes register
-- anew, and their windows are of another era.
CREATE TABLE {schema}.caches (
    name          text PRIMARY KEY,
    history       text NOT NULL,                            -- of this database, as history_v1 told it then
    era           uuid NOT NULL DEFAULT gen_random_uuid(),
    seen_at       timestamptz NOT NULL DEFAULT now(),       -- when a process last looked, give or take a minute
    registered_by name NOT NULL DEFAULT current_user        -- what row-level security tells tenants apart by
);

-- Windows that a cache must drop before it serves again: it was not told of a change. No foreign keys: a deleted conversation
-- is marked too, and no write waits for a cache that is being forgotten.
CREATE TABLE {schema}.marks (
    cache         text NOT NULL,
    conversation  uuid NOT NULL,
    id            uuid NOT NULL DEFAULT gen_random_uuid(),  -- another one with every marking, so that no newer one is cleared
    registered_by name NOT NULL,                            -- that of the cache
    PRIMARY KEY (cache, conversation)
);

-- What a message is found by: six characters that stand for its owner and the text search configuration, and that configuration.
-- NULL where there is none. (Two users may share the six: whose a message is says its conversation alone.)
CREATE FUNCTION {schema}.words_of_v1(p_user text, p_config text) RETURNS text LANGUAGE sql STABLE STRICT AS $$
    SELECT pg_catalog.left(pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(
        p_config OPERATOR(pg_catalog.||) '/' OPERATOR(pg_catalog.||) p_user, 'UTF8')), 'base64'), 6) OPERATOR(pg_catalog.||) p_config
$$;

-- The parts of names and paths in a text (psycopg.errors.UniqueViolation, src/app/models.py, ~/.bashrc), which PostgreSQL takes for one word,
-- and the number of a version behind its v: as words, '' where there are none. (What it calls is named in full.)
CREATE FUNCTION {schema}.parts_v1(p_text text) RETURNS text LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
BEGIN
    IF p_text OPERATOR(pg_catalog.!~) '[./:\\@#?=&][[:alpha:]_]|\m[vV][0-9]+\.[0-9]' THEN
        RETURN '';
    END IF;
    RETURN pg_catalog.concat_ws(' / ', (
        SELECT pg_catalog.string_agg(pg_catalog.regexp_replace(m.name[1], '[^[:alnum:]_]+', ' ', 'g'), ' / ')
        FROM pg_catalog.regexp_matches(p_text, '([[:alnum:]_]*(?:[./:\\@#?=&]+[[:alnum:]_]+)+)', 'g') AS m (name)
        WHERE m.name[1] OPERATOR(pg_catalog.~) '[./:\\@#?=&][[:alpha:]_]'), (
        SELECT pg_catalog.string_agg(m.number[1], ' / ')
        FROM pg_catalog.regexp_matches(p_text, '\m[vV]([0-9]+(?:\.[0-9]+)+)', 'g') AS m (number)));
END $$;

-- A text as PostgreSQL's parser is given it, with chr(3) wherever it is not to read on. What begins with < it takes for a tag, and leaves out
-- (vector<int>); it looks for the end of a comment from each <!-- anew, and of a name with underscores, dots or slashes from each of them, which takes
-- minutes where there are thousands; and of what follows a hyphen it makes a number below zero (ABC-123). (What it calls is named in full.)
CREATE FUNCTION {schema}.parsed_v1(p_text text) RETURNS text LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    said text := p_text;
BEGIN
    IF said OPERATOR(pg_catalog.~) '<|[[:alnum:]]-[0-9]' THEN
        said := pg_catalog.regexp_replace(said, '(<|[[:alnum:]]-(?=[0-9]))', pg_catalog.concat('\1', pg_catalog.chr(3)), 'g');
    END IF;
    IF pg_catalog.octet_length(said) OPERATOR(pg_catalog.>) 255 AND said OPERATOR(pg_catalog.~) '[\w./~@:?&=%#+-]{{255}}' THEN
        said := pg_catalog.regexp_replace(said, '([\w./~@:?&=%#+-]{{255}})', pg_catalog.concat('\1', pg_catalog.chr(3)), 'g');
    END IF;
    RETURN said;
END $$;

-- A text in which the words that a query finds stand between chr(1) and chr(2). Of the first 50,000 characters, and as they are where
-- one of the first shows it. Without chr(3), which parsed_v1 has put in, it is the text.
CREATE FUNCTION {schema}.marked_v1(p_config text, p_text text, p_query tsquery) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    marking CONSTANT text := concat('HighlightAll=true, StartSel="', chr(1), '", StopSel="', chr(2), '"');
    said text := translate(left(p_text, 50000), concat(chr(1), chr(2), chr(3)), '');
    begun text;
BEGIN
    IF getdatabaseencoding() = 'UTF8' AND octet_length(said) <> length(said) THEN
        said := normalize(said, NFC);
    END IF;
    IF p_config IS NULL OR p_query IS NULL THEN
        RETURN said;
    END IF;
    IF length(said) > 4000 THEN -- the words are near the beginning of most, and what is behind them is shown to nobody
        begun := ts_headline(p_config::regconfig, {schema}.parsed_v1(left(said, 2000)), p_query, marking);
        IF strpos(begun, chr(1)) BETWEEN 1 AND 1500 THEN
            RETURN begun || substr(said, 2001);
        END IF;
    END IF;
    RETURN ts_headline(p_config::regconfig, {schema}.parsed_v1(said), p_query, marking);
END $$;

-- What goes on from the last of words; as they are where they have none, or a dictionary has others in its place.
CREATE FUNCTION {schema}.onward_v1(p_words tsquery) RETURNS tsquery LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN right(p_words::text, 1) = '''' THEN concat(p_words, ':*')::tsquery ELSE p_words END
$$;

-- What begins as a text ends, behind the words in front of that, which are those of the language: of names and paths it may be a part
-- (errors.Uniq). Where its letters have accents, which a language may leave out of its words, what begins without them as well.
CREATE FUNCTION {schema}.begun_v1(p_config text, p_text text) RETURNS tsquery
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    pieces CONSTANT text[] := regexp_match(p_text, '^(.*[^[:alnum:]])?([[:alnum:]]+)[^[:alnum:]]*$');
    begun tsquery := {schema}.onward_v1(phraseto_tsquery('simple', coalesce(pieces[2], '')));
    front tsquery;
BEGIN
    IF octet_length(pieces[2]) > length(pieces[2]) THEN
        begun := begun || {schema}.onward_v1(phraseto_tsquery(p_config::regconfig, pieces[2]));
    END IF;
    IF pieces[1] IS NOT NULL AND numnode(begun) > 0 THEN
        front := phraseto_tsquery(p_config::regconfig, regexp_replace(pieces[1], '[^[:alnum:]]+', ' ', 'g'));
        IF numnode(front) > 0 THEN
            begun := CASE WHEN numnode(phraseto_tsquery(p_config::regconfig, pieces[2])) = 0 THEN front || (front <-> begun) -- as in state-of
                          ELSE front <-> begun END;
        END IF;
    END IF;
    RETURN begun;
END $$;

-- The words of a text, each with its owner's six characters in front: so a user's words lie side by side in the index, apart from
-- everybody else's, and looking for one touches no others. Scripts that are written without spaces are taken in pairs of characters,
-- the last of a run alone as well. Of a text the first 50,000 characters: PostgreSQL takes no vector above a megabyte. What is written
-- in one way or another (é as one character or two, wide letters and narrow ones) is the same. Nothing that a message says makes it fail, since
-- an append would, and neither does a configuration that is not there any more.
-- (What it calls is named in full: it is called under whatever search_path there is.)
CREATE FUNCTION {schema}.words_v1(p_words_of text, p_text text) RETURNS tsvector
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    config CONSTANT text := pg_catalog.substr(p_words_of, 7);
    said text := pg_catalog.left(p_text, 50000);
    pairs text := '';
    found tsvector;
BEGIN
    IF pg_catalog.strpos(config, '.') OPERATOR(pg_catalog.>) 0 AND NOT EXISTS ( -- those of PostgreSQL itself stay
        SELECT FROM pg_catalog.pg_ts_config AS c JOIN pg_catalog.pg_namespace AS s ON s.oid OPERATOR(pg_catalog.=) c.cfgnamespace
        WHERE pg_catalog.concat(s.nspname, '.', c.cfgname) OPERATOR(pg_catalog.=) config AND pg_catalog.has_schema_privilege(s.oid, 'USAGE')) THEN
        RETURN '';
    END IF;
    IF pg_catalog.octet_length(said) OPERATOR(pg_catalog.<>) pg_catalog.length(said)
       AND pg_catalog.getdatabaseencoding() OPERATOR(pg_catalog.=) 'UTF8' AND NOT pg_catalog.is_normalized(said, 'NFKC') THEN
        said := pg_catalog.left(pg_catalog.normalize(said, 'NFKC'), 50000);
    END IF;
    said := pg_catalog.translate(said, '''', ' ');
    IF pg_catalog.getdatabaseencoding() OPERATOR(pg_catalog.=) 'UTF8' AND said OPERATOR(pg_catalog.~) '[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff]+' THEN
        SELECT coalesce(pg_catalog.string_agg(pg_catalog.concat(' ''', c.a, c.b, ''':', least(c.n, 16383)), ''), '') INTO pairs
        FROM (SELECT a.a, pg_catalog.lead(a.a) OVER (PARTITION BY r.k ORDER BY a.n) AS b,
                     pg_catalog.row_number() OVER (ORDER BY r.k, a.n) OPERATOR(pg_catalog.+) r.k AS n
              FROM pg_catalog.regexp_matches(said, '[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff]+', 'g') WITH ORDINALITY AS r (run, k),
                   pg_catalog.unnest(pg_catalog.string_to_array(r.run[1], NULL)) WITH ORDINALITY AS a (a, n)) AS c;
        said := pg_catalog.regexp_replace(said, '[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff]+', ' ', 'g');
    END IF;
    found := pg_catalog.to_tsvector(config::pg_catalog.regconfig,
        {schema}.parsed_v1(pg_catalog.concat(said, E'\n', {schema}.parts_v1(said))));
    IF pg_catalog.octet_length(said) OPERATOR(pg_catalog.>) 2000 THEN -- nobody looks for what is longer than a word can be
        found := pg_catalog.ts_delete(found, ARRAY(
            SELECT w.lexeme FROM pg_catalog.unnest(found) AS w
            WHERE pg_catalog.octet_length(w.lexeme) OPERATOR(pg_catalog.>) 255));
    END IF;
    RETURN pg_catalog.replace(pg_catalog.concat(' ', found::text, pairs), ' ''',
        pg_catalog.concat(' ''', pg_catalog.left(p_words_of, 6)))::pg_catalog.tsvector;
END $$;

-- Serves search_v1. What is written goes into its place at once: a list of what waits would be read by every search.
CREATE INDEX messages_by_words ON {schema}.messages
USING gin ({schema}.words_v1(words_of, coalesce(keys OPERATOR(pg_catalog.||) ' / ', '') OPERATOR(pg_catalog.||) content))
WITH (fastupdate = off) WHERE words_of IS NOT NULL;

-- Which past this database has: a fail-over, a restore and a copy begin another one. NULL on a standby, which has none of its
-- own; where a service refuses a function, pasts are told apart by less.
CREATE FUNCTION {schema}.history_v1() RETURNS text LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    cluster text := '';
    timeline text := '';
BEGIN
    IF pg_is_in_recovery() THEN
        RETURN NULL;
    END IF;
    BEGIN
        cluster := (SELECT s.system_identifier FROM pg_control_system() AS s);
    EXCEPTION WHEN OTHERS THEN
        NULL;
    END;
    BEGIN
        timeline := substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8);
    EXCEPTION WHEN OTHERS THEN
        NULL;
    END;
    RETURN cluster || '/' || timeline || '/' || (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database());
END $$;

-- What writes say under any isolation but READ COMMITTED, on which they stand: each of their statements must see what was
-- committed before it began, also what it waited for, and every cache that was registered by then.
CREATE FUNCTION {schema}.refuse_isolation_v1() RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'this transaction is %, and writes need read committed: ALTER ROLE ... SET default_transaction_isolation',
        current_setting('transaction_isolation') USING ERRCODE = 'invalid_transaction_state';
END $$;

-- Register caches, or find that somebody just did. The lock waits for the writes that did not see the new rows, and lets reads
-- and a backup alone; whoever waits too long for it gives up, because every write behind it waits as well.
CREATE FUNCTION {schema}.register_v1(p_names text[]) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        PERFORM {schema}.refuse_isolation_v1();
    END IF;
    PERFORM set_config('lock_timeout', '100ms', true);
    LOCK TABLE {schema}.marks IN SHARE ROW EXCLUSIVE MODE;
    INSERT INTO {schema}.caches AS c (name, history)
    SELECT n, {schema}.history_v1() FROM unnest(p_names) AS n ORDER BY n
    ON CONFLICT (name) DO UPDATE SET history = excluded.history, era = excluded.era, seen_at = now()
    WHERE c.history <> excluded.history;
END $$;

-- What a write says that tells a cache and has not read its journal, where writes may wait in one: what waits comes before it.
CREATE FUNCTION {schema}.refuse_unread_v1() RETURNS boolean LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'writes may wait in a journal: read it first' USING ERRCODE = 'CJ001';
END $$;

-- Have writes wait in journals beside the windows, or have none wait any more. The lock waits for the writes that did not know, as
-- that of register_v1 does; windows from before are of another era, because they do not say which rows they show.
CREATE FUNCTION {schema}.allow_journals_v1(p_allowed boolean) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        PERFORM {schema}.refuse_isolation_v1();
    END IF;
    PERFORM set_config('lock_timeout', '100ms', true);
    LOCK TABLE {schema}.marks IN SHARE ROW EXCLUSIVE MODE;
    UPDATE {schema}.installation AS i SET journals = p_allowed WHERE i.journals <> p_allowed;
    IF FOUND THEN
        UPDATE {schema}.caches AS c SET era = gen_random_uuid();
    END IF;
END $$;

-- Note messages that were removed one by one, where an entry of a journal may still bring them. p_version: the conversation's without them.
CREATE FUNCTION {schema}.note_removed_v1(p_conversation uuid, p_ids uuid[], p_version bigint) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF (SELECT i.journals FROM {schema}.installation AS i) THEN
        INSERT INTO {schema}.removed_rows AS r (conversation_id, id, version)
        SELECT p_conversation, g.id, p_version FROM unnest(p_ids) AS g (id)
        ON CONFLICT (conversation_id, id) DO UPDATE SET removed_at = excluded.removed_at, version = excluded.version;
    END IF;
END $$;

-- Mark what was changed by hand, for every cache: nobody else tells them. A write of the library says which conversation it
-- has seen to itself. A conversation of which messages went or changed gets a new stamp, as from any other change, and what was
-- retrieved for those that went goes with them.
CREATE FUNCTION {schema}.changed_by_hand() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    seen_to CONSTANT uuid := nullif(current_setting('convmemory.seen_to', true), '');
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        PERFORM {schema}.refuse_isolation_v1();
    END IF;
    IF TG_TABLE_NAME = 'messages' THEN
        UPDATE {schema}.conversations AS now_ SET
            stamp = DEFAULT, version = now_.version + 1,
            gaps = now_.gaps + CASE TG_OP WHEN 'DELETE' THEN g.messages ELSE 0 END
        FROM (SELECT h.conversation_id, count(*) FILTER (WHERE h.seq > o.cleared) AS messages
              FROM gone AS h JOIN {schema}.conversations AS o ON o.conversation_id = h.conversation_id
              GROUP BY h.conversation_id) AS g
        WHERE now_.conversation_id = g.conversation_id AND now_.conversation_id IS DISTINCT FROM seen_to;
        IF TG_OP = 'DELETE' THEN
            DELETE FROM {schema}.message_documents AS x WHERE (x.conversation_id, x.seq) IN (
                SELECT g.conversation_id, g.seq FROM gone AS g WHERE g.conversation_id IS DISTINCT FROM seen_to);
            PERFORM {schema}.note_removed_v1(g.conversation_id, array_agg(g.id), max(o.version))
            FROM gone AS g JOIN {schema}.conversations AS o ON o.conversation_id = g.conversation_id
            WHERE g.conversation_id IS DISTINCT FROM seen_to GROUP BY g.conversation_id;
        END IF;
    END IF;
    INSERT INTO {schema}.marks AS m (cache, conversation, registered_by)
    SELECT c.name, g.conversation_id, c.registered_by
    FROM {schema}.caches AS c, (SELECT DISTINCT h.conversation_id FROM gone AS h) AS g
    WHERE g.conversation_id IS DISTINCT FROM seen_to
    ON CONFLICT (cache, conversation) DO UPDATE SET id = excluded.id;
    RETURN NULL;
END $$;

CREATE TRIGGER changed_by_hand AFTER DELETE ON {schema}.conversations
REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION {schema}.changed_by_hand();
CREATE TRIGGER changed_by_hand AFTER DELETE ON {schema}.messages
REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION {schema}.changed_by_hand();
CREATE TRIGGER updated_by_hand AFTER UPDATE ON {schema}.messages
REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION {schema}.changed_by_hand();

-- Note documents that messages let go of, in whatever way: they may have been the last to have them.
CREATE FUNCTION {schema}.let_go_of_documents() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        INSERT INTO {schema}.loose_documents (user_id, document) SELECT d.user_id, d.document FROM {schema}.documents AS d;
        RETURN NULL;
    END IF;
    INSERT INTO {schema}.loose_documents (user_id, document)
    SELECT d.user_id, d.document FROM (SELECT DISTINCT g.document FROM gone AS g WHERE g.document IS NOT NULL) AS l
    CROSS JOIN LATERAL (
        SELECT o.user_id, o.document FROM {schema}.documents AS o WHERE o.document = l.document OFFSET 0) AS d;
    RETURN NULL;
END $$;

CREATE TRIGGER let_go_of_documents AFTER DELETE ON {schema}.message_documents
REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION {schema}.let_go_of_documents();
CREATE TRIGGER emptied_by_hand AFTER TRUNCATE ON {schema}.message_documents
FOR EACH STATEMENT EXECUTE FUNCTION {schema}.let_go_of_documents();

-- A conversation that gets another owner: what is cached of it is the former one's. (That of nobody is a deleted one.)
CREATE FUNCTION {schema}.moved_by_hand() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        PERFORM {schema}.refuse_isolation_v1();
    END IF;
    PERFORM {schema}.mark_others_v1(NEW.conversation_id, '{{}}');
    UPDATE {schema}.messages AS m SET words_of = {schema}.words_of_v1(NEW.user_id, substr(m.words_of, 7))
    WHERE m.conversation_id = NEW.conversation_id AND m.words_of IS NOT NULL;
    RETURN NULL;
END $$;

CREATE TRIGGER moved_by_hand AFTER UPDATE OF user_id ON {schema}.conversations
FOR EACH ROW WHEN (OLD.user_id <> NEW.user_id AND OLD.user_id <> '' AND NEW.user_id <> '') EXECUTE FUNCTION {schema}.moved_by_hand();

-- What hangs on a conversation goes with it, as by a foreign key: whoever may delete the one need not be allowed the other.
CREATE FUNCTION {schema}.taken_along() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        DELETE FROM {schema}.messages AS m WHERE m.conversation_id = ANY (ARRAY(SELECT g.conversation_id FROM gone AS g));
    ELSIF EXISTS (SELECT FROM {schema}.messages) THEN
        TRUNCATE {schema}.messages;
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER taken_along AFTER DELETE ON {schema}.conversations
REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION {schema}.taken_along();
CREATE TRIGGER taken_along_at_once AFTER TRUNCATE ON {schema}.conversations
FOR EACH STATEMENT EXECUTE FUNCTION {schema}.taken_along();

-- A table that is emptied at one stroke does not say what was in it: no cache is known any more.
CREATE FUNCTION {schema}.emptied_by_hand() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM {schema}.caches;
    RETURN NULL;
END $$;

CREATE TRIGGER emptied_by_hand AFTER TRUNCATE ON {schema}.conversations
FOR EACH STATEMENT EXECUTE FUNCTION {schema}.emptied_by_hand();
CREATE TRIGGER emptied_by_hand AFTER TRUNCATE ON {schema}.messages
FOR EACH STATEMENT EXECUTE FUNCTION {schema}.emptied_by_hand();

-- Whether a message says what a stored one of the same role and text says. A client that sends its transcript again leaves out
-- what it has no place for (usage, names, tool calls, pictures); what it has must be the same, in whatever order its keys are
-- written. What is no JSON says nothing else, and what jsonb does not hold (NUL) must be the same to the letter.
CREATE FUNCTION {schema}.says_the_same_v1(p_old text, p_new text) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    said json[];
    told json;
BEGIN
    FOREACH told IN ARRAY ARRAY[p_old::json, p_new::json] LOOP
        said := said || CASE WHEN json_typeof(told -> 't') = 'array' THEN
            (SELECT json_agg(block) FROM json_array_elements(told -> 't') AS block
             WHERE json_typeof(block) <> 'string' AND NOT (block ->> 'text' IS NOT NULL
                   AND coalesce(block ->> 'type', 'text') IN ('text', 'input_text', 'output_text')))
            ELSE told -> 't' END || (told #> '{{d,tool_calls}}') || (told #> '{{d,tool_call_id}}');
    END LOOP;
    FOR part IN 1..3 LOOP
        CONTINUE WHEN said[part + 3] IS NULL OR said[part + 3]::text IS NOT DISTINCT FROM said[part]::text;
        IF said[part + 3]::jsonb IS DISTINCT FROM said[part]::jsonb THEN
            RETURN false;
        END IF;
    END LOOP;
    RETURN true;
EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
    RETURN p_old = p_new;
END $$;

-- The advisory lock of a user's documents: shared by who refers to some, held alone by who takes some away.
CREATE FUNCTION {schema}.documents_of_v1(p_user text) RETURNS bigint
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT hashtextextended(p_user, 7237970105966882420)
$$;

-- What a document is known by: whose it is, what it says, and what is known of it. Named in full, and without a SET, it becomes part of
-- the statement that calls it.
CREATE FUNCTION {schema}.document_v1(p_user text, p_content text, p_metadata jsonb) RETURNS bytea
LANGUAGE sql STABLE AS $$
    SELECT pg_catalog.sha256(pg_catalog.sha256(pg_catalog.convert_to(p_user, 'UTF8'))
        OPERATOR(pg_catalog.||) pg_catalog.sha256(pg_catalog.convert_to(p_content, 'UTF8'))
        OPERATOR(pg_catalog.||) pg_catalog.sha256(pg_catalog.convert_to(p_metadata::text, 'UTF8')))
$$;

-- Keep what was retrieved for messages of a conversation. p_contexts is JSON: n, which of p_seqs a document is of (one that is NULL
-- has nothing kept), its position there, doc_id, content, score, metadata, and figures, which are laid over metadata.
-- A document that the user has already is not written again. Its row is not even locked: the advisory lock keeps sweep_documents_v1
-- from taking it away until this is committed, and what it took before is seen to be missing, and stored again.
CREATE FUNCTION {schema}.retrieved_v1(p_conversation uuid, p_user text, p_seqs bigint[], p_contexts jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared({schema}.documents_of_v1(p_user));
    WITH found AS MATERIALIZED (
        SELECT x.n, x.position, x.doc_id, x.content, x.score, x.figures, coalesce(x.metadata, '{{}}') AS metadata,
               CASE WHEN x.content <> '' OR x.metadata <> '{{}}' THEN
                   {schema}.document_v1(p_user, x.content, coalesce(x.metadata, '{{}}')) END AS document
        FROM jsonb_to_recordset(p_contexts) AS x (
            n integer, position integer, doc_id text, content text, score double precision, metadata jsonb, figures jsonb)
        WHERE p_seqs[x.n] IS NOT NULL
    ), kept AS ( -- in order, so that no two writers wait for each other
        INSERT INTO {schema}.documents (document, user_id, content, metadata)
        SELECT DISTINCT ON (f.document) f.document, p_user, f.content, f.metadata
        FROM found AS f WHERE f.document IS NOT NULL ORDER BY f.document
        ON CONFLICT DO NOTHING
    )
    INSERT INTO {schema}.message_documents (conversation_id, seq, position, doc_id, score, document, figures)
    SELECT p_conversation, p_seqs[f.n], f.position, f.doc_id, f.score, f.document, f.figures
    FROM found AS f
    WHERE EXISTS (SELECT FROM {schema}.conversations AS c WHERE c.conversation_id = p_conversation AND c.user_id = p_user);
END $$;

-- Append a batch: one call, one commit. Makes and titles the conversation if need be, gives each new message the next seq,
-- leaves out those that are there already. Inside a VOLATILE function every statement sees what was committed before it began,
-- so what follows the row lock sees everything the lock waited for. This is what nearly every batch is, new messages of a conversation
-- that is there; append_rest_v1 is the rest of it.
-- p_known holds the ids that may be there already (a caller's own, or all of them when a batch is sent again; NULL: none); p_human is the
-- place of the batch's newest human message, from 1, or 0; p_own names the caches that are told by whoever calls, so that all
-- others are marked, and has the word 'journal' where their journal was read: while writes may wait in one, nothing goes past it.
-- p_make says whether a conversation that is not there is made: one that has a name is made under its name
-- alone, and a turn that began in one does not bring it back. p_search is the text search configuration by which the messages are to be found, or NULL.
-- Returns numbers, which cost a tenth less than a row would: the conversation's stamp, what it was before (NULL where the batch made the conversation
-- or brought nothing new: then no window can be extended), version, last_seq, last_human_seq, how many messages were stored, and the
-- time of those that brought none of their own (microseconds since 1970). Then their seqs, but where every message was new and therefore
-- stands at last_seq - stored + 1 .. last_seq. NULL when the conversation is somebody else's, or was not made.
-- "Is it there already" is asked for one id at a time, and as a scalar subquery, because that can only be answered row by row
-- from messages_by_id, however long the conversation is, and needs no other plan for another array.
-- An id comes back for one of two reasons. Its message is sent again: the same words, and the row stays as it is. Or another
-- message has the same id, as models behind a cache and providers with short ids give it: other words, or any words that were
-- said after the conversation stood at p_since (NULL: nobody knows; -1: a caller says that this is the same call again, so
-- that no words are compared), where the row is older than that. Then its row id follows
-- from id, words and p_since, so that it is stored, and once if it is sent again; its seq is returned with a minus sign. What
-- it calls is named in full: a caller's search_path may have one of its own, and a SET on the
-- function costs 5 us. (An unnest of several arrays is PostgreSQL's own, and has no other name.)
CREATE FUNCTION {schema}.append_v1(
    p_conversation uuid, p_user text, p_external text, p_dept text, p_title text,
    p_ids uuid[], p_roles text[], p_contents text[], p_bodies text[],
    p_tokens integer[], p_latencies integer[], p_created timestamptz[], p_metadata jsonb[], p_facts jsonb[],
    p_known uuid[], p_human integer, p_contexts jsonb, p_since bigint, p_own text[], p_make boolean, p_search text DEFAULT NULL
) RETURNS bigint[] LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    messages CONSTANT integer := pg_catalog.cardinality(p_ids);
    there boolean; -- whether a known message is, as it was looked for, and the conversation's stamp then (NULL: there was none)
    looked_at bigint;
    oldest timestamptz; -- of the batch, where it brings times: a conversation is as old as its messages
    newest timestamptz;
    words text; -- NULL where nobody is to find them
    stamp bigint;
    former bigint;
    version bigint;
    last_seq bigint;
    last_human_seq bigint;
BEGIN
    IF pg_catalog.current_setting('transaction_isolation') <> 'read committed' THEN
        PERFORM {schema}.refuse_isolation_v1();
    END IF;
    IF p_created IS NOT NULL THEN
        SELECT pg_catalog.min(m.created), least(pg_catalog.now(), pg_catalog.max(coalesce(m.created, pg_catalog.now()))) INTO oldest, newest
        FROM pg_catalog.unnest(p_created) AS m (created);
    END IF;
    IF p_known IS NOT NULL THEN
        SELECT c.stamp, (SELECT true FROM {schema}.messages AS old WHERE old.conversation_id = p_conversation AND old.id = p_known[1])
        INTO looked_at, there FROM {schema}.conversations AS c WHERE c.conversation_id = p_conversation;
        IF there IS NULL AND pg_catalog.cardinality(p_known) > 1 THEN
            there := (SELECT true FROM (SELECT pg_catalog.generate_series(1, pg_catalog.cardinality(p_known)) AS n) AS k
               WHERE (SELECT true FROM {schema}.messages AS old
                      WHERE old.conversation_id = p_conversation AND old.id = p_known[k.n]) LIMIT 1);
        END IF;
        IF there THEN
            RETURN {schema}.append_rest_v1(
                p_conversation, p_user, p_external, p_dept, p_title, p_ids, p_roles, p_contents, p_bodies, p_tokens, p_latencies, p_created,
                p_metadata, p_facts, p_human, p_contexts, p_since, p_own, p_make, p_search);
        END IF;
    END IF;

    UPDATE {schema}.conversations AS now_ SET -- takes the places, and locks the row until they are filled
        former = now_.stamp, stamp = DEFAULT, version = now_.version + 1, last_seq = now_.last_seq + messages,
        last_human_seq = CASE WHEN p_human > 0 THEN now_.last_seq + p_human ELSE now_.last_human_seq END,
        created_at = least(now_.created_at, oldest),
        updated_at = CASE WHEN now_.last_seq = now_.gaps THEN coalesce(newest, pg_catalog.now())
                          ELSE greatest(now_.updated_at, coalesce(newest, pg_catalog.now())) END,
        title = CASE WHEN now_.title_source = 'none' THEN coalesce(p_title, now_.title) ELSE now_.title END,
        title_source = CASE WHEN now_.title_source = 'none' AND p_title IS NOT NULL THEN 'auto' ELSE now_.title_source END
    WHERE now_.conversation_id = p_conversation AND (now_.user_id = p_user) IS TRUE -- so written, no index by user is tempting
      AND now_.left_over = 0 AND messages > 0
    RETURNING now_.stamp, now_.former, now_.version, now_.last_seq, now_.last_human_seq
    INTO stamp, former, version, last_seq, last_human_seq;
    IF NOT FOUND THEN
        RETURN {schema}.append_rest_v1(
            p_conversation, p_user, p_external, p_dept, p_title, p_ids, p_roles, p_contents, p_bodies, p_tokens, p_latencies, p_created,
            p_metadata, p_facts, p_human, p_contexts, p_since, p_own, p_make, p_search);
    END IF;
    IF p_known IS NOT NULL AND former IS DISTINCT FROM looked_at THEN -- somebody came between, who may have stored the same
        IF (SELECT true FROM (SELECT pg_catalog.generate_series(1, pg_catalog.cardinality(p_known)) AS n) AS k
               WHERE (SELECT true FROM {schema}.messages AS old
                      WHERE old.conversation_id = p_conversation AND old.id = p_known[k.n]) LIMIT 1) THEN
            UPDATE {schema}.conversations AS now_ SET
                stamp = now_.former, version = now_.version - 1, last_seq = now_.last_seq - messages,
                last_human_seq = {schema}.newest_human_v1(p_conversation, p_user, now_.cleared)
            WHERE now_.conversation_id = p_conversation;
            RETURN {schema}.append_rest_v1(
                p_conversation, p_user, p_external, p_dept, p_title, p_ids, p_roles, p_contents, p_bodies, p_tokens, p_latencies, p_created,
                p_metadata, p_facts, p_human, p_contexts, p_since, p_own, p_make, p_search);
        END IF;
    END IF;
    IF p_search IS NOT NULL THEN
        words := {schema}.words_of_v1(p_user, p_search);
    END IF;
    -- in a statement of its own, which sees every cache that was registered before it had its lock on marks (register_v1)
    INSERT INTO {schema}.marks AS m (cache, conversation, registered_by)
    SELECT k.name, p_conversation, k.registered_by FROM {schema}.caches AS k
    WHERE k.name <> ALL (p_own)
      AND (pg_catalog.cardinality(p_own) = 0 OR 'journal' = ANY (p_own)
           OR (SELECT i.journals FROM {schema}.installation AS i) IS NOT TRUE OR {schema}.refuse_unread_v1())
    ON CONFLICT (cache, conversation) DO UPDATE SET id = excluded.id;
    INSERT INTO {schema}.messages
        (conversation_id, seq, id, role, content, body, tokens_used, latency_ms, created_at, metadata, facts, words_of)
    -- by their numbers: unnest would keep what it makes of each array in a store of its own, which is felt
    SELECT p_conversation, last_seq - messages + m.n, p_ids[m.n], p_roles[m.n], p_contents[m.n], p_bodies[m.n],
           p_tokens[m.n], p_latencies[m.n], coalesce(p_created[m.n], pg_catalog.now()), p_metadata[m.n], p_facts[m.n], words
    FROM (SELECT pg_catalog.generate_series(1, messages) AS n) AS m;
    IF p_contexts IS NOT NULL THEN
        PERFORM {schema}.retrieved_v1(p_conversation, p_user, ARRAY(
            SELECT last_seq - messages + m.n FROM pg_catalog.generate_series(1, messages) AS m (n)), p_contexts);
    END IF;
    RETURN ARRAY[stamp, former, version, last_seq, last_human_seq, messages, (extract(epoch FROM pg_catalog.now()) * 1000000)::bigint];
END $$;

-- What append_v1 leaves: the first messages of a conversation, batches of which some may be there already, and conversations of
-- which something is left over, or which are somebody else's.
CREATE FUNCTION {schema}.append_rest_v1(
    p_conversation uuid, p_user text, p_external text, p_dept text, p_title text,
    p_ids uuid[], p_roles text[], p_contents text[], p_bodies text[],
    p_tokens integer[], p_latencies integer[], p_created timestamptz[], p_metadata jsonb[], p_facts jsonb[],
    p_human integer, p_contexts jsonb, p_since bigint, p_own text[], p_make boolean, p_search text
) RETURNS bigint[] LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    c {schema}.conversations;
    made boolean := false;
    given uuid[] := p_ids;
    gone bigint[];
    oldest timestamptz := pg_catalog.now();
    newest timestamptz := pg_catalog.now();
    words text := {schema}.words_of_v1(p_user, p_search);
    stamp bigint;
    before bigint;
    version bigint;
    newest_human bigint;
    stored integer;
    seqs bigint[];
    said bigint[];
BEGIN
    FOR attempt IN 1..100 LOOP -- a row that stays out of sight is hidden by a row-level security policy
        SELECT * INTO c FROM {schema}.conversations WHERE conversation_id = p_conversation FOR NO KEY UPDATE;
        EXIT WHEN FOUND OR NOT p_make;
        -- with its title at once: a row that grew afterwards would find its page full, and take every other one's place to change in
        INSERT INTO {schema}.conversations (conversation_id, user_id, external_id, dept_id, title, title_source)
        VALUES (p_conversation, p_user, p_external, p_dept, p_title, CASE WHEN p_title IS NULL THEN 'none' ELSE 'auto' END)
        ON CONFLICT DO NOTHING;
        IF FOUND THEN -- nothing of it can be there
            said := {schema}.append_v1(
                p_conversation, p_user, p_external, p_dept, p_title, p_ids, p_roles, p_contents, p_bodies, p_tokens, p_latencies, p_created,
                p_metadata, p_facts, NULL, p_human, p_contexts, p_since, p_own, p_make, p_search);
            said[2] := NULL;
            RETURN said;
        END IF;
    END LOOP;
    IF c.user_id = '' AND p_user <> '' AND p_make THEN -- deleted, and not all of it is taken away yet
        UPDATE {schema}.conversations AS now_ SET
            user_id = p_user, external_id = p_external, dept_id = p_dept, version = 0,
            created_at = pg_catalog.now(), updated_at = pg_catalog.now()
        WHERE now_.conversation_id = p_conversation RETURNING * INTO c;
        made := true;
    END IF;
    IF c.user_id IS DISTINCT FROM p_user THEN
        RETURN NULL;
    END IF;
    IF c.left_over > 0 THEN -- what is left of another time under these ids makes room (its documents are left to sweep_v1)
        PERFORM {schema}.begin_change_v1(p_conversation);
        SELECT pg_catalog.array_agg((
            SELECT old.seq FROM {schema}.messages AS old
            WHERE old.conversation_id = p_conversation AND old.id = i.id AND old.seq <= c.cleared)) INTO gone
        FROM pg_catalog.unnest(p_ids) AS i (id);
        DELETE FROM {schema}.messages AS m WHERE m.conversation_id = p_conversation AND m.seq = ANY (gone);
    END IF;
    stamp := c.stamp;
    version := c.version;
    newest_human := c.last_human_seq;
    SELECT pg_catalog.array_agg(CASE WHEN (
        SELECT coalesce(p_since, 0) = -1 OR (old.seq > coalesce(p_since, 0) AND old.role = m.role AND old.content = m.content
               AND (old.body = m.body OR {schema}.says_the_same_v1(old.body, m.body)))
        FROM {schema}.messages AS old WHERE old.conversation_id = p_conversation AND old.id = m.id
    ) IS NOT FALSE THEN m.id ELSE (pg_catalog.left(pg_catalog.replace(m.id::text, '-', ''), 12) ||
        pg_catalog.encode(pg_catalog.substr(pg_catalog.sha256(pg_catalog.convert_to(
        pg_catalog.concat_ws('/', m.id, p_since, m.role, m.content, m.body), 'UTF8')), 1, 10), 'hex'))::uuid END
        ORDER BY m.n) INTO p_ids
    FROM unnest(p_ids, p_roles, p_contents, p_bodies) WITH ORDINALITY AS m (id, role, content, body, n);
    IF c.left_over > 0 THEN -- under those that were made just now as well
        DELETE FROM {schema}.messages AS m WHERE m.conversation_id = p_conversation AND m.seq = ANY (ARRAY (
            SELECT (SELECT old.seq FROM {schema}.messages AS old
                    WHERE old.conversation_id = p_conversation AND old.id = i.id AND old.seq <= c.cleared)
            FROM pg_catalog.unnest(p_ids) AS i (id)));
    END IF;
    INSERT INTO {schema}.messages
        (conversation_id, seq, id, role, content, body, tokens_used, latency_ms, created_at, metadata, facts, words_of)
    SELECT p_conversation, c.last_seq + pg_catalog.row_number() OVER (ORDER BY m.n), m.id, m.role, m.content, m.body,
           m.tokens, m.latency, coalesce(m.created, pg_catalog.now()), m.metadata, m.facts, words
    FROM unnest(p_ids, p_roles, p_contents, p_bodies, p_tokens, p_latencies, p_created, p_metadata, p_facts)
         WITH ORDINALITY AS m (id, role, content, body, tokens, latency, created, metadata, facts, n)
    WHERE (SELECT true FROM {schema}.messages AS old
           WHERE old.conversation_id = p_conversation AND old.id = m.id) IS NULL;
    GET DIAGNOSTICS stored = ROW_COUNT;
    SELECT coalesce(pg_catalog.max(m.seq), c.last_human_seq) INTO newest_human FROM {schema}.messages AS m
    WHERE m.conversation_id = p_conversation AND m.seq > c.last_seq AND m.role = 'human';
    SELECT pg_catalog.array_agg(CASE WHEN i.id = i.given THEN 1 ELSE -1 END * (
        SELECT m.seq FROM {schema}.messages AS m WHERE m.conversation_id = p_conversation AND m.id = i.id
    ) ORDER BY i.n) INTO seqs
    FROM unnest(p_ids, given) WITH ORDINALITY AS i (id, given, n);

    IF p_contexts IS NOT NULL THEN
        PERFORM {schema}.retrieved_v1(p_conversation, p_user, (
            SELECT pg_catalog.array_agg((
                SELECT m.seq FROM {schema}.messages AS m
                WHERE m.conversation_id = p_conversation AND m.id = i.id AND m.seq > c.last_seq) ORDER BY i.n)
            FROM pg_catalog.unnest(p_ids) WITH ORDINALITY AS i (id, n)), p_contexts);
    END IF;

    IF stored > 0 THEN
        IF p_created IS NOT NULL THEN
            SELECT least(pg_catalog.now(), pg_catalog.min(m.created_at)), least(pg_catalog.now(), pg_catalog.max(m.created_at))
            INTO oldest, newest FROM {schema}.messages AS m WHERE m.conversation_id = p_conversation AND m.seq > c.last_seq;
        END IF;
        version := c.version + 1;
        before := CASE WHEN made THEN NULL ELSE c.stamp END;
        WITH marked AS (
            INSERT INTO {schema}.marks AS m (cache, conversation, registered_by)
            SELECT k.name, p_conversation, k.registered_by FROM {schema}.caches AS k WHERE k.name <> ALL (p_own)
            ON CONFLICT (cache, conversation) DO UPDATE SET id = excluded.id
        )
        UPDATE {schema}.conversations AS now_ SET
            former = c.stamp, stamp = DEFAULT, version = c.version + 1,
            last_seq = c.last_seq + stored, last_human_seq = newest_human,
            created_at = least(c.created_at, oldest),
            updated_at = CASE WHEN c.last_seq = c.gaps THEN newest ELSE greatest(c.updated_at, newest) END,
            title = CASE WHEN c.title_source = 'none' THEN coalesce(p_title, c.title) ELSE c.title END,
            title_source = CASE WHEN c.title_source = 'none' AND p_title IS NOT NULL THEN 'auto' ELSE c.title_source END
        WHERE now_.conversation_id = p_conversation
          AND (pg_catalog.cardinality(p_own) = 0 OR 'journal' = ANY (p_own)
               OR (SELECT i.journals FROM {schema}.installation AS i) IS NOT TRUE OR {schema}.refuse_unread_v1())
        RETURNING now_.stamp INTO stamp;
    END IF;
    RETURN ARRAY[stamp, before, version, c.last_seq + stored, newest_human, stored, (extract(epoch FROM pg_catalog.now()) * 1000000)::bigint]
           || seqs;
END $$;

-- Store an entry: what one write brought, as JSON. Its rows are in order, each with its id (i), the one it has where that is another
-- message's (o), role, content and body (r, c, b), tokens, latency, created, metadata and facts (n, y, w, m, f) and retrieved documents (x);
-- and of all of them the title, dept and external name (t, d, x), and p_since of append_v1 (s). What was removed one by one is left out:
-- since the conversation was of the version p_seen, of which a message is said anew under the same id; NULL: none is. Returns what append_v1 does, and kept, the places (from 1) of the rows that were given to it; no row where there is none,
-- or append_v1 returns none.
CREATE FUNCTION {schema}.store_entry_v1(
    p_conversation uuid, p_user text, p_entry jsonb, p_own text[], p_make boolean, p_seen bigint, p_search text,
    OUT stamp bigint, OUT before bigint, OUT version bigint, OUT last_seq bigint, OUT last_human_seq bigint, OUT stored integer,
    OUT seqs bigint[], OUT kept integer[]
) RETURNS SETOF record LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    p record;
    said bigint[];
BEGIN
    SELECT array_agg(x.place::integer ORDER BY x.place) AS places, array_agg((x.r ->> 'i')::uuid ORDER BY x.place) AS ids,
           array_agg(x.r ->> 'r' ORDER BY x.place) AS roles, array_agg(x.r ->> 'c' ORDER BY x.place) AS contents,
           array_agg(x.r ->> 'b' ORDER BY x.place) AS bodies, array_agg((x.r ->> 'n')::integer ORDER BY x.place) AS tokens,
           array_agg((x.r ->> 'y')::integer ORDER BY x.place) AS latencies,
           array_agg((x.r ->> 'w')::timestamptz ORDER BY x.place) AS created,
           array_agg((x.r ->> 'm')::jsonb ORDER BY x.place) AS metadata, array_agg((x.r ->> 'f')::jsonb ORDER BY x.place) AS facts,
           array_agg(coalesce(x.r -> 'x', '[]') ORDER BY x.place) AS contexts
    INTO p FROM jsonb_array_elements(p_entry -> 'rows') WITH ORDINALITY AS x (r, place)
    WHERE p_seen IS NULL OR NOT EXISTS (
        SELECT FROM {schema}.removed_rows AS g
        WHERE g.conversation_id = p_conversation AND g.id IN ((x.r ->> 'i')::uuid, (x.r ->> 'o')::uuid) AND g.version > p_seen);
    IF p.places IS NULL THEN
        RETURN;
    END IF;
    said := {schema}.append_v1(
        p_conversation, p_user, p_entry ->> 'x', p_entry ->> 'd', p_entry ->> 't', p.ids, p.roles, p.contents, p.bodies, p.tokens,
        p.latencies, p.created, p.metadata, p.facts, p.ids,
        coalesce((SELECT max(h.n) FROM unnest(p.roles) WITH ORDINALITY AS h (role, n) WHERE h.role = 'human'), 0)::integer,
        (SELECT jsonb_agg(d.one || jsonb_build_object('n', l.n) ORDER BY l.n, d.place)
         FROM unnest(p.contexts) WITH ORDINALITY AS l (list, n)
         CROSS JOIN LATERAL jsonb_array_elements(l.list) WITH ORDINALITY AS d (one, place)),
        (p_entry ->> 's')::bigint, p_own, p_make, p_search);
    IF said IS NOT NULL THEN
        RETURN QUERY SELECT said[1], said[2], said[3], said[4], said[5], said[6]::integer, nullif(said[8:], '{{}}'), p.places;
    END IF;
END $$;

-- Whether a conversation is still its user's and has this life, and none of these rows was removed one by one: what a write may be sent under that a journal
-- takes where nobody answers. It may be carried out long after that, and must bring nothing back.
CREATE FUNCTION {schema}.still_v1(p_conversation uuid, p_user text, p_life uuid, p_ids uuid[]) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM FROM {schema}.conversations AS c
    WHERE c.conversation_id = p_conversation AND c.user_id = p_user AND c.life = p_life FOR NO KEY UPDATE; -- so that the next statement sees what it waited for
    RETURN FOUND AND NOT EXISTS (
        SELECT FROM {schema}.removed_rows AS g WHERE g.conversation_id = p_conversation AND g.id = ANY (p_ids));
END $$;

-- Store what waits in the journal of a conversation, in its order, and with it what a caller writes now: all in one transaction.
-- p_entries is a JSON array of entries as store_entry_v1 takes them, each with its id (e). One with a life (l: the life, and the
-- version that the window beside it was filled at) waited in the journal: it
-- is passed over where the conversation has another life, is not there or is not its user's (u), whoever drains; what PostgreSQL refuses of
-- it for what is in it, and what is so old that nobody knows any more what was removed since (a: when it was accepted), goes to journal_refused, and the
-- rest goes on. One without a life is the caller's own: make says whether it may make the conversation, sent whether it was
-- sent before, of which version its writer knew then (seen), and in, where it has that, in which life it is stored or not at all (still_v1). p_own names the caches that the caller tells, and has the word 'journal'.
-- Returns a row an entry, in order: its id, verdict ('stored', 'removed': all of it was, one that was sent before too, 'gone': of another life, 'refused'), and what
-- store_entry_v1 returns; stamp is the conversation's after it, NULL where there is none. No row for the caller's own where it is
-- somebody else's conversation, was not made, or has another life than it says.
CREATE FUNCTION {schema}.store_v1(p_conversation uuid, p_user text, p_entries jsonb, p_own text[], p_search text)
RETURNS TABLE (
    entry text, verdict text, stamp bigint, before bigint, version bigint, last_seq bigint, last_human_seq bigint, stored integer,
    seqs bigint[], kept integer[]
) LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    c {schema}.conversations;
    latest bigint;
    one jsonb;
    said record;
    why text;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        PERFORM {schema}.refuse_isolation_v1();
    END IF;
    SELECT * INTO c FROM {schema}.conversations WHERE conversation_id = p_conversation FOR NO KEY UPDATE;
    latest := c.stamp;
    -- The documents of one write come in order, and those of several do not: two who store the same would wait for each other.
    IF (SELECT count(*) FROM jsonb_array_elements(p_entries) AS x (e) WHERE jsonb_path_exists(x.e, '$.rows[*].x')) > 1 THEN
        PERFORM pg_advisory_xact_lock({schema}.documents_of_v1(c.user_id));
    END IF;
    FOR one IN SELECT x.e FROM jsonb_array_elements(p_entries) WITH ORDINALITY AS x (e, place) ORDER BY x.place LOOP
        IF one ->> 'l' IS NULL THEN
            CONTINUE WHEN c.user_id <> p_user AND c.user_id <> ''; -- somebody else's
            CONTINUE WHEN one ? 'in' AND NOT {schema}.still_v1(p_conversation, p_user, (one ->> 'in')::uuid, ARRAY(
                SELECT i.id::uuid FROM jsonb_array_elements(one -> 'rows') AS x (r)
                CROSS JOIN LATERAL (VALUES (x.r ->> 'i'), (x.r ->> 'o')) AS i (id)));
            RETURN QUERY SELECT one ->> 'e', 'stored', a.* FROM {schema}.store_entry_v1(
                p_conversation, p_user, one, p_own, (one ->> 'make')::boolean,
                CASE WHEN (one ->> 'sent')::boolean THEN coalesce((one ->> 'seen')::bigint, 0) END, p_search) AS a;
            CONTINUE WHEN FOUND OR NOT (one ->> 'sent')::boolean OR c.user_id IS DISTINCT FROM p_user;
            RETURN QUERY SELECT one ->> 'e', 'removed', latest, NULL::bigint, NULL::bigint, NULL::bigint, NULL::bigint, 0,
                                NULL::bigint[], NULL::integer[];
            CONTINUE;
        END IF;
        said := NULL;
        why := NULL;
        verdict := 'gone';
        IF c.life::text = split_part(one ->> 'l', ':', 1) AND c.user_id = one ->> 'u' THEN
            BEGIN
                IF (one ->> 'a')::timestamptz < now() - interval '30 days' THEN
                    why := 'it waited for more than 30 days: what was removed since is not known any more';
                ELSE
                    SELECT * INTO said
                    FROM {schema}.store_entry_v1(
                        p_conversation, one ->> 'u', one, p_own, false, split_part(one ->> 'l', ':', 2)::bigint, p_search);
                    verdict := CASE WHEN FOUND THEN 'stored' ELSE 'removed' END;
                    latest := coalesce(said.stamp, latest);
                END IF;
            EXCEPTION WHEN data_exception OR integrity_constraint_violation OR program_limit_exceeded THEN
                why := SQLERRM;
            END;
            IF why IS NOT NULL THEN
                verdict := 'refused';
                INSERT INTO {schema}.journal_refused AS r (conversation_id, entry, user_id, cause, written)
                VALUES (p_conversation, one ->> 'e', one ->> 'u', why, one) ON CONFLICT (conversation_id, entry) DO NOTHING;
            END IF;
        END IF;
        IF verdict = 'stored' THEN
            RETURN QUERY SELECT one ->> 'e', 'stored', said.stamp, said.before, said.version, said.last_seq, said.last_human_seq,
                                said.stored, said.seqs, said.kept;
        ELSE
            RETURN QUERY SELECT one ->> 'e', verdict, latest, NULL::bigint, NULL::bigint, NULL::bigint, NULL::bigint, 0,
                                NULL::bigint[], NULL::integer[];
        END IF;
    END LOOP;
END $$;

-- What every change of stored messages begins with: its statements must see what they waited for, and the triggers are told
-- which conversation it sees to itself.
CREATE FUNCTION {schema}.begin_change_v1(p_conversation uuid) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        PERFORM {schema}.refuse_isolation_v1();
    END IF;
    PERFORM set_config('convmemory.seen_to', p_conversation::text, true);
END $$;

-- The same for a change of some of a user's messages: and the conversation's row, locked, so that no append slips between.
CREATE FUNCTION {schema}.hold_v1(p_conversation uuid, p_user text) RETURNS SETOF {schema}.conversations
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM {schema}.begin_change_v1(p_conversation);
    RETURN QUERY SELECT c.* FROM {schema}.conversations AS c
    WHERE c.conversation_id = p_conversation AND c.user_id = p_user FOR NO KEY UPDATE;
END $$;

-- And what it ends with: a mark for every cache but those that the caller tells. Always executed, since the lock it takes on
-- marks is what a new cache waits for, and whoever allows journals. (append_v1 has it in its own text: a call would be felt there.)
-- p_mark: for those as well, under this id, which the caller clears once it has told them. So ends what cannot be called again: where
-- the caller ends in between, the conversation is not there to be told of.
CREATE FUNCTION {schema}.mark_others_v1(p_conversation uuid, p_own text[], p_mark uuid DEFAULT NULL) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO {schema}.marks AS m (cache, conversation, id, registered_by)
    SELECT k.name, p_conversation, coalesce(p_mark, gen_random_uuid()), k.registered_by FROM {schema}.caches AS k
    WHERE k.name <> ALL (p_own) OR p_mark IS NOT NULL
    ON CONFLICT (cache, conversation) DO UPDATE SET id = excluded.id;
    IF cardinality(p_own) > 0 AND 'journal' <> ALL (p_own) AND (SELECT i.journals FROM {schema}.installation AS i) THEN
        PERFORM {schema}.refuse_unread_v1();
    END IF;
END $$;

-- Whether a delete has left something to be taken away: of any conversation's messages, or of the user's documents.
CREATE FUNCTION {schema}.left_behind_v1(p_user text) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN EXISTS (SELECT FROM {schema}.conversations AS o WHERE o.left_over > 0)
        OR EXISTS (SELECT FROM {schema}.loose_documents AS l WHERE l.user_id = p_user);
END $$;

-- Take away some of what the delete of a large conversation has left: messages that nobody sees any more and what was retrieved
-- for them, those with the greatest seqs first, so that none of what went before is walked through again. Each call is a
-- transaction of its own, so that nobody waits for long, and one that never comes leaves nothing but rows.
-- p_conversation: which, or NULL for any that nobody is at; p_batch: rows at most, of messages and of documents each.
-- Returns how many contexts were taken away, and whether more of it is left.
CREATE FUNCTION {schema}.sweep_v1(p_conversation uuid, p_batch bigint) RETURNS TABLE (contexts bigint, more boolean)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    c {schema}.conversations;
    stays record; -- the first context that does
    others bigint;
    lowest bigint;
BEGIN
    contexts := 0;
    more := false;
    IF p_conversation IS NULL THEN
        SELECT * INTO c FROM {schema}.conversations AS o WHERE o.left_over > 0
        ORDER BY o.conversation_id LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED;
    ELSE
        SELECT * INTO c FROM {schema}.conversations AS o
        WHERE o.conversation_id = p_conversation AND o.left_over > 0 FOR NO KEY UPDATE;
    END IF;
    IF NOT FOUND THEN
        RETURN NEXT;
        RETURN;
    END IF;
    PERFORM {schema}.begin_change_v1(c.conversation_id);
    SELECT m.seq INTO lowest FROM {schema}.messages AS m
    WHERE m.conversation_id = c.conversation_id AND m.seq <= c.left_over
    ORDER BY m.conversation_id DESC, m.seq DESC OFFSET p_batch LIMIT 1;
    SELECT x.seq, x.position INTO stays FROM {schema}.message_documents AS x
    WHERE x.conversation_id = c.conversation_id AND x.seq <= c.left_over
    ORDER BY x.conversation_id DESC, x.seq DESC, x.position DESC OFFSET p_batch LIMIT 1;
    lowest := greatest(lowest, stays.seq, 0); -- a message goes with the last of its documents
    DELETE FROM {schema}.message_documents AS x
    WHERE x.conversation_id = c.conversation_id AND x.seq > lowest AND x.seq <= c.left_over;
    GET DIAGNOSTICS contexts = ROW_COUNT;
    IF lowest = stays.seq THEN
        DELETE FROM {schema}.message_documents AS x
        WHERE x.conversation_id = c.conversation_id AND x.seq = lowest AND x.position > stays.position;
        GET DIAGNOSTICS others = ROW_COUNT;
        contexts := contexts + others;
    END IF;
    DELETE FROM {schema}.messages AS m
    WHERE m.conversation_id = c.conversation_id AND m.seq > lowest AND m.seq <= c.left_over;
    IF lowest = 0 AND c.user_id = '' THEN
        DELETE FROM {schema}.removed_rows AS r WHERE r.ctid = ANY (ARRAY(
            SELECT o.ctid FROM {schema}.removed_rows AS o WHERE o.conversation_id = c.conversation_id LIMIT p_batch));
        GET DIAGNOSTICS others = ROW_COUNT;
        lowest := CASE WHEN others = p_batch THEN 1 ELSE 0 END; -- its row stays until they are gone
    END IF;
    IF lowest = 0 THEN
        DELETE FROM {schema}.journal_refused AS r WHERE r.ctid = ANY (ARRAY(
            SELECT o.ctid FROM {schema}.journal_refused AS o
            WHERE o.conversation_id = c.conversation_id AND split_part(o.written ->> 'l', ':', 1) <> c.life::text LIMIT p_batch));
        GET DIAGNOSTICS others = ROW_COUNT;
        lowest := CASE WHEN others = p_batch THEN 1 ELSE 0 END;
    END IF;
    more := lowest > 0;
    IF NOT more AND c.user_id = '' THEN
        DELETE FROM {schema}.conversations AS o WHERE o.conversation_id = c.conversation_id;
    ELSE
        UPDATE {schema}.conversations AS o SET left_over = lowest WHERE o.conversation_id = c.conversation_id;
    END IF;
    RETURN NEXT;
END $$;

-- Take away what was retrieved for messages that are about to go, p_batch rows at most. Returns whether there is more of it: then the
-- caller leaves everything else as it is and is called again, so that no transaction takes long.
CREATE FUNCTION {schema}.shed_v1(p_conversation uuid, p_user text, p_seqs bigint[], p_batch bigint) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    gone bigint;
BEGIN
    DELETE FROM {schema}.message_documents AS x WHERE x.ctid = ANY (ARRAY(
        SELECT o.ctid FROM {schema}.message_documents AS o
        WHERE o.conversation_id = p_conversation AND o.seq = ANY (p_seqs)
          AND (SELECT c.user_id = p_user FROM {schema}.conversations AS c WHERE c.conversation_id = p_conversation) LIMIT p_batch));
    GET DIAGNOSTICS gone = ROW_COUNT;
    RETURN gone = p_batch AND EXISTS (
        SELECT FROM {schema}.message_documents AS x WHERE x.conversation_id = p_conversation AND x.seq = ANY (p_seqs));
END $$;

-- Whether a conversation is too large to be taken away in one transaction: by its messages, by what was retrieved for them, or by what is
-- known of removed ones and of entries that were refused.
CREATE FUNCTION {schema}.large_v1(p_conversation uuid, p_user text, p_messages bigint, p_batch bigint) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN p_messages > p_batch OR (
        SELECT true FROM {schema}.message_documents AS x
        WHERE x.conversation_id = p_conversation
          AND (SELECT c.user_id = p_user FROM {schema}.conversations AS c WHERE c.conversation_id = p_conversation)
        ORDER BY x.conversation_id, x.seq, x.position OFFSET p_batch LIMIT 1) IS NOT NULL OR (
        SELECT true FROM {schema}.removed_rows AS r WHERE r.conversation_id = p_conversation
        ORDER BY r.conversation_id, r.id OFFSET p_batch LIMIT 1) IS NOT NULL OR (
        SELECT true FROM {schema}.journal_refused AS j WHERE j.conversation_id = p_conversation
        ORDER BY j.conversation_id, j.entry OFFSET p_batch LIMIT 1) IS NOT NULL;
END $$;

-- Take away documents of one user that messages have let go of, where no other message has them. Whoever refers to one of them at
-- this moment has the advisory lock, and is waited for; what is stored after that is stored with its documents.
-- p_user: whose, or NULL for anybody's whose lock is free; p_batch: documents at most that are looked at.
-- Returns how many were taken away, and whether there are more to look at.
CREATE FUNCTION {schema}.sweep_documents_v1(p_user text, p_batch bigint) RETURNS TABLE (removed bigint, more boolean)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    whose text := p_user;
    free boolean := p_user IS NOT NULL;
    let_go bytea[];
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        PERFORM {schema}.refuse_isolation_v1();
    END IF;
    removed := 0;
    more := false;
    FOR attempt IN 1..20 LOOP -- a few users further, where somebody is at the first ones
        EXIT WHEN free;
        SELECT l.user_id INTO whose FROM {schema}.loose_documents AS l
        WHERE l.user_id > coalesce(whose, '') ORDER BY l.user_id, l.id LIMIT 1;
        EXIT WHEN NOT FOUND;
        free := pg_try_advisory_xact_lock({schema}.documents_of_v1(whose));
    END LOOP;
    IF NOT free THEN
        RETURN NEXT;
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock({schema}.documents_of_v1(whose));
    WITH taken AS (
        DELETE FROM {schema}.loose_documents AS l WHERE l.user_id = whose AND l.id = ANY (ARRAY(
            SELECT o.id FROM {schema}.loose_documents AS o WHERE o.user_id = whose ORDER BY o.user_id, o.id LIMIT p_batch))
        RETURNING l.document
    ) SELECT array_agg(t.document) INTO let_go FROM taken AS t;
    DELETE FROM {schema}.documents AS d WHERE d.document = ANY (let_go)
        AND (SELECT true FROM {schema}.message_documents AS r WHERE r.document = d.document LIMIT 1) IS NULL;
    GET DIAGNOSTICS removed = ROW_COUNT;
    more := EXISTS (SELECT FROM {schema}.loose_documents AS l WHERE p_user IS NULL OR l.user_id = p_user);
    RETURN NEXT;
END $$;

-- Delete a conversation's messages and keep the conversation, which goes on counting: the row lock first, so that no append
-- slips between.
-- p_own names the caches that are told by whoever calls; more messages, or contexts, than p_batch are left to sweep_v1, and seen by nobody.
-- Returns the stamp, and whether something is left, of this conversation or of any; no row when there is none, or it is
-- somebody else's.
CREATE FUNCTION {schema}.clear_v1(p_conversation uuid, p_user text, p_own text[], p_batch bigint)
RETURNS TABLE (stamp text, left_here boolean, left_anywhere boolean)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    c {schema}.conversations;
    large boolean;
    last bigint;
BEGIN
    SELECT * INTO c FROM {schema}.hold_v1(p_conversation, p_user);
    IF NOT FOUND THEN
        RETURN;
    END IF;
    large := c.left_over > 0 OR {schema}.large_v1(p_conversation, p_user, c.last_seq - c.gaps, p_batch);
    last := CASE WHEN large THEN greatest(c.last_seq, 1) ELSE c.last_seq END; -- for sweep_v1 to see, where all that there was is refused
    UPDATE {schema}.conversations AS now_
    SET stamp = DEFAULT, life = gen_random_uuid(), version = now_.version + 1, last_seq = last, gaps = last,
        cleared = last, last_human_seq = 0, updated_at = now(), left_over = CASE WHEN large THEN last ELSE 0 END,
        title = CASE WHEN now_.title_source = 'user' THEN now_.title END, -- any other tells what is deleted
        title_source = CASE WHEN now_.title_source = 'user' THEN 'user' ELSE 'none' END
    WHERE now_.conversation_id = p_conversation RETURNING * INTO c;
    IF NOT large THEN
        DELETE FROM {schema}.message_documents AS x WHERE x.conversation_id = p_conversation;
        DELETE FROM {schema}.messages AS m WHERE m.conversation_id = p_conversation;
        DELETE FROM {schema}.journal_refused AS r WHERE r.conversation_id = p_conversation;
    END IF;
    PERFORM {schema}.mark_others_v1(p_conversation, p_own);
    RETURN QUERY SELECT c.stamp::text, large, {schema}.left_behind_v1(p_user);
END $$;

-- Delete a conversation with its messages and contexts. p_own and p_batch as for clear_v1, p_mark as for mark_others_v1: a large one
-- becomes nobody's at once, and its row goes with the last of its messages, or is somebody's anew. Returns the stamp of a conversation that is
-- not there, '', and what is left as clear_v1 does; no row when there was none, or it is somebody else's.
CREATE FUNCTION {schema}.delete_v1(p_conversation uuid, p_user text, p_own text[], p_batch bigint, p_mark uuid DEFAULT NULL)
RETURNS TABLE (stamp text, left_here boolean, left_anywhere boolean)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    c {schema}.conversations;
    large boolean;
    last bigint;
BEGIN
    PERFORM {schema}.begin_change_v1(p_conversation);
    SELECT * INTO c FROM {schema}.conversations WHERE conversation_id = p_conversation AND user_id = p_user FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    large := c.left_over > 0 OR {schema}.large_v1(p_conversation, p_user, c.last_seq - c.gaps, p_batch);
    IF large THEN
        last := greatest(c.last_seq, 1);
        UPDATE {schema}.conversations AS now_ SET
            user_id = '', external_id = NULL, dept_id = NULL, title = NULL, title_source = 'none', archived = false,
            pinned = false, metadata = '{{}}',
            stamp = DEFAULT, life = gen_random_uuid(), version = 0, last_seq = last, gaps = last, cleared = last,
            last_human_seq = 0, left_over = last
        WHERE now_.conversation_id = p_conversation;
    ELSE
        DELETE FROM {schema}.conversations AS now_ WHERE now_.conversation_id = p_conversation;
    END IF;
    PERFORM {schema}.mark_others_v1(p_conversation, p_own, p_mark);
    RETURN QUERY SELECT ''::text, large, {schema}.left_behind_v1(p_user);
END $$;

-- Where the newest turn of a conversation starts, 0 where nobody has begun one after p_cleared. It is looked for as far back
-- as a window can reach: a turn that is longer is cut anyhow.
CREATE FUNCTION {schema}.newest_human_v1(p_conversation uuid, p_user text, p_cleared bigint) RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN coalesce((
        SELECT newest.seq FROM (
            SELECT m.seq, m.role FROM {schema}.messages AS m
            WHERE m.conversation_id = p_conversation AND m.seq > p_cleared
              AND (SELECT c.user_id = p_user FROM {schema}.conversations AS c WHERE c.conversation_id = p_conversation)
            ORDER BY m.conversation_id DESC, m.seq DESC LIMIT 10000) AS newest
        WHERE newest.role = 'human' LIMIT 1), 0);
END $$;

-- Whether an automatic title was made of what a message says: it begins as the message does, letters and digits compared.
-- Where a title has neither, it may have been. (Of a long message only the beginning is fetched, if there is more than white space in it.)
CREATE FUNCTION {schema}.gave_title_v1(p_title text, p_content text) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT starts_with(
        regexp_replace(left(CASE WHEN length(b.begun) >= 1000 OR octet_length(p_content) <= 2000 THEN b.begun
                                 ELSE ltrim(p_content, E' \t\r\n') END, 1000), '[^[:alnum:]]+', '', 'g'),
        regexp_replace(p_title, '[^[:alnum:]]+', '', 'g'))
    FROM (SELECT ltrim(left(p_content, 2000), E' \t\r\n') AS begun OFFSET 0) AS b
$$;

-- Whether a title was made of one of these messages: an automatic one of the first of a human's that it may quote, looked for among the
-- first 200 messages, and where none of those gave it (it may be of a later day) of any that it may quote; a model's of the first turn.
CREATE FUNCTION {schema}.titled_by_v1(
    p_conversation uuid, p_user text, p_cleared bigint, p_title text, p_source text, p_seqs bigint[]
) RETURNS boolean LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    humans bigint[];
BEGIN
    IF p_source NOT IN ('auto', 'model') THEN
        RETURN false;
    END IF;
    SELECT array_agg(said.seq ORDER BY said.seq) INTO humans FROM (
        SELECT m.seq, m.role, m.content FROM {schema}.messages AS m
        WHERE m.conversation_id = p_conversation AND m.seq > p_cleared
          AND (SELECT c.user_id = p_user FROM {schema}.conversations AS c WHERE c.conversation_id = p_conversation)
        ORDER BY m.conversation_id, m.seq LIMIT 200) AS said
    WHERE said.role = 'human' AND (p_source = 'model' OR {schema}.gave_title_v1(p_title, said.content));
    IF p_source = 'model' THEN
        RETURN coalesce(int8range(p_cleared, humans[2], '()') @> ANY (p_seqs), false);
    END IF;
    RETURN CASE WHEN humans IS NOT NULL THEN coalesce(humans[1] = ANY (p_seqs), false) ELSE EXISTS (
        SELECT FROM {schema}.messages AS m
        WHERE m.conversation_id = p_conversation AND m.seq = ANY (p_seqs) AND m.role = 'human'
          AND {schema}.gave_title_v1(p_title, m.content)) END;
END $$;

-- Delete the newest message, if it still is the one of that id; the row lock first, so that no append slips between. p_own as
-- for clear_v1. p_stamp is the conversation's afterwards, and p_first what it was to be at the first attempt of this call: so
-- one that is sent again finds that it was done. Returns '' when another message came, so that this one is still there; no row
-- when it is gone already, by whose doing nobody can tell, or the conversation is not there or somebody else's. more: p_batch of the
-- documents it leaned on were taken away and nothing else yet, so call it again.
CREATE FUNCTION {schema}.pop_v1(
    p_conversation uuid, p_user text, p_id uuid, p_first bigint, p_stamp bigint, p_own text[], p_batch bigint
) RETURNS TABLE (stamp text, left_anywhere boolean, more boolean)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    c {schema}.conversations;
    place bigint;
    untitled boolean;
BEGIN
    SELECT * INTO c FROM {schema}.hold_v1(p_conversation, p_user);
    SELECT newest.seq INTO place FROM (
        SELECT n.seq, n.id FROM {schema}.messages AS n
        WHERE n.conversation_id = c.conversation_id AND n.seq > c.cleared
        ORDER BY n.conversation_id DESC, n.seq DESC LIMIT 1) AS newest
    WHERE newest.id = p_id;
    IF NOT FOUND THEN
        RETURN QUERY SELECT CASE WHEN c.stamp = p_first THEN p_first::text ELSE '' END,
            c.stamp = p_first AND {schema}.left_behind_v1(p_user), false
        WHERE c.stamp = p_first OR EXISTS (
            SELECT 1 FROM {schema}.messages AS m WHERE m.conversation_id = c.conversation_id AND m.id = p_id AND m.seq > c.cleared);
        RETURN;
    END IF;
    IF {schema}.shed_v1(p_conversation, p_user, ARRAY[place], p_batch) THEN
        RETURN QUERY SELECT c.stamp::text, true, true;
        RETURN;
    END IF;
    untitled := {schema}.titled_by_v1(p_conversation, p_user, c.cleared, c.title, c.title_source, ARRAY[place]);
    PERFORM {schema}.note_removed_v1(p_conversation, ARRAY[p_id], c.version + 1);
    DELETE FROM {schema}.messages AS m WHERE m.conversation_id = p_conversation AND m.seq = place;
    UPDATE {schema}.conversations AS now_ SET
        stamp = p_stamp, version = c.version + 1, gaps = c.gaps + 1, updated_at = now(),
        title = CASE WHEN untitled THEN NULL ELSE c.title END, -- it quotes what is deleted
        title_source = CASE WHEN untitled THEN 'none' ELSE c.title_source END,
        last_human_seq = CASE WHEN c.last_human_seq < place THEN c.last_human_seq
                              ELSE {schema}.newest_human_v1(p_conversation, p_user, c.cleared) END
    WHERE now_.conversation_id = p_conversation RETURNING * INTO c;
    PERFORM {schema}.mark_others_v1(p_conversation, p_own);
    RETURN QUERY SELECT c.stamp::text, {schema}.left_behind_v1(p_user), false;
END $$;

-- Put other words in the place of stored ones, or take the newest away: what a guardrail does to a turn that is going on. Each
-- message is found by its seq and what was stored there, so that doing it twice changes nothing, and nothing that came later
-- is touched. Those of p_gone at the conversation's end are deleted; one that others have been stored after keeps its place
-- and the words given, and loses the documents it leaned on and what is known of it but figures. What a message's row knows
-- besides its words (what the library notes of it, such as its model) stays where others are put in their place. p_title
-- takes the place of an automatic title that says p_old_title, or of a model's that was made of one of them. Returns no row when the
-- conversation is not there or somebody else's. more as for pop_v1.
CREATE FUNCTION {schema}.revise_v1(
    p_conversation uuid, p_user text, p_seqs bigint[], p_old_contents text[], p_old_bodies text[],
    p_contents text[], p_bodies text[], p_facts jsonb[], p_gone bigint[], p_old_title text, p_title text, p_own text[], p_batch bigint
) RETURNS TABLE (stamp text, left_anywhere boolean, more boolean)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    c {schema}.conversations;
    revised bigint[];
    gone bigint[];
    newest bigint; -- what stays
    removed bigint;
    retitled boolean;
BEGIN
    SELECT * INTO c FROM {schema}.hold_v1(p_conversation, p_user);
    IF NOT FOUND THEN
        RETURN;
    END IF;
    gone := ARRAY(
        SELECT m.seq FROM unnest(p_seqs, p_old_contents, p_old_bodies) AS r (seq, content, body)
        JOIN {schema}.messages AS m ON m.seq = r.seq AND m.content = r.content AND m.body = r.body
        WHERE m.conversation_id = p_conversation AND m.seq = ANY (p_seqs) AND r.seq > c.cleared AND r.seq = ANY (p_gone));
    IF {schema}.shed_v1(p_conversation, p_user, gone, p_batch) THEN
        RETURN QUERY SELECT c.stamp::text, true, true;
        RETURN;
    END IF;
    WITH changed AS (
        UPDATE {schema}.messages AS m SET content = r.content, body = r.body, keys = NULL,
            metadata = CASE WHEN m.seq = ANY (p_gone) THEN NULL ELSE m.metadata END, facts = nullif(
            coalesce(m.facts, '{{}}') - '{{name,tool_call_id,status,tool_calls,lossy}}'::text[] || coalesce(r.facts, '{{}}'), '{{}}')
        FROM unnest(p_seqs, p_old_contents, p_old_bodies, p_contents, p_bodies, p_facts)
             AS r (seq, old_content, old_body, content, body, facts)
        WHERE m.conversation_id = p_conversation AND m.seq = ANY (p_seqs) AND r.seq > c.cleared AND m.seq = r.seq -- or the range is walked
          AND m.content = r.old_content AND m.body = r.old_body
        RETURNING m.seq
    ) SELECT array_agg(seq) INTO revised FROM changed;
    IF revised IS NOT NULL THEN
        retitled := CASE c.title_source WHEN 'auto' THEN coalesce(c.title = p_old_title, false)
                    ELSE {schema}.titled_by_v1(p_conversation, p_user, c.cleared, c.title, c.title_source, revised) END;
        newest := coalesce((
            SELECT kept.seq FROM {schema}.messages AS kept
            WHERE kept.conversation_id = p_conversation AND kept.seq > c.cleared
              AND kept.seq <> ALL (gone)
            ORDER BY kept.conversation_id DESC, kept.seq DESC LIMIT 1), c.cleared);
        PERFORM {schema}.note_removed_v1(p_conversation, ARRAY(
            SELECT m.id FROM {schema}.messages AS m WHERE m.conversation_id = p_conversation AND m.seq > newest), c.version + 1);
        DELETE FROM {schema}.messages AS m
        WHERE m.conversation_id = p_conversation AND m.seq > newest;
        GET DIAGNOSTICS removed = ROW_COUNT;
        UPDATE {schema}.conversations AS now_ SET
            stamp = DEFAULT, version = c.version + 1, updated_at = now(), gaps = c.gaps + removed,
            last_human_seq = {schema}.newest_human_v1(p_conversation, p_user, c.cleared),
            title = CASE WHEN retitled THEN p_title ELSE c.title END,
            title_source = CASE WHEN NOT retitled THEN c.title_source WHEN p_title IS NULL THEN 'none' ELSE 'auto' END
        WHERE now_.conversation_id = p_conversation RETURNING * INTO c;
        PERFORM {schema}.mark_others_v1(p_conversation, p_own);
    END IF;
    RETURN QUERY SELECT c.stamp::text, {schema}.left_behind_v1(p_user), false;
END $$;

-- Delete messages of a conversation: those of p_seqs and of p_ids, and of those with a seq above p_after, up to p_upto, the
-- newest p_most (none, where p_after is NULL). The row lock first; the conversation stays, and goes on counting. An automatic
-- title that was made of one of them goes too. Those that are not there (any more) are passed over, so that doing it twice
-- changes nothing. p_own as for clear_v1.
-- Returns the stamp and how many messages were deleted; no row when there is no conversation, or it is somebody else's. more as for
-- pop_v1.
CREATE FUNCTION {schema}.remove_v1(
    p_conversation uuid, p_user text, p_seqs bigint[], p_ids uuid[], p_after bigint, p_upto bigint, p_most integer, p_own text[],
    p_batch bigint
) RETURNS TABLE (stamp text, removed bigint, left_anywhere boolean, more boolean)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    c {schema}.conversations;
    doomed bigint[];
    number bigint;
    untitled boolean;
BEGIN
    SELECT * INTO c FROM {schema}.hold_v1(p_conversation, p_user);
    IF NOT FOUND THEN
        RETURN;
    END IF;
    doomed := p_seqs
        || ARRAY(SELECT m.seq FROM {schema}.messages AS m WHERE m.id = ANY (p_ids) AND m.conversation_id = p_conversation)
        || ARRAY(SELECT m.seq FROM {schema}.messages AS m
                 WHERE m.conversation_id = p_conversation AND m.seq > p_after AND m.seq <= p_upto AND m.seq > c.cleared
                 ORDER BY m.conversation_id DESC, m.seq DESC LIMIT p_most);
    doomed := ARRAY(SELECT d.seq FROM unnest(doomed) AS d (seq) WHERE d.seq > c.cleared);
    untitled := {schema}.titled_by_v1(p_conversation, p_user, c.cleared, c.title, c.title_source, doomed);
    IF {schema}.shed_v1(p_conversation, p_user, doomed, p_batch) THEN
        RETURN QUERY SELECT c.stamp::text, 0::bigint, true, true;
        RETURN;
    END IF;
    PERFORM {schema}.note_removed_v1(p_conversation, ARRAY(
        SELECT m.id FROM {schema}.messages AS m WHERE m.conversation_id = p_conversation AND m.seq = ANY (doomed)), c.version + 1);
    DELETE FROM {schema}.messages AS m WHERE m.conversation_id = p_conversation AND m.seq = ANY (doomed);
    GET DIAGNOSTICS number = ROW_COUNT;
    IF number > 0 THEN
        UPDATE {schema}.conversations AS now_ SET
            stamp = DEFAULT, version = c.version + 1, gaps = c.gaps + number, updated_at = now(),
            last_human_seq = CASE WHEN c.last_human_seq <> ALL (doomed) THEN c.last_human_seq
                                  ELSE {schema}.newest_human_v1(p_conversation, p_user, c.cleared) END,
            title = CASE WHEN untitled THEN NULL ELSE c.title END,
            title_source = CASE WHEN untitled THEN 'none' ELSE c.title_source END
        WHERE now_.conversation_id = p_conversation RETURNING * INTO c;
    END IF;
    PERFORM {schema}.mark_others_v1(p_conversation, p_own);
    RETURN QUERY SELECT c.stamp::text, number, {schema}.left_behind_v1(p_user), false;
END $$;

-- Put another message in the place of the one with row id p_id, with all that is known of it; id and seq stay, and its time
-- where p_created is NULL. p_title takes the place of an automatic title that was made of what was there. p_contexts and p_own
-- as for append_v1.
-- Returns the stamp and whether the message is there; no row when there is no conversation, or it is somebody else's. more as for
-- pop_v1.
CREATE FUNCTION {schema}.replace_v1(
    p_conversation uuid, p_user text, p_id uuid, p_role text, p_content text, p_body text, p_tokens integer,
    p_latency integer, p_created timestamptz, p_metadata jsonb, p_facts jsonb, p_contexts jsonb, p_title text, p_own text[],
    p_batch bigint
) RETURNS TABLE (stamp text, there boolean, left_anywhere boolean, more boolean)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    c {schema}.conversations;
    old {schema}.messages;
    retitled boolean;
BEGIN
    SELECT * INTO c FROM {schema}.hold_v1(p_conversation, p_user);
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT * INTO old FROM {schema}.messages AS m
    WHERE m.conversation_id = p_conversation AND m.id = p_id AND m.seq > c.cleared;
    IF NOT FOUND THEN
        RETURN QUERY SELECT c.stamp::text, false, false, false;
        RETURN;
    END IF;
    IF {schema}.shed_v1(p_conversation, p_user, ARRAY[old.seq], p_batch) THEN
        RETURN QUERY SELECT c.stamp::text, true, true, true;
        RETURN;
    END IF;
    retitled := {schema}.titled_by_v1(p_conversation, p_user, c.cleared, c.title, c.title_source, ARRAY[old.seq]);
    UPDATE {schema}.messages AS m SET
        role = p_role, content = p_content, body = p_body, tokens_used = p_tokens, latency_ms = p_latency,
        created_at = coalesce(p_created, old.created_at), metadata = p_metadata, facts = p_facts, keys = NULL
    WHERE m.conversation_id = p_conversation AND m.seq = old.seq;
    IF p_contexts IS NOT NULL THEN
        PERFORM {schema}.retrieved_v1(p_conversation, p_user, ARRAY[old.seq], p_contexts);
    END IF;
    UPDATE {schema}.conversations AS now_ SET
        stamp = DEFAULT, version = c.version + 1, updated_at = now(),
        last_human_seq = {schema}.newest_human_v1(p_conversation, p_user, c.cleared),
        title = CASE WHEN retitled THEN p_title ELSE c.title END,
        title_source = CASE WHEN NOT retitled THEN c.title_source WHEN p_title IS NULL THEN 'none' ELSE 'auto' END
    WHERE now_.conversation_id = p_conversation RETURNING * INTO c;
    PERFORM {schema}.mark_others_v1(p_conversation, p_own);
    RETURN QUERY SELECT c.stamp::text, true, {schema}.left_behind_v1(p_user), false;
END $$;

-- Lay p_metadata over what the caller noted of a message, and take the names in p_removed out of it. No window holds that, so
-- none is told, and the stamp stays. Nothing is done where it has more bytes than p_most then, and more than it has now.
-- Returns whether the message is there, and those bytes; no row when there is no conversation, or it is somebody else's.
CREATE FUNCTION {schema}.annotate_v1(
    p_conversation uuid, p_user text, p_id uuid, p_metadata jsonb, p_removed text[], p_most bigint DEFAULT NULL
) RETURNS TABLE (there boolean, bytes bigint)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    c {schema}.conversations;
    place bigint;
    old jsonb;
    noted jsonb;
BEGIN
    SELECT * INTO c FROM {schema}.hold_v1(p_conversation, p_user);
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT m.seq, coalesce(m.metadata, '{{}}') INTO place, old FROM {schema}.messages AS m
    WHERE m.conversation_id = p_conversation AND m.id = p_id AND m.seq > c.cleared;
    there := FOUND;
    noted := (old || p_metadata) - p_removed;
    IF octet_length(noted::text) > p_most AND octet_length(noted::text) > octet_length(old::text) THEN
        bytes := octet_length(noted::text);
    ELSIF there THEN
        UPDATE {schema}.messages AS m SET metadata = noted WHERE m.conversation_id = p_conversation AND m.seq = place;
        UPDATE {schema}.conversations AS now_ SET version = now_.version + 1 WHERE now_.conversation_id = p_conversation;
    END IF;
    RETURN NEXT;
END $$;

-- Have a message found by p_keys as well, which take the place of those that were there; NULL: by its own words alone. No window
-- holds that. Returns whether the message is there; no row when there is no conversation, or it is somebody else's.
CREATE FUNCTION {schema}.key_v1(p_conversation uuid, p_user text, p_id uuid, p_keys text) RETURNS TABLE (there boolean)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    c {schema}.conversations;
BEGIN
    SELECT * INTO c FROM {schema}.hold_v1(p_conversation, p_user);
    IF NOT FOUND THEN
        RETURN;
    END IF;
    UPDATE {schema}.messages AS m SET keys = p_keys
    WHERE m.conversation_id = p_conversation AND m.id = p_id AND m.seq > c.cleared;
    there := FOUND;
    IF there THEN
        UPDATE {schema}.conversations AS now_ SET version = now_.version + 1 WHERE now_.conversation_id = p_conversation;
    END IF;
    RETURN NEXT;
END $$;

-- Delete a conversation as delete_v1 does, and count what was in it. One that was spoken in at p_before or later stays (NULL:
-- none does). Returns what delete_v1 does, and the numbers of messages and of contexts, of these only such as are not left to sweep_v1;
-- no row when there is none to delete.
CREATE FUNCTION {schema}.erase_v1(
    p_conversation uuid, p_user text, p_before timestamptz, p_own text[], p_batch bigint, p_mark uuid DEFAULT NULL
)
RETURNS TABLE (stamp text, left_here boolean, left_anywhere boolean, messages bigint, contexts bigint)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    c {schema}.conversations;
    documents bigint;
BEGIN
    PERFORM {schema}.begin_change_v1(p_conversation);
    SELECT * INTO c FROM {schema}.conversations
    WHERE conversation_id = p_conversation AND user_id = p_user AND updated_at < coalesce(p_before, 'infinity') FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT count(*) INTO documents FROM (
        SELECT FROM {schema}.message_documents AS x WHERE x.conversation_id = p_conversation LIMIT p_batch) AS few;
    RETURN QUERY SELECT d.stamp, d.left_here, d.left_anywhere, c.last_seq - c.gaps, CASE WHEN d.left_here THEN 0 ELSE documents END
    FROM {schema}.delete_v1(p_conversation, p_user, p_own, p_batch, p_mark) AS d;
END $$;

-- Find messages of one user by a word that is written a little differently, or stands inside another one: nothing, unless what stands
-- in rooms/letters.sql takes this function's place.
CREATE FUNCTION {schema}.alike_v1(p_user text, p_configs text[], p_word text)
RETURNS TABLE (conversation_id uuid, seq bigint, created_at timestamptz)
LANGUAGE sql STABLE AS $$
    SELECT NULL::uuid, NULL::bigint, NULL::timestamptz WHERE false
$$;

-- Find messages of one user by what they mean: nothing, unless what stands in rooms/vectors.sql takes this function's place.
CREATE FUNCTION {schema}.near_v1(p_user text, p_model text, p_vector text, p_middle double precision)
RETURNS TABLE (conversation_id uuid, seq bigint, created_at timestamptz, likeness double precision, middle double precision)
LANGUAGE sql STABLE AS $$
    SELECT NULL::uuid, NULL::bigint, NULL::timestamptz, NULL::double precision, NULL::double precision WHERE false
$$;

-- Find messages of one user by their words: the one ranking under search and recall. Candidates are all of the user's messages that
-- have any of the words: how many those are is what a word is worth (rare ones more), so nothing is cut off before it is counted. A word
-- counts for the messages beside the one it stands in as well, less the further away; of one word that several messages have, the
-- nearest counts. Titles that the user gave are found as well, at seq -100, where p_titles says so. A word that is only alike counts half.
-- Where the query has a vector, half of a message's likeness to it, from 0 to 1, is added to its share of the query's worth.
-- p_configs: the text search configurations to look in. The parts of the query are p_texts, each with its kind: 'word' (or several, one
-- behind the other), 'start' (a word that may go on), 'pairs' (a tsquery of pairs of characters), 'text' (each of its words by itself); and
-- its sign: 1 where it counts, 2 where it must be there, below 0 where it must not, those of one number together; and in p_alike the word to look for what is alike, or NULL.
-- p_model, p_vector: the query's vector as text, and the model whose it is, or NULL. p_direct: only messages with a word of their own in
-- them, or like enough. p_roles, p_dept, p_archived, p_since, p_until, p_conversation, p_apart (a conversation to leave out): which messages, NULL for all.
-- p_half_life: seconds in which a message loses half of its score, or NULL. p_floor: the least share of the query's worth, from 0 to 1; of a long
-- query's ten rarest words'. p_near: what is at least so like is found all the same.
-- The page after another: p_weights, p_middle and p_as_of as that page returned them, so that what is written meanwhile moves nothing, and p_score,
-- p_told, p_in, p_at, the score, told, conversation and seq of its last row; else NULL. What changes or goes beside a message moves it all the same:
-- so p_shown are the hits on the pages before, each by a number (conversation and seq in 32 bits), which are not shown again, and where they are all
-- of them (p_all_shown) what has moved in front of this page is on it. NULL: nothing moves, since nothing counts but words that all are there. p_limit: how many; p_around: so many neighbours to
-- either side come along; p_marked: whether words found are between chr(1) and chr(2) in marked.
-- Returns a row a message, neighbours too: place (from 1) of the one it was found with or beside, found (whether it is that one), its
-- score, told and share of the whole worth; weights, middle, as_of; below, how many messages with a word in them are under the floor; then the columns of a
-- message with the name and title of its conversation. Where there is nothing to return but below is not 0, one row with place NULL.
CREATE FUNCTION {schema}.search_v1(
    p_user text, p_configs text[], p_kinds text[], p_texts text[], p_signs integer[], p_alike text[], p_model text, p_vector text,
    p_titles boolean, p_direct boolean,
    p_roles text[], p_dept text, p_archived boolean, p_since timestamptz, p_until timestamptz, p_conversation uuid, p_apart uuid,
    p_half_life double precision, p_floor double precision, p_near double precision,
    p_weights bigint[], p_middle double precision, p_as_of timestamptz,
    p_score bigint, p_told timestamptz, p_in uuid, p_at bigint, p_shown bigint[], p_all_shown boolean,
    p_limit integer, p_around integer, p_marked boolean
) RETURNS TABLE (
    place bigint, found boolean, score bigint, told timestamptz, share double precision, weights bigint[], middle double precision, as_of timestamptz, below bigint,
    conversation_id uuid, external_id text, title text, id uuid, seq bigint, role text, content text, body text, tokens_used integer,
    latency_ms integer, created_at timestamptz, metadata jsonb, facts jsonb, marked text)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET enable_bitmapscan = on -- there is no other way to this kind of index
SET enable_nestloop = off -- but where one thing is looked up for each of others
AS $$
#variable_conflict use_column
DECLARE
    moment CONSTANT timestamptz := coalesce(p_as_of, now());
    spreads CONSTANT boolean := NOT p_direct OR 1 = ANY (p_signs); -- where all must be there, what is beside adds nothing
    queries tsquery[];
    numbers integer[];
    configs integer[];
    signs integer[];
    needed integer[]; -- how many parts must be there, by configuration
    heads tsquery[]; -- what is marked, by configuration
    number integer;
    last integer := 0;
    one tsquery;
    shown tsquery;
    head tsquery;
    total bigint;
BEGIN
    FOR k IN 1..cardinality(p_configs) LOOP
        needed[k] := 0;
        head := NULL;
        FOR n IN 1..cardinality(p_kinds) LOOP
            FOR one, shown IN
                SELECT CASE p_kinds[n]
                    WHEN 'pairs' THEN p_texts[n]::tsquery
                    WHEN 'word' THEN w.words
                    WHEN 'start' THEN w.words || w.onward || {schema}.begun_v1(p_configs[k], p_texts[n])
                    END, CASE WHEN p_kinds[n] = 'start' THEN w.words || w.onward ELSE w.words END
                FROM (SELECT phraseto_tsquery(p_configs[k]::regconfig, {schema}.parsed_v1(p_texts[n]))
                          || phraseto_tsquery(p_configs[k]::regconfig, {schema}.parsed_v1({schema}.parts_v1(p_texts[n]))) AS words,
                      {schema}.onward_v1(phraseto_tsquery('simple', {schema}.parsed_v1(p_texts[n]))) AS onward) AS w
                WHERE p_kinds[n] <> 'text'
                UNION ALL
                SELECT concat('''', replace(w.lexeme, '\', '\\'), '''')::tsquery, NULL
                FROM (SELECT v.lexeme, v.positions[1] AS first FROM unnest(to_tsvector(
                          p_configs[k]::regconfig,
                          {schema}.parsed_v1(concat(p_texts[n], E'\n', {schema}.parts_v1(p_texts[n]))))) AS v
                      ORDER BY first LIMIT 100) AS w
                WHERE octet_length(w.lexeme) <= 255 AND strpos(w.lexeme, '''') = 0 AND p_kinds[n] = 'text'
            LOOP
                CONTINUE WHEN one IS NULL OR numnode(one) = 0;
                -- a part is one thing in whatever language, and a word of a text is one of its own
                IF p_kinds[n] = 'text' THEN
                    last := last + 1;
                    number := cardinality(p_kinds) + last;
                ELSE
                    number := n;
                END IF;
                IF p_signs[n] > 0 AND p_kinds[n] <> 'pairs' THEN
                    head := coalesce(head || shown, shown, head);
                END IF;
                needed[k] := needed[k] + CASE WHEN p_signs[n] > 1 THEN 1 ELSE 0 END;
                queries := queries || regexp_replace(one::text, '''([^'']*)''', concat('''',
                    left({schema}.words_of_v1(p_user, p_configs[k]), 6), '\1'''), 'g')::tsquery;
                numbers := numbers || number;
                configs := configs || k;
                signs := signs || p_signs[n];
            END LOOP;
        END LOOP;
        heads[k] := head;
    END LOOP;
    IF p_weights IS NULL THEN
        SELECT sum(c.last_seq - c.gaps) INTO total FROM {schema}.conversations AS c WHERE c.user_id = p_user;
    END IF;
    RETURN QUERY
    WITH titled AS MATERIALIZED (
        SELECT c.conversation_id, c.created_at, {schema}.words_v1({schema}.words_of_v1(p_user, k.config), c.title) AS words
        FROM {schema}.conversations AS c CROSS JOIN unnest(p_configs) AS k (config)
        WHERE p_titles AND c.user_id = p_user AND c.title_source IN ('user', 'model')
    ), everywhere AS MATERIALIZED (
        SELECT t.number, t.config, t.sign, m.conversation_id, m.seq, m.created_at, 2 AS halves
        FROM unnest(queries, numbers, configs, signs) AS t (query, number, config, sign)
        CROSS JOIN LATERAL (
            SELECT o.conversation_id, o.seq, o.created_at FROM {schema}.messages AS o
            WHERE o.words_of IS NOT NULL
              AND {schema}.words_v1(o.words_of, coalesce(o.keys || ' / ', '') || o.content) @@ t.query OFFSET 0) AS m
        UNION ALL
        SELECT t.number, t.config, t.sign, c.conversation_id, -100, c.created_at, 2
        FROM unnest(queries, numbers, configs, signs) AS t (query, number, config, sign) JOIN titled AS c ON c.words @@ t.query
        UNION ALL
        SELECT t.number, 1, t.sign, m.conversation_id, m.seq, m.created_at, 1
        FROM unnest(p_alike, p_signs) WITH ORDINALITY AS t (word, sign, number)
        CROSS JOIN LATERAL {schema}.alike_v1(p_user, p_configs, t.word) AS m
        WHERE t.word IS NOT NULL AND t.number = ANY (numbers) AND NOT EXISTS ( -- a word that nobody looks for is like none
            SELECT FROM unnest(p_configs) AS k (config) WHERE numnode(plainto_tsquery(k.config::regconfig, t.word)) = 0)
    ), near AS MATERIALIZED (
        SELECT n.* FROM (SELECT p_vector AS vector WHERE p_vector IS NOT NULL) AS v
        CROSS JOIN LATERAL {schema}.near_v1(p_user, p_model, v.vector, p_middle) AS n
    ), mine AS MATERIALIZED (
        SELECT c.* FROM (
            SELECT e.conversation_id FROM everywhere AS e UNION SELECT n.conversation_id FROM near AS n) AS d
        CROSS JOIN LATERAL (
            SELECT o.conversation_id, o.external_id, o.title, o.dept_id, o.archived, o.cleared, o.last_seq FROM {schema}.conversations AS o
            WHERE o.conversation_id = d.conversation_id AND o.user_id = p_user OFFSET 0) AS c
    ), hits AS MATERIALIZED (
        SELECT e.* FROM everywhere AS e JOIN mine AS c ON c.conversation_id = e.conversation_id
        WHERE e.seq > c.cleared OR e.seq = -100
    ), left_out AS MATERIALIZED (
        SELECT x.conversation_id, x.seq FROM (
            SELECT h.conversation_id, h.seq, h.sign, count(DISTINCT h.number) AS parts FROM hits AS h WHERE h.sign < 0 GROUP BY 1, 2, 3) AS x
        JOIN (SELECT t.sign, count(DISTINCT t.number) AS parts FROM unnest(numbers, signs) AS t (number, sign) GROUP BY 1) AS w
            ON w.sign = x.sign AND w.parts = x.parts
    ), counted AS (
        SELECT h.number, count(*) AS messages FROM hits AS h
        WHERE h.sign > 0 AND h.seq > 0 AND h.halves = 2 GROUP BY h.number
    ), worth AS MATERIALIZED (
        SELECT t.number, max(t.sign) AS sign, coalesce(p_weights[t.number], round(1000 * ln(1 + greatest(total, max(k.messages))
            / greatest(coalesce(max(k.messages), 0), 0.5)))::bigint) AS weight
        FROM unnest(numbers, signs) AS t (number, sign) LEFT JOIN counted AS k ON k.number = t.number
        WHERE t.sign > 0 GROUP BY t.number
    ), spread AS MATERIALIZED (
        SELECT h.conversation_id, h.seq + s.step AS seq, h.number, max(s.part * h.halves / 2) AS part,
               max(h.config) FILTER (WHERE s.step = 0) AS config,
               max(h.created_at) FILTER (WHERE s.step = 0) AS said, max(h.created_at) AS beside
        FROM hits AS h CROSS JOIN (VALUES (0, 10), (1, 6), (-1, 4), (2, 4), (-2, 3)) AS s (step, part)
        WHERE h.sign > 0 AND (s.step = 0 OR (spreads AND h.seq > 0 AND h.created_at <= moment))
        GROUP BY 1, 2, 3
    ), scored AS MATERIALIZED (
        SELECT t.conversation_id, t.seq, sum(t.words)::bigint AS words, coalesce(max(t.likeness), 0) AS likeness, max(t.config) AS config,
               count(t.config) FILTER (WHERE t.sign > 1) AS there, coalesce(max(t.said), max(t.beside)) AS told
        FROM (SELECT s.conversation_id, s.seq, w.weight * s.part AS words, NULL AS likeness, s.config, w.sign, s.said, s.beside
              FROM spread AS s JOIN worth AS w ON w.number = s.number
              UNION ALL SELECT n.conversation_id, n.seq, 0, n.likeness, NULL, 0, n.created_at, n.created_at FROM near AS n) AS t
        GROUP BY 1, 2
    ), whole AS MATERIALIZED (
        SELECT greatest((SELECT sum(b.weight) * 10 FROM (
                   SELECT o.weight FROM worth AS o ORDER BY o.weight DESC LIMIT 10) AS b), 1000)::double precision AS worth,
               array_agg((SELECT o.weight FROM worth AS o WHERE o.number = n.n) ORDER BY n.n) AS weights
        FROM generate_series(1, (SELECT max(o.number) FROM worth AS o)) AS n (n)
    ), best AS MATERIALIZED (
        SELECT s.conversation_id, s.seq, s.told, s.config, c.external_id, c.title, c.cleared,
               ((s.words + s.likeness * w.worth / 2) * a.left_of_it)::bigint AS score,
               s.words * a.left_of_it >= p_floor * w.worth OR s.likeness * a.left_of_it >= p_near AS enough
        FROM scored AS s JOIN mine AS c ON c.conversation_id = s.conversation_id CROSS JOIN whole AS w
        CROSS JOIN LATERAL (SELECT CASE WHEN p_half_life IS NULL THEN 1 ELSE
            power(0.5, least(greatest(extract(epoch FROM moment - s.told), 0) / p_half_life, 500)) END AS left_of_it OFFSET 0) AS a
        WHERE (s.config IS NOT NULL OR NOT p_direct OR s.likeness >= p_near) AND s.there >= coalesce(needed[coalesce(s.config, 1)], 0)
          AND (s.seq > c.cleared AND s.seq <= c.last_seq OR s.seq = -100)
          AND (p_dept IS NULL OR c.dept_id = p_dept) AND (p_archived IS NULL OR c.archived = p_archived)
          AND (p_conversation IS NULL OR c.conversation_id = p_conversation) AND (p_apart IS NULL OR c.conversation_id <> p_apart)
          AND NOT EXISTS (SELECT FROM left_out AS x WHERE x.conversation_id = s.conversation_id AND x.seq = s.seq)
    ), page AS MATERIALIZED (
        SELECT row_number() OVER () AS place, t.* FROM (
            SELECT b.* FROM (
                SELECT o.* FROM best AS o
                WHERE o.enough
                  AND (p_score IS NULL OR (o.score, o.told, o.conversation_id, -o.seq) < (p_score, p_told, p_in, -p_at)
                       OR p_all_shown AND o.told <= p_as_of)
                  AND (p_shown IS NULL OR (('x' || right(o.conversation_id::text, 8))::bit(32)::bigint + o.seq * 2654435761 & 4294967295) <> ALL (p_shown))
                ORDER BY o.score DESC, o.told DESC, o.conversation_id DESC, o.seq OFFSET 0) AS b
            LEFT JOIN LATERAL (
                SELECT true AS there FROM {schema}.messages AS o
                WHERE o.conversation_id = b.conversation_id AND o.seq = b.seq
                  AND (p_roles IS NULL OR o.role = ANY (p_roles))
                  AND (p_since IS NULL OR o.created_at >= p_since) AND (p_until IS NULL OR o.created_at < p_until) OFFSET 0) AS m ON true
            WHERE m.there OR (b.seq = -100 AND (p_since IS NULL OR b.told >= p_since) AND (p_until IS NULL OR b.told < p_until))
            ORDER BY b.score DESC, b.told DESC, b.conversation_id DESC, b.seq LIMIT p_limit) AS t
    ), under AS (
        SELECT count(*) AS below FROM best AS o WHERE o.config IS NOT NULL AND NOT o.enough
    )
    SELECT p.place, m.seq IS NOT DISTINCT FROM nullif(p.seq, -100), p.score, p.told,
           least(p.score / w.worth / CASE WHEN n.middle IS NULL THEN 1 ELSE 1.5 END, 1), coalesce(w.weights, '{{}}'), n.middle, moment, u.below,
           p.conversation_id, p.external_id, p.title, m.id, m.seq, m.role, m.content, m.body, m.tokens_used, m.latency_ms,
           coalesce(m.created_at, p.told), m.metadata, m.facts,
           CASE WHEN p_marked THEN {schema}.marked_v1(p_configs[p.config], coalesce(m.content, p.title), heads[p.config]) END
    FROM under AS u CROSS JOIN whole AS w CROSS JOIN (SELECT max(o.middle) AS middle FROM near AS o) AS n
    LEFT JOIN page AS p ON true
    LEFT JOIN LATERAL (
        SELECT o.* FROM {schema}.messages AS o
        WHERE o.conversation_id = p.conversation_id AND o.seq >= p.seq - p_around AND o.seq <= p.seq + p_around AND o.seq > p.cleared
        ORDER BY o.conversation_id, o.seq OFFSET 0) AS m ON true
    WHERE p.place IS NOT NULL OR u.below > 0
    ORDER BY p.place, m.seq;
END $$;

-- Have messages of a conversation found by their words: those behind p_after, p_batch at most, that are not yet, or in another language.
-- p_config: the text search configuration, or NULL so that they are found no more. No window holds that, so none is told.
-- Returns the last seq it looked at, and at how many messages; no row when there are no more.
CREATE FUNCTION {schema}.index_v1(p_conversation uuid, p_user text, p_config text, p_after bigint, p_batch bigint)
RETURNS TABLE (upto bigint, looked bigint)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    c {schema}.conversations;
    words CONSTANT text := {schema}.words_of_v1(p_user, p_config);
BEGIN
    SELECT * INTO c FROM {schema}.hold_v1(p_conversation, p_user);
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT max(b.seq), count(*) INTO upto, looked FROM (
        SELECT m.seq FROM {schema}.messages AS m
        WHERE m.conversation_id = p_conversation AND m.seq > greatest(p_after, c.cleared)
        ORDER BY m.conversation_id, m.seq LIMIT p_batch) AS b;
    UPDATE {schema}.messages AS m SET words_of = words
    WHERE m.conversation_id = p_conversation AND m.seq > greatest(p_after, c.cleared) AND m.seq <= upto AND m.words_of IS DISTINCT FROM words;
    IF looked > 0 THEN
        RETURN NEXT;
    END IF;
END $$;
