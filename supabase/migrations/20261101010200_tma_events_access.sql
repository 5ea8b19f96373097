-- Who may write: a verified user, for himself, what a message needs, and not without end.

alter table public.tma_events
    alter column telegram_id set default bridge.statement_user_id(),
    alter column locale set default bridge.statement_user_locale();
create or replace trigger begin_insert before insert on public.tma_events
    for each statement execute function bridge.begin_insert();

create or replace function bridge.refuse_unproven() returns void
language plpgsql set search_path = '' as $$
begin
    raise exception 'this request proves no Telegram user'
        using errcode = 'insufficient_privilege',
        hint = 'Create the client in the Mini App with {global: {headers: {"x-telegram-init-data": Telegram.WebApp.initData}}}. If you do, its initData may be too old (reopen the Mini App), or belong to a bot whose bridge has not been started with this project.';
end $$;
comment on function bridge.refuse_unproven() is
    'The error of a request without a verified user, which tells a Mini App developer what to do.';
revoke execute on function bridge.refuse_unproven() from public, anon, authenticated;

create or replace function bridge.must_be_own(p_telegram_id bigint, p_user_id bigint)
returns boolean
language plpgsql stable security definer set search_path = '' as $$
begin
    if p_telegram_id = p_user_id then
        return true;
    end if;
    if (select allow_unverified from bridge.settings) then
        return false; -- another policy decides
    end if;
    if p_user_id is null then
        perform bridge.refuse_unproven();
    end if;
    raise exception 'telegram_id % is not the user of this request', p_telegram_id
        using errcode = 'insufficient_privilege',
        hint = 'Leave telegram_id out: it is set to the verified user.';
end $$;
comment on function bridge.must_be_own(bigint, bigint) is
    'For policies: true if both are the same, else an error that tells a Mini App developer what to do.';
revoke execute on function bridge.must_be_own(bigint, bigint) from public, anon, authenticated;
grant execute on function bridge.must_be_own(bigint, bigint) to anon, authenticated;

drop policy if exists "users insert their own events" on public.tma_events;
create policy "users insert their own events" on public.tma_events
    for insert to anon, authenticated
    with check (bridge.must_be_own(telegram_id, (select public.tma_user_id())));
drop policy if exists "users read their own events" on public.tma_events;
create policy "users read their own events" on public.tma_events
    for select to anon, authenticated
    using (telegram_id = (select public.tma_user_id()));

-- Supabase opens every new table to everybody.
revoke all on public.tma_events from public, anon, authenticated, service_role;
grant select, insert, update, delete on public.tma_events to service_role;
grant select on public.tma_events to anon, authenticated;
grant insert (telegram_id, event_type, lead_id, payload, dedupe_key, deliver_after)
    on public.tma_events to anon, authenticated;

-- The older tables had a policy that let everybody do everything. Whoever needs it for a while longer
-- says so before this migration:
--   comment on policy "allow all" on tma_events is 'keep';
-- and ends it with:
--   drop policy "allow all" on tma_events;
--   update bridge.settings set allow_unverified = false;
create or replace function bridge.drop_open_policy(p_table regclass) returns void
language plpgsql set search_path = '' as $$
declare
    v_comment text;
begin
    select coalesce(obj_description(oid, 'pg_policy'), '') into v_comment
    from pg_policy
    where polrelid = p_table and polname = 'allow all';
    if v_comment ilike 'keep%' then
        update bridge.settings set allow_unverified = true;
        raise warning 'the policy "allow all" on % is kept: whoever has the anon key can message any user of the bot and read every row', p_table;
    elsif v_comment is not null then
        execute format('drop policy "allow all" on %s', p_table);
    end if;
end $$;
comment on function bridge.drop_open_policy(regclass) is
    'Drops the policy "allow all" of a table, unless its comment says keep.';
revoke execute on function bridge.drop_open_policy(regclass) from public, anon, authenticated;

select bridge.drop_open_policy('public.tma_events');

-- Rows of a user are counted up to one more than is allowed: others' rows in this chat may be many.
-- By the clock, as p_now: to a transaction that began before another, whose rows it has waited for,
-- now() is a time at which these were not due yet.
create or replace function bridge.count_due(
    p_telegram_id bigint, p_enough integer, p_now timestamptz
)
returns bigint
language sql stable set search_path = '' as $$
    select count(*)
    from (
        select
        from unnest(array[1, 0, -1]) class -- each a range of the index
        cross join lateral (
            select from public.tma_events e
            where e.telegram_id = p_telegram_id and e.priority = class
                and e.settled_at is null and e.deliver_after <= p_now
            limit p_enough + 1
        ) e
        limit p_enough + 1
    ) due
