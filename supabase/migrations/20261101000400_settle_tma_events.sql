-- What the holder of a claim may do with it: start sending, say how it ended, or hand it back.
-- Each takes a batch. A token (id, attempt) that does not hold any more is left out of the answer,
-- because losing a lease is not an error; a batch that cannot be read is refused as a whole. The
-- check stands before the query: within it, a plan that finds no row need not look at the batch.

create or replace function bridge.checked_claims(p_claims jsonb) returns jsonb
language plpgsql immutable set search_path = '' as $$
begin
    if jsonb_typeof(p_claims) is distinct from 'array' then
        raise exception 'expected a JSON array of {"id": ..., "attempt": ...}, got %',
            coalesce(left(p_claims::text, 100), 'null')
            using errcode = 'invalid_parameter_value';
    end if;
    if exists (
        select from jsonb_array_elements(p_claims) item
        where jsonb_typeof(item -> 'id') is distinct from 'number'
            or jsonb_typeof(item -> 'attempt') is distinct from 'number'
    ) then
        raise exception 'every item needs a numeric "id" and "attempt": %', left(p_claims::text, 100)
            using errcode = 'invalid_parameter_value';
    end if;
    return p_claims;
end $$;
comment on function bridge.checked_claims(jsonb) is
    'The batch itself, if it is [{"id", "attempt"}]. Raises invalid_parameter_value for anything else.';
revoke execute on function bridge.checked_claims(jsonb) from public, anon, authenticated;

drop function if exists bridge.hold_claims(jsonb, boolean); -- from before "unsent"
create or replace function bridge.hold_claims(
    p_claims jsonb, p_started boolean, p_unsent boolean default false
)
returns bigint[]
language plpgsql set search_path = '' as $$
begin
    return array(
        select held.id
        from (
            select *
            from jsonb_to_recordset(p_claims) as c (id bigint, attempt integer, unsent boolean)
            order by c.id -- one order of locking for everybody, so no deadlocks
        ) c
        cross join lateral (
            select e.id, e.status, e.send_started_at, e.gathered_into
            from public.tma_events e
            where e.id = c.id and e.attempt = c.attempt
            offset 0 -- or the status could lead to the row: through all that are in flight
            for update
        ) held
        where held.status = 'processing' and held.gathered_into is null
            and (p_started or held.send_started_at is null or (p_unsent and c.unsent))
    );
end $$;
comment on function bridge.hold_claims(jsonb, boolean, boolean) is
    'Locks the rows of those claims [{"id", "attempt"}] that still hold, with p_started also where sending has started, with p_unsent where it says "unsent": true, and returns their ids. A row that is missing is somebody else''s now.';
revoke execute on function bridge.hold_claims(jsonb, boolean, boolean) from public, anon, authenticated;

create or replace function public.start_tma_events(p_claims jsonb) returns setof bigint
language plpgsql security definer set search_path = ''
set enable_seqscan = off set jit = off -- as in the claim: only the primary key leads to a row
as $$
declare
    v_ids constant bigint[] := bridge.hold_claims(
        bridge.checked_claims(p_claims), p_started => false
    );
begin
    update public.tma_events e set send_started_at = now()
    where e.id = any (bridge.with_gathered(v_ids));
    return query select unnest(v_ids);
end $$;
comment on function public.start_tma_events(jsonb) is
    'The fence: of [{"id", "attempt"}] returns the ids that may be sent now. A token passes once; one that is not returned must not be sent.';
revoke execute on function public.start_tma_events(jsonb) from public, anon, authenticated;
grant execute on function public.start_tma_events(jsonb) to service_role, tma_bridge;

create or replace function bridge.checked_outcomes(p_outcomes jsonb) returns jsonb
language plpgsql immutable set search_path = '' as $$
declare
    v_bad text;
