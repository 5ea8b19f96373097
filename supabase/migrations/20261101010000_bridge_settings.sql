-- What the access rules need to know. In the schema that the API does not expose: an operator
-- changes settings in the SQL editor, a bridge registers its bot by register_tma_bot().

create table if not exists bridge.settings (
    only_row boolean primary key default true constraint settings_is_one_row check (only_row),
    auth_max_age interval not null default '24 hours' check (auth_max_age > '0'),
    auth_clock_skew interval not null default '1 minute' check (auth_clock_skew >= '0'),
    max_pending_per_user integer not null default 100 check (max_pending_per_user > 0),
    max_scheduled_per_user integer not null default 500 check (max_scheduled_per_user >= 0),
    max_schedule_ahead interval not null default '366 days' check (max_schedule_ahead >= '0'),
    max_payload_bytes integer not null default 16384 check (max_payload_bytes > 0),
    allow_unverified boolean not null default false
);
insert into bridge.settings default values on conflict do nothing;
comment on table bridge.settings is
    'One row of settings of the access rules, for example: update bridge.settings set auth_max_age = ''1 hour''. In force at once.';
comment on column bridge.settings.auth_max_age is
    'How long after Telegram signed it an initData still proves its user.';
comment on column bridge.settings.auth_clock_skew is
    'How far ahead of the database''s clock Telegram''s may be.';
comment on column bridge.settings.max_pending_per_user is
    'Rows of one user that may wait to be sent when the user inserts more.';
comment on column bridge.settings.max_scheduled_per_user is
    'Rows of one user that may be scheduled for later when the user schedules more.';
comment on column bridge.settings.max_schedule_ahead is
    'How far ahead a user may schedule a row (deliver_after).';
comment on column bridge.settings.max_payload_bytes is
    'Size of a payload, as text, that a user may insert.';
comment on column bridge.settings.allow_unverified is
    'Opt-in for the time of a migration: do not refuse inserts without a verified user, but leave them to a policy of your own. Whoever has the anon key may then message any user of the bot.';
revoke all on bridge.settings from public, anon, authenticated, service_role, tma_bridge;

-- HMAC is two hashes over the message, each after a block made of the key. The blocks are all that
-- is kept of a bot: they verify what Telegram signed, and the bot token cannot be had from them.
create table if not exists bridge.bot_keys (
    bot_id bigint primary key,
    inner_block bytea not null check (length(inner_block) = 64),
    outer_block bytea not null check (length(outer_block) = 64),
    registered_at timestamptz not null default now()
);
comment on table bridge.bot_keys is
    'The bots whose users may write. Delete a row to shut the users of that bot out.';
comment on column bridge.bot_keys.bot_id is 'The number before the colon of the bot token.';
comment on column bridge.bot_keys.inner_block is 'The key, zero-padded to 64 bytes, xor 0x36.';
comment on column bridge.bot_keys.outer_block is 'The key, zero-padded to 64 bytes, xor 0x5c.';
comment on column bridge.bot_keys.registered_at is 'When the key was last registered.';
revoke all on bridge.bot_keys from public, anon, authenticated, service_role, tma_bridge;

create or replace function bridge.hmac_block(p_key bytea, p_fill integer) returns bytea
language plpgsql immutable strict set search_path = '' as $$
declare
    v_block bytea := p_key || decode(repeat('00', 64 - length(p_key)), 'hex');
begin
    for v_at in 0..63 loop
        v_block := set_byte(v_block, v_at, get_byte(v_block, v_at) # p_fill);
    end loop;
    return v_block;
end $$;
comment on function bridge.hmac_block(bytea, integer) is
    'The block of RFC 2104 for a key of up to 64 bytes: fill 54 (0x36) for the inner, 92 (0x5c) for the outer hash.';
revoke execute on function bridge.hmac_block(bytea, integer) from public, anon, authenticated;

create or replace function public.register_tma_bot(p_bot_id bigint, p_key text) returns void
language plpgsql security definer set search_path = '' as $$
declare
    v_key bytea;
begin
    if coalesce(p_bot_id, 0) <= 0 or coalesce(p_key !~ '^[0-9A-Fa-f]{64}$', true) then
        raise exception 'expected a bot id and a key of 64 hex digits'
            using errcode = 'invalid_parameter_value',
            hint = 'The key is HMAC_SHA256 of the bot token, keyed with "WebAppData".';
    end if;
    v_key := decode(p_key, 'hex');
    insert into bridge.bot_keys as k (bot_id, inner_block, outer_block)
    values (p_bot_id, bridge.hmac_block(v_key, 54), bridge.hmac_block(v_key, 92))
    on conflict (bot_id) do update
    set inner_block = excluded.inner_block,
        outer_block = excluded.outer_block,
        registered_at = now();
end $$;
comment on function public.register_tma_bot(bigint, text) is
    'Lets the users of a bot write: p_key is the hex of HMAC_SHA256(key "WebAppData", message bot token). A bot that has a new token is registered again; several bots may be registered.';
revoke execute on function public.register_tma_bot(bigint, text) from public, anon, authenticated;
grant execute on function public.register_tma_bot(bigint, text) to service_role, tma_bridge;
