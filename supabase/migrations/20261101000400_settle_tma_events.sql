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

create or replace function public.start_tma_events(p_claims jsonb) returns setof bigint
language plpgsql security definer set search_path = ''
-- As in the claim, a plan for the table as it is now; and each row by the primary key.
set plan_cache_mode = force_custom_plan set enable_seqscan = off
as $$
declare
    v_claims constant jsonb := bridge.checked_claims(p_claims);
begin
    return query
    with held as materialized (
        select e.id
        from jsonb_to_recordset(v_claims) as c (id bigint, attempt integer)
        join public.tma_events e on e.id = c.id and e.attempt = c.attempt
        where e.status = 'processing' and e.send_started_at is null
        order by e.id -- one order of locking for everybody, so no deadlocks
        for update of e
    )
    update public.tma_events e
    set send_started_at = now()
    from held
    where e.id = held.id
    returning e.id;
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
        status text, message_id bigint, failure text, retry_in double precision
    )
    where not coalesce(
        case o.status
            when 'delivered' then o.message_id is not null and o.failure is null
            when 'failed' then o.message_id is null and o.failure in (
                'blocked', 'chat_not_found', 'rejected', 'uncertain', 'exhausted', 'invalid'
            )
            when 'pending' then o.message_id is null and o.failure is null
                and coalesce(o.retry_in, 0) between 0 and 2592000
        end,
        false
    )
    limit 1;
    if v_bad is not null then
        raise exception 'cannot settle %', v_bad
            using errcode = 'invalid_parameter_value',
            hint = 'Needed: "status": "delivered" with "message_id"; "failed" with a known "failure"; or "pending", optionally with "retry_in" (seconds, up to 30 days) and "counted".';
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

create or replace function public.settle_tma_events(p_outcomes jsonb) returns setof bigint
language plpgsql security definer set search_path = ''
set plan_cache_mode = force_custom_plan set enable_seqscan = off
as $$
declare
    v_outcomes constant jsonb := bridge.checked_outcomes(p_outcomes);
begin
    return query
    with outcome as materialized (
        select o.id, o.attempt, o.status, o.message_id, o.failure, left(o.error, 500) as error,
            coalesce(o.retry_in, 0) as retry_in, coalesce(o.counted, false) as counted
        from jsonb_to_recordset(v_outcomes) as o (
            id bigint, attempt integer, status text, message_id bigint, failure text, error text,
            retry_in double precision, counted boolean
        )
    ),
    held as materialized (
        -- Not there for a worker that lost its lease: somebody else owns the row now.
        select e.id
        from outcome o
        join public.tma_events e on e.id = o.id and e.attempt = o.attempt
        where e.status = 'processing'
        order by e.id
        for update of e
    ),
    settled as (
        update public.tma_events e
        set status = o.status,
            message_id = o.message_id,
            failure = o.failure,
            error = o.error,
            settled_at = case when o.status <> 'pending' then now() end,
            delivered_at = case when o.status = 'delivered' then now() end,
            claimed_at = case when o.status <> 'pending' then e.claimed_at end,
            send_started_at = case when o.status <> 'pending' then e.send_started_at end,
            retry_at = case
                when o.status = 'pending' and o.retry_in > 0
                then now() + make_interval(secs => o.retry_in)
            end,
            retries = e.retries + (o.status = 'pending' and o.counted)::integer
        from held
        join outcome o on o.id = held.id
        where e.id = held.id and e.attempt = o.attempt
        returning e.id
    )
    select settled.id from settled
    union all
    -- The caller may repeat a call whose answer it did not get.
    select e.id
    from outcome o
    join public.tma_events e on e.id = o.id and e.attempt = o.attempt
    where e.status = o.status
        and e.message_id is not distinct from o.message_id
        and e.failure is not distinct from o.failure;
end $$;
comment on function public.settle_tma_events(jsonb) is
    'Ends claims: [{"id", "attempt", "status", ...}] with status "delivered" (message_id), "failed" (failure, error) or "pending" (retry_in seconds, counted: whether an attempt was used up, error). Returns the ids accepted: the token held, or the row already says just this.';
revoke execute on function public.settle_tma_events(jsonb) from public, anon, authenticated;
grant execute on function public.settle_tma_events(jsonb) to service_role, tma_bridge;

create or replace function public.release_tma_events(p_claims jsonb) returns setof bigint
language plpgsql security definer set search_path = ''
set plan_cache_mode = force_custom_plan set enable_seqscan = off
as $$
declare
    v_claims constant jsonb := bridge.checked_claims(p_claims);
begin
    return query
    with held as materialized (
        select e.id
        from jsonb_to_recordset(v_claims) as c (id bigint, attempt integer)
        join public.tma_events e on e.id = c.id and e.attempt = c.attempt
        where e.status = 'processing' and e.send_started_at is null
        order by e.id
        for update of e
    )
    update public.tma_events e
    set status = 'pending', claimed_at = null
    from held
    where e.id = held.id
    returning e.id;
    if found then
        perform bridge.ring('tma_events'); -- for the other replicas
    end if;
end $$;
comment on function public.release_tma_events(jsonb) is
    'Hands claims back of which nothing was started; no attempt is used up. Returns the ids released.';
revoke execute on function public.release_tma_events(jsonb) from public, anon, authenticated;
grant execute on function public.release_tma_events(jsonb) to service_role, tma_bridge;
