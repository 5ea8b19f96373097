-- Who asks. The anon key is public, so it proves nothing; Telegram's signature under the initData of
-- a Mini App proves its user.

create or replace function bridge.verified_user() returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
    v_init_data text;
    v_wellformed boolean;
    v_signed text;
    v_hash text;
    v_auth_date text;
    v_user text;
begin
    v_init_data :=
        nullif(current_setting('request.headers', true), '')::json ->> 'x-telegram-init-data';
    -- Telegram's is 0.3 to 1.5 kB of printable ASCII. Whoever sends more wants us to work.
    if v_init_data is null or length(v_init_data) > 8192 or v_init_data !~ '^[!-~]+$' then
        return null;
    end if;

    -- Percent-decoding by way of JSON, which is fast: %D0 becomes \u00D0, a character whose Latin-1
    -- byte is D0, and these bytes are read as UTF-8. What is no percent-encoding is no JSON either.
    with field as (
        select
            split_part(part, '=', 1) as name,
            part ~ '^[a-z0-9_]+=' as has_name,
            convert_from(convert_to((
                '"' || replace(replace(replace(replace(
                    substr(part, strpos(part, '=') + 1),
                    '+', ' '), '\', '\\'), '"', '\"'), '%', '\u00') || '"'
            )::json #>> '{}', 'LATIN1'), 'UTF8') as value
        from string_to_table(v_init_data, '&') part
    )
    select
        -- A name twice, or a line break in a value, would let one signed text be read in two ways.
        bool_and(has_name and strpos(value, e'\n') = 0) and count(*) = count(distinct name),
        string_agg(name || '=' || value, e'\n' order by name collate pg_catalog."C")
            filter (where name <> 'hash'),
        max(value) filter (where name = 'hash'),
        max(value) filter (where name = 'auth_date'),
        max(value) filter (where name = 'user')
    into v_wellformed, v_signed, v_hash, v_auth_date, v_user
    from field;

    -- Hashes of the hashes are compared, so that the time it takes tells nothing of the right one.
    if not v_wellformed or v_hash !~ '^[0-9a-f]{64}$' or not exists (
        select from bridge.bot_keys k
        where sha256(decode(v_hash, 'hex')) = sha256(
            sha256(k.outer_block || sha256(k.inner_block || convert_to(v_signed, 'UTF8')))
        )
    ) then
        return null;
    end if;
    if v_auth_date !~ '^[0-9]{1,12}$' or not exists (
        select from bridge.settings s
        where to_timestamp(v_auth_date::bigint)
            between now() - s.auth_max_age and now() + s.auth_clock_skew
    ) then
        return null;
    end if;
    return v_user::jsonb;
exception
    -- Malformed in a way of its own: proves nobody.
    when others then
        return null;
end $$;
comment on function bridge.verified_user() is
    'The user object of the initData in the request header x-telegram-init-data, if a registered bot''s Telegram signature and the age of it are good; else null. Never fails.';
revoke execute on function bridge.verified_user() from public, anon, authenticated;

create or replace function bridge.id_in(p_user jsonb) returns bigint
language plpgsql stable set search_path = '' as $$
declare
    v_id text;
begin
    v_id := coalesce(
        p_user ->> 'id',
        nullif(current_setting('request.jwt.claims', true), '')::jsonb
            #>> '{app_metadata,telegram_id}'
    );
    return case when v_id ~ '^[1-9][0-9]{0,18}$' then v_id::bigint end;
exception
    when others then
        return null;
end $$;
comment on function bridge.id_in(jsonb) is
    'The id in what verified_user() returned, else in the claims of the JWT; null if neither has one. Never fails.';
revoke execute on function bridge.id_in(jsonb) from public, anon, authenticated;

create or replace function bridge.user_id() returns bigint
language sql stable security definer set search_path = '' as $$
    select bridge.id_in(bridge.verified_user())
$$;
comment on function bridge.user_id() is 'What tma_user_id() returns.';
revoke execute on function bridge.user_id() from public, anon, authenticated;
grant execute on function bridge.user_id() to anon, authenticated, service_role, tma_bridge;

-- The function of the API runs with its caller's rights; only the one behind it reads the keys.
grant usage on schema bridge to anon, authenticated, service_role, tma_bridge;

create or replace function public.tma_user_id() returns bigint
language sql stable set search_path = '' as $$
    select bridge.user_id()
$$;
comment on function public.tma_user_id() is
    'The Telegram id of the user who makes this request, null if nobody is proven: by the header x-telegram-init-data (the Mini App''s initData), else by app_metadata.telegram_id of the JWT. Use it in policies of your own as (select tma_user_id()). Never fails.';
revoke execute on function public.tma_user_id() from public, anon, authenticated;
grant execute on function public.tma_user_id() to anon, authenticated, service_role, tma_bridge;

create or replace function bridge.take_turn(p_user_id bigint) returns void
language sql set search_path = '' as $$
    select pg_advisory_xact_lock(
        'bridge.settings'::regclass::oid::integer, hashint8(p_user_id)
    )
$$;
comment on function bridge.take_turn(bigint) is
    'Inserts of one user go one after the other: at the same time they would not see each other''s rows, and could wait for each other''s dedupe keys in a circle.';
revoke execute on function bridge.take_turn(bigint) from public, anon, authenticated;

-- What a row is given where it does not say it. Verifying a signature takes a tenth of a millisecond,
-- which is much for each of a thousand rows; so it is done before the first, and kept for as long as
-- the transaction lasts. These two prove nothing: the policy compares the row with tma_user_id().
create or replace function bridge.begin_insert() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
    v_user constant jsonb := bridge.verified_user();
    v_user_id constant bigint := bridge.id_in(v_user);
begin
    if v_user_id is not null then
        perform bridge.take_turn(v_user_id);
    end if;
    perform set_config('bridge.user_id', coalesce(v_user_id::text, ''), true),
        set_config('bridge.user_locale', coalesce(substring(
            v_user ->> 'language_code' from '^[A-Za-z]{2,8}(?:[-_][A-Za-z0-9]{1,8}){0,2}$'
        ), ''), true),
        set_config('bridge.crowd', '', true),
        set_config('bridge.due_rows', '', true),
        set_config('bridge.scheduled_rows', '', true);
    return null;
end $$;
comment on function bridge.begin_insert() is
    'Finds out who makes this request, once for all rows of the statement, and waits for this user''s other inserts.';
revoke execute on function bridge.begin_insert() from public, anon, authenticated;

create or replace function bridge.statement_user_id() returns bigint
language sql stable set search_path = '' as $$
    select nullif(current_setting('bridge.user_id', true), '')::bigint
$$;
comment on function bridge.statement_user_id() is
    'The user that begin_insert() found for this statement; null if none.';

create or replace function bridge.statement_user_locale() returns text
language sql stable set search_path = '' as $$
    select nullif(current_setting('bridge.user_locale', true), '')
$$;
comment on function bridge.statement_user_locale() is
    'The language of the user that begin_insert() found for this statement; null if unknown.';
-- Column defaults, so whoever may insert must be able to run them. They tell callers of themselves.
grant execute on function bridge.statement_user_id(), bridge.statement_user_locale() to public;
