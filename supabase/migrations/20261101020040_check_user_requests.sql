-- What the triggers of every request table do: they ring the bell, and bound what a user may ask for.

create or replace function bridge.ring_for_requests() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    if exists (select from inserted where status = 'pending') then
        perform bridge.ring(tg_table_name);
    end if;
    return null;
end $$;
comment on function bridge.ring_for_requests() is
    'Rings once per statement that inserted requests.';
revoke execute on function bridge.ring_for_requests() from public, anon, authenticated;

-- Before the row is stored, so that a statement of ten thousand is refused at the first that is wrong
-- or one too many; what counts in the end is the table after the statement.
create or replace function bridge.check_user_request() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
    v_limits bridge.settings;
    v_rows bigint := nullif(current_setting('bridge.due_rows', true), '')::bigint;
begin
    select * into v_limits from bridge.settings;
    -- One level more than a payload has: the row around it.
    perform bridge.check_json('the request', to_jsonb(new), v_limits.max_payload_bytes, 33);
    v_rows := coalesce(v_rows, 0) + 1;
    perform bridge.check_limit('requests', v_rows, v_limits.max_requests_per_user);
    perform set_config('bridge.due_rows', v_rows::text, true);
    return new;
end $$;
comment on function bridge.check_user_request() is
    'Refuses a request that is too large or nested too deep, and the first that is one too many.';
revoke execute on function bridge.check_user_request() from public, anon, authenticated;

-- Answers write events: without this, a user who may have no more of them could ask for plans instead.
create or replace function bridge.check_open_events(p_telegram_id bigint, p_limits bridge.settings)
returns void
language plpgsql stable set search_path = '' as $$
declare
    v_most constant integer :=
        least(p_limits.max_pending_per_user::bigint + p_limits.max_scheduled_per_user, 2000000000);
begin
    if bridge.count_due(p_telegram_id, v_most, 'infinity') >= v_most then
        raise exception 'too many events wait to be sent to this user'
            using errcode = 'check_violation',
            hint = format('Up to %s, with those scheduled. Try again when some have been delivered.',
                v_most);
    end if;
end $$;
comment on function bridge.check_open_events(bigint, bridge.settings) is
    'Raises check_violation where a user has as many events waiting and scheduled as are allowed.';
revoke execute on function bridge.check_open_events(bigint, bridge.settings)
    from public, anon, authenticated;

create or replace function bridge.check_user_requests() returns trigger
language plpgsql security definer set search_path = ''
set enable_seqscan = off set enable_bitmapscan = off set jit = off
as $$
declare
    v_limits bridge.settings;
    v_user record;
    v_waiting bigint;
begin
    select * into v_limits from bridge.settings;
    for v_user in
        select distinct telegram_id from inserted order by telegram_id
    loop
        perform bridge.take_turn(v_user.telegram_id);
        execute format(
            'select count(*) from (select from %I.%I where telegram_id = $1 and settled_at is null limit $2) waiting',
            tg_table_schema, tg_table_name
        )
        into v_waiting
        using v_user.telegram_id, v_limits.max_requests_per_user + 1;
        perform bridge.check_limit('requests', v_waiting, v_limits.max_requests_per_user);
        perform bridge.check_open_events(v_user.telegram_id, v_limits);
    end loop;
    return null;
end $$;
comment on function bridge.check_user_requests() is
    'Refuses a statement after which a user would have too many requests waiting, and any from a user who has too many events open.';
revoke execute on function bridge.check_user_requests() from public, anon, authenticated;
