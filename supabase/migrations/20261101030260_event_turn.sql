-- Why an open row waits and when its turn comes at the earliest, by the rules of the claim: the order
-- within its chat, the times of the rows, the pauses that Telegram asked for, and the paces.

create or replace function bridge.rows_before(p_event public.tma_events)
returns table (id bigint, goes_at timestamptz)
language sql stable set search_path = ''
set enable_seqscan = off set enable_bitmapscan = off set jit = off
as $$
    select a.id, case when a.status = 'pending' then greatest(a.deliver_after, a.retry_at) end
    from (
        (
            select e.* from public.tma_events e
            where e.telegram_id = p_event.telegram_id and e.status = 'processing'
                and e.id <> p_event.id
        )
        union all
        (
            select before.*
            from unnest(array[1, 0, -1]::smallint[]) class
            cross join lateral (
                select e.* from public.tma_events e
                where e.telegram_id = p_event.telegram_id and e.priority = class
                    and e.settled_at is null and e.status <> 'processing'
                    and e.id <> p_event.id
                    and case
                        when class > p_event.priority
                        then coalesce(e.retry_at, e.deliver_after)
                            <= greatest(now(), p_event.deliver_after, p_event.retry_at)
                        else (e.deliver_after, e.id) < (p_event.deliver_after, p_event.id)
                    end
                order by e.deliver_after, e.id
                limit 1000
            ) before
            where class >= p_event.priority
            order by before.priority desc, before.deliver_after, before.id
        )
    ) a
    limit 1000
$$;
comment on function bridge.rows_before(public.tma_events) is
    'The rows of its chat that go before a row, in their order, at most 1000: the one in flight, those of a higher class that are due by then, and those of its own class before it.';
revoke execute on function bridge.rows_before(public.tma_events) from public, anon, authenticated;

create or replace function bridge.heads_before(p_event public.tma_events) returns integer
language sql stable set search_path = ''
set enable_seqscan = off set enable_bitmapscan = off set jit = off
as $$
    select count(*)::integer
    from (
        select due.id
        from unnest(array[1, 0, -1]::smallint[]) class
        cross join lateral (
            select e.id, e.telegram_id, e.status from public.tma_events e
            where e.settled_at is null and not e.behind and e.priority = class
                and coalesce(e.retry_at, e.deliver_after) <= now()
                and (class > p_event.priority or (coalesce(e.retry_at, e.deliver_after), e.id)
                    < (coalesce(p_event.retry_at, p_event.deliver_after), p_event.id))
            order by coalesce(e.retry_at, e.deliver_after), e.id
            limit 10000
        ) due
        where class >= p_event.priority
            and due.status = 'pending' and due.telegram_id <> p_event.telegram_id
        limit 10000
    ) counted
$$;
comment on function bridge.heads_before(public.tma_events) is
    'About how many rows of other chats that are due now go before a row, counted up to 10000.';
revoke execute on function bridge.heads_before(public.tma_events) from public, anon, authenticated;

create or replace function bridge.turn_of(p_event public.tma_events) returns jsonb
language plpgsql stable set search_path = '' set jit = off as $$
declare
    v_bot bridge.bot_pace;
    v_pace bridge.pace;
    v_chat bridge.chats;
    v_before record;
    v_heads integer;
    v_even_at timestamptz;
    v_turn record;
begin
    if p_event.status <> 'pending' then
        return null;
    end if;
    select * into v_bot from bridge.bot_pace b where b.only_row;
    select * into v_chat from bridge.chats c where c.telegram_id = p_event.telegram_id;
    v_pace := bridge.pace_of(v_bot.limits);
    select count(*)::integer as rows, (array_agg(b.id))[1] as first_id, max(b.goes_at) as goes_at
    into v_before
    from bridge.rows_before(p_event) b;
    v_heads := bridge.heads_before(p_event);

    -- A message that goes moves its chat's even time on by one interval.
    v_even_at := greatest(v_chat.even_at, now()) + v_before.rows * case
        when p_event.telegram_id < 0 then v_pace.in_group else v_pace.chat
    end - case when p_event.telegram_id < 0 then interval '0' else v_pace.burst end;

    select t.why, extract(epoch from t.at - now())::double precision as seconds
    into v_turn
    from (values
        ('scheduled', greatest(p_event.deliver_after, p_event.created_at)),
        (coalesce(
            p_event.held_by,
            case when p_event.error is null then 'chat_turn' else 'retry' end
        ), p_event.retry_at),
        ('rows_before', v_before.goes_at),
        ('chat_paused', v_chat.paused_until),
        ('chat_pace', v_even_at),
        ('bot_paused', v_bot.paused_until),
        ('bot_pace', greatest(v_bot.next_turn_at, now()) + v_heads * v_pace.bot)
    ) t (why, at)
    -- Nothing that nobody would see.
    where t.at > now() + interval '0.05 seconds'
    order by t.at desc
    limit 1;

    return jsonb_build_object(
        'why', v_turn.why,
        'seconds', coalesce(v_turn.seconds, 0),
        'before', v_before.rows,
        'first_id', v_before.first_id,
        'heads', v_heads
    );
end $$;
comment on function bridge.turn_of(public.tma_events) is
    'Of a pending row: seconds until its turn comes at the earliest (0: now), and what it waits for the longest (why: scheduled, retry, chat_turn, quiet, digest, rows_before, chat_paused, chat_pace, bot_paused, bot_pace; null: the next claim); before: how many rows of its chat go before it, counted up to 1000, and the first of them; heads: about how many of other chats that are due. Null of any other row.';
revoke execute on function bridge.turn_of(public.tma_events) from public, anon, authenticated;
