-- Granting turns: how many the bot has within the look-ahead, who gets them, and when to ask again.

create or replace function bridge.pick_heads(
    p_want integer, p_bulk integer, p_now timestamptz, p_pace bridge.pace,
    out heads bridge.ready_head[], out unfinished boolean, out ended text[]
)
language plpgsql set search_path = ''
-- A connection keeps the plan that it made when the table was small, or known to be empty, and every
-- way through it cost the same. So there is one way only: along the index, never sorted. Ways that are
-- switched off count as endlessly dear, for which Postgres would compile each call.
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set jit = off
as $$
declare
    v_urgent record;
    v_normal record;
    v_bulk record;
    v_left integer;
begin
    select * into v_urgent from bridge.find_heads(1::smallint, p_want, p_now, p_pace);
    v_left := p_want - cardinality(v_urgent.heads);
    select * into v_normal from bridge.find_heads(0::smallint, v_left, p_now, p_pace);
    v_left := v_left - cardinality(v_normal.heads);
    select * into v_bulk from bridge.find_heads(
        (-1)::smallint, greatest(v_left, p_bulk), p_now, p_pace
    );
    -- Those that make room for the share of bulk have only been locked.
    heads := (v_urgent.heads || v_normal.heads)[1 : p_want - cardinality(v_bulk.heads)]
        || v_bulk.heads;
    unfinished := v_urgent.unfinished or v_normal.unfinished or v_bulk.unfinished;
    ended := v_urgent.ended || v_normal.ended || v_bulk.ended;
end $$;
comment on function bridge.pick_heads(integer, integer, timestamptz, bridge.pace) is
    'Up to p_want rows that may go within the look-ahead: urgent ones before normal ones before bulk, but p_bulk of bulk if so many wait. Beside it, what find_heads() says.';
revoke execute on function bridge.pick_heads(integer, integer, timestamptz, bridge.pace)
    from public, anon, authenticated;

create or replace function bridge.next_open_at(p_now timestamptz) returns timestamptz
language plpgsql stable set search_path = ''
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set jit = off
as $$
begin
    return (
        select min(next.goes_at)
        from unnest(array[1, 0, -1]) class
        cross join lateral (
            select coalesce(e.retry_at, e.deliver_after) as goes_at
            from public.tma_events e
            where e.settled_at is null and not e.behind and e.priority = class
                and coalesce(e.retry_at, e.deliver_after) > p_now
            order by coalesce(e.retry_at, e.deliver_after), e.id
            limit 1
        ) next
    );
end $$;
comment on function bridge.next_open_at(timestamptz) is
    'When the next row is due that is not yet: its time has come, or its chat''s turn; null if there is none.';
revoke execute on function bridge.next_open_at(timestamptz) from public, anon, authenticated;

create or replace function bridge.take_heads(
    p_ids bigint[], p_starting bigint[], p_now timestamptz, out ids bigint[], out attempts integer[]
)
language plpgsql set search_path = ''
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set jit = off
as $$
begin
    with taken as (
        update public.tma_events e
        set status = 'processing', claimed_at = p_now, attempt = e.attempt + 1, retry_at = null,
            held_by = null,
            send_started_at = case when e.id = any (p_starting) then p_now end,
            edits = case
                when e.replaces is not null and e.edits is distinct from 0
                then bridge.message_to_edit(e.telegram_id, e.replaces, p_now)
                else e.edits
            end
        where e.id = any (p_ids)
        returning e.id, e.attempt
    )
    select array_agg(taken.id), array_agg(taken.attempt) into ids, attempts from taken;
end $$;
comment on function bridge.take_heads(bigint[], bigint[], timestamptz) is
    'Claims these rows, and lets p_starting of them pass the fence. Their tokens, in no order.';
revoke execute on function bridge.take_heads(bigint[], bigint[], timestamptz)
    from public, anon, authenticated;

create or replace function bridge.give_turns(
    p_key uuid, p_heads bridge.ready_head[], p_first timestamptz, p_step interval,
    p_start_now integer, p_digests jsonb, p_now timestamptz
)
returns void
language plpgsql set search_path = '' as $$
declare
    -- So near that passing the fence apart would take longer than waiting.
    c_now constant interval := interval '0.02 seconds';
    v_ids bigint[];
    v_turns timestamptz[];
    v_starting integer;
    v_taken record;
