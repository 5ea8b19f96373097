-- Taking rows to send, with the name of the lead that the message speaks of.
--
-- A lead_id names something that the writer of the row may not be allowed to see. Whether the message
-- may name it is decided when the row is inserted, with the writer's own rights.

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

-- Who may see a lead. Users replace this function as well.
do $do$
begin
    if to_regprocedure('public.tma_may_see_lead(bigint, bigint)') is not null then
        return;
    end if;
    create function public.tma_may_see_lead(p_telegram_id bigint, p_lead_id bigint) returns boolean
    language plpgsql stable set search_path = '' as $$
    declare
        v_leads regclass := to_regclass('public.leads');
        v_seen boolean := false;
    begin
        -- Dynamic, because the table need not exist. The default of realtime-bridge.
        if v_leads is not null and p_telegram_id is not null then
            -- The whole row, so that a right to some of its columns does not tell the others.
            execute format('select exists (select l from %s l where id = $1)', v_leads)
                into v_seen using p_lead_id;
        end if;
        return v_seen;
    exception
        when others then
            return false;
    end $$;
end $do$;
comment on function public.tma_may_see_lead(bigint, bigint) is
    'Whether the user may be told a lead''s name and context. Called at the insert, with the rights of whoever inserts. By default: whether that role can read the row of public.leads, all of it; replace it by your own function of the same name and arguments.';
revoke execute on function public.tma_may_see_lead(bigint, bigint) from public;
grant execute on function public.tma_may_see_lead(bigint, bigint)
    to anon, authenticated, service_role;

-- Not security definer: the question is what the writer may see.
create or replace function bridge.remember_lead() returns trigger
language plpgsql set search_path = '' as $$
begin
    if not row_security_active(tg_relid) then
        new.lead_visible := true; -- the service, which sees everything
        return new;
    end if;
    begin
        new.lead_visible := coalesce(
            public.tma_may_see_lead(new.telegram_id, new.lead_id), false
        );
    exception
        -- A user's function: its error costs the message a name, not the insert its row.
        when others then
            raise warning 'tma_may_see_lead(%, %) failed: %', new.telegram_id, new.lead_id, sqlerrm;
            new.lead_visible := false;
    end;
    return new;
end $$;
comment on function bridge.remember_lead() is
    'Writes down whether the row''s writer may see its lead, unless a bridge has said so.';
revoke execute on function bridge.remember_lead() from public, anon, authenticated;

create or replace trigger remember_lead before insert on public.tma_events
    for each row when (new.lead_id is not null and new.lead_visible is null)
    execute function bridge.remember_lead();

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
    return left(coalesce(v_name, 'your lead'), 4096); -- a message has no room for more
end $$;
comment on function bridge.lead_name(bigint, jsonb) is
    'tma_lead_name() of a lead that may be named, else the payload''s lead_name (text or number), else "your lead"; blank counts as missing. Never fails.';
revoke execute on function bridge.lead_name(bigint, jsonb) from public, anon, authenticated;

create or replace function bridge.claim_events(p_limit integer) returns setof public.tma_events
language plpgsql set search_path = ''
-- A connection keeps the plan that it made when the table was small, or known to be empty, and every
-- way through it cost the same. So there is one way only: along the index, never sorted. Ways that
-- are switched off count as endlessly dear, for which Postgres would compile each call.
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set jit = off
as $$
#variable_conflict use_column
declare
    v_ids bigint[];
begin
    -- The first open row of each chat, if it is due. The sub-select looks at all rows of the chat,
    -- also at those that another claim has locked: a row does not move up because the row before
    -- it is in other hands. Materialized, or the planner may lock more rows than the limit.
    with head as materialized (
        select e.id, e.telegram_id
        from public.tma_events e
        where e.settled_at is null
            and not e.behind
            and e.status = 'pending'
            and coalesce(e.retry_at, e.deliver_after) <= now()
            and e.id = (
                select first.id
                from public.tma_events first
                where first.telegram_id = e.telegram_id and first.settled_at is null
                order by first.deliver_after, first.id
                limit 1
            )
            -- A row with an earlier place than the one in flight must wait, and not use up the limit.
            and (
                select busy.id from public.tma_events busy
                where busy.telegram_id = e.telegram_id and busy.status = 'processing'
            ) is null
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
    update public.tma_events e
    set status = 'processing', claimed_at = now(), attempt = e.attempt + 1, retry_at = null
    where e.id = any (v_ids)
        and ( -- `not exists` would be planned as a join, with more than one way to go
            select busy.id from public.tma_events busy
            where busy.telegram_id = e.telegram_id and busy.status = 'processing'
        ) is null
    returning e.*;
end $$;
comment on function bridge.claim_events(integer) is
    'The rows that claim_tma_events() takes, in no order.';
revoke execute on function bridge.claim_events(integer) from public, anon, authenticated;

-- Apart from the claim itself, so that the users' functions are planned as usual.
create or replace function public.claim_tma_events(p_limit integer)
returns table (
    id bigint,
    telegram_id bigint,
    event_type text,
    lead_id bigint,
    lead_name text,
    payload text,
    locale text,
    attempt integer,
    retries integer,
    created_at timestamptz,
    deliver_after timestamptz,
    waited_seconds double precision
)
language plpgsql security definer set search_path = '' as $$
begin
    if p_limit is null or p_limit not between 1 and 1000 then
        raise exception 'p_limit must be between 1 and 1000, not %', p_limit
            using errcode = 'invalid_parameter_value';
    end if;
    return query
    select
        c.id, c.telegram_id, left(c.event_type, 200), c.lead_id,
        bridge.lead_name(case when c.lead_visible then c.lead_id end, c.payload),
        bridge.text_of(c.payload), c.locale, c.attempt, c.retries,
        coalesce(c.created_at, c.deliver_after), c.deliver_after,
        extract(epoch from now() - greatest(c.created_at, c.deliver_after))::double precision
    from bridge.claim_events(p_limit) c
    order by c.deliver_after, c.id;
end $$;
comment on function public.claim_tma_events(integer) is
    'Takes up to p_limit due rows, oldest first, at most one of each chat and none of a chat that has a row in flight; payload is JSON as text, so that one that cannot be read spoils no other; waited_seconds is the time since the row was due. The attempt returned is the token for start, settle and release.';
revoke execute on function public.claim_tma_events(integer) from public, anon, authenticated;
grant execute on function public.claim_tma_events(integer) to service_role, tma_bridge;
