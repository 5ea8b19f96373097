-- Taking rows back from workers that went away with them. What a crash means is decided by the
-- fence: before it nothing was sent, after it nobody can know.

create or replace function public.recover_tma_events(
    p_lease interval,
    p_resend_uncertain boolean,
    out returned integer,
    out resent integer,
    out uncertain integer,
    out next_due_seconds double precision
)
language plpgsql security definer set search_path = ''
-- Called too seldom for a plan to be kept, which may be from when the table was empty. A scan of the
-- index itself, because one through a bitmap would go over the rows of the last hour every time.
set plan_cache_mode = force_custom_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set jit = off
as $$
declare
    v_again bigint[]; -- nothing of them can be in the chat twice
    v_started bigint[];
    v_news bridge.chat_news[];
begin
    if p_lease is null or p_lease < interval '0' or p_resend_uncertain is null then
        raise exception 'p_lease must be an interval of zero or more and p_resend_uncertain true or false'
            using errcode = 'invalid_parameter_value';
    end if;

    with held as (
        select e.id from public.tma_events e
        where e.status = 'processing' and e.gathered_into is null
        union all
        -- One that was gathered into another goes with that, unless that was deleted.
        select m.id from public.tma_events m
        where m.status = 'processing' and m.gathered_into is not null
            and (
                select l.id from public.tma_events l
                where l.id = m.gathered_into and l.status = 'processing'
            ) is null
    ),
    stale as materialized (
        select e.id, e.telegram_id, e.started, e.started and e.edits = 0 as in_doubt, e.alone
        from held
        cross join lateral (
            select e.id, e.telegram_id, e.send_started_at is not null as started,
                coalesce(e.edits, 0) as edits, e.gathered_into is null as alone
            from public.tma_events e
            where e.id = held.id and e.status = 'processing'
                -- Claimed in the future: by nobody, and it would be so for ever.
                and (e.claimed_at < now() - p_lease or e.claimed_at > now() + interval '1 minute')
            for update skip locked
        ) e
    )
    select
        bridge.with_gathered(array_agg(stale.id) filter (where not stale.in_doubt)),
        bridge.with_gathered(array_agg(stale.id) filter (where stale.in_doubt)),
        array_agg((stale.telegram_id, now(), null, null, null)::bridge.chat_news)
            filter (where stale.started and stale.alone)
    into v_again, v_started, v_news
    from stale;

    returned := coalesce(cardinality(v_again), 0);
    resent := case when p_resend_uncertain then coalesce(cardinality(v_started), 0) else 0 end;
    uncertain := coalesce(cardinality(v_started), 0) - resent;
    if p_resend_uncertain then
        v_again := v_again || v_started;
    end if;

    -- Counted, because a row that kills its worker must not do so for ever.
    update public.tma_events e
    set status = 'pending', claimed_at = null, send_started_at = null, gathered_into = null,
        retries = e.retries + 1,
        error = 'the worker that had claimed it went away'
    where e.id = any (v_again);

    update public.tma_events e
    set status = 'failed', settled_at = now(), failure = 'uncertain',
        error = 'the worker went away while sending: it may have been sent'
    where uncertain > 0 and e.id = any (v_started);

    perform bridge.promote_all_events();
    perform bridge.learn(v_news);

    -- Of heads, as in the claim: the others wait for theirs, however long they have been due. And when
    -- the next lease ends: whoever sweeps then takes back at once what a dead worker held.
    select greatest(extract(epoch from next.at - now()), 0)
    into next_due_seconds
    from (
        select least(
            (
                select min(head.goes_at)
                from unnest(array[1, 0, -1]) class
                cross join lateral (
                    select h.goes_at from bridge.event_heads h
                    where h.priority = class
                    order by h.goes_at, h.id
                    limit 1
                ) head
            ),
            (
                select min(e.claimed_at) + p_lease
                from public.tma_events e
                where e.status = 'processing' and e.gathered_into is null
            )
        ) as at
    ) next
    where next.at is not null;
end $$;
comment on function public.recover_tma_events(interval, boolean) is
    'Takes back claims older than p_lease. Not started, or an edit, which does no harm twice: back to pending (returned). Started: failed as uncertain, or with p_resend_uncertain back to pending (resent). next_due_seconds: until the next row is due that no other of its chat holds back (a chat that must wait for its turn: until then), or until the next lease ends; 0 if that is now, null if no row is open: a sweep that finds nothing needs no claim.';
revoke execute on function public.recover_tma_events(interval, boolean)
    from public, anon, authenticated;
grant execute on function public.recover_tma_events(interval, boolean) to service_role, tma_bridge;
