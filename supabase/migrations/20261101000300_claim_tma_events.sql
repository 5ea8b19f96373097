-- Taking rows to send, with the name of the lead that the message speaks of.

-- Users replace this function by their own, so applying this file again must leave theirs alone.
do $do$
begin
    if to_regprocedure('public.tma_lead_name(bigint)') is not null then
        return;
    end if;
    create function public.tma_lead_name(p_lead_id bigint) returns text
    language plpgsql stable set search_path = '' as $$
    declare
        v_leads regclass := to_regclass('public.leads');
        v_name text;
    begin
        -- Dynamic, because the table need not exist. The default of realtime-bridge.
        if v_leads is not null then
            execute format('select prospect_name::text from %s where id = $1', v_leads)
                into v_name using p_lead_id;
        end if;
        return v_name;
    exception
        when others then
            return null;
    end $$;
end $do$;
comment on function public.tma_lead_name(bigint) is
    'How messages call a lead; null: the payload''s lead_name, else "your lead". Reads public.leads.prospect_name; replace it by your own function of the same name and arguments.';
revoke execute on function public.tma_lead_name(bigint) from public, anon, authenticated;
grant execute on function public.tma_lead_name(bigint) to service_role;

create or replace function bridge.lead_name(p_lead_id bigint, p_payload jsonb) returns text
language plpgsql stable set search_path = '' as $$
declare
    v_blank constant text := e' \t\r\n';
    v_name text;
begin
    if p_lead_id is not null then
        begin
            v_name := nullif(btrim(public.tma_lead_name(p_lead_id), v_blank), '');
        exception
            -- A user's function: its error costs the message a name, not the claim its rows.
            when others then
                raise warning 'tma_lead_name(%) failed: %', p_lead_id, sqlerrm;
        end;
    end if;
    if v_name is null and jsonb_typeof(p_payload -> 'lead_name') in ('string', 'number') then
        v_name := nullif(btrim(p_payload ->> 'lead_name', v_blank), '');
    end if;
    return coalesce(v_name, 'your lead');
end $$;
comment on function bridge.lead_name(bigint, jsonb) is
    'tma_lead_name(), else the payload''s lead_name (text or number), else "your lead"; blank counts as missing. Never fails.';
revoke execute on function bridge.lead_name(bigint, jsonb) from public, anon, authenticated;

create or replace function public.claim_tma_events(p_limit integer)
returns table (
    id bigint,
    telegram_id bigint,
    event_type text,
    lead_id bigint,
    lead_name text,
    payload jsonb,
    locale text,
    attempt integer,
    retries integer,
    created_at timestamptz,
    deliver_after timestamptz,
    waited_seconds double precision
)
language plpgsql security definer set search_path = ''
-- A connection keeps the plan that it made when the table was small, or known to be empty, and every
-- way through it cost the same. So there is one way only: along the index, never sorted.
set enable_seqscan = off set enable_sort = off
as $$
#variable_conflict use_column
declare
    v_ids bigint[];
begin
    if p_limit is null or p_limit not between 1 and 1000 then
        raise exception 'p_limit must be between 1 and 1000, not %', p_limit
            using errcode = 'invalid_parameter_value';
    end if;

    -- The first open row of each chat, if it is due. The sub-select looks at all rows of the chat,
    -- also at those that another claim has locked: a row does not move up because the row before
    -- it is in other hands. Materialized, or the planner may lock more rows than the limit.
    with head as materialized (
        select e.id, e.telegram_id
        from public.tma_events e
        where e.settled_at is null
            and e.status = 'pending'
            and coalesce(e.retry_at, e.deliver_after) <= now()
            and e.id = (
                select first.id
                from public.tma_events first
                where first.telegram_id = e.telegram_id and first.settled_at is null
                order by first.deliver_after, first.id
                limit 1
            )
        order by coalesce(e.retry_at, e.deliver_after), e.id
        limit p_limit
        for update of e skip locked
    )
    -- Until this transaction ends nobody else claims from these chats ...
    select array_agg(head.id) into v_ids
    from head
    where pg_try_advisory_xact_lock(
        'public.tma_events'::regclass::oid::integer, hashint8(head.telegram_id)
    );

    -- ... and a new statement sees what was claimed from them until now: a row that was committed
    -- late, with an earlier place, may have overtaken the one that we saw first.
    return query
    with claimed as (
        update public.tma_events e
        set status = 'processing', claimed_at = now(), attempt = e.attempt + 1, retry_at = null
        where e.id = any (v_ids)
            and ( -- `not exists` would be planned as a join, with more than one way to go
                select busy.id from public.tma_events busy
                where busy.telegram_id = e.telegram_id and busy.status = 'processing'
            ) is null
        returning e.*
    )
    select
        c.id, c.telegram_id, c.event_type, c.lead_id,
        bridge.lead_name(c.lead_id, c.payload),
        coalesce(c.payload, '{}'), c.locale, c.attempt, c.retries,
        coalesce(c.created_at, c.deliver_after), c.deliver_after,
        extract(epoch from now() - greatest(c.created_at, c.deliver_after))::double precision
    from claimed c
    order by c.deliver_after, c.id;
end $$;
comment on function public.claim_tma_events(integer) is
    'Takes up to p_limit due rows, oldest first, at most one of each chat and none of a chat that has a row in flight; waited_seconds is the time since the row was due. The attempt returned is the token for start, settle and release.';
revoke execute on function public.claim_tma_events(integer) from public, anon, authenticated;
grant execute on function public.claim_tma_events(integer) to service_role, tma_bridge;
