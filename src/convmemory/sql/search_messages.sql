-- Find messages of one user by their words (see search_v1 in migrations/0001_initial.sql, which tells each of them).
-- user_id; configs: where to look; kinds, texts, signs, alike: the parts of the query; model, vector (as text): what it means, or NULL; titles, direct: booleans; roles, dept_id, archived, since, until,
-- within, apart (conversations): which messages, or NULL; half_life (seconds) or NULL; floor, near: from 0 to 1; weights, middle, as_of, score,
-- told, last_in, last_at: of the page before, shown, all_shown: what was on those before it, or NULL; limit; around: neighbours to either side; marked: whether words are marked.
-- Returns a row a message, the neighbours of found ones too; none: nothing was found.
SELECT place, found, score, told, share, weights, middle, as_of, below, conversation_id, external_id, title, marked,
       id, seq, role, content, body, tokens_used, latency_ms, created_at, metadata, facts, NULL AS contexts
FROM {schema}.search_v1(
    %(user_id)s, %(configs)s::text[], %(kinds)s::text[], %(texts)s::text[], %(signs)s::integer[], %(alike)s::text[],
    %(model)s::text, %(vector)s::text, %(titles)s, %(direct)s,
    %(roles)s::text[], %(dept_id)s::text, %(archived)s::boolean, %(since)s::timestamptz, %(until)s::timestamptz, %(within)s::uuid, %(apart)s::uuid,
    %(half_life)s::double precision, %(floor)s::double precision, %(near)s::double precision,
    %(weights)s::bigint[], %(middle)s::double precision, %(as_of)s::timestamptz,
    %(score)s::bigint, %(told)s::timestamptz, %(last_in)s::uuid, %(last_at)s::bigint, %(shown)s::bigint[], %(all_shown)s::boolean, %(limit)s::integer, %(around)s::integer, %(marked)s)
