-- The pace of the bot and of each chat, once for all replicas. Telegram counts the messages of a bot,
-- not of a process: so turns are granted here, by the claim, and what Telegram tells one replica (a
-- pause, a group's new id, that it was blocked) is written here with the outcome.
--
-- Both paces are GCRA: one time says it all, and a row that is not there is a chat that may send. The
-- bot's is moved on when turns are granted. A chat has one row at a time in flight, so its own is moved
-- on when something was sent, or may have been: by settle and recover.
--
-- Locks are taken in one order: rows of tma_events, of bridge.chats, bridge.bot_pace. A claim starts
-- with the last, and so waits for none of the others: it skips rows that are locked, and only reads
-- chats.

create or replace function bridge.look_ahead() returns interval
language sql immutable parallel safe set search_path = '' as $$ select interval '0.4 seconds' $$;
comment on function bridge.look_ahead() is
    'How far ahead claims grant turns. Long enough that the next rows arrive before the last turn is over; an urgent row that comes meanwhile waits as long at worst.';

create or replace function bridge.bulk_share() returns integer
language sql immutable parallel safe set search_path = '' as 'select 10';
comment on function bridge.bulk_share() is
    'Every which turn of the bot is for a bulk row, as long as one waits.';
revoke execute on function bridge.look_ahead(), bridge.bulk_share()
    from public, anon, authenticated;

create table if not exists bridge.bot_pace (
    only_row boolean primary key default true constraint bot_pace_is_one_row check (only_row),
    next_turn_at timestamptz not null default 'epoch',
    paused_until timestamptz not null default 'epoch',
    turns bigint not null default 0,
    limits jsonb,
    limits_at timestamptz not null default 'epoch',
    limits_differed_at timestamptz not null default 'epoch'
)
-- One row, changed by every claim: room for its versions on one page.
with (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
insert into bridge.bot_pace default values on conflict do nothing;
comment on table bridge.bot_pace is
    'One row: the pace of the bot. Claims lock it for as long as they take, so they go one after the other.';
comment on column bridge.bot_pace.next_turn_at is 'The next turn that is free.';
comment on column bridge.bot_pace.paused_until is 'Telegram wants no message before.';
comment on column bridge.bot_pace.turns is 'Turns granted so far: tells which one is for bulk.';
comment on column bridge.bot_pace.limits is
    'The limits of the last claim, by which chats are paced; null: none.';
comment on column bridge.bot_pace.limits_at is 'When a claim last had these limits.';
comment on column bridge.bot_pace.limits_differed_at is
    'When a claim last had other limits than one within a minute before.';
revoke all on bridge.bot_pace from public, anon, authenticated, service_role, tma_bridge;

create table if not exists bridge.chats (
    telegram_id bigint primary key,
    even_at timestamptz not null default 'epoch',
    paused_at timestamptz not null default 'epoch',
    paused_until timestamptz not null default 'epoch',
    moved_to bigint
        constraint chats_moved_to_a_group check (moved_to < 0 and moved_to > -4503599627370496),
    blocked_at timestamptz
);
create index if not exists chats_at_rest
    on bridge.chats ((greatest(even_at, paused_until)))
    where moved_to is null and blocked_at is null;
create index if not exists chats_paused on bridge.chats (paused_at) where paused_at > 'epoch';
comment on table bridge.chats is
    'What must be known of a chat before something is sent to it. The sweep deletes rows that say nothing any more.';
comment on column bridge.chats.telegram_id is 'The chat, as rows of tma_events name it.';
comment on column bridge.chats.even_at is
    'When its next message would be due if all had gone at even intervals; a burst may go earlier.';
comment on column bridge.chats.paused_at is 'When Telegram last asked for a pause.';
comment on column bridge.chats.paused_until is 'Telegram wants no message to it before.';
comment on column bridge.chats.moved_to is 'The supergroup that the group became.';
comment on column bridge.chats.blocked_at is
    'When the user was found to have blocked the bot; null once a message was delivered.';
revoke all on bridge.chats from public, anon, authenticated, service_role, tma_bridge;

-- Limits, as settings say them, and what follows from them

create or replace function bridge.checked_limits(p_limits jsonb) returns jsonb
language plpgsql immutable set search_path = '' as $$
declare
    c_ranges constant jsonb := jsonb '{"bot_per_second": [0.01, 10000], "chat_per_second": [0.001, 1000],
        "chat_burst": [1, 1000], "group_per_minute": [0.01, 10000]}';
    v_name text;
    v_value jsonb;
begin
    if p_limits is null then
        return null;
    end if;
    if jsonb_typeof(p_limits) <> 'object' or not p_limits ?& array(
        select jsonb_object_keys(c_ranges)
    ) then
        raise exception 'p_limits must be an object of bot_per_second, chat_per_second, chat_burst and group_per_minute'
            using errcode = 'invalid_parameter_value',
            hint = 'null: no pace at all, only the pauses that Telegram asks for.';
    end if;
    for v_name, v_value in select * from jsonb_each(p_limits) loop
        if not c_ranges ? v_name then
            raise exception 'unknown limit "%"', left(v_name, 100)
                using errcode = 'invalid_parameter_value';
        end if;
        if jsonb_typeof(v_value) <> 'number' or not coalesce(
            v_value >= c_ranges -> v_name -> 0 and v_value <= c_ranges -> v_name -> 1
            and (v_name <> 'chat_burst' or v_value::numeric % 1 = 0), false
        ) then
            raise exception 'the limit "%" must be % from % to %, not %', v_name,
                case v_name when 'chat_burst' then 'a whole number' else 'a number' end,
                c_ranges -> v_name -> 0, c_ranges -> v_name -> 1, left(v_value::text, 100)
                using errcode = 'invalid_parameter_value';
        end if;
    end loop;
    return p_limits;
end $$;
comment on function bridge.checked_limits(jsonb) is
    'The limits themselves, if they are {"bot_per_second", "chat_per_second", "chat_burst", "group_per_minute"} in sane ranges, or null. Raises invalid_parameter_value for anything else.';
revoke execute on function bridge.checked_limits(jsonb) from public, anon, authenticated;

do $$
begin
    create type bridge.pace as (
        bot interval, -- from one message of the bot to the next
        chat interval, -- the same within a private chat
        burst interval, -- how much earlier than at even intervals its messages may go
        in_group interval, -- the same within a group, which has no burst
        digests jsonb, -- seconds for which rows of an event type wait for others of theirs
        quiet_from time, -- of chats that do not say it
        quiet_to time,
        zone text
    );
exception
    when duplicate_object then null;
end $$;
comment on type bridge.pace is
    'What claims go by: the time from one message to the next, and what rows wait for beside.';

create or replace function bridge.pace_of(p_limits jsonb) returns bridge.pace
language plpgsql immutable set search_path = '' as $$
declare
    -- The network bunches what leaves evenly: at exactly the allowed rate some second would hold one
    -- message too many.
    c_margin constant double precision := 0.98;
    v_chat constant double precision := 1 / (c_margin * (p_limits ->> 'chat_per_second')::float8);
begin
    return (
        make_interval(secs => 1 / (c_margin * (p_limits ->> 'bot_per_second')::float8)),
        make_interval(secs => v_chat),
        make_interval(secs => v_chat * ((p_limits ->> 'chat_burst')::float8 - 1)),
        make_interval(secs => 60 / (c_margin * (p_limits ->> 'group_per_minute')::float8)),
        null, null, null, null
    )::bridge.pace;
end $$;
comment on function bridge.pace_of(jsonb) is
    'The intervals that keep limits with a small margin; all null for null.';
revoke execute on function bridge.pace_of(jsonb) from public, anon, authenticated;

-- What is learnt from outcomes

do $$
begin
    create type bridge.chat_news as (
        telegram_id bigint,
        sent_at timestamptz, -- null: nothing was sent
        pause double precision, -- seconds
        moved_to bigint,
        blocked boolean -- false: it is not; null: who knows
    );
exception
    when duplicate_object then null;
end $$;
comment on type bridge.chat_news is 'What the outcome of one message tells of its chat.';

create or replace function bridge.learn(p_news bridge.chat_news[]) returns void
language plpgsql set search_path = ''
-- Whatever its callers switch off: few rows are sorted here.
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = on set jit = off
as $$
declare
    v_pace bridge.pace;
    v_pause double precision;
begin
    select * into v_pace from bridge.pace_of(
        (select b.limits from bridge.bot_pace b where b.only_row)
    );

    insert into bridge.chats as c (
        telegram_id, even_at, paused_at, paused_until, moved_to, blocked_at
    )
    select n.telegram_id,
        coalesce(
            n.sent_at + case when n.telegram_id < 0 then v_pace.in_group else v_pace.chat end,
            'epoch'
        ),
        case when n.pause > 0 then now() else 'epoch' end,
        coalesce(now() + make_interval(secs => n.pause), 'epoch'),
        case when n.telegram_id < 0 then n.moved_to end,
        case when n.blocked then now() end
    from unnest(p_news) n
    where (n.sent_at is not null and v_pace.chat is not null)
        or n.pause > 0 or n.blocked or (n.moved_to is not null and n.telegram_id < 0)
    order by n.telegram_id
    on conflict (telegram_id) do update
    set even_at = case
            when excluded.even_at > 'epoch' then greatest(
                c.even_at + case
                    when c.telegram_id < 0 then v_pace.in_group else v_pace.chat
                end,
                excluded.even_at
            )
            else c.even_at
        end,
        paused_at = greatest(c.paused_at, excluded.paused_at),
        paused_until = greatest(c.paused_until, excluded.paused_until),
        moved_to = coalesce(excluded.moved_to, c.moved_to),
        blocked_at = coalesce(excluded.blocked_at, c.blocked_at);

    update bridge.chats c set blocked_at = null
    where c.blocked_at is not null and c.telegram_id = any (array(
        select n.telegram_id from unnest(p_news) n where not n.blocked
    ));

    v_pause := (select max(n.pause) from unnest(p_news) n);
    if v_pause > 0 then
        perform bridge.set_aside(array(
            select (n.telegram_id, now() + make_interval(secs => n.pause))::bridge.chat_rest
            from unnest(p_news) n where n.pause > 0
        ));
        perform bridge.pause_bot_if_meant(v_pause);
    end if;
end $$;
comment on function bridge.learn(bridge.chat_news[]) is
    'Writes down what outcomes tell of their chats: that something was sent, pauses, new ids, who has blocked the bot. At most one of each chat.';
revoke execute on function bridge.learn(bridge.chat_news[]) from public, anon, authenticated;

create or replace function bridge.pause_bot_if_meant(p_seconds double precision) returns void
language plpgsql set search_path = '' as $$
declare
    c_chats constant integer := 3;
    c_at_once constant interval := interval '2 seconds';
begin
    -- One after the other, so that the last of several sees what the others have written.
    perform from bridge.bot_pace b where b.only_row for update;
    if (
        select count(*) from bridge.chats c
        where c.paused_at > clock_timestamp() - c_at_once and c.paused_at > 'epoch'
    ) >= c_chats then
        update bridge.bot_pace b
        set paused_until = greatest(b.paused_until, now() + make_interval(secs => p_seconds))
        where b.only_row;
    end if;
end $$;
comment on function bridge.pause_bot_if_meant(double precision) is
    'An answer 429 does not say whether it means the chat or the bot. Three chats within two seconds: the bot.';
revoke execute on function bridge.pause_bot_if_meant(double precision)
    from public, anon, authenticated;

create or replace function bridge.forget_chats() returns void
language sql set search_path = '' as $$
    delete from bridge.chats c
    using (
        select o.telegram_id from bridge.chats o
        where greatest(o.even_at, o.paused_until) < now() - interval '1 minute'
            and o.moved_to is null and o.blocked_at is null
        order by greatest(o.even_at, o.paused_until)
        limit 10000
        for update skip locked
    ) old
    where c.telegram_id = old.telegram_id
$$;
comment on function bridge.forget_chats() is
    'Deletes what says nothing any more: the chat may send, has not moved and has not blocked the bot.';
revoke execute on function bridge.forget_chats() from public, anon, authenticated;

create or replace function bridge.pace_now() returns jsonb
language sql stable set search_path = '' as $$
    select jsonb_build_object(
        'limits', b.limits,
        'limits_differ', b.limits_differed_at > now() - interval '1 minute',
        'paused_seconds', greatest(extract(epoch from b.paused_until - now()), 0),
        'paused_chats', (
            select count(*) from bridge.chats c
            where c.paused_at > 'epoch' and c.paused_until > now()
        )
    )
    from bridge.bot_pace b
$$;
comment on function bridge.pace_now() is
    'The limits of the last claim (null: none), whether another of the last minute had others, how long the bot is still paused (0: not), and how many chats are.';
revoke execute on function bridge.pace_now() from public, anon, authenticated;