$$;
comment on function bridge.count_due(bigint, integer, timestamptz) is
    'Open rows of a chat that are due, counted up to one more than enough.';
revoke execute on function bridge.count_due(bigint, integer, timestamptz)
    from public, anon, authenticated;

create or replace function bridge.count_scheduled(
    p_telegram_id bigint, p_enough integer, p_now timestamptz
)
returns bigint
language sql stable set search_path = '' as $$
    select count(*)
    from (
        select
        from unnest(array[1, 0, -1]) class -- each a range of the index
        cross join lateral (
            select from public.tma_events e
            where e.telegram_id = p_telegram_id and e.priority = class
                and e.settled_at is null and e.deliver_after > p_now
            limit p_enough + 1
        ) e
        limit p_enough + 1
    ) scheduled
$$;
comment on function bridge.count_scheduled(bigint, integer, timestamptz) is
    'Open rows of a chat that are due later, counted up to one more than enough.';
revoke execute on function bridge.count_scheduled(bigint, integer, timestamptz)
    from public, anon, authenticated;

create or replace function bridge.check_limit(p_what text, p_rows bigint, p_most integer)
returns void
language plpgsql immutable set search_path = '' as $$
begin
    if p_rows > p_most then
        raise exception using
            errcode = 'check_violation',
            message = 'too many ' || case p_what
                when 'waiting' then 'events wait to be sent to this user'
                when 'scheduled' then 'events are scheduled for this user'
                when 'requests' then 'requests of this user wait to be answered'
            end,
            hint = format('Up to %s.', p_most) || case p_what
                when 'waiting' then ' Try again when some have been delivered.'
                when 'requests' then ' Try again when some have been answered.'
                else ''
            end;
    end if;
end $$;
comment on function bridge.check_limit(text, bigint, integer) is
    'Raises check_violation where a user has more rows than p_most; p_what: waiting, scheduled or requests.';
revoke execute on function bridge.check_limit(text, bigint, integer)
    from public, anon, authenticated;

-- What ends without being sent makes room for more at once, at no pace, and is kept.
create index if not exists tma_events_unsent
    on public.tma_events (telegram_id, settled_at)
    where replaces is null
        and (status in ('withdrawn', 'muted') or (failure = 'blocked' and attempt = 0));

create or replace function bridge.check_unsent(p_telegram_id bigint, p_more integer)
returns void
language plpgsql set search_path = ''
set enable_seqscan = off set enable_bitmapscan = off set jit = off
as $$
declare
    v_most constant integer := (
        select s.max_pending_per_user + s.max_scheduled_per_user from bridge.settings s
    );
begin
    if (
        select count(*)
        from (
            select from public.tma_events e
            where e.telegram_id = p_telegram_id and e.replaces is null
                and (e.status in ('withdrawn', 'muted') or (e.failure = 'blocked' and e.attempt = 0))
                and e.settled_at > now() - interval '1 hour'
            limit v_most + 1
        ) unsent
    ) + p_more > v_most then
        raise exception 'too many events of this user have ended without being sent'
            using errcode = 'check_violation',
            hint = format('Up to %s within an hour: withdrawn, muted, or because the user has blocked the bot.', v_most);
    end if;
end $$;
comment on function bridge.check_unsent(bigint, integer) is
    'Raises check_violation where, with p_more, too many rows of a user have ended unsent within the hour.';
revoke execute on function bridge.check_unsent(bigint, integer)
    from public, anon, authenticated;

-- A statement of ten thousand rows is refused at the first that is too many.
create or replace function bridge.count_user_row(
    p_telegram_id bigint, p_limits bridge.settings, p_scheduled boolean
)
returns void
language plpgsql set search_path = '' as $$
declare
    v_counter constant text :=
        case when p_scheduled then 'bridge.scheduled_rows' else 'bridge.due_rows' end;
    v_rows bigint := nullif(current_setting(v_counter, true), '')::bigint;
