-- What a user wants of the bot: when it is quiet, and which events are not told at all. The claim goes
-- by it, so that it counts for rows that wait already.

create or replace function bridge.zone_of(p_zone text) returns text
language plpgsql immutable parallel safe set search_path = '' as $$
declare
    v_offset text[];
begin
    -- Postgres takes any letters followed by a number for an offset. Without a number it is a name.
    if strpos(p_zone, '/') > 0 and translate(p_zone, '0123456789', '') = p_zone then
        return p_zone;
    end if;
    v_offset := regexp_match(p_zone, '^([+-])([01][0-9]|2[0-3]):?([0-5][0-9])$');
    return case
        -- In POSIX the sign says how far it is from there to Greenwich.
        when v_offset is not null then format(
            '<%s>%s%s:%s', p_zone,
            case v_offset[1] when '+' then '-' else '+' end, v_offset[2], v_offset[3]
        )
        -- To Postgres these are abbreviations, without summers.
        when p_zone in ('CET', 'MET') then 'Europe/Brussels'
        when p_zone = 'EET' then 'Europe/Athens'
        when p_zone = 'WET' then 'Europe/Lisbon'
        when p_zone ~ '^[A-Za-z_-]{1,64}$'
            or p_zone ~ '^(Etc/)?GMT([+-]?[0-9]|[+-]1[0-4])$'
            or p_zone ~ '^(EST5E|CST6C|MST7M|PST8P)DT$'
        then p_zone
    end;
end $$;
comment on function bridge.zone_of(text) is
    'A time zone as "at time zone" takes it, by its name or its offset (+02:00, with the sign of ISO 8601); null for what can be neither.';
revoke execute on function bridge.zone_of(text) from public, anon, authenticated;

create or replace function bridge.is_timezone(p_zone text) returns boolean
language plpgsql stable set search_path = '' as $$
begin
    return char_length(p_zone) <= 64 and (now() at time zone bridge.zone_of(p_zone)) is not null;
exception
    when others then
        return false;
end $$;
comment on function bridge.is_timezone(text) is
    'Whether it is a zone that Postgres knows, or an offset such as +02:00. Never fails.';
revoke execute on function bridge.is_timezone(text) from public, anon, authenticated;

create or replace function bridge.first_at(p_local timestamp, p_zone text, p_after timestamptz)
returns timestamptz
language plpgsql stable set search_path = '' as $$
declare
    -- If the clock is not changed in between.
    v_at timestamptz := p_after + (p_local - (p_after at time zone p_zone));
    v_before timestamptz := p_after;
    v_half timestamptz;
begin
    if (v_at at time zone p_zone) = p_local then
        return v_at;
    end if;
    if (p_local at time zone p_zone) at time zone p_zone = p_local then
        return p_local at time zone p_zone;
    end if;
    -- The clock is put forward over it: what counts is the moment when that happens.
    v_before := date_trunc('second', v_before);
    v_at := date_trunc('second', v_at);
    while v_at - v_before > interval '1 second' loop
        v_half := date_trunc('second', v_before + (v_at - v_before) / 2);
        if (v_half at time zone p_zone) < p_local then
            v_before := v_half;
        else
            v_at := v_half;
        end if;
    end loop;
    return v_at;
end $$;
comment on function bridge.first_at(timestamp, text, timestamptz) is
    'The first moment after another when it is this time of a zone, or later if it never is.';
revoke execute on function bridge.first_at(timestamp, text, timestamptz)
    from public, anon, authenticated;

create or replace function bridge.quiet_until(
    p_from time, p_to time, p_zone text, p_at timestamptz
)
returns timestamptz
language plpgsql stable set search_path = '' as $$
declare
    v_zone text;
    v_local timestamp;
begin
    if p_from is null or p_to is null or p_at is null or not isfinite(p_at) then
        return null;
    end if;
    v_zone := coalesce(bridge.zone_of(p_zone), 'UTC');
    v_local := p_at at time zone v_zone;
    return case
        when p_from < p_to and v_local::time >= p_from and v_local::time < p_to
            or p_from > p_to and v_local::time < p_to
        then bridge.first_at(v_local::date + p_to, v_zone, p_at)
        when p_from > p_to and v_local::time >= p_from
        then bridge.first_at(v_local::date + 1 + p_to, v_zone, p_at)
    end;
