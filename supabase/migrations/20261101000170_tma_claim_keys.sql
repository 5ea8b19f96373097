-- A claim has a key, made by the worker that asks: asked again with the same key, it says what it said
-- before and takes nothing more. So an answer that was lost is fetched again, and one call that
-- arrives twice, late or in the wrong order is carried out once.

create table if not exists bridge.claim_keys (
    key uuid primary key,
    ids bigint[] not null default '{}',
    attempts integer[] not null default '{}',
    turns timestamptz[] not null default '{}',
    claimed_at timestamptz not null default now()
);
create index if not exists claim_keys_by_age on bridge.claim_keys (claimed_at);
comment on table bridge.claim_keys is
    'What claims took, each under its key. The sweep deletes them after ten minutes.';
comment on column bridge.claim_keys.key is 'Made by the worker, for one claim.';
comment on column bridge.claim_keys.ids is 'The rows that it took.';
comment on column bridge.claim_keys.attempts is 'Their tokens, in the same order.';
comment on column bridge.claim_keys.turns is 'Their turns, in the same order.';
comment on column bridge.claim_keys.claimed_at is 'When it was carried out.';
revoke all on bridge.claim_keys from public, anon, authenticated, service_role, tma_bridge;

create or replace function bridge.claimed_under(p_key uuid)
returns table (
    id bigint,
    telegram_id bigint,
    chat_id bigint,
    event_type text,
    lead_id bigint,
    lead_visible boolean,
    payload jsonb,
    locale text,
    priority smallint,
    attempt integer,
    retries integer,
    created_at timestamptz,
    deliver_after timestamptz,
    started boolean,
    turn_at timestamptz,
    options jsonb,
    edits bigint
)
language plpgsql stable set search_path = ''
-- As in the claim: only the primary key leads to a row.
set enable_seqscan = off set enable_bitmapscan = off set jit = off
as $$
begin
    return query
    select held.id, held.telegram_id, coalesce(chat.moved_to, held.telegram_id), held.event_type,
        held.lead_id, held.lead_visible, held.payload, held.locale, held.priority, held.attempt,
        held.retries, held.created_at, held.deliver_after, held.send_started_at is not null,
        taken.turn_at, held.options, nullif(held.edits, 0)
    from bridge.claim_keys k
    cross join unnest(k.ids, k.attempts, k.turns) as taken (id, attempt, turn_at)
    cross join lateral (
        select e.* from public.tma_events e
        where e.id = taken.id and e.attempt = taken.attempt
        offset 0
    ) held
    left join lateral (
        select c.moved_to from bridge.chats c where c.telegram_id = held.telegram_id
        offset 0
    ) chat on true
    where k.key = p_key and held.status = 'processing';
end $$;
comment on function bridge.claimed_under(uuid) is
    'The rows that the claim of this key took and that are still its own, in no order, with the chat to send to.';
revoke execute on function bridge.claimed_under(uuid) from public, anon, authenticated;

create or replace function bridge.gathered_under(p_key uuid)
returns table (
    gathered_into bigint,
    id bigint,
    lead_id bigint,
    lead_visible boolean,
    payload jsonb,
    created_at timestamptz,
    deliver_after timestamptz
)
language plpgsql stable set search_path = ''
set enable_seqscan = off set enable_bitmapscan = off set jit = off
as $$
begin
    return query
    select m.gathered_into, m.id, m.lead_id, m.lead_visible, m.payload, m.created_at,
        m.deliver_after
    from bridge.claim_keys k
    cross join unnest(k.ids) as leader (id)
    cross join lateral (
        select g.* from public.tma_events g
        where g.gathered_into = leader.id and g.status = 'processing'
        offset 0
    ) m
    where k.key = p_key;
end $$;
comment on function bridge.gathered_under(uuid) is
    'What was gathered into the rows that the claim of this key took, in no order.';
revoke execute on function bridge.gathered_under(uuid) from public, anon, authenticated;

create or replace function bridge.forget_claim_keys() returns void
language sql set search_path = '' as $$
    delete from bridge.claim_keys k
    using (
        select o.key from bridge.claim_keys o
        where o.claimed_at < now() - interval '10 minutes'
        order by o.claimed_at
        limit 10000
        for update skip locked
    ) old
    where k.key = old.key
$$;
comment on function bridge.forget_claim_keys() is 'Deletes keys that are older than ten minutes.';
revoke execute on function bridge.forget_claim_keys() from public, anon, authenticated;
