-- Which rows may go. Of each chat and class only the first open row, and none while a row of the chat
-- is in flight; of a chat's classes the highest that is due; and all that only when the chat's pace and
-- the pauses allow it. A row that must wait for its chat is moved out of the way of claims.

create or replace view bridge.event_heads as
select e.id, e.telegram_id, e.priority, coalesce(e.retry_at, e.deliver_after) as goes_at
from public.tma_events e
where e.settled_at is null
    and not e.behind
    and e.status = 'pending'
    -- The sub-select looks at all rows of the chat, also at those that another call has locked: a row
    -- does not move up because the row before it is in other hands.
    and e.id = (
        select first.id
        from public.tma_events first
        where first.telegram_id = e.telegram_id and first.priority = e.priority
            and first.settled_at is null
        order by first.deliver_after, first.id
        limit 1
    )
    -- `not exists` would be planned as a join, with more than one way to go.
    and (
        select busy.id from public.tma_events busy
        where busy.telegram_id = e.telegram_id
            and busy.status = 'processing' and busy.gathered_into is null
    ) is null;
comment on view bridge.event_heads is
    'Of each chat that has no row in flight, and of each of its classes, the first open row: the next to go, once it is due.';
revoke all on bridge.event_heads from public, anon, authenticated, service_role, tma_bridge;

do $$
begin
    create type bridge.ready_head as (
        id bigint,
        telegram_id bigint,
        priority smallint,
        ready_at timestamptz, -- when its chat may send
        held_until timestamptz, -- null: it has nothing to wait for itself
        held_by text,
        ends_as text -- replaced, muted or blocked; null: it is sent
    );
    create type bridge.chat_rest as (telegram_id bigint, ready_at timestamptz);
exception
    when duplicate_object then null;
end $$;
comment on type bridge.ready_head is
    'The first row of a chat and class: when it may go, or why it is not to be sent at all.';
comment on type bridge.chat_rest is 'A chat to which nothing goes before some time.';

-- A search goes along the index of due rows, from where it has come to. How it is planned its caller
-- says, once for all classes: see pick_heads().
create or replace function bridge.lock_heads(
    p_priority smallint, p_limit integer, p_now timestamptz,
    inout p_goes_at timestamptz, inout p_id bigint, out ids bigint[]
)
language plpgsql set search_path = '' as $$
begin
    -- Materialized, or the planner may lock more rows than the limit.
    with head as materialized (
        select h.id, h.goes_at
        from bridge.event_heads h
        where h.priority = p_priority
            and h.goes_at <= p_now
            and (h.goes_at, h.id) > (p_goes_at, p_id)
            -- No row of a higher class is due: the first of them says it.
            and (p_priority >= 1 or coalesce((
                select coalesce(f.retry_at, f.deliver_after) > p_now
                from public.tma_events f
                where f.telegram_id = h.telegram_id and f.priority = 1 and f.settled_at is null
                order by f.deliver_after, f.id
                limit 1
            ), true))
            and (p_priority >= 0 or coalesce((
                select coalesce(f.retry_at, f.deliver_after) > p_now
                from public.tma_events f
                where f.telegram_id = h.telegram_id and f.priority = 0 and f.settled_at is null
                order by f.deliver_after, f.id
                limit 1
            ), true))
        order by h.goes_at, h.id
        limit p_limit
        for update of h skip locked
    )
    select array_agg(head.id), (array_agg(head.goes_at))[count(*)], (array_agg(head.id))[count(*)]
    into ids, p_goes_at, p_id
    from head;
end $$;
comment on function bridge.lock_heads(smallint, integer, timestamptz, timestamptz, bigint) is
    'Locks the next heads of a class that are due, in their order, from behind the given place on; with the place that was reached (null: the end).';
revoke execute on function bridge.lock_heads(smallint, integer, timestamptz, timestamptz, bigint)
    from public, anon, authenticated;

create or replace function bridge.zone_in(p_payload jsonb) returns text
language plpgsql immutable set search_path = '' as $$
begin
    -- Anything but a string may stand for more digits than fit into a text.
    return coalesce(
        case jsonb_typeof(p_payload -> 'timezone')
            when 'string' then p_payload ->> 'timezone'
        end,
        case jsonb_typeof(p_payload -> 'tz') when 'string' then p_payload ->> 'tz' end
    );
end $$;
comment on function bridge.zone_in(jsonb) is
    'The timezone that a payload names; null if it names none.';
revoke execute on function bridge.zone_in(jsonb) from public, anon, authenticated;

create or replace function bridge.judge_heads(
    p_ids bigint[], p_now timestamptz, p_pace bridge.pace
)
returns bridge.ready_head[]
language plpgsql stable set search_path = ''
as $$
begin
    return array(
        select (
            head.id,
            head.telegram_id,
            head.priority,
            greatest(p_now, c.paused_until, case
                -- What is further ahead than that is from a clock that was put back.
                when head.telegram_id < 0
                then case when c.even_at < p_now + 2 * p_pace.in_group then c.even_at end
                when c.even_at - p_pace.burst < p_now + 2 * p_pace.chat
                then c.even_at - p_pace.burst
            end),
            coalesce(quiet.until, gathering.until),
            case
                when quiet.until is not null then 'quiet'
                when gathering.until is not null then 'digest'
            end,
            case
                when head.replaces is not null and bridge.is_replaced(
                    head.telegram_id, head.replaces, head.deliver_after, head.id
                ) then 'replaced'
                when head.event_type = any (own.muted) then 'muted'
                when head.priority < 1 and c.blocked_at is not null
                then case when c.blocked_at > p_now - bridge.blocked_rest() then 'blocked' end
            end
        )::bridge.ready_head
        from unnest(p_ids) with ordinality asked (id, place)
        cross join lateral (
            select e.id, e.telegram_id, e.priority, e.event_type, e.payload, e.deliver_after,
                e.replaces
            from public.tma_events e where e.id = asked.id
            offset 0
        ) head
        left join lateral (
            select known.even_at, known.paused_until, known.blocked_at
            from bridge.chats known where known.telegram_id = head.telegram_id
            offset 0
        ) c on true
        left join lateral (
            select set.timezone, set.quiet_from, set.quiet_to, set.muted
            from public.tma_chat_settings set where set.telegram_id = head.telegram_id
            offset 0
        ) own on true
        left join lateral (
            select bridge.quiet_until(
                coalesce(own.quiet_from, p_pace.quiet_from),
                coalesce(own.quiet_to, p_pace.quiet_to),
                coalesce(own.timezone, bridge.zone_in(head.payload), p_pace.zone),
                p_now
            ) as until
            where head.priority < 1 and coalesce(own.quiet_from, p_pace.quiet_from) is not null
        ) quiet on true
        left join lateral (
            select head.deliver_after + make_interval(
                secs => (p_pace.digests ->> head.event_type)::double precision
            ) as until
            where p_pace.digests ? head.event_type and head.replaces is null
        ) gathering on gathering.until > p_now
        order by asked.place
    );
end $$;
comment on function bridge.judge_heads(bigint[], timestamptz, bridge.pace) is
    'Says of heads when they may go, and which are not to be sent at all; in the order given.';
revoke execute on function bridge.judge_heads(bigint[], timestamptz, bridge.pace)
    from public, anon, authenticated;