begin
    if v_rows is null then
        v_rows := case
            when p_scheduled
            then bridge.count_scheduled(
                p_telegram_id, p_limits.max_scheduled_per_user, clock_timestamp()
            )
            else bridge.count_due(p_telegram_id, p_limits.max_pending_per_user, clock_timestamp())
        end;
    end if;
    v_rows := v_rows + 1;
    if p_scheduled then
        perform bridge.check_limit('scheduled', v_rows, p_limits.max_scheduled_per_user);
    else
        perform bridge.check_limit('waiting', v_rows, p_limits.max_pending_per_user);
    end if;
    perform set_config(v_counter, v_rows::text, true);
end $$;
comment on function bridge.count_user_row(bigint, bridge.settings, boolean) is
    'Counts one more row of this statement, and raises check_violation when it is one too many.';
revoke execute on function bridge.count_user_row(bigint, bridge.settings, boolean)
    from public, anon, authenticated;

create or replace function bridge.check_ahead(p_at timestamptz, p_most interval) returns void
language plpgsql stable set search_path = '' as $$
begin
    if p_at > now() + p_most then
        raise exception 'deliver_after is too far ahead'
            using errcode = 'check_violation', hint = format('Up to %s from now.', p_most);
    end if;
end $$;
comment on function bridge.check_ahead(timestamptz, interval) is
    'Refuses a time that is further ahead than users may schedule a row.';
revoke execute on function bridge.check_ahead(timestamptz, interval) from public, anon, authenticated;

-- What one row of a user may be. Roles that bypass row level security are trusted.
create or replace function bridge.check_user_event() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
    v_limits bridge.settings;
begin
    select * into v_limits from bridge.settings;
    if new.event_type !~ '^[A-Za-z][A-Za-z0-9_.:-]{0,63}$' then
        raise exception 'event_type has a form that is not allowed'
            using errcode = 'check_violation',
            hint = 'A letter, then up to 63 letters, digits or _ . : -';
    end if;
    perform bridge.check_json('payload', new.payload, v_limits.max_payload_bytes);
    perform bridge.check_ahead(new.deliver_after, v_limits.max_schedule_ahead);
    -- A time in the past would overtake everybody else's rows.
    new.deliver_after := greatest(new.deliver_after, now());
    if new.telegram_id = bridge.statement_user_id() and not exists (
        -- One sent again, for want of an answer, is no row more.
        select from public.tma_events e
        where e.telegram_id = new.telegram_id and e.dedupe_key = new.dedupe_key
    ) then
        perform bridge.count_user_row(new.telegram_id, v_limits, new.deliver_after > now());
    end if;
    return new;
end $$;
comment on function bridge.check_user_event() is
    'Refuses a row whose event_type, payload or deliver_after a user may not choose.';
revoke execute on function bridge.check_user_event() from public, anon, authenticated;

create or replace trigger check_user_event before insert on public.tma_events
    for each row when (row_security_active('public.tma_events'))
    execute function bridge.check_user_event();

-- How many rows a user may have open. What counts is the table after the statement; a row that is
-- scheduled for in a second is a row that waits in a second, so both limits hold at every insert.
create or replace function bridge.check_user_quota() returns trigger
language plpgsql security definer set search_path = ''
set enable_seqscan = off set enable_bitmapscan = off set jit = off
as $$
declare
    v_limits bridge.settings;
    v_user record;
    v_now timestamptz;
begin
    select * into v_limits from bridge.settings;
    for v_user in
        select telegram_id, bool_or(deliver_after > now()) as schedules
        from inserted
        group by telegram_id
        order by telegram_id
    loop
        -- Where begin_insert() has not: a policy of the project's own lets unproven users write.
        perform bridge.take_turn(v_user.telegram_id);
        perform bridge.check_unsent(v_user.telegram_id, 0);
        v_now := clock_timestamp();
        perform bridge.check_limit(
            'waiting',
            bridge.count_due(v_user.telegram_id, v_limits.max_pending_per_user, v_now),
            v_limits.max_pending_per_user
        );
        if v_user.schedules then
            perform bridge.check_limit(
                'scheduled',
                bridge.count_scheduled(
                    v_user.telegram_id, v_limits.max_scheduled_per_user, v_now
                ),
                v_limits.max_scheduled_per_user
            );
        end if;
    end loop;
    return null;
end $$;
comment on function bridge.check_user_quota() is
    'Refuses a statement after which a user has too many rows waiting or scheduled.';
revoke execute on function bridge.check_user_quota() from public, anon, authenticated;

create or replace trigger check_user_quota after insert on public.tma_events
    referencing new table as inserted
    for each statement when (row_security_active('public.tma_events'))
    execute function bridge.check_user_quota();
