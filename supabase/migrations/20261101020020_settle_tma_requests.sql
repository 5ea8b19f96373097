-- How claims end: with an answer, with the reason why there is none, or back in the queue.

create or replace function bridge.read_request_outcomes(p_outcomes jsonb)
returns table (
    id bigint,
    attempt integer,
    status text,
    result jsonb,
    error text,
    retry_in double precision,
    counted boolean,
    events jsonb,
    withdraw text
)
language plpgsql immutable rows 50 set search_path = '' as $$
#variable_conflict use_column
declare
    v_bad text;
begin
    perform bridge.checked_claims(p_outcomes);
    select left(item.value::text, 200) into v_bad
    from jsonb_array_elements(p_outcomes) item (value)
    cross join jsonb_to_record(item.value) as o (
        status text, result jsonb, error text, retry_in double precision, events jsonb
    )
    where not coalesce(
        case o.status
            when 'completed' then jsonb_typeof(o.result) <> 'null'
            when 'failed' then o.result is null and o.error <> ''
            when 'pending' then o.result is null and o.events is null
                and coalesce(o.retry_in, 0) between 0 and 2592000
        end
        and coalesce(jsonb_typeof(o.events), 'array') = 'array',
        false
    )
    limit 1;
    if v_bad is not null then
        raise exception 'cannot settle %', v_bad
            using errcode = 'invalid_parameter_value',
            hint = 'Needed: "status": "completed" with "result"; "failed" with "error"; or "pending", optionally with "retry_in" (seconds, up to 30 days) and "counted". "events" is an array.';
    end if;
    return query
    select o.id, o.attempt, o.status, o.result, left(o.error, 500),
        coalesce(o.retry_in, 0), coalesce(o.counted, false), o.events, o.withdraw
    from jsonb_to_recordset(p_outcomes) as o (
        id bigint, attempt integer, status text, result jsonb, error text,
        retry_in double precision, counted boolean, events jsonb, withdraw text
    );
end $$;
comment on function bridge.read_request_outcomes(jsonb) is
    'The outcomes that bridge.settle_requests describes. Raises invalid_parameter_value for anything else.';
revoke execute on function bridge.read_request_outcomes(jsonb) from public, anon, authenticated;

create or replace function bridge.withdraw_events(
    p_telegram_id bigint, p_lead_id bigint, p_event_type text, p_step_id text default null
)
returns void
language sql set search_path = '' as $$
    -- Whoever has a row locked is waited for: a claim, and then it is sent, for it was due; or what
    -- only moves it up in its chat.
    delete from public.tma_events e
    using (
        select w.id
        from public.tma_events w
        where w.telegram_id = p_telegram_id
            and w.settled_at is null and w.status = 'pending'
            and w.lead_id = p_lead_id
            and w.event_type = p_event_type
            and (p_step_id is null or w.payload ->> 'step_id' = p_step_id)
        order by w.deliver_after, w.id -- as whoever else waits for rows of a chat
        for update
    ) withdrawn
    where e.id = withdrawn.id
$$;
comment on function bridge.withdraw_events(bigint, bigint, text, text) is
    'Deletes what of this type still waits for this chat and lead, of one step or of all.';
revoke execute on function bridge.withdraw_events(bigint, bigint, text, text)
    from public, anon, authenticated;

-- With the answer, in the same transaction: neither is there without the other.
create or replace function bridge.tell_chat(
    p_telegram_id bigint,
    p_lead_id bigint,
    p_lead_visible boolean,
    p_locale text,
    p_withdraw text,
    p_events jsonb
)
returns void
language plpgsql set search_path = '' as $$
begin
    if p_withdraw is not null then
        perform bridge.withdraw_events(p_telegram_id, p_lead_id, p_withdraw);
    end if;
    insert into public.tma_events as e (
        telegram_id, lead_id, lead_visible, locale,
        event_type, payload, deliver_after, dedupe_key, priority, options, replaces
    )
    select p_telegram_id, p_lead_id, coalesce(p_lead_visible, false), p_locale,
        event.event_type, coalesce(event.payload, '{}'),
        coalesce(event.deliver_after, now()), event.dedupe_key,
        coalesce(event.priority, 0), nullif(event.options, 'null'), event.replaces
    from jsonb_to_recordset(p_events) as event (
        event_type text, payload jsonb, deliver_after timestamptz, dedupe_key text,
        priority smallint, options jsonb, replaces text
    )
    on conflict (telegram_id, dedupe_key) do nothing;
