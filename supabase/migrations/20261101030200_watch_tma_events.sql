-- What an operator looks at: how rows ended, and what a retry would take. Without payloads and chats,
-- so that the bridge's narrow role may look as well.

create or replace function public.recent_tma_events(
    p_seconds double precision, p_limit integer default 1000
)
returns table (
    id bigint,
    attempt integer,
    event_type text,
    status text,
    failure text,
    error text,
    message_id bigint,
    settled_at timestamptz,
    took_seconds double precision
)
language sql stable security definer set search_path = '' as $$
    select * from (
        select e.id, e.attempt, e.event_type, e.status, e.failure, e.error, e.message_id,
            e.settled_at,
            extract(epoch from e.settled_at - greatest(e.created_at, e.deliver_after))
                ::double precision
        from public.tma_events e
        where e.settled_at > now() - make_interval(secs => p_seconds)
        order by e.settled_at desc, e.id desc
        limit p_limit
    ) latest (
        id, attempt, event_type, status, failure, error, message_id, settled_at, took_seconds
    )
    order by settled_at, id
$$;
comment on function public.recent_tma_events(double precision, integer) is
    'Rows that were delivered or failed in the last p_seconds, the last one last, at most the p_limit latest; took_seconds since each was due.';
revoke execute on function public.recent_tma_events(double precision, integer)
    from public, anon, authenticated;
grant execute on function public.recent_tma_events(double precision, integer)
    to service_role, tma_bridge;

create or replace function public.count_failed_tma_events(
    p_ids bigint[] default null,
    p_failure text default null,
    p_since timestamptz default null,
    p_until timestamptz default null
)
returns jsonb
language sql stable security definer set search_path = '' as $$
    select coalesce(jsonb_object_agg(failure, events), '{}')
    from (
        select e.failure, count(*) as events
        from public.tma_events e
        where e.status = 'failed' and e.settled_at is not null
            and (p_ids is null or e.id = any (p_ids))
            and (p_failure is null or e.failure = p_failure)
            and (p_since is null or e.settled_at >= p_since)
            and (p_until is null or e.settled_at < p_until)
        group by e.failure
    ) failed
$$;
comment on function public.count_failed_tma_events(bigint[], text, timestamptz, timestamptz) is
    'How many rows retry_tma_events() would take with the same filters, by failure.';
revoke execute on function public.count_failed_tma_events(bigint[], text, timestamptz, timestamptz)
    from public, anon, authenticated;
grant execute on function public.count_failed_tma_events(bigint[], text, timestamptz, timestamptz)
    to service_role, tma_bridge;

create or replace function bridge.request_backlog(p_table text) returns jsonb
language plpgsql stable set search_path = '' as $$
begin
    return jsonb_build_object(p_table, public.count_tma_requests(p_table));
exception
    when others then
        return '{}'::jsonb;
end $$;
comment on function bridge.request_backlog(text) is
    'The part of tma_backlog() that is about one request table; an empty object if that fails.';
revoke execute on function bridge.request_backlog(text) from public, anon, authenticated;

create or replace function public.tma_backlog() returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
    v_backlog jsonb;
    v_table record;
begin
    v_backlog := jsonb_build_object(
        'tma_events', bridge.count_events() - array['scheduled', 'started']
    );
    for v_table in select t.name from bridge.present_request_tables() t
    loop
        v_backlog := v_backlog || bridge.request_backlog(v_table.name);
    end loop;
    return v_backlog;
end $$;
comment on function public.tma_backlog() is
    'What waits, for the metrics: {table: {"pending", "processing", "oldest_pending_seconds"}}, of tma_events and every request table. Reads open rows only.';
revoke execute on function public.tma_backlog() from public, anon, authenticated;
grant execute on function public.tma_backlog() to service_role, tma_bridge;
