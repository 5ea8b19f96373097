-- What an operator does: give failed rows another chance, and bound how long history is kept.

create or replace function public.retry_tma_events(
    p_ids bigint[] default null,
    p_failure text default null,
    p_since timestamptz default null,
    p_until timestamptz default null,
    p_limit integer default 1000
)
returns setof bigint
language plpgsql security definer set search_path = '' as $$
declare
    v_ids bigint[];
    v_chats bigint[];
begin
    if p_ids is null and p_failure is null and p_since is null and p_until is null then
        raise exception 'retrying needs a filter'
            using errcode = 'invalid_parameter_value',
            hint = 'Name p_ids, p_failure, or the time of failing by p_since and p_until.';
    end if;
    with chosen as materialized (
        select e.id
        from public.tma_events e
        where e.status = 'failed' and e.settled_at is not null
            and (p_ids is null or e.id = any (p_ids))
            and (p_failure is null or e.failure = p_failure)
            and (p_since is null or e.settled_at >= p_since)
            and (p_until is null or e.settled_at < p_until)
            and (e.replaces is null or not bridge.is_replaced(
                e.telegram_id, e.replaces, e.deliver_after, e.id
            ))
        order by e.settled_at, e.id
        limit p_limit
        for update skip locked
    ),
    opened as (
        -- Due from now on, behind what its chat is waiting for already: the rows that came after it
        -- have long been sent.
        update public.tma_events e
        set status = 'pending', deliver_after = now(), retries = 0,
            claimed_at = null, send_started_at = null, settled_at = null, failure = null,
            error = null, edits = null, gathered_into = null
        from chosen
        where e.id = chosen.id
        returning e.id, e.telegram_id
    )
    select array_agg(opened.id), array_agg(opened.telegram_id)
    into v_ids, v_chats
    from opened;
    if v_ids is not null then
        -- Whoever asks for it wants these chats to be tried.
        update bridge.chats c set blocked_at = null
        where c.telegram_id = any (v_chats) and c.blocked_at is not null;
        perform bridge.ring('tma_events');
    end if;
    return query select unnest(v_ids);
end $$;
comment on function public.retry_tma_events(bigint[], text, timestamptz, timestamptz, integer) is
    'Failed rows become pending again, with all their retries, due now: they go to the end of their chat''s queue. Filters (at least one): ids, failure, time of failing from p_since to before p_until; the longest failed first. Rows whose text a newer one has replaced are left out. Returns the ids. Rows failed as uncertain may have been sent: retrying may send them twice.';
revoke execute on function public.retry_tma_events(bigint[], text, timestamptz, timestamptz, integer)
    from public, anon, authenticated;
grant execute on function public.retry_tma_events(bigint[], text, timestamptz, timestamptz, integer)
    to service_role, tma_bridge;

create or replace function public.withdraw_tma_events(p_ids bigint[]) returns setof bigint
language plpgsql security definer set search_path = ''
set enable_seqscan = off set jit = off
as $$
declare
    v_ids bigint[];
begin
    with waiting as materialized (
        select e.id from public.tma_events e
        where e.id = any (p_ids) and e.status = 'pending'
        order by e.deliver_after, e.id -- a message's first row before the others
        for update
    )
    select array_agg(waiting.id) into v_ids from waiting;

    update public.tma_events e
    set status = 'withdrawn', settled_at = now(), retry_at = null, held_by = null
    where e.id = any (v_ids);
    perform bridge.promote_events(array(
        select (e.telegram_id, e.priority)::bridge.line
        from public.tma_events e where e.id = any (v_ids)
    ));
    if v_ids is not null then
        perform bridge.ring('tma_events'); -- for those that waited behind
    end if;
    return query select unnest(v_ids);
end $$;
comment on function public.withdraw_tma_events(bigint[]) is
    'Rows that still wait are not sent any more: they end as withdrawn. Returns their ids; those that are being sent, or have ended, are left out.';
revoke execute on function public.withdraw_tma_events(bigint[]) from public, anon, authenticated;
grant execute on function public.withdraw_tma_events(bigint[]) to service_role, tma_bridge;

create or replace function public.withdraw_waiting_tma_events(
    p_event_type text, p_limit integer default 1000
)
returns setof bigint
language plpgsql security definer set search_path = ''
set enable_seqscan = off set jit = off
as $$
begin
    return query select public.withdraw_tma_events(array(
        select e.id from public.tma_events e
        where e.settled_at is null and e.status = 'pending' and e.event_type = p_event_type
        order by e.deliver_after, e.id
        limit p_limit
    ));
end $$;
comment on function public.withdraw_waiting_tma_events(text, integer) is
    'Up to p_limit rows of a type that wait, also those scheduled for later, are not sent any more: they end as withdrawn, the longest due first. Returns their ids; call again until there are none.';
revoke execute on function public.withdraw_waiting_tma_events(text, integer)
    from public, anon, authenticated;
grant execute on function public.withdraw_waiting_tma_events(text, integer)
    to service_role, tma_bridge;

create or replace function public.purge_tma_events(p_keep interval, p_limit integer default 1000)
returns integer
language plpgsql security definer set search_path = ''
-- Called too seldom for a plan to be kept, which may be from when the table was empty.
set plan_cache_mode = force_custom_plan set enable_sort = off set jit = off
as $$
declare
    v_purged integer;
begin
    if p_keep is null or p_keep < interval '0' then
        raise exception 'p_keep must be an interval of zero or more'
            using errcode = 'invalid_parameter_value';
    end if;
    with old as materialized (
        select e.id
        from public.tma_events e
        where e.settled_at < now() - p_keep
        order by e.settled_at
        limit p_limit
        for update skip locked
    )
    delete from public.tma_events e using old where e.id = old.id;
    get diagnostics v_purged = row_count;
    return v_purged;
end $$;
comment on function public.purge_tma_events(interval, integer) is
    'Deletes up to p_limit rows that ended longer than p_keep ago, the oldest first, and forgets their dedupe keys. Returns how many; call again while it is p_limit.';
revoke execute on function public.purge_tma_events(interval, integer)
    from public, anon, authenticated;
grant execute on function public.purge_tma_events(interval, integer) to service_role, tma_bridge;
