-- How far an answer has got, told to the chat in one message that changes.

create or replace function public.report_tma_progress(
    p_table text, p_id bigint, p_attempt integer, p_event jsonb
)
returns boolean
language plpgsql security definer set search_path = '' as $$
declare
    v_table constant text := bridge.request_table(p_table);
    v_telegram_id bigint;
    v_lead_id bigint;
    v_lead_visible boolean;
    v_locale text;
begin
    if jsonb_typeof(p_event -> 'event_type') is distinct from 'string' then
        raise exception 'cannot report %', left(coalesce(p_event::text, 'null'), 200)
            using errcode = 'invalid_parameter_value',
            hint = 'Needed: an object with "event_type", optionally with "payload", "options" and "priority".';
    end if;
    -- Locked, or it could be told after the answer that is being written right now.
    execute format($query$
        select r.telegram_id, r.lead_id, r.lead_visible, r.locale from public.%I r
        where r.id = $1 and r.attempt = $2 and r.status = 'processing'
        for update
    $query$, v_table)
    into v_telegram_id, v_lead_id, v_lead_visible, v_locale
    using p_id, p_attempt;
    if v_telegram_id is null then
        return false;
    end if;
    perform bridge.tell_chat(
        v_telegram_id, v_lead_id, v_lead_visible, v_locale, null,
        jsonb_build_array(jsonb_build_object(
            'event_type', p_event -> 'event_type',
            'payload', p_event -> 'payload',
            'options', p_event -> 'options',
            'priority', p_event -> 'priority',
            'replaces', v_table || ':' || p_id
        ))
    );
    return true;
end $$;
comment on function public.report_tma_progress(text, bigint, integer, jsonb) is
    'Tells the chat how far the answer to a claimed request has got: {"event_type", "payload", "options", "priority"} becomes an event that replaces the one before, under the key table:id, and that the answer''s event replaces if it has that key. False where the claim no longer holds: then nothing is told.';
revoke execute on function public.report_tma_progress(text, bigint, integer, jsonb)
    from public, anon, authenticated;
grant execute on function public.report_tma_progress(text, bigint, integer, jsonb)
    to service_role, tma_bridge;
