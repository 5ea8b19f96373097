-- Heads that a claim meets and does not take: their chat must wait, they wait for something themselves,
-- or they are not to be sent at all.

create or replace function bridge.blocked_rest() returns interval
language sql immutable parallel safe set search_path = '' as $$ select interval '1 hour' $$;
comment on function bridge.blocked_rest() is
    'How long a chat that has blocked the bot is left alone. Urgent rows are tried nevertheless.';
revoke execute on function bridge.blocked_rest() from public, anon, authenticated;

create or replace function bridge.set_aside(p_chats bridge.chat_rest[]) returns void
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
            select c.telegram_id, c.ready_at - bridge.look_ahead() / 2 as until
            from unnest(p_chats) c
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
comment on function bridge.set_aside(bridge.chat_rest[]) is
    'Rows of chats that must wait are not due before: so each is looked at once, not by every claim. It costs no attempt, and they keep their places.';
revoke execute on function bridge.set_aside(bridge.chat_rest[])
    from public, anon, authenticated;

create or replace function bridge.hold_heads(p_heads bridge.ready_head[]) returns void
language plpgsql set search_path = ''
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set jit = off
as $$
begin
    update public.tma_events e
    set retry_at = h.held_until - bridge.look_ahead() / 2, held_by = h.held_by
    from unnest(p_heads) h
    where e.id = h.id and e.id = any (array(select held.id from unnest(p_heads) held));

    -- A night is long: nothing else of these lines stands where claims come by.
    update public.tma_events e set behind = true
    where e.id = any (array(
        select front.id
        from unnest(p_heads) h
        cross join lateral (
            select f.id, f.status, f.behind
            from public.tma_events f
            where f.telegram_id = h.telegram_id and f.priority = h.priority
                and f.settled_at is null
            order by f.deliver_after, f.id
            offset 1
            limit bridge.rows_in_front() - 1
        ) front
        cross join lateral (
            select l.id from public.tma_events l where l.id = front.id for update skip locked
        ) locked
        where front.status = 'pending' and not front.behind
    ));
end $$;
comment on function bridge.hold_heads(bridge.ready_head[]) is
    'Rows that wait for the end of quiet hours, or for others to go with them, are not due before; what stands behind them waits with them.';
revoke execute on function bridge.hold_heads(bridge.ready_head[])
    from public, anon, authenticated;

create or replace function bridge.end_heads(p_heads bridge.ready_head[]) returns text[]
language plpgsql set search_path = ''
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set jit = off
as $$
declare
    c_at_once constant integer := 100; -- of one chat
    v_now constant timestamptz := clock_timestamp(); -- not now(): see grant_turns()
    v_ids bigint[];
    v_ends_as text[];
begin
    -- With all that would end alike, or each would need a look of its own.
    select array_agg(locked.id), array_agg(h.ends_as)
    into v_ids, v_ends_as
    from unnest(p_heads) h
    cross join lateral (
        select o.event_type from public.tma_events o where o.id = h.id
        offset 0
    ) own
    cross join lateral (
        select e.id from public.tma_events e
        where e.telegram_id = h.telegram_id and e.priority = h.priority
            and e.settled_at is null and e.status = 'pending' and e.deliver_after <= v_now
            and (
                e.id = h.id or h.ends_as = 'blocked'
                or (h.ends_as = 'muted' and e.event_type = own.event_type)
            )
        order by e.deliver_after, e.id
        limit c_at_once
    ) alike
    cross join lateral (
        select l.id from public.tma_events l
        where l.id = alike.id and l.status = 'pending'
        for update skip locked
    ) locked;

    update public.tma_events e
    set status = case ended.ends_as
            when 'muted' then 'muted' when 'replaced' then 'withdrawn' else 'failed'
        end,
        failure = case ended.ends_as when 'blocked' then 'blocked' end,
        error = case ended.ends_as
            when 'blocked' then 'the user had blocked the bot less than an hour before'
            when 'replaced' then 'replaced by a newer message before it was sent'
        end,
        settled_at = now(), retry_at = null, held_by = null
    from unnest(v_ids, v_ends_as) as ended (id, ends_as)
    where e.id = any (v_ids) and e.id = ended.id;

    perform bridge.promote_events(array(
        select (h.telegram_id, h.priority)::bridge.line from unnest(p_heads) h
    ));
    return coalesce(v_ends_as, '{}');