begin
    perform bridge.checked_claims(p_outcomes);
    select left(item.value::text, 200) into v_bad
    from jsonb_array_elements(p_outcomes) item (value)
    cross join jsonb_to_record(item.value) as o (
        status text, message_id bigint, failure text, retry_in double precision,
        pause double precision, moved_to bigint, edit_lost boolean
    )
    where not coalesce(
        case o.status
            when 'delivered' then o.message_id is not null and o.failure is null
            when 'failed' then o.message_id is null and o.failure in (
                'blocked', 'chat_not_found', 'rejected', 'uncertain', 'exhausted', 'invalid'
            )
            when 'pending' then o.message_id is null and o.failure is null
                and coalesce(o.retry_in, 0) between 0 and 2592000
        end
        and (o.pause is null or (o.pause > 0 and o.pause <= 2592000))
        and (o.moved_to is null or (o.moved_to < 0 and o.moved_to > -4503599627370496)),
        false
    )
    limit 1;
    if v_bad is not null then
        raise exception 'cannot settle %', v_bad
            using errcode = 'invalid_parameter_value',
            hint = 'Needed: "status": "delivered" with "message_id"; "failed" with a known "failure"; or "pending", optionally with "retry_in" (seconds, up to 30 days), "counted" and "edit_lost". Any may have "pause" (seconds, up to 30 days) and "moved_to" (a negative id).';
    end if;

    if (select count(*) <> count(distinct (item -> 'id', item -> 'attempt'))
        from jsonb_array_elements(p_outcomes) item
    ) then
        raise exception 'one claim has two outcomes in the same batch'
            using errcode = 'invalid_parameter_value';
    end if;
    return p_outcomes;
end $$;
comment on function bridge.checked_outcomes(jsonb) is
    'The batch itself, if it holds outcomes as settle_tma_events describes them. Raises invalid_parameter_value for anything else.';
revoke execute on function bridge.checked_outcomes(jsonb) from public, anon, authenticated;

create or replace function bridge.news_in(p_outcomes jsonb, p_ids bigint[])
returns bridge.chat_news[]
language plpgsql stable set search_path = ''
set enable_seqscan = off set jit = off
as $$
begin
    return array(
        select (
            e.telegram_id,
            -- Whatever has passed the fence counts; the message has arrived by now. A group's interval
            -- is long beside the way, so there it counts from when it left, or the way would be added
            -- to each interval.
            case
                when e.send_started_at is not null and e.telegram_id < 0 then e.send_started_at
                when e.send_started_at is not null or o.status = 'delivered' then clock_timestamp()
            end,
            o.pause,
            o.moved_to,
            case when o.status = 'delivered' then false when o.failure = 'blocked' then true end
        )::bridge.chat_news
        from jsonb_to_recordset(p_outcomes) as o (
            id bigint, attempt integer, status text, failure text,
            pause double precision, moved_to bigint
        )
        cross join lateral (
            select held.attempt, held.telegram_id, held.send_started_at
            from public.tma_events held where held.id = o.id
            offset 0
        ) e
        where o.id = any (p_ids) and e.attempt = o.attempt
    );
end $$;
comment on function bridge.news_in(jsonb, bigint[]) is
    'What outcomes tell of their chats, of the rows with these ids, which are still processing.';
revoke execute on function bridge.news_in(jsonb, bigint[]) from public, anon, authenticated;

-- The first row of a digest has used up its attempts; the others need not have.
create or replace function bridge.let_go_of_fresh(p_outcomes jsonb, p_ids bigint[]) returns void
language plpgsql set search_path = ''
set enable_seqscan = off set enable_bitmapscan = off set jit = off
as $$
begin
    update public.tma_events e
    set status = 'pending', claimed_at = null, send_started_at = null, gathered_into = null
    from (
        select m.id
        from jsonb_to_recordset(p_outcomes) as o (id bigint, attempt integer, failure text)
        cross join lateral (
            select l.id, l.retries from public.tma_events l
            where l.id = o.id and l.attempt = o.attempt
            offset 0
        ) l
        cross join lateral (
            select m.id from public.tma_events m
            where m.gathered_into = l.id and m.status = 'processing' and m.retries < l.retries
            offset 0
        ) m
        where o.id = any (p_ids) and o.failure = 'exhausted'
    ) fresh
    where e.id = fresh.id;
    if found then
        perform bridge.ring('tma_events');
    end if;
end $$;
comment on function bridge.let_go_of_fresh(jsonb, bigint[]) is
    'Makes those rows pending again that were gathered into one that ends as exhausted, and have been tried less often.';
revoke execute on function bridge.let_go_of_fresh(jsonb, bigint[]) from public, anon, authenticated;

