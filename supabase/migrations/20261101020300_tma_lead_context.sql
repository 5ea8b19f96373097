-- What a planner is told of the lead beside its name. The Mini App sends the lead's id only.

-- Users replace this function by their own, so applying this file again must leave theirs alone.
do $do$
begin
    if to_regprocedure('public.tma_lead_context(bigint)') is not null then
        return;
    end if;
    create function public.tma_lead_context(p_lead_id bigint) returns jsonb
    language plpgsql stable set search_path = '' as $$
    declare
        v_leads regclass := to_regclass('public.leads');
        v_status text;
    begin
        -- Dynamic, because the table need not exist. The default of realtime-bridge.
        if v_leads is not null then
            execute format('select status::text from %s where id = $1', v_leads)
                into v_status using p_lead_id;
        end if;
        return jsonb_strip_nulls(jsonb_build_object('status', v_status));
    exception
        when others then
            return '{}'::jsonb;
    end $$;
end $do$;
comment on function public.tma_lead_context(bigint) is
    'What planners are told of a lead, a JSON object. By default its status, from public.leads.status; replace it by your own function of the same name and arguments.';
revoke execute on function public.tma_lead_context(bigint) from public, anon, authenticated;
grant execute on function public.tma_lead_context(bigint) to service_role;

create or replace function bridge.lead_context(p_lead_id bigint) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
    v_context jsonb;
begin
    if p_lead_id is null then
        return '{}'::jsonb;
    end if;
    v_context := public.tma_lead_context(p_lead_id);
    return case when jsonb_typeof(v_context) = 'object' then v_context else '{}'::jsonb end;
exception
    -- A user's function: its error costs the planner the context, not the claim its rows.
    when others then
        raise warning 'tma_lead_context(%) failed: %', p_lead_id, sqlerrm;
        return '{}'::jsonb;
end $$;
comment on function bridge.lead_context(bigint) is
    'tma_lead_context(), or an empty object. Never fails.';
revoke execute on function bridge.lead_context(bigint) from public, anon, authenticated;
