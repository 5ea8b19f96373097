-- What the dashboard shows beyond `status` and `tail`. As there, without chats and payloads, so that
-- the bridge's narrow role may look as well; only tma_event_content() has those, for service_role.

-- Failed rows are few among the settled ones, and asked for every few seconds.
create index if not exists tma_events_failed
    on public.tma_events (settled_at) where status = 'failed';

create or replace function public.tma_event_minutes() returns jsonb
language plpgsql stable security definer set search_path = '' set jit = off as $$
declare
    v_hour jsonb;
begin
    with ended as materialized (
        select e.failure, e.delivered_at,
            -- A row that ended while this call began is of the last minute.
            greatest(1, 1 + floor(extract(epoch from now() - e.settled_at) / 60))::integer
                as minute,
            extract(epoch from e.delivered_at - greatest(e.created_at, e.deliver_after))
                ::double precision as took
        from public.tma_events e
        where e.settled_at > now() - interval '1 hour'
    ),
    delivered as (
        select minute, count(*) as events,
            percentile_cont(0.5) within group (order by took) as p50,
            percentile_cont(0.95) within group (order by took) as p95
        from ended where delivered_at is not null group by minute
    ),
    failed as (
        select minute, jsonb_object_agg(failure, events) as reasons
        from (
            select minute, failure, count(*) as events
            from ended where failure is not null group by minute, failure
        ) counted
        group by minute
    )
    select jsonb_build_object(
        'minutes', (
            select jsonb_agg(
                jsonb_build_object(
                    'delivered', coalesce(d.events, 0),
                    'failed', coalesce(f.reasons, '{}'),
                    'p50', d.p50,
                    'p95', d.p95
                ) order by minute desc
            )
            from generate_series(1, 60) minute
            left join delivered d using (minute)
            left join failed f using (minute)
        ),
        'p50', percentile_cont(0.5) within group (order by took) filter (where delivered_at is not null),
        'p95', percentile_cont(0.95) within group (order by took) filter (where delivered_at is not null),
        'last_ten_seconds', count(*) filter (where delivered_at > now() - interval '10 seconds')
    )
    into v_hour
    from ended;
    return v_hour;
end $$;
comment on function public.tma_event_minutes() is
    'The last hour, minute by minute (60, the last one last): delivered, failed by failure, and the median (p50) and 95th percentile (p95) of the seconds from due to delivered; the same two of the whole hour; and how many were delivered in the last ten seconds.';
revoke execute on function public.tma_event_minutes() from public, anon, authenticated;
grant execute on function public.tma_event_minutes() to service_role, tma_bridge;

create or replace function bridge.milliseconds(p_span interval) returns double precision
language sql immutable parallel safe set search_path = '' as $$
    select extract(epoch from p_span)::double precision * 1000
$$;
comment on function bridge.milliseconds(interval) is 'A span of time as milliseconds.';
revoke execute on function bridge.milliseconds(interval) from public, anon, authenticated;

drop function if exists public.tma_event_ways(integer); -- before "held_by"
create or replace function public.tma_event_ways(p_limit integer default 50)
returns table (
    id bigint,
    event_type text,
    status text,
    failure text,
    error text,
    attempt integer,
    due_at timestamptz,
    claimed_ms double precision,
    started_ms double precision,
    ended_ms double precision,
    retry_at timestamptz,
    held_by text,
    gathered_into bigint
)
language sql stable security definer set search_path = '' as $$
    select w.id, w.event_type, w.status, w.failure, w.error, w.attempt,
        greatest(w.created_at, w.deliver_after),
        bridge.milliseconds(w.claimed_at - greatest(w.created_at, w.deliver_after)),
        bridge.milliseconds(w.send_started_at - greatest(w.created_at, w.deliver_after)),
        bridge.milliseconds(w.settled_at - greatest(w.created_at, w.deliver_after)),
        w.retry_at, w.held_by, w.gathered_into
    from (
        (
            -- Each class by itself, as its index has them.
            select open.*
            from (values (1::smallint), (0::smallint), ((-1)::smallint)) class (priority)
            cross join lateral (
                select *
                from public.tma_events e
                where e.settled_at is null and not e.behind and e.priority = class.priority
                order by coalesce(e.retry_at, e.deliver_after), e.id
                limit p_limit
            ) open
            order by open.priority desc, coalesce(open.retry_at, open.deliver_after), open.id
            limit p_limit
        )
        union all
        (
            select *
            from public.tma_events e
            where e.settled_at is not null
            order by e.settled_at desc
            limit p_limit
        )
    ) w
    order by w.settled_at desc nulls first, w.priority desc, coalesce(w.retry_at, w.deliver_after),
        w.id