create or replace function public.settle_tma_events(p_outcomes jsonb) returns setof bigint
language plpgsql security definer set search_path = ''
set enable_seqscan = off set jit = off set plan_cache_mode = force_generic_plan
as $$
declare
    v_outcomes constant jsonb := bridge.checked_outcomes(p_outcomes);
    v_ids constant bigint[] := bridge.hold_claims(v_outcomes, p_started => true);
    v_news constant bridge.chat_news[] := bridge.news_in(v_outcomes, v_ids);
    v_all bigint[];
begin
    if v_outcomes @> '[{"failure": "exhausted"}]' then
        perform bridge.let_go_of_fresh(v_outcomes, v_ids);
    end if;
    v_all := bridge.with_gathered(v_ids);
    update public.tma_events e
    set status = o.status,
        message_id = o.message_id,
        failure = o.failure,
        error = left(o.error, 500),
        settled_at = case when o.status <> 'pending' then now() end,
        delivered_at = case when o.status = 'delivered' then now() end,
        claimed_at = case when o.status <> 'pending' then e.claimed_at end,
        send_started_at = case when o.status <> 'pending' then e.send_started_at end,
        retry_at = case
            when o.status = 'pending' and o.retry_in > 0
            then now() + make_interval(secs => o.retry_in)
        end,
        retries = e.retries + (o.status = 'pending' and coalesce(o.counted, false))::integer,
        edits = case
            when o.status = 'pending' and o.edit_lost and e.replaces is not null then 0
            else e.edits
        end,
        gathered_into = case when o.status <> 'pending' then e.gathered_into end
    from (
        select o.*
        from jsonb_to_recordset(v_outcomes) as o (
            id bigint, attempt integer, status text, message_id bigint, failure text, error text,
            retry_in double precision, counted boolean, edit_lost boolean
        )
        cross join lateral (
            select from public.tma_events held
            where held.id = o.id and held.attempt = o.attempt
            offset 0
        ) held
        where o.id = any (v_ids)
    ) o
    where e.id = any (v_all) and coalesce(e.gathered_into, e.id) = o.id;

    perform bridge.promote_events(array(
        select (e.telegram_id, e.priority)::bridge.line
        from public.tma_events e
        where e.id = any (v_all) and e.settled_at is not null
    ));
    perform bridge.learn(v_news);

    -- Also what a call said whose answer the caller did not get, and which it repeats.
    return query
    select o.id
    from jsonb_to_recordset(v_outcomes) as o (
        id bigint, attempt integer, status text, message_id bigint, failure text
    )
    cross join lateral (
        select e.status, e.message_id, e.failure
        from public.tma_events e
        where e.id = o.id and e.attempt = o.attempt
        offset 0
    ) e
    where e.status = o.status
        and e.message_id is not distinct from o.message_id
        and e.failure is not distinct from o.failure;
end $$;
comment on function public.settle_tma_events(jsonb) is
    'Ends claims: [{"id", "attempt", "status", ...}] with status "delivered" (message_id), "failed" (failure, error) or "pending" (retry_in seconds, counted: whether an attempt was used up, error, edit_lost: Telegram has no such message to edit, so the next claim sends it anew). What was gathered into a row ends with it. Any may tell of its chat: "pause", the seconds that Telegram asked for, and "moved_to", the new id of a group; failure "blocked" is remembered until a message is delivered. Returns the ids accepted: the token held, or the row already says just this.';
revoke execute on function public.settle_tma_events(jsonb) from public, anon, authenticated;
grant execute on function public.settle_tma_events(jsonb) to service_role, tma_bridge;

create or replace function public.release_tma_events(p_claims jsonb) returns setof bigint
language plpgsql security definer set search_path = ''
set enable_seqscan = off set jit = off
as $$
declare
    v_ids constant bigint[] := bridge.hold_claims(
        bridge.checked_claims(p_claims), p_started => false, p_unsent => true
    );
begin
    update public.tma_events e
    set status = 'pending', claimed_at = null, send_started_at = null, gathered_into = null
    where e.id = any (bridge.with_gathered(v_ids));
    if found then
        perform bridge.ring('tma_events'); -- for the other replicas
    end if;
    return query select unnest(v_ids);
end $$;
comment on function public.release_tma_events(jsonb) is
    'Hands claims back, [{"id", "attempt"}], of which nothing was started, or that say "unsent": true: their holder knows that it sent nothing. No attempt is used up. Returns the ids released.';
revoke execute on function public.release_tma_events(jsonb) from public, anon, authenticated;
grant execute on function public.release_tma_events(jsonb) to service_role, tma_bridge;
