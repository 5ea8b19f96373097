-- Taking rows to send, with the name of the lead that the message speaks of.
--
-- A lead_id names something that the writer of the row may not be allowed to see. Whether the message
-- may name it is decided when the row is inserted, with the writer's own rights.

-- Users replace this function by their own, so applying this file again must leave theirs alone.
do $do$
begin
    if to_regprocedure('public.tma_lead_name(bigint)') is not null then
        return;
    end if;
    create function public.tma_lead_name(p_lead_id bigint) returns text
    language plpgsql stable set search_path = '' as $$
    declare
        v_leads regclass := to_regclass('public.leads');
        v_name text;
    begin
        -- Dynamic, because the table need not exist. The default of realtime-bridge.
        if v_leads is not null then
            execute format('select prospect_name::text from %s where id = $1', v_leads)
                into v_name using p_lead_id;
        end if;
        return v_name;
    exception
        when others then
            return null;
    end $$;
end $do$;
comment on function public.tma_lead_name(bigint) is
    'How messages call a lead; null: the payload''s lead_name, else "your lead". Reads public.leads.prospect_name; replace it by your own function of the same name and arguments.';
revoke execute on function public.tma_lead_name(bigint) from public, anon, authenticated;
grant execute on function public.tma_lead_name(bigint) to service_role;

-- Who may see a lead. Users replace this function as well.
do $do$
begin
    if to_regprocedure('public.tma_may_see_lead(bigint, bigint)') is not null then
        return;
    end if;
    create function public.tma_may_see_lead(p_telegram_id bigint, p_lead_id bigint) returns boolean
    language plpgsql stable set search_path = '' as $$
    declare
        v_leads regclass := to_regclass('public.leads');
        v_seen boolean := false;
    begin
        -- Dynamic, because the table need not exist. The default of realtime-bridge.
        if v_leads is not null and p_telegram_id is not null then
            -- The whole row, so that a right to some of its columns does not tell the others.
            execute format('select exists (select l from %s l where id = $1)', v_leads)
                into v_seen using p_lead_id;
        end if;
        return v_seen;
    exception
        when others then
            return false;
    end $$;
end $do$;
comment on function public.tma_may_see_lead(bigint, bigint) is
    'Whether the user may be told a lead''s name and context. Called at the insert, with the rights of whoever inserts. By default: whether that role can read the row of public.leads, all of it; replace it by your own function of the same name and arguments.';
revoke execute on function public.tma_may_see_lead(bigint, bigint) from public;
grant execute on function public.tma_may_see_lead(bigint, bigint)
    to anon, authenticated, service_role;

-- Not security definer: the question is what the writer may see.
create or replace function bridge.remember_lead() returns trigger
language plpgsql set search_path = '' as $$
begin
    if not row_security_active(tg_relid) then
        new.lead_visible := true; -- the service, which sees everything
        return new;
    end if;
    begin
        new.lead_visible := coalesce(
            public.tma_may_see_lead(new.telegram_id, new.lead_id), false
        );
    exception
        -- A user's function: its error costs the message a name, not the insert its row.
        when others then
            raise warning 'tma_may_see_lead(%, %) failed: %', new.telegram_id, new.lead_id, sqlerrm;
            new.lead_visible := false;
    end;
    return new;
end $$;
comment on function bridge.remember_lead() is
    'Writes down whether the row''s writer may see its lead, unless a bridge has said so.';
revoke execute on function bridge.remember_lead() from public, anon, authenticated;

create or replace trigger remember_lead before insert on public.tma_events
    for each row when (new.lead_id is not null and new.lead_visible is null)
    execute function bridge.remember_lead();

create or replace function bridge.lead_name(p_lead_id bigint, p_payload jsonb) returns text
language plpgsql stable set search_path = '' as $$
declare
    v_blank constant text := e' \t\r\n';
    v_name text;
begin
    if p_lead_id is not null then
        begin
            v_name := nullif(btrim(public.tma_lead_name(p_lead_id), v_blank), '');
        exception
            -- A user's function: its error costs the message a name, not the claim its rows.
            when others then
                raise warning 'tma_lead_name(%) failed: %', p_lead_id, sqlerrm;
        end;
    end if;
    if v_name is null and jsonb_typeof(p_payload -> 'lead_name') in ('string', 'number') then
        v_name := nullif(btrim(p_payload ->> 'lead_name', v_blank), '');
    end if;
    return left(coalesce(v_name, 'your lead'), 4096); -- a message has no room for more
end $$;
comment on function bridge.lead_name(bigint, jsonb) is
    'tma_lead_name() of a lead that may be named, else the payload''s lead_name (text or number), else "your lead"; blank counts as missing. Never fails.';
revoke execute on function bridge.lead_name(bigint, jsonb) from public, anon, authenticated;

