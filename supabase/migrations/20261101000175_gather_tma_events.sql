-- What goes into a message beside the row that a claim has found: rows of its type that are gathered (a
-- digest); and what it is told in place of: the last message of its key.

create or replace function bridge.checked_digests(p_digests jsonb) returns jsonb
language plpgsql immutable set search_path = '' as $$
begin
    if p_digests is null or p_digests = '{}' then
        return null;
    end if;
    if (case jsonb_typeof(p_digests)
        when 'object' then exists (
            select from jsonb_each(p_digests) digest
            where not coalesce(
                jsonb_typeof(digest.value) = 'number'
                and digest.value > to_jsonb(0) and digest.value <= to_jsonb(3600), false
            )
        )
        else true
    end) then
        raise exception 'p_digests must be an object of {event type: seconds}'
            using errcode = 'invalid_parameter_value',
            hint = 'Seconds from above 0 to 3600.';
    end if;
    return p_digests;
end $$;
comment on function bridge.checked_digests(jsonb) is
    'The windows themselves, if they are {event type: seconds up to 3600}; null if there are none. Raises invalid_parameter_value for anything else.';
revoke execute on function bridge.checked_digests(jsonb) from public, anon, authenticated;

create or replace function bridge.waits_of(p_pace bridge.pace, p_digests jsonb)
returns bridge.pace
language plpgsql stable set search_path = '' as $$
begin
    p_pace.digests := p_digests;
    select s.quiet_from, s.quiet_to, s.timezone
    into p_pace.quiet_from, p_pace.quiet_to, p_pace.zone
    from bridge.settings s
    where s.only_row;
    return p_pace;
end $$;
comment on function bridge.waits_of(bridge.pace, jsonb) is
    'A pace, with what rows wait for beside: others of their type, and the end of quiet hours.';
revoke execute on function bridge.waits_of(bridge.pace, jsonb) from public, anon, authenticated;

create or replace function bridge.count_ended(p_ended text[]) returns jsonb
language sql immutable set search_path = '' as $$
    select jsonb_object_agg(ended.word, ended.rows)
    from (select word, count(*) as rows from unnest(p_ended) word group by word) ended
$$;
comment on function bridge.count_ended(text[]) is 'How many there are of each; null for none.';
revoke execute on function bridge.count_ended(text[]) from public, anon, authenticated;

create or replace function bridge.gather_events(
    p_ids bigint[], p_digests jsonb, p_now timestamptz
)
returns void
language plpgsql set search_path = ''
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set jit = off
as $$
declare
    c_rows constant integer := 50; -- with the first
    c_looked_at constant integer := 500; -- of the chat's, for rows of the type among others
    c_size constant integer := 65536; -- of their payloads as text
begin
    update public.tma_events e
    set status = 'processing', claimed_at = p_now, attempt = e.attempt + 1, retry_at = null,
        held_by = null, gathered_into = part.leader, send_started_at = part.started_at
    from (
        select l.id as leader, l.send_started_at as started_at, locked.id
        from public.tma_events l
        cross join lateral (
            select alike.id, sum(alike.size) over (order by alike.deliver_after, alike.id) as size
            from (
                select m.id, m.deliver_after, length(bridge.text_of(m.payload)) as size
                from (
                    select o.id, o.deliver_after, o.event_type, o.status, o.replaces, o.payload
                    from public.tma_events o
                    where o.telegram_id = l.telegram_id and o.priority = l.priority
                        and o.settled_at is null and o.deliver_after <= p_now
                        and (o.deliver_after, o.id) > (l.deliver_after, l.id)
                    order by o.deliver_after, o.id
                    limit c_looked_at
                ) m
                where m.event_type = l.event_type and m.status = 'pending' and m.replaces is null
                limit c_rows - 1
            ) alike
        ) part
        cross join lateral (
            select w.id from public.tma_events w
            where w.id = part.id and w.status = 'pending'
            for update skip locked
        ) locked
        where l.id = any (p_ids) and p_digests ? l.event_type and l.replaces is null
            and part.size <= c_size
    ) part
    where e.id = part.id;
end $$;
comment on function bridge.gather_events(bigint[], jsonb, timestamptz) is
    'Claims with these rows those of the same chat, class and type that are due, as parts of the same message.';
revoke execute on function bridge.gather_events(bigint[], jsonb, timestamptz)
    from public, anon, authenticated;