$$;
comment on function public.tma_event_ways(integer) is
    'The p_limit open rows whose turn is next, then the p_limit that ended last, the latest first; with the milliseconds from due to claimed, to the fence, and to the end; what holds a row that waits until retry_at (held_by: quiet, digest), and the row whose message is its own (gathered_into).';
revoke execute on function public.tma_event_ways(integer) from public, anon, authenticated;
grant execute on function public.tma_event_ways(integer) to service_role, tma_bridge;

create or replace function public.waiting_tma_events(p_limit integer default 50)
returns table (event_type text, events bigint, scheduled bigint)
language sql stable security definer set search_path = '' set jit = off as $$
    select e.event_type, count(*), count(*) filter (where e.deliver_after > now())
    from public.tma_events e
    where e.settled_at is null and e.status = 'pending'
    group by e.event_type
    order by 2 desc, 1
    limit p_limit
$$;
comment on function public.waiting_tma_events(integer) is
    'Rows that wait by type, at most p_limit of these, the most first: how many, and how many of them are scheduled for later.';
revoke execute on function public.waiting_tma_events(integer) from public, anon, authenticated;
grant execute on function public.waiting_tma_events(integer) to service_role, tma_bridge;

create or replace function public.failed_tma_events(
    p_seconds double precision, p_limit integer default 50
)
returns table (
    failure text,
    error text,
    events bigint,
    of_failure bigint,
    last_at timestamptz,
    latest_ids bigint[]
)
language sql stable security definer set search_path = '' as $$
    select e.failure, left(e.error, 300), count(*),
        sum(count(*)) over (partition by e.failure)::bigint, max(e.settled_at),
        (array_agg(e.id order by e.settled_at desc, e.id desc))[1:10]
    from public.tma_events e
    where e.status = 'failed' and e.settled_at > now() - make_interval(secs => p_seconds)
    group by e.failure, left(e.error, 300)
    order by 5 desc, 1, 2
    limit p_limit
$$;
comment on function public.failed_tma_events(double precision, integer) is
    'Rows that failed in the last p_seconds by reason and text, at most p_limit of these, the latest first: how many, how many of the same failure with any text (of_failure), when the last one failed, and the ids of the last ten.';
revoke execute on function public.failed_tma_events(double precision, integer)
    from public, anon, authenticated;
grant execute on function public.failed_tma_events(double precision, integer)
    to service_role, tma_bridge;

create or replace function public.tma_event_details(p_id bigint) returns jsonb
language sql stable security definer set search_path = '' as $$
    select jsonb_build_object(
        'id', e.id,
        'event_type', e.event_type,
        'priority', e.priority,
        'status', e.status,
        'failure', e.failure,
        'error', e.error,
        'attempt', e.attempt,
        'retries', e.retries,
        'locale', e.locale,
        'lead_visible', e.lead_visible,
        'message_id', e.message_id,
        'gathered_into', e.gathered_into,
        'edits', e.edits,
        'held_by', e.held_by,
        'options', e.options,
        'payload_bytes', octet_length(bridge.text_of(e.payload)),
        'created_at', e.created_at,
        'deliver_after', e.deliver_after,
        'retry_at', e.retry_at,
        'claimed_at', e.claimed_at,
        'send_started_at', e.send_started_at,
        'delivered_at', e.delivered_at,
        'settled_at', e.settled_at,
        'turn', bridge.turn_of(e),
        'history', bridge.history_of(e.id)
    )
    from public.tma_events e
    where e.id = p_id
$$;
comment on function public.tma_event_details(bigint) is
    'All of one row but what is the user''s: chat, lead, keys and payload; when its turn comes (turn: see bridge.turn_of), and how its attempts ended (history: see bridge.event_history). Null if there is no such row.';
revoke execute on function public.tma_event_details(bigint) from public, anon, authenticated;
grant execute on function public.tma_event_details(bigint) to service_role, tma_bridge;

-- With the caller's own rights: whoever may read the table may read it here.
create or replace function public.tma_event_content(p_id bigint) returns jsonb
language sql stable security invoker set search_path = '' as $$
    select jsonb_build_object(
        'telegram_id', e.telegram_id::text,
        'lead_id', e.lead_id::text,
        'dedupe_key', e.dedupe_key,
        'replaces', e.replaces,
        'payload', left(jsonb_pretty(e.payload), 65536)
    )
    from public.tma_events e
    where e.id = p_id
$$;
comment on function public.tma_event_content(bigint) is
    'What of one row is the user''s: chat, lead, keys, and the payload as text, at most 64 Ki characters of it. Null if there is no such row.';
revoke execute on function public.tma_event_content(bigint)
    from public, anon, authenticated, tma_bridge;
grant execute on function public.tma_event_content(bigint) to service_role;
