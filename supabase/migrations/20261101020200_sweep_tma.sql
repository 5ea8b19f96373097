-- One sweep of all lanes: an idle bridge asks once for everything.

create or replace function bridge.sweep_requests(p_table text, p_lease_seconds double precision)
returns jsonb
language plpgsql set search_path = '' as $$
declare
    v_lane jsonb;
begin
    select jsonb_build_object(
        'returned', r.returned,
        -- What just came back is due, though that statement did not see it so.
        'next_due_seconds', case when r.returned > 0 then 0 else r.next_due_seconds end
    )
    into v_lane
    from public.recover_tma_requests(p_table, make_interval(secs => p_lease_seconds)) r;
    return jsonb_build_object(p_table, v_lane);
exception
    when others then
        raise warning 'the sweep left out %: %', p_table, sqlerrm;
        return '{}'::jsonb;
end $$;
comment on function bridge.sweep_requests(text, double precision) is
    'The part of sweep_tma() that is about one request table; an empty object if that fails.';
revoke execute on function bridge.sweep_requests(text, double precision)
    from public, anon, authenticated;

drop function if exists public.sweep_tma(interval, boolean, jsonb); -- before "p_replica"
create or replace function public.sweep_tma(
    p_lease interval,
    p_resend_uncertain boolean,
    p_request_leases jsonb default '{}',
    p_replica jsonb default null
)
returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
    v_swept jsonb;
    v_lane jsonb;
    v_table record;
begin
    if jsonb_typeof(p_request_leases) is distinct from 'object' then
        raise exception 'p_request_leases must be an object of {table: seconds}'
            using errcode = 'invalid_parameter_value';
    end if;

    perform bridge.forget_rings(), bridge.forget_probes(), bridge.forget_claim_keys(),
        bridge.forget_chats(), bridge.note_replica(p_replica);
    select to_jsonb(r) into v_lane
    from public.recover_tma_events(p_lease, p_resend_uncertain) r;
    v_swept := jsonb_build_object('tma_events', v_lane);

    for v_table in
        select t.name, (p_request_leases ->> t.name)::double precision as seconds
        from bridge.present_request_tables() t
        where p_request_leases ? t.name
        order by t.name
    loop
        v_swept := v_swept || bridge.sweep_requests(v_table.name, v_table.seconds);
    end loop;
    return v_swept;
end $$;
comment on function public.sweep_tma(interval, boolean, jsonb, jsonb) is
    'recover_tma_events() and, for each table in p_request_leases {table: seconds}, recover_tma_requests(), in one call: {table: {"returned", "next_due_seconds", ...}}. A table that cannot be swept is left out, and keeps nothing from the others: recover_tma_requests() says why. p_replica: what the caller says of itself, see note_replica().';
revoke execute on function public.sweep_tma(interval, boolean, jsonb, jsonb)
    from public, anon, authenticated;
grant execute on function public.sweep_tma(interval, boolean, jsonb, jsonb)
    to service_role, tma_bridge;