begin
    -- Those whose chats must still wait a little come last.
    select array_agg(t.id order by t.turn_at, t.place),
        array_agg(t.turn_at order by t.turn_at, t.place)
    into v_ids, v_turns
    from (
        select h.id, h.place, greatest(h.ready_at, p_first + p_step * (row_number() over (
            order by h.ready_at, h.place
        ) - 1)) as turn_at
        from (
            select taken.id, greatest(taken.ready_at, taken.held_until) as ready_at, taken.place
            from unnest(p_heads) with ordinality taken (
                id, telegram_id, priority, ready_at, held_until, held_by, ends_as, place
            )
        ) h
    ) t;
    v_starting := (select count(*) from unnest(v_turns) at where at <= p_now + c_now);
    select * into v_taken
    from bridge.take_heads(v_ids, v_ids[1 : least(v_starting, p_start_now)], p_now);
    if p_digests is not null then
        perform bridge.gather_events(v_ids, p_digests, p_now);
    end if;
    update bridge.claim_keys k
    set ids = v_taken.ids, attempts = v_taken.attempts, turns = array(
        select v_turns[array_position(v_ids, t.id)]
        from unnest(v_taken.ids) with ordinality t (id, place) order by t.place
    )
    where k.key = p_key;
end $$;
comment on function bridge.give_turns(
    uuid, bridge.ready_head[], timestamptz, interval, integer, jsonb, timestamptz
) is
    'Claims these rows under a key, with turns from p_first on in steps, and what is gathered into them.';
revoke execute on function bridge.give_turns(
    uuid, bridge.ready_head[], timestamptz, interval, integer, jsonb, timestamptz
) from public, anon, authenticated;

create or replace function bridge.free_turns(
    p_limit integer, p_first timestamptz, p_step interval, p_now timestamptz
)
returns integer
language plpgsql immutable set search_path = '' as $$
declare
    v_ahead constant interval := p_now + bridge.look_ahead() - p_first;
begin
    return case
        when v_ahead < '0' then 0
        when p_step > '0'
        then least(p_limit, 1 + floor(extract(epoch from v_ahead) / extract(epoch from p_step)))
        else p_limit
    end;
end $$;
comment on function bridge.free_turns(integer, timestamptz, interval, timestamptz) is
    'How many turns from p_first on in steps lie within the look-ahead, up to p_limit.';
revoke execute on function bridge.free_turns(integer, timestamptz, interval, timestamptz)
    from public, anon, authenticated;

create or replace function bridge.grant_turns(
    p_key uuid, p_limit integer, p_limits jsonb, p_start_now integer, p_digests jsonb,
    out next_seconds double precision, out limits_differ boolean, out ended jsonb
)
language plpgsql set search_path = '' as $$
declare
    v_pace bridge.pace;
    v_step interval;
    v_bot bridge.bot_pace;
    v_old bridge.bot_pace;
    v_now timestamptz;
    v_first timestamptz;
    v_free integer;
    v_picked record;
    v_taken integer;
    v_next timestamptz;
    v_open timestamptz;
