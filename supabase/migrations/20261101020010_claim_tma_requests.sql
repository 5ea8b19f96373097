-- Taking requests into work.

create or replace function bridge.request_text(
    p_request json, p_lead_id bigint, p_lead_visible boolean, p_waited_seconds double precision
)
returns text
language plpgsql stable set search_path = '' as $$
declare
    c_bytes constant integer := 131072;
    v_lead_id constant bigint := case when p_lead_visible then p_lead_id end;
    v_payload jsonb;
begin
    begin
        v_payload := p_request -> 'payload';
    exception
        -- A column of type json holds what jsonb does not take.
        when others then null;
    end;
    -- In the text, not as JSON: what a column holds is for the reader to read. The last word counts.
    return left(left(p_request::text, -1) || ',"lead_visible":' || coalesce(p_lead_visible, false)
        || ',"lead_name":' || to_json(bridge.lead_name(v_lead_id, v_payload))
        || ',"lead":' || bridge.lead_context(v_lead_id)
        || ',"waited_seconds":' || p_waited_seconds || '}', c_bytes);
exception
    when others then
        return sqlerrm;
end $$;
comment on function bridge.request_text(json, bigint, boolean, double precision) is
    'A request as the text of a JSON object: its columns, lead_name, lead and waited_seconds. Never fails: what cannot be handed over becomes a text that is no JSON.';
revoke execute on function bridge.request_text(json, bigint, boolean, double precision)
    from public, anon, authenticated;

do $$
begin
    create type bridge.taken_request as (
        id bigint, attempt integer, lead_id bigint, lead_visible boolean, created_at timestamptz,
        request json
    );
exception
    when duplicate_object then null;
end $$;

create or replace function bridge.row_json(p_row anyelement) returns json
language plpgsql stable set search_path = '' as $$
declare
    c_bytes constant integer := 131072;
    v_problem text;
begin
    begin
        -- In this form a number is as short as it was sent: looked at before it is written out.
        v_problem := bridge.json_problem(to_jsonb(p_row), c_bytes, 501);
    exception
        -- A column of type json holds what jsonb does not take.
        when others then null;
    end;
    return case when v_problem is null then to_json(p_row) else to_json(v_problem) end;
exception
    when others then
        return to_json(sqlerrm);
end $$;
comment on function bridge.row_json(anyelement) is
    'A row as a JSON object. Never fails: what cannot be handed over becomes a JSON string that says why.';
revoke execute on function bridge.row_json(anyelement) from public, anon, authenticated;

create or replace function bridge.take_requests(p_table text, p_limit integer)
returns setof bridge.taken_request
language plpgsql set search_path = ''
-- Planned at each call, for the table as it is.
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set jit = off
as $$
begin
    return query execute format($query$
        with due as materialized (
            select r.id
            from public.%1$I r
            where r.settled_at is null
                and r.status = 'pending'
                and coalesce(r.retry_at, r.created_at) <= now()
            order by coalesce(r.retry_at, r.created_at), r.id
            limit $1
            for update skip locked
        )
        update public.%1$I r
        set status = 'processing', claimed_at = now(), attempt = r.attempt + 1, retry_at = null
        from due
        where r.id = due.id
        returning r.id::bigint, r.attempt, r.lead_id, r.lead_visible, r.created_at,
            bridge.row_json(r)
    $query$, bridge.request_table(p_table))
    using p_limit;
end $$;
comment on function bridge.take_requests(text, integer) is
    'The requests that claim_tma_requests() takes, in no order.';
revoke execute on function bridge.take_requests(text, integer) from public, anon, authenticated;

-- Apart from the taking itself, so that the users' functions are planned as usual.
create or replace function public.claim_tma_requests(p_table text, p_limit integer)
returns table (id bigint, attempt integer, request text)
language plpgsql security definer set search_path = '' as $$
begin
    if p_limit is null or p_limit not between 1 and 1000 then
        raise exception 'p_limit must be between 1 and 1000, not %', p_limit
            using errcode = 'invalid_parameter_value';
    end if;
    return query
    select t.id, t.attempt, bridge.request_text(
        t.request, t.lead_id, t.lead_visible,
        extract(epoch from now() - t.created_at)::double precision
    )
    from bridge.take_requests(p_table, p_limit) t
    order by t.created_at, t.id;
end $$;
comment on function public.claim_tma_requests(text, integer) is
    'Takes up to p_limit waiting requests of a request table, oldest first: each as the text of a JSON object with all its columns, lead_visible, lead_name, lead (see tma_lead_context) and waited_seconds, so that one that cannot be read spoils no other. The attempt is the token for settle and release.';
revoke execute on function public.claim_tma_requests(text, integer)
    from public, anon, authenticated;
grant execute on function public.claim_tma_requests(text, integer) to service_role, tma_bridge;