end $$;
comment on function bridge.end_heads(bridge.ready_head[]) is
    'Ends rows whose text is out of date, rows of types that their chat has muted, and rows for chats that blocked the bot a short time ago, without a call to Telegram; with those behind them that would end alike. What they ended as, one for each row.';
revoke execute on function bridge.end_heads(bridge.ready_head[])
    from public, anon, authenticated;

create or replace function bridge.keep_back(
    p_heads bridge.ready_head[], p_horizon timestamptz
)
returns text[]
language plpgsql set search_path = '' as $$
declare
    v_ending constant bridge.ready_head[] := array(
        select h from unnest(p_heads) h where h.ends_as is not null
    );
    v_held constant bridge.ready_head[] := array(
        select h from unnest(p_heads) h where h.ends_as is null and h.held_until > p_horizon
    );
    v_resting constant bridge.chat_rest[] := array(
        select (h.telegram_id, h.ready_at)::bridge.chat_rest
        from unnest(p_heads) h
        where h.ends_as is null and coalesce(h.held_until <= p_horizon, true)
            and h.ready_at > p_horizon
    );
begin
    if v_held <> '{}' then
        perform bridge.hold_heads(v_held);
    end if;
    if v_resting <> '{}' then
        perform bridge.set_aside(v_resting);
    end if;
    return case when v_ending <> '{}' then bridge.end_heads(v_ending) else '{}' end;
end $$;
comment on function bridge.keep_back(bridge.ready_head[], timestamptz) is
    'Does to heads that do not go what is to be done: holds them, sets their chats aside, or ends them. What rows ended as, one for each.';
revoke execute on function bridge.keep_back(bridge.ready_head[], timestamptz)
    from public, anon, authenticated;

create or replace function bridge.find_heads(
    p_priority smallint, p_want integer, p_now timestamptz, p_pace bridge.pace,
    out heads bridge.ready_head[], out unfinished boolean, out ended text[]
)
language plpgsql set search_path = '' as $$
declare
    -- Of those that must wait; the claims after this one see to the others.
    c_enough constant integer := 300;
    v_horizon constant timestamptz := p_now + bridge.look_ahead();
    v_goes_at timestamptz := timestamptz '-infinity';
    v_id bigint := 0;
    v_ids bigint[];
    v_found bridge.ready_head[];
    v_going bridge.ready_head[];
    v_ended text[];
    v_last boolean;
    v_aside integer := 0;
    v_batch integer := p_want;
begin
    heads := '{}';
    ended := '{}';
    unfinished := false;
    while cardinality(heads) < p_want loop
        select * into v_goes_at, v_id, v_ids
        from bridge.lock_heads(p_priority, v_batch, p_now, v_goes_at, v_id);
        exit when v_ids is null;
        v_last := cardinality(v_ids) < v_batch;
        v_found := bridge.judge_heads(v_ids, p_now, p_pace);
        v_ended := '{}';

        v_going := array(
            select h from unnest(v_found) h
            where h.ready_at <= v_horizon and coalesce(h.held_until <= v_horizon, true)
                and h.ends_as is null
        );
        if cardinality(v_going) < cardinality(v_found) then
            v_ended := bridge.keep_back(v_found, v_horizon);
            ended := ended || v_ended;
            v_aside := v_aside + cardinality(v_found) - cardinality(v_going);
        end if;
        heads := heads || v_going[1 : p_want - cardinality(heads)];
        -- Behind one that has ended the next of its chat may go, which may stand further on.
        v_last := v_last and v_ended = '{}';
        unfinished := ended <> '{}' or (v_aside >= c_enough and not v_last);
        exit when v_last or cardinality(heads) = p_want;

        exit when v_aside >= c_enough;
        -- Where chats wait there may be many.
        v_batch := case when v_aside > 0 then 100 else p_want end;
    end loop;
end $$;
comment on function bridge.find_heads(smallint, integer, timestamptz, bridge.pace) is
    'Up to p_want rows of a class that may go within the look-ahead, locked. Keeps back those that it meets which must wait, and ends those that are not to be sent (ended); unfinished: there may be more.';
revoke execute on function bridge.find_heads(smallint, integer, timestamptz, bridge.pace)
    from public, anon, authenticated;