create or replace function bridge.with_gathered(p_ids bigint[]) returns bigint[]
language plpgsql stable set search_path = ''
set enable_seqscan = off set enable_bitmapscan = off set jit = off
as $$
begin
    return p_ids || array(
        select m.id from public.tma_events m
        where m.gathered_into = any (p_ids) and m.status = 'processing'
    );
end $$;
comment on function bridge.with_gathered(bigint[]) is
    'These rows and those whose message is theirs. Whoever has locked a row may change those as well: nobody touches them without it.';
revoke execute on function bridge.with_gathered(bigint[]) from public, anon, authenticated;

-- In place

create index if not exists tma_events_told_in_place
    on public.tma_events (telegram_id, replaces, delivered_at)
    where replaces is not null and delivered_at is not null;
create index if not exists tma_events_to_replace
    on public.tma_events (telegram_id, replaces)
    where replaces is not null and settled_at is null;

create or replace function bridge.message_to_edit(
    p_telegram_id bigint, p_replaces text, p_now timestamptz
)
returns bigint
language plpgsql stable set search_path = ''
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set jit = off
as $$
declare
    -- Telegram lets a bot edit for 48 hours; some seconds pass until it is asked to.
    v_since constant timestamptz := p_now - interval '47 hours 55 minutes';
    v_message_id bigint := (
        select d.message_id from public.tma_events d
        where d.telegram_id = p_telegram_id and d.replaces = p_replaces
            and d.delivered_at > v_since
        order by d.delivered_at desc
        limit 1
    );
begin
    -- It counts from when the message was sent, not from when it was last edited.
    return (
        select d.message_id from public.tma_events d
        where d.telegram_id = p_telegram_id and d.replaces = p_replaces
            and d.delivered_at > v_since
            and d.message_id = v_message_id and coalesce(d.edits, 0) = 0
        order by d.delivered_at desc
        limit 1
    );
end $$;
comment on function bridge.message_to_edit(bigint, text, timestamptz) is
    'The last message of this key in this chat, if it was sent less than 48 hours ago.';
revoke execute on function bridge.message_to_edit(bigint, text, timestamptz)
    from public, anon, authenticated;

create or replace function bridge.is_replaced(
    p_telegram_id bigint, p_replaces text, p_deliver_after timestamptz, p_id bigint
)
returns boolean
language plpgsql stable set search_path = ''
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set jit = off
as $$
begin
    return exists (
        select from public.tma_events n
        where n.telegram_id = p_telegram_id and n.replaces = p_replaces and n.settled_at is null
            and (n.deliver_after, n.id) > (p_deliver_after, p_id)
            and n.deliver_after <= statement_timestamp()
    ) or coalesce((
        -- What stands in the chat.
        select (d.deliver_after, d.id) > (p_deliver_after, p_id)
        from public.tma_events d
        where d.telegram_id = p_telegram_id and d.replaces = p_replaces
            and d.delivered_at is not null
        order by d.delivered_at desc
        limit 1
    ), false);
end $$;
comment on function bridge.is_replaced(bigint, text, timestamptz, bigint) is
    'Whether a row of this key that comes after this one is due, or was the last to be delivered: then this one''s text is out of date.';
revoke execute on function bridge.is_replaced(bigint, text, timestamptz, bigint)
    from public, anon, authenticated;

create or replace function bridge.withdraw_replaced() returns trigger
language plpgsql security definer set search_path = ''
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set jit = off
as $$
declare
    v_lines bridge.line[];
begin
    with replaced as materialized (
        select o.id from public.tma_events o
        where o.telegram_id = new.telegram_id and o.replaces = new.replaces
            and o.settled_at is null and o.status = 'pending'
            and (o.deliver_after, o.id) < (new.deliver_after, new.id)
        for update skip locked
    ),
    withdrawn as (
        update public.tma_events e
        set status = 'withdrawn', settled_at = now(), retry_at = null, held_by = null,
            error = 'replaced by a newer message before it was sent'
        from replaced
        where e.id = replaced.id
        returning e.telegram_id, e.priority
    )
    select array_agg((w.telegram_id, w.priority)::bridge.line) into v_lines from withdrawn w;
    if v_lines is not null then
        perform bridge.promote_events(v_lines);
    end if;
    return null;
end $$;
comment on function bridge.withdraw_replaced() is
    'Withdraws what was to be said in the place of the same message and has not been: the last text wins.';
revoke execute on function bridge.withdraw_replaced() from public, anon, authenticated;

-- Named to come after place_events().
create or replace trigger withdraw_replaced after insert on public.tma_events
    for each row when (new.replaces is not null and new.settled_at is null)
    execute function bridge.withdraw_replaced();