end $$;
comment on function bridge.tell_chat(bigint, bigint, boolean, text, text, jsonb) is
    'Writes the events that go with an answer, after withdrawing what it makes void.';
revoke execute on function bridge.tell_chat(bigint, bigint, boolean, text, text, jsonb)
    from public, anon, authenticated;

create or replace function public.settle_tma_requests(p_table text, p_outcomes jsonb)
returns setof bigint
language plpgsql security definer set search_path = '' as $$
declare
    v_table constant text := bridge.request_table(p_table);
    v_outcome record;
    v_id bigint;
    v_telegram_id bigint;
    v_lead_id bigint;
    v_lead_visible boolean;
    v_locale text;
begin
    for v_outcome in
        select * from bridge.read_request_outcomes(p_outcomes) o order by o.id
    loop
        execute format($query$
            update public.%I r
            set status = $3,
                result = $4,
                error = $5,
                settled_at = case when $3 <> 'pending' then now() end,
                completed_at = case when $3 = 'completed' then now() end,
                claimed_at = case when $3 <> 'pending' then r.claimed_at end,
                retry_at = case
                    when $3 = 'pending' and $6 > 0 then now() + make_interval(secs => $6)
                end,
                retries = r.retries + ($3 = 'pending' and $7)::integer
            where r.id = $1 and r.attempt = $2 and r.status = 'processing'
            returning r.id::bigint, r.telegram_id, r.lead_id, r.lead_visible, r.locale
        $query$, v_table)
        into v_id, v_telegram_id, v_lead_id, v_lead_visible, v_locale
        using v_outcome.id, v_outcome.attempt, v_outcome.status, v_outcome.result,
            v_outcome.error, v_outcome.retry_in, v_outcome.counted;

        if v_id is not null then
            perform bridge.tell_chat(v_telegram_id, v_lead_id, v_lead_visible, v_locale,
                v_outcome.withdraw, v_outcome.events);
            return next v_id;
        else
            -- The caller may repeat a call whose answer it did not get.
            return query execute format($query$
                select r.id::bigint from public.%I r
                where r.id = $1 and r.attempt = $2 and r.status = $3
            $query$, v_table)
            using v_outcome.id, v_outcome.attempt, v_outcome.status;
        end if;
    end loop;
end $$;
comment on function public.settle_tma_requests(text, jsonb) is
    'Ends claims of a request table: [{"id", "attempt", "status", ...}] with status "completed" (result), "failed" (error, for the user to read) or "pending" (retry_in seconds, counted, error). With an answer go "withdraw", a type of event of which nothing that waits for this chat and lead is sent any more, and then "events" for the chat: [{"event_type", "payload", "deliver_after", "dedupe_key", "priority", "options", "replaces"}]. Returns the ids accepted.';
revoke execute on function public.settle_tma_requests(text, jsonb)
    from public, anon, authenticated;
grant execute on function public.settle_tma_requests(text, jsonb) to service_role, tma_bridge;

create or replace function public.release_tma_requests(p_table text, p_claims jsonb)
returns setof bigint
language plpgsql security definer set search_path = '' as $$
declare
    v_table constant text := bridge.request_table(p_table);
    v_claims constant jsonb := bridge.checked_claims(p_claims);
begin
    return query execute format($query$
        update public.%I r
        set status = 'pending', claimed_at = null
        from jsonb_to_recordset($1) as c (id bigint, attempt integer)
        where r.id = c.id and r.attempt = c.attempt and r.status = 'processing'
            and r.id = any ($2) -- how many there are, the planner does not see in the JSON
        returning r.id::bigint
    $query$, v_table)
    using v_claims, array(
        select c.id from jsonb_to_recordset(v_claims) as c (id bigint)
    );
    perform bridge.ring(v_table);
end $$;
comment on function public.release_tma_requests(text, jsonb) is
    'Hands claims of a request table back, [{"id", "attempt"}]; no attempt is used up. Returns the ids released.';
revoke execute on function public.release_tma_requests(text, jsonb)
    from public, anon, authenticated;
grant execute on function public.release_tma_requests(text, jsonb) to service_role, tma_bridge;
