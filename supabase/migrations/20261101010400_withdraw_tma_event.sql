-- What a user can still do about an event that waits: take it back, or give it another time. Only as
-- long as no bridge has claimed it: what has been claimed once may be in the chat already.

-- A withdrawn row keeps its key, so that the app still finds it, until the same thing is asked for again.
create or replace function bridge.allow_again() returns trigger
language plpgsql security definer set search_path = ''
set enable_seqscan = off set enable_bitmapscan = off set jit = off
as $$
begin
    update public.tma_events e set dedupe_key = null
    where e.telegram_id = new.telegram_id and e.dedupe_key = new.dedupe_key
        and e.status = 'withdrawn';
    return new;
end $$;
comment on function bridge.allow_again() is
    'Frees the dedupe key of a withdrawn row for the one that is inserted now.';
revoke execute on function bridge.allow_again() from public, anon, authenticated;

-- By its name before check_user_event, which takes a row whose key is there for one sent again.
create or replace trigger allow_again before insert on public.tma_events
    for each row when (new.dedupe_key is not null)
    execute function bridge.allow_again();

create or replace function bridge.find_own_event(
    p_dedupe_key text, out event public.tma_events
)
language plpgsql set search_path = ''
set enable_seqscan = off set enable_bitmapscan = off set jit = off
as $$
declare
    v_user_id constant bigint := bridge.user_id();
begin
    if v_user_id is null then
        perform bridge.refuse_unproven();
    end if;
    perform bridge.take_turn(v_user_id); -- before the row: its inserts wait for it, too
    -- A claim under way is waited for: it has the row, or it has not.
    select * into event
    from public.tma_events e
    where e.telegram_id = v_user_id and e.dedupe_key = p_dedupe_key
    for update;
end $$;
comment on function bridge.find_own_event(text) is
    'The event of this request''s user that has this dedupe key, locked; null if there is none. An error if nobody is proven.';
revoke execute on function bridge.find_own_event(text) from public, anon, authenticated;

create or replace function bridge.let_line_move(p_line bridge.line) returns void
language plpgsql set search_path = ''
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set jit = off
as $$
begin
    perform bridge.promote_events(array[p_line]);
    -- The first of a line says when the line goes on.
    if (
        select coalesce(e.retry_at, e.deliver_after) <= now() + interval '1 minute'
        from public.tma_events e
        where e.telegram_id = p_line.telegram_id and e.priority = p_line.priority
            and e.settled_at is null
        order by e.deliver_after, e.id
        limit 1
    ) then
        perform bridge.ring('tma_events');
    end if;
end $$;
comment on function bridge.let_line_move(bridge.line) is
    'After a row has left its place: those behind it move up, and the bell rings if the first is due now or soon.';
revoke execute on function bridge.let_line_move(bridge.line) from public, anon, authenticated;

create or replace function public.withdraw_tma_event(p_dedupe_key text) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
    v_event public.tma_events := bridge.find_own_event(p_dedupe_key);
begin
    if v_event.id is null then
        return null;
    end if;
    if v_event.status = 'pending' and v_event.attempt = 0 then
        perform bridge.check_unsent(v_event.telegram_id, 1);
        update public.tma_events e
        set status = 'withdrawn', settled_at = now(), retry_at = null, held_by = null
        where e.id = v_event.id
        returning * into v_event;
        perform bridge.let_line_move((v_event.telegram_id, v_event.priority)::bridge.line);
    end if;
    return jsonb_build_object(
        'id', v_event.id, 'status', v_event.status, 'done', v_event.status = 'withdrawn'
    );
end $$;
comment on function public.withdraw_tma_event(text) is
    'Takes back an event of the user who asks, by its dedupe key, if no bridge has claimed it yet: it is never sent, and ends as withdrawn. {"id", "status", "done": whether it is withdrawn, now or before}; null if the user has no such event. The same key may be inserted again afterwards.';
revoke execute on function public.withdraw_tma_event(text)
    from public, anon, authenticated, service_role;
grant execute on function public.withdraw_tma_event(text) to anon, authenticated;

create or replace function bridge.check_new_time(
    p_telegram_id bigint, p_from timestamptz, p_to timestamptz
)
returns void
language plpgsql set search_path = ''
set enable_seqscan = off set enable_bitmapscan = off set jit = off
as $$
declare
    v_limits bridge.settings;
    v_now constant timestamptz := clock_timestamp();
begin
    select * into v_limits from bridge.settings;
    -- Whoever puts off what waits makes room, even if too much waits.
    if p_to < p_from then
        perform bridge.check_limit(
            'waiting',
            bridge.count_due(p_telegram_id, v_limits.max_pending_per_user, v_now),
            v_limits.max_pending_per_user
        );
    end if;
    if p_to > v_now then
        perform bridge.check_limit(
            'scheduled',
            bridge.count_scheduled(p_telegram_id, v_limits.max_scheduled_per_user, v_now),
            v_limits.max_scheduled_per_user
        );
    end if;
end $$;
comment on function bridge.check_new_time(bigint, timestamptz, timestamptz) is
    'Refuses a row''s new time by which its user would have too many rows waiting or scheduled.';
revoke execute on function bridge.check_new_time(bigint, timestamptz, timestamptz)
    from public, anon, authenticated;

create or replace function public.reschedule_tma_event(p_dedupe_key text, p_at timestamptz)
returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
    v_event public.tma_events := bridge.find_own_event(p_dedupe_key);
    v_old_time constant timestamptz := v_event.deliver_after;
    v_done constant boolean := v_event.status = 'pending' and v_event.attempt = 0;
begin
    if p_at is null then
        raise exception 'p_at must be a time' using errcode = 'invalid_parameter_value';
    end if;
    if v_event.id is null then
        return null;
    end if;
    if v_done then
        perform bridge.check_ahead(p_at, (select s.max_schedule_ahead from bridge.settings s));
        update public.tma_events e
        -- A time in the past would overtake everybody else's rows.
        set deliver_after = greatest(p_at, now()), retry_at = null, held_by = null
        where e.id = v_event.id
        returning * into v_event;
        perform bridge.check_new_time(v_event.telegram_id, v_old_time, v_event.deliver_after);
        perform bridge.let_line_move((v_event.telegram_id, v_event.priority)::bridge.line);
    end if;
    return jsonb_build_object('id', v_event.id, 'status', v_event.status, 'done', v_done);
end $$;
comment on function public.reschedule_tma_event(text, timestamptz) is
    'Gives an event of the user who asks, by its dedupe key, another time, if no bridge has claimed it yet; a time in the past means now. Within the limits of an insert. {"id", "status", "done": whether it has the new time}; null if the user has no such event.';
revoke execute on function public.reschedule_tma_event(text, timestamptz)
    from public, anon, authenticated, service_role;
grant execute on function public.reschedule_tma_event(text, timestamptz) to anon, authenticated;