create or replace function bridge.gathered(p_key uuid) returns jsonb
language sql stable set search_path = '' as $$
    select jsonb_object_agg(leader.id, leader.rows)
    from (
        select g.gathered_into as id, jsonb_agg(jsonb_build_object(
            'id', g.id,
            'lead_id', g.lead_id,
            'lead_name',
            bridge.lead_name(case when g.lead_visible then g.lead_id end, g.payload),
            'payload', bridge.text_of(g.payload),
            'created_at', coalesce(g.created_at, g.deliver_after),
            'deliver_after', g.deliver_after
        ) order by g.deliver_after, g.id) as rows
        from bridge.gathered_under(p_key) g
        group by g.gathered_into
    ) leader
$$;
comment on function bridge.gathered(uuid) is
    'What was gathered into the rows of a claim, in order, by the id of the row: what the claim tells of it.';
revoke execute on function bridge.gathered(uuid) from public, anon, authenticated;

-- The claim. What a row's lead is called is asked apart from it, so that the users' functions are
-- planned as usual.

create or replace function public.claim_tma_events(
    p_limit integer, p_key uuid, p_limits jsonb default null, p_start_now integer default 8,
    p_digests jsonb default null
)
returns json
language plpgsql security definer set search_path = '' as $$
declare
    v_told record;
    v_digests jsonb;
    v_gathered jsonb;
    v_rows json;
    v_now timestamptz;
begin
    if p_limit is null or p_limit not between 1 and 1000 then
        raise exception 'p_limit must be between 1 and 1000, not %', p_limit
            using errcode = 'invalid_parameter_value';
    end if;
    if p_start_now is null or p_start_now not between 0 and 100 then
        raise exception 'p_start_now must be between 0 and 100, not %', p_start_now
            using errcode = 'invalid_parameter_value';
    end if;
    if p_key is null then
        raise exception 'p_key must name this claim'
            using errcode = 'invalid_parameter_value',
            hint = 'A new uuid for each claim; the same one only to ask again for an answer that was lost.';
    end if;
    v_digests := bridge.checked_digests(p_digests);
    select * into v_told from bridge.claim_once(
        p_key, p_limit, p_limits, p_start_now, v_digests
    );

    if v_digests is not null then
        v_gathered := bridge.gathered(p_key);
    end if;
    v_now := clock_timestamp();
    select json_agg(r order by r.turn_at, r.priority desc, r.deliver_after, r.id) into v_rows
    from (
        select c.id, c.telegram_id, c.chat_id, left(c.event_type, 200) as event_type, c.lead_id,
            bridge.lead_name(case when c.lead_visible then c.lead_id end, c.payload) as lead_name,
            bridge.text_of(c.payload) as payload, c.locale, c.priority, c.attempt, c.retries,
            coalesce(c.created_at, c.deliver_after) as created_at, c.deliver_after,
            extract(epoch from now() - greatest(c.created_at, c.deliver_after))::double precision
                as waited_seconds,
            c.turn_at,
            greatest(extract(epoch from c.turn_at - v_now), 0)::double precision
                as turn_in,
            c.started, c.options, c.edits, v_gathered -> c.id::text as gathered
        from bridge.claimed_under(p_key) c
    ) r;
    return json_build_object(
        'rows', coalesce(v_rows, '[]'),
        'next_seconds', v_told.next_seconds,
        'limits_differ', v_told.limits_differ,
        'ended', coalesce(v_told.ended, '{}')
    );
end $$;
comment on function public.claim_tma_events(integer, uuid, jsonb, integer, jsonb) is
    'Takes up to p_limit due rows, at most one of each chat and none of a chat that has a row in flight, that may go within a short time by p_limits {"bot_per_second", "chat_per_second", "chat_burst", "group_per_minute"} (null: no pace) and by the pauses that Telegram asked for. {"rows": in the order of their turns, "next_seconds": when asking again makes sense (null: nothing is open), "limits_differ": another claim of the last minute had other limits, "ended": how many rows it has ended as "muted" or "blocked" without a call to Telegram}. p_digests {event type: seconds}: the first row of such a type waits that long in its chat, and then those like it that are due go with it, as its "gathered": an array in order, without the row itself. "edits" is the message to be edited; null: send. A row has, beside its columns, chat_id (to send to), turn_in (seconds until it may go) and started: whether it has passed the fence already, as up to p_start_now do whose turn is now. payload is JSON as text, so that one that cannot be read spoils no other; waited_seconds is the time since the row was due; attempt is the token for start, settle and release. The same p_key again returns the rows of that claim that it still holds, and takes nothing.';
revoke execute on function public.claim_tma_events(integer, uuid, jsonb, integer, jsonb)
    from public, anon, authenticated;
grant execute on function public.claim_tma_events(integer, uuid, jsonb, integer, jsonb)
    to service_role, tma_bridge;
-- From before there were turns.
drop function if exists public.claim_tma_events(integer);