exception
    when others then
        -- No such zone, or a time further away than Postgres counts.
        return case
            when p_zone <> 'UTC' then bridge.quiet_until(p_from, p_to, 'UTC', p_at)
        end;
end $$;
comment on function bridge.quiet_until(time, time, text, timestamptz) is
    'When the quiet hours end in which p_at lies: the first moment after it when it is p_to by the clocks of the zone; null if it lies in none. Over midnight where p_to is before p_from; a zone that is unknown counts as UTC. Never fails.';
revoke execute on function bridge.quiet_until(time, time, text, timestamptz)
    from public, anon, authenticated;

alter table bridge.settings
    add column if not exists quiet_from time,
    add column if not exists quiet_to time,
    add column if not exists timezone text not null default 'UTC';
alter table bridge.settings
    drop constraint if exists settings_quiet_hours_are_two,
    drop constraint if exists settings_timezone_is_known,
    add constraint settings_quiet_hours_are_two check (
        (quiet_from is null) = (quiet_to is null)
        and quiet_from <> quiet_to and quiet_from < '24:00' and quiet_to < '24:00'
    ),
    add constraint settings_timezone_is_known check (bridge.is_timezone(timezone));
comment on column bridge.settings.quiet_from is
    'When normal and bulk messages begin to wait, in chats that do not say it themselves; null: never. For rows that come due from now on.';
comment on column bridge.settings.quiet_to is 'When they are sent again; the next day if before.';
comment on column bridge.settings.timezone is
    'By whose clocks, where neither the chat nor the payload names a zone.';

create table if not exists public.tma_chat_settings (
    telegram_id bigint primary key default bridge.statement_user_id(),
    timezone text,
    quiet_from time,
    quiet_to time,
    muted text[] not null default '{}',
    updated_at timestamptz not null default now()
);
alter table public.tma_chat_settings
    drop constraint if exists tma_chat_settings_quiet_hours_are_two,
    add constraint tma_chat_settings_quiet_hours_are_two check (
        (quiet_from is null) = (quiet_to is null)
        and quiet_from <> quiet_to and quiet_from < '24:00' and quiet_to < '24:00'
    );
comment on table public.tma_chat_settings is
    'What a user wants of the bot in their chat. Without a row: the defaults of bridge.settings, and nothing is muted.';
comment on column public.tma_chat_settings.telegram_id is 'The chat.';
comment on column public.tma_chat_settings.timezone is
    'For quiet hours: a name (Europe/Kyiv) or an offset (+02:00); null: what the payload of the event says, else bridge.settings.';
comment on column public.tma_chat_settings.quiet_from is
    'When messages begin to wait, but urgent ones; null: as in bridge.settings.';
comment on column public.tma_chat_settings.quiet_to is
    'When they are sent again; the next day if before.';
comment on column public.tma_chat_settings.muted is
    'Event types that are not told: their rows end as muted.';
comment on column public.tma_chat_settings.updated_at is 'When it was last written.';

create or replace trigger begin_insert before insert on public.tma_chat_settings
    for each statement execute function bridge.begin_insert();

create or replace function bridge.check_chat_settings() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    if new.timezone is not null and not bridge.is_timezone(new.timezone) then
        raise exception 'timezone is none that is known'
            using errcode = 'check_violation',
            hint = 'A name such as Europe/Kyiv, or an offset such as +02:00.';
    end if;
    if (new.quiet_from is null) <> (new.quiet_to is null) or new.quiet_from = new.quiet_to then
        raise exception 'quiet_from and quiet_to must be two times'
            using errcode = 'check_violation',
            hint = 'Give both, or null for both: then the defaults of bridge.settings count.';
    end if;
    if cardinality(new.muted) > 50 or array_ndims(new.muted) > 1 or exists (
        select from unnest(new.muted) t (event_type)
        where coalesce(char_length(t.event_type) not between 1 and 64, true)
    ) then
        raise exception 'muted has more or other values than is allowed'
            using errcode = 'check_violation',
            hint = 'Up to 50 event types of 1 to 64 characters.';
    end if;
    new.updated_at := now();
    return new;
