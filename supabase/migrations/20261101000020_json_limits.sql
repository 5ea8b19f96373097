-- JSON that somebody else wrote. Postgres stores what readers elsewhere break on: a thousand brackets,
-- a number of a hundred thousand digits that was sent as five characters. At the door such a value is
-- refused; one that is there all the same is handed over as text, for each row to be read alone.

create or replace function bridge.json_problem(
    p_json jsonb, p_bytes integer, p_levels integer default 32
)
returns text
language plpgsql immutable set search_path = '' as $$
declare
    c_digits constant integer := 400; -- whatever fits a double has fewer
    c_most constant numeric := 1.7976931348623158e308; -- what rounds to the largest double
begin
    -- From the cheap to the dear: what is written out at the end is not large any more.
    if pg_column_size(p_json) > 8 * p_bytes then
        return format('is too large: over %s bytes', p_bytes);
    end if;
    if jsonb_path_exists(p_json, format('strict $.**{%s}', p_levels)::jsonpath) then
        return format('is nested too deep: over %s levels', p_levels);
    end if;
    if exists (
        -- As one array: jsonb_path_query() moves the whole rest of its list for each row it returns.
        select from jsonb_array_elements(
            jsonb_path_query_array(p_json, 'strict $.** ? (@.type() == "number")')
        ) number
        cross join lateral (select number::numeric as value) n
        where scale(n.value) > c_digits or abs(n.value) > c_most
    ) then
        return format(
            'has a number that is too large or too long: over 1.8e308 or %s digits', c_digits
        );
    end if;
    if octet_length(p_json::text) > p_bytes then
        return format('is too large: over %s bytes', p_bytes);
    end if;
    return null;
end $$;
comment on function bridge.json_problem(jsonb, integer, integer) is
    'What makes a JSON value unfit to be handed on: its depth, its numbers'' digits, its size as text; null if nothing does.';
revoke execute on function bridge.json_problem(jsonb, integer, integer)
    from public, anon, authenticated;

create or replace function bridge.check_json(
    p_what text, p_json jsonb, p_bytes integer, p_levels integer default 32
)
returns void
language plpgsql immutable set search_path = '' as $$
declare
    v_problem constant text := bridge.json_problem(p_json, p_bytes, p_levels);
begin
    if v_problem is not null then
        raise exception '% %', p_what, v_problem
            using errcode = 'check_violation',
            hint = format(
                'Up to %s bytes of JSON, 32 levels, numbers that fit a double: send what the message needs.',
                p_bytes
            );
    end if;
end $$;
comment on function bridge.check_json(text, jsonb, integer, integer) is
    'Raises check_violation for JSON that json_problem() finds unfit; p_what names it.';
revoke execute on function bridge.check_json(text, jsonb, integer, integer)
    from public, anon, authenticated;

create or replace function bridge.text_of(p_json jsonb) returns text
language plpgsql immutable set search_path = '' as $$
declare
    c_bytes constant integer := 131072;
    v_json jsonb;
    v_problem text;
begin
    if p_json is null then
        return '{}';
    end if;
    -- Few bytes may stand for gigabytes of digits; very few cannot. Of what is stored compressed, the
    -- size is that of a copy.
    v_json := jsonb_build_array(p_json) -> 0;
    if pg_column_size(v_json) > 256 then
        v_problem := bridge.json_problem(v_json, c_bytes, 500);
    end if;
    return coalesce(v_problem, left(v_json::text, c_bytes));
exception
    when others then
        return sqlerrm;
end $$;
comment on function bridge.text_of(jsonb) is
    'A JSON value as text, {} for null. Never fails: what cannot be handed over becomes a text that is no JSON.';
revoke execute on function bridge.text_of(jsonb) from public, anon, authenticated;
