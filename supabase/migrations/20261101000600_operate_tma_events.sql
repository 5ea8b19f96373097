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
begin
    if p_ids is null and p_failure is null and p_since is null and p_until is null then
        raise exception 'retrying needs a filter'
            using errcode = 'invalid_parameter_value',
            hint = 'Name p_ids, p_failure, or the time of failing by p_since and p_until.';
    end if;
    return query
    with chosen as materialized (
        select e.id
        from public.tma_events e
        where e.status = 'failed' and e.settled_at is not null
            and (p_ids is null or e.id = any (p_ids))
            and (p_failure is null or e.failure = p_failure)
            and (p_since is null or e.settled_at >= p_since)
            and (p_until is null or e.settled_at < p_until)
        order by e.settled_at, e.id
        limit p_limit
        for update skip locked
    )
    -- Due from now on, behind what its chat is waiting for already: the rows that came after it
    -- have long been sent.
    update public.tma_events e
    set status = 'pending', deliver_after = now(), retries = 0,
        claimed_at = null, send_started_at = null, settled_at = null, failure = null, error = null
    from chosen
    where e.id = chosen.id
    returning e.id;
    if found then
        perform bridge.ring('tma_events');
    end if;
end $$;
comment on function public.retry_tma_events(bigint[], text, timestamptz, timestamptz, integer) is
    'Failed rows become pending again, with all their retries, due now: they go to the end of their chat''s queue. Filters (at least one): ids, failure, time of failing from p_since to before p_until; the longest failed first. Returns the ids. Rows failed as uncertain may have been sent: retrying may send them twice.';
revoke execute on function public.retry_tma_events(bigint[], text, timestamptz, timestamptz, integer)
    from public, anon, authenticated;
grant execute on function public.retry_tma_events(bigint[], text, timestamptz, timestamptz, integer)
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
    'Deletes up to p_limit rows that were delivered or failed longer than p_keep ago, the oldest first, and forgets their dedupe keys. Returns how many; call again while it is p_limit.';
revoke execute on function public.purge_tma_events(interval, integer)
    from public, anon, authenticated;
grant execute on function public.purge_tma_events(interval, integer) to service_role, tma_bridge;