begin
    select * into v_bot from bridge.bot_pace b where b.only_row for update;
    v_old := v_bot;
    v_now := clock_timestamp(); -- not now(): that was before it waited for other claims
    v_bot := bridge.note_limits(v_bot, p_limits, v_now);
    limits_differ := v_bot.limits_differed_at > v_now - interval '1 minute';

    v_pace := bridge.waits_of(bridge.pace_of(p_limits), p_digests);
    v_step := coalesce(v_pace.bot, interval '0');
    v_first := greatest(v_now, v_bot.paused_until, case
        -- What is further ahead than that is from a clock that was put back.
        when v_bot.next_turn_at <= v_now + bridge.look_ahead() + v_step and v_step > '0'
        then v_bot.next_turn_at
    end);
    v_free := bridge.free_turns(p_limit, v_first, v_step, v_now);
    select * into v_picked from bridge.pick_heads(
        v_free,
        ((v_bot.turns + v_free) / bridge.bulk_share() - v_bot.turns / bridge.bulk_share())::integer,
        v_now, v_pace
    );

    v_taken := cardinality(v_picked.heads);
    if v_taken > 0 then
        perform bridge.give_turns(
            p_key, v_picked.heads, v_first, v_step, p_start_now, p_digests, v_now
        );
        v_first := v_first + v_step * v_taken;
        v_bot.turns := v_bot.turns + v_taken;
        v_bot.next_turn_at := case when v_step > '0' then v_first else v_bot.next_turn_at end;
    end if;

    -- Half of the look-ahead is left then, for the way here and back.
    v_next := v_first - bridge.look_ahead() / 2;
    if v_taken < v_free and not v_picked.unfinished then
        v_open := bridge.next_open_at(v_now);
        v_next := case when v_open is not null then greatest(v_next, v_open) end;
    end if;
    if v_picked.ended <> '{}' then
        ended := bridge.count_ended(v_picked.ended);
    end if;
    next_seconds := case
        when v_next is not null then greatest(extract(epoch from v_next - clock_timestamp()), 0)
    end;

    if v_bot is distinct from v_old then
        update bridge.bot_pace b
        set (next_turn_at, turns, limits, limits_at, limits_differed_at) = (
            v_bot.next_turn_at, v_bot.turns,
            v_bot.limits, v_bot.limits_at, v_bot.limits_differed_at
        )
        where b.only_row;
    end if;
end $$;
comment on function bridge.grant_turns(uuid, integer, jsonb, integer, jsonb) is
    'Carries out a claim: what claim_tma_events() says of it beside its rows, which are then under its key.';
revoke execute on function bridge.grant_turns(uuid, integer, jsonb, integer, jsonb)
    from public, anon, authenticated;

create or replace function bridge.note_limits(
    p_bot bridge.bot_pace, p_limits jsonb, p_now timestamptz
)
returns bridge.bot_pace
language plpgsql immutable set search_path = '' as $$
begin
    if p_bot.limits is distinct from p_limits then
        perform bridge.checked_limits(p_limits); -- those that are there have been
        if p_bot.limits_at > p_now - interval '1 minute' then
            p_bot.limits_differed_at := p_now;
        end if;
        p_bot.limits := p_limits;
        p_bot.limits_at := p_now;
    elsif p_bot.limits_at < p_now - interval '10 seconds' then -- an idle claim writes nothing
        p_bot.limits_at := p_now;
    end if;
    return p_bot;
end $$;
comment on function bridge.note_limits(bridge.bot_pace, jsonb, timestamptz) is
    'The state of the bot after a claim with these limits. Raises invalid_parameter_value for limits that make no sense.';
revoke execute on function bridge.note_limits(bridge.bot_pace, jsonb, timestamptz)
    from public, anon, authenticated;

create or replace function bridge.claim_once(
    p_key uuid, p_limit integer, p_limits jsonb, p_start_now integer, p_digests jsonb,
    out next_seconds double precision, out limits_differ boolean, out ended jsonb
)
language plpgsql set search_path = ''
-- There is one way only through each statement, whatever is asked for: planning it anew takes as long
-- as going it.
set plan_cache_mode = force_generic_plan
as $$
begin
    -- Waits for a call with the same key that is still running.
    insert into bridge.claim_keys (key) values (p_key) on conflict (key) do nothing;
    if found then
        select * into next_seconds, limits_differ, ended
        from bridge.grant_turns(p_key, p_limit, p_limits, p_start_now, p_digests);
    else
        select 0, b.limits_differed_at > now() - interval '1 minute'
        into next_seconds, limits_differ
        from bridge.bot_pace b
        where b.only_row;
    end if;
end $$;
comment on function bridge.claim_once(uuid, integer, jsonb, integer, jsonb) is
    'Carries out a claim, unless that has been done under this key already: then there is nothing new to say, and next_seconds is 0.';
revoke execute on function bridge.claim_once(uuid, integer, jsonb, integer, jsonb)
    from public, anon, authenticated;

-- From before there were turns.
drop function if exists bridge.claim_events(integer);
