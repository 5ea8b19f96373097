-- The bridges that work on this database, by what each says of itself when it sweeps. Nobody relies on
-- it: it is there to be looked at.

create table if not exists bridge.replicas (
    id uuid primary key,
    seen_at timestamptz not null default now(),
    name text not null,
    version text not null,
    changes text,
    broadcast text,
    problem text,
    per_second double precision,
    every_seconds double precision
);
comment on table bridge.replicas is
    'One row of each bridge that has swept within the last ten minutes, at most 100 of them.';
comment on column bridge.replicas.id is 'Made by the bridge when it starts.';
comment on column bridge.replicas.seen_at is 'When it last swept.';
comment on column bridge.replicas.name is 'The machine that it runs on.';
comment on column bridge.replicas.changes is 'Whether it hears Postgres Changes.';
comment on column bridge.replicas.broadcast is 'Whether it hears broadcasts.';
comment on column bridge.replicas.problem is 'Why it heard nothing, while no bell can be relied on.';
comment on column bridge.replicas.per_second is 'The limit of the bot by its settings; null: none.';
comment on column bridge.replicas.every_seconds is 'It sweeps again after so long.';
revoke all on bridge.replicas from public, anon, authenticated, service_role, tma_bridge;

create or replace function bridge.number_in(p_value jsonb) returns double precision
language sql immutable set search_path = '' as $$
    select case
        when jsonb_typeof(p_value) = 'number'
        then least(greatest((p_value #>> '{}')::numeric, 0), 1000000)::double precision
    end
$$;
comment on function bridge.number_in(jsonb) is
    'A number between 0 and a million; null for what is not a number.';
revoke execute on function bridge.number_in(jsonb) from public, anon, authenticated;

create or replace function bridge.note_replica(p_replica jsonb) returns void
language plpgsql set search_path = '' as $$
declare
    c_most constant integer := 100;
begin
    if p_replica is not null then
        insert into bridge.replicas as r (
            id, name, version, changes, broadcast, problem, per_second, every_seconds
        )
        values (
            (p_replica ->> 'id')::uuid,
            left(coalesce(p_replica ->> 'name', ''), 100),
            left(coalesce(p_replica ->> 'version', ''), 40),
            left(p_replica ->> 'changes', 20),
            left(p_replica ->> 'broadcast', 20),
            left(p_replica ->> 'problem', 300),
            bridge.number_in(p_replica -> 'per_second'),
            bridge.number_in(p_replica -> 'every_seconds')
        )
        on conflict (id) do update
        set seen_at = now(), name = excluded.name, version = excluded.version,
            changes = excluded.changes, broadcast = excluded.broadcast,
            problem = excluded.problem, per_second = excluded.per_second,
            every_seconds = excluded.every_seconds;
    end if;

    delete from bridge.replicas r
    where r.id = any (array(
        select o.id
        from (select s.id, s.seen_at from bridge.replicas s order by s.seen_at desc) o
        where o.seen_at < now() - interval '10 minutes'
        union all
        (select s.id from bridge.replicas s order by s.seen_at desc, s.id offset c_most)
    )) and r.id = any (array(
        -- Nobody waits for another sweep that forgets the same.
        select l.id from bridge.replicas l for update skip locked
    ));
exception
    when others then
        raise warning 'a bridge said of itself what cannot be kept: %', sqlerrm;
end $$;
comment on function bridge.note_replica(jsonb) is
    'Writes down what a bridge says of itself: {"id", "name", "version", "changes", "broadcast", "problem", "per_second", "every_seconds"}, cut to what is shown. Forgets those not seen for ten minutes. Never fails.';
revoke execute on function bridge.note_replica(jsonb) from public, anon, authenticated;

create or replace function public.tma_replicas() returns jsonb
language sql stable security definer set search_path = '' as $$
    select jsonb_build_object(
        'replicas', coalesce((
            select jsonb_agg(
                to_jsonb(r) - array['id', 'seen_at'] || jsonb_build_object(
                    'seen_seconds',
                    greatest(extract(epoch from now() - r.seen_at), 0)::double precision
                )
                order by r.name, r.id
            )
            from bridge.replicas r
            where r.seen_at > now() - interval '10 minutes'
        ), '[]'),
        'pace', bridge.pace_now()
    )
$$;
comment on function public.tma_replicas() is
    'The bridges that have swept within the last ten minutes ("seen_seconds" ago), each by what it says of itself; and the pace of the bot: its limits (null: none), whether bridges have different ones, how long it is paused (0: not), and how many chats are.';
revoke execute on function public.tma_replicas() from public, anon, authenticated;
grant execute on function public.tma_replicas() to service_role, tma_bridge;
