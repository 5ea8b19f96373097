-- One sweep of all lanes: an idle bridge asks once for everything.

create or replace function public.sweep_tma(
    p_lease interval,
    p_resend_uncertain boolean,
    p_request_leases jsonb default '{}'
)
returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
    v_swept jsonb;
    v_lane jsonb;
    v_name text;
    v_seconds double precision;
    v_table regclass;
begin
    if jsonb_typeof(p_request_leases) is distinct from 'object' then
        raise exception 'p_request_leases must be an object of {table: seconds}'
            using errcode = 'invalid_parameter_value';
    end if;

    perform bridge.forget_rings(), bridge.forget_claim_keys(), bridge.forget_chats();
    select to_jsonb(r) into v_lane
    from public.recover_tma_events(p_lease, p_resend_uncertain) r;
    v_swept := jsonb_build_object('tma_events', v_lane);

    for v_name, v_seconds in
        select key, value::double precision from jsonb_each_text(p_request_leases) order by key
    loop
        v_table := to_regclass(format('public.%I', v_name));
        -- What rings as a request table is one.
        if not exists (
            select from pg_trigger t
            where t.tgrelid = v_table and t.tgfoid = 'bridge.ring_for_requests()'::regprocedure
        ) then
            raise exception '% is not a request table', v_name
                using errcode = 'invalid_parameter_value',
                hint = 'Make it one: select bridge.make_request_table(...).';
        end if;
        select jsonb_build_object(
            'returned', r.returned,
            -- What just came back is due, though that statement did not see it so.
            'next_due_seconds', case when r.returned > 0 then 0 else r.next_due_seconds end
        )
        into v_lane
        from bridge.recover_requests(v_table, make_interval(secs => v_seconds)) r;
        v_swept := v_swept || jsonb_build_object(v_name, v_lane);
    end loop;
    return v_swept;
end $$;
comment on function public.sweep_tma(interval, boolean, jsonb) is
    'recover_tma_events() and, for each table in p_request_leases {table: seconds}, recover_requests(), in one call: {table: {"returned", "next_due_seconds", ...}}.';
revoke execute on function public.sweep_tma(interval, boolean, jsonb)
    from public, anon, authenticated;
grant execute on function public.sweep_tma(interval, boolean, jsonb) to service_role, tma_bridge;