end $$;
comment on function bridge.check_chat_settings() is
    'Refuses settings that mean nothing, or more muted types than a claim should look through.';
revoke execute on function bridge.check_chat_settings() from public, anon, authenticated;

create or replace trigger check_chat_settings
    before insert or update on public.tma_chat_settings
    for each row execute function bridge.check_chat_settings();

create or replace function bridge.decide_anew(p_telegram_id bigint) returns void
language plpgsql set search_path = ''
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set jit = off
as $$
declare
    v_ids constant bigint[] := array(
        select front.id
        from unnest(array[1, 0, -1]) class
        cross join lateral (
            select e.id
            from public.tma_events e
            where e.telegram_id = p_telegram_id and e.priority = class and e.settled_at is null
            order by e.deliver_after, e.id
            limit bridge.rows_in_front()
        ) front
    );
    v_lines bridge.line[];
begin
    -- A claim that goes by the old settings is waited for; only then is it seen what it held. The
    -- first row before those that are gathered into it, as whoever settles them does.
    perform from public.tma_events e
    where e.id = any (v_ids) order by e.deliver_after, e.id for update;
    with freed as (
        update public.tma_events e set retry_at = null, held_by = null
        where e.id = any (v_ids) and e.held_by = 'quiet'
        returning e.telegram_id, e.priority
    )
    select array_agg((freed.telegram_id, freed.priority)::bridge.line) into v_lines from freed;
    if v_lines is not null then
        perform bridge.promote_events(v_lines);
        perform bridge.ring('tma_events');
    end if;
end $$;
comment on function bridge.decide_anew(bigint) is
    'Lets the next claim decide again about rows of this chat that wait for the end of quiet hours. Those that wait because they failed go on waiting.';
revoke execute on function bridge.decide_anew(bigint) from public, anon, authenticated;

create or replace function bridge.apply_chat_settings() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    perform bridge.decide_anew(coalesce(new.telegram_id, old.telegram_id));
    return null;
end $$;
comment on function bridge.apply_chat_settings() is 'Lets changed settings count for rows that wait.';
revoke execute on function bridge.apply_chat_settings() from public, anon, authenticated;

create or replace trigger apply_chat_settings
    after insert or update or delete on public.tma_chat_settings
    for each row execute function bridge.apply_chat_settings();

alter table public.tma_chat_settings enable row level security;
revoke all on public.tma_chat_settings
    from public, anon, authenticated, service_role, tma_bridge;
grant select, insert, update, delete on public.tma_chat_settings to service_role;
grant select, delete on public.tma_chat_settings to anon, authenticated;
-- An upsert writes the chat as well, where it names it; the policy says which.
grant insert (telegram_id, timezone, quiet_from, quiet_to, muted),
    update (telegram_id, timezone, quiet_from, quiet_to, muted)
    on public.tma_chat_settings to anon, authenticated;

drop policy if exists "users read their own settings" on public.tma_chat_settings;
create policy "users read their own settings" on public.tma_chat_settings
    for select to anon, authenticated
    using (telegram_id = (select public.tma_user_id()));
drop policy if exists "users insert their own settings" on public.tma_chat_settings;
create policy "users insert their own settings" on public.tma_chat_settings
    for insert to anon, authenticated
    with check (bridge.must_be_own(telegram_id, (select public.tma_user_id())));
drop policy if exists "users change their own settings" on public.tma_chat_settings;
create policy "users change their own settings" on public.tma_chat_settings
    for update to anon, authenticated
    using (telegram_id = (select public.tma_user_id()))
    with check (bridge.must_be_own(telegram_id, (select public.tma_user_id())));
drop policy if exists "users delete their own settings" on public.tma_chat_settings;
create policy "users delete their own settings" on public.tma_chat_settings
    for delete to anon, authenticated
    using (telegram_id = (select public.tma_user_id()));
