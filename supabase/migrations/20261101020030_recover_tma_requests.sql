-- What looks after a request table as a whole. Neither waits long for a lock: while somebody alters
-- one table, the others are to be looked after.

create or replace function public.recover_tma_requests(
    p_table text,
    p_lease interval,
    out returned integer,
    out next_due_seconds double precision
)
language plpgsql security definer set search_path = '' set lock_timeout = '2s' as $$
begin
    if p_lease is null or p_lease < interval '0' then
        raise exception 'p_lease must be an interval of zero or more'
            using errcode = 'invalid_parameter_value';
    end if;
    execute format($query$
        with stale as materialized (
            select r.id from public.%1$I r
            where r.settled_at is null and r.status = 'processing'
                and (r.claimed_at < now() - $1 or r.claimed_at > now() + interval '1 minute')
            for update skip locked
        ),
        back as (
            update public.%1$I r
            set status = 'pending', claimed_at = null, retries = r.retries + 1,
                error = 'the worker that had claimed it went away'
            from stale
            where r.id = stale.id
            returning r.id
        )
        select (select count(*) from back), (
            select greatest(extract(epoch from coalesce(r.retry_at, r.created_at) - now()), 0)
            from public.%1$I r
            where r.settled_at is null and r.status = 'pending'
            order by coalesce(r.retry_at, r.created_at), r.id
            limit 1
        )
    $query$, bridge.request_table(p_table))
    into returned, next_due_seconds
    using p_lease;
end $$;
comment on function public.recover_tma_requests(text, interval) is
    'Takes claims of a request table that are older than p_lease back to pending, each counted as a retry: how often is enough is for the worker to say that claims it again. next_due_seconds: until the next pending row is due, 0 if one is due now, null if none is pending.';
revoke execute on function public.recover_tma_requests(text, interval)
    from public, anon, authenticated;
grant execute on function public.recover_tma_requests(text, interval) to service_role, tma_bridge;

create or replace function public.count_tma_requests(p_table text) returns jsonb
language plpgsql stable security definer set search_path = '' set lock_timeout = '2s' as $$
declare
    v_counts jsonb;
begin
    execute format($query$
        select jsonb_build_object(
            'pending', count(*) filter (where r.status = 'pending'),
            'processing', count(*) filter (where r.status = 'processing'),
            'oldest_pending_seconds', coalesce(extract(epoch from
                now() - min(r.created_at) filter (where r.status = 'pending')), 0)
        )
        from public.%I r
        where r.settled_at is null
    $query$, bridge.request_table(p_table))
    into v_counts;
    return v_counts;
end $$;
comment on function public.count_tma_requests(text) is
    'Requests of a request table pending and processing now; oldest_pending_seconds since it was inserted (0: none).';
revoke execute on function public.count_tma_requests(text) from public, anon, authenticated;
grant execute on function public.count_tma_requests(text) to service_role, tma_bridge;
