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
        where busy.telegram_id = e.telegram_id and busy.status = 'processing'
    ) is null;
comment on view bridge.event_heads is
    'Of each chat that has no row in flight, and of each of its classes, the first open row: the next to go, once it is due.';
revoke all on bridge.event_heads from public, anon, authenticated, service_role, tma_bridge;

do $$
begin
    create type bridge.ready_head as (id bigint, telegram_id bigint, ready_at timestamptz);
exception
    when duplicate_object then null;
end $$;
comment on type bridge.ready_head is 'A row that may go, and when its chat is ready for it.';

-- A search goes along the index of due rows, from where it has come to. How it is planned its caller
-- says, once for all classes: see pick_heads().
create or replace function bridge.lock_heads(
    p_priority smallint, p_limit integer, p_now timestamptz, p_pace bridge.pace,
    inout p_goes_at timestamptz, inout p_id bigint, out heads bridge.ready_head[]
)
language plpgsql set search_path = '' as $$
begin
    -- Materialized, or the planner may lock more rows than the limit.
    with head as materialized (
        select h.id, h.telegram_id, h.goes_at
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
    select array_agg((head.id, head.telegram_id, greatest(p_now, c.paused_until, case
            -- What is further ahead than that is from a clock that was put back.
            when head.telegram_id < 0
            then case when c.even_at < p_now + 2 * p_pace.in_group then c.even_at end
            when c.even_at - p_pace.burst < p_now + 2 * p_pace.chat
            then c.even_at - p_pace.burst
        end))::bridge.ready_head),
        (array_agg(head.goes_at))[count(*)],
        (array_agg(head.id))[count(*)]
    into heads, p_goes_at, p_id
    from head
    left join lateral (
        select known.even_at, known.paused_until
        from bridge.chats known where known.telegram_id = head.telegram_id
        offset 0
    ) c on true;
end $$;
comment on function bridge.lock_heads(
    smallint, integer, timestamptz, bridge.pace, timestamptz, bigint
) is
    'Locks the next heads of a class that are due, in their order, from behind the given place on; with when their chats are ready, and the place that was reached (null: the end).';
revoke execute on function bridge.lock_heads(
    smallint, integer, timestamptz, bridge.pace, timestamptz, bigint
) from public, anon, authenticated;

create or replace function bridge.set_aside(p_heads bridge.ready_head[]) returns void
language plpgsql set search_path = '' as $$
declare
    v_ids bigint[];
    v_untils timestamptz[];
begin
    -- With the rows that stand in front with it, or claims would come by those instead.
    select array_agg(front.id), array_agg(front.until)
    into v_ids, v_untils
    from (
        select f.id, chats.until
        from (
            select h.telegram_id, h.ready_at - bridge.look_ahead() / 2 as until
            from unnest(p_heads) h
        ) chats
        cross join unnest(array[1, 0, -1]) class
        cross join lateral (
            select e.id, e.status, e.behind, coalesce(e.retry_at, e.deliver_after) as goes_at
            from public.tma_events e
            where e.telegram_id = chats.telegram_id and e.priority = class
                and e.settled_at is null
            order by e.deliver_after, e.id
            limit bridge.rows_in_front()
        ) f
        cross join lateral (
            select l.id from public.tma_events l where l.id = f.id for update skip locked
        ) locked
        where f.status = 'pending' and not f.behind and f.goes_at < chats.until
    ) front;

    update public.tma_events e set retry_at = v_untils[array_position(v_ids, e.id)]
    where e.id = any (v_ids);
end $$;
comment on function bridge.set_aside(bridge.ready_head[]) is
    'Rows of chats that must wait are not due before: so each is looked at once, not by every claim. It costs no attempt, and they keep their places.';
revoke execute on function bridge.set_aside(bridge.ready_head[])
    from public, anon, authenticated;

create or replace function bridge.find_heads(
    p_priority smallint, p_want integer, p_now timestamptz, p_pace bridge.pace,
    out heads bridge.ready_head[], out unfinished boolean
)
language plpgsql set search_path = '' as $$
declare
    -- Of those that must wait; the claims after this one see to the others.
    c_enough constant integer := 300;
    v_horizon constant timestamptz := p_now + bridge.look_ahead();
    v_goes_at timestamptz := timestamptz '-infinity';
    v_id bigint := 0;
    v_found bridge.ready_head[];
    v_waiting bridge.ready_head[];
    v_last boolean;
    v_aside integer := 0;
    v_batch integer := p_want;
begin
    heads := '{}';
    unfinished := false;
    while cardinality(heads) < p_want loop
        select * into v_goes_at, v_id, v_found
        from bridge.lock_heads(p_priority, v_batch, p_now, p_pace, v_goes_at, v_id);
        v_last := coalesce(cardinality(v_found), 0) < v_batch;

        v_waiting := array(select h from unnest(v_found) h where h.ready_at > v_horizon);
        if v_waiting <> '{}' then
            perform bridge.set_aside(v_waiting);
            v_aside := v_aside + cardinality(v_waiting);
            v_found := array(select h from unnest(v_found) h where h.ready_at <= v_horizon);
        end if;
        heads := heads || v_found[1 : p_want - cardinality(heads)];
        exit when v_last or cardinality(heads) = p_want;

        unfinished := v_aside >= c_enough;
        exit when unfinished;
        -- Where chats wait there may be many.
        v_batch := case when v_aside > 0 then 100 else p_want end;
    end loop;
end $$;
comment on function bridge.find_heads(smallint, integer, timestamptz, bridge.pace) is
    'Up to p_want rows of a class that may go within the look-ahead, locked. Sets aside those that it meets whose chats must wait; unfinished: too many of these, so there may be more.';
revoke execute on function bridge.find_heads(smallint, integer, timestamptz, bridge.pace)
    from public, anon, authenticated;
