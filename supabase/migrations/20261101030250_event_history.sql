-- What became of a row before its last attempt: a line for each attempt that did not deliver, and for
-- each time that somebody opened the row again. Nothing is written for a row that goes through at once.

create table if not exists bridge.event_history (
    event_id bigint not null,
    number integer not null,
    at timestamptz not null default now(),
    attempt integer not null,
    was text not null,
    became text not null,
    claimed_at timestamptz,
    send_started_at timestamptz,
    retry_at timestamptz,
    failure text,
    error text,
    primary key (event_id, number)
);
comment on table bridge.event_history is
    'How attempts ended that did not deliver, and retries by hand: at most 50 of each row, the latest; gone with the row. Never what a row says.';
comment on column bridge.event_history.number is 'Counts the lines of a row.';
comment on column bridge.event_history.attempt is 'The attempt that ended, or the last one before.';
comment on column bridge.event_history.was is 'The status before.';
comment on column bridge.event_history.became is 'The status since.';
comment on column bridge.event_history.claimed_at is 'When the attempt had claimed the row.';
comment on column bridge.event_history.send_started_at is
    'When the attempt had passed the fence; null: nothing was sent.';
comment on column bridge.event_history.retry_at is 'Until when the row waits.';
comment on column bridge.event_history.failure is 'Why it failed.';
comment on column bridge.event_history.error is 'The same for people.';
revoke all on bridge.event_history from public, anon, authenticated, service_role, tma_bridge;

create or replace function bridge.remember_end() returns trigger
language plpgsql security definer set search_path = ''
set enable_seqscan = off set enable_bitmapscan = off set jit = off -- only the primary key leads there
as $$
declare
    c_most constant integer := 50;
    v_number constant integer := 1 + coalesce((
        select h.number from bridge.event_history h
        where h.event_id = new.id order by h.number desc limit 1
    ), 0);
begin
    insert into bridge.event_history (
        event_id, number, attempt, was, became,
        claimed_at, send_started_at, retry_at, failure, error
    )
    values (
        new.id, v_number, old.attempt, old.status, new.status,
        old.claimed_at, old.send_started_at, new.retry_at, new.failure, left(new.error, 500)
    );
    delete from bridge.event_history h
    where h.event_id = new.id and h.number <= v_number - c_most;
    return null;
end $$;
comment on function bridge.remember_end() is
    'Writes down that an attempt ended without a delivery, or that a row was opened again.';
revoke execute on function bridge.remember_end() from public, anon, authenticated;

-- The condition is looked at where the row is written: a row that is claimed and delivered pays for
-- that and nothing else.
create or replace trigger remember_end after update on public.tma_events
    for each row when (
        old.status is distinct from new.status and new.status not in ('processing', 'delivered')
    )
    execute function bridge.remember_end();

create or replace function bridge.forget_history() returns trigger
language plpgsql security definer set search_path = ''
set enable_seqscan = off set enable_bitmapscan = off set jit = off
as $$
begin
    delete from bridge.event_history h where h.event_id = any (array(select d.id from deleted d));
    return null;
end $$;
comment on function bridge.forget_history() is 'The history of deleted rows goes with them.';
revoke execute on function bridge.forget_history() from public, anon, authenticated;

-- Not a foreign key, which would refuse to truncate the table.
create or replace trigger forget_history after delete on public.tma_events
    referencing old table as deleted
    for each statement execute function bridge.forget_history();

create or replace function bridge.forget_all_history() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    delete from bridge.event_history;
    return null;
end $$;
comment on function bridge.forget_all_history() is 'Ids may begin anew after a truncate.';
revoke execute on function bridge.forget_all_history() from public, anon, authenticated;

create or replace trigger forget_all_history after truncate on public.tma_events
    for each statement execute function bridge.forget_all_history();

create or replace function bridge.history_of(p_id bigint) returns jsonb
language sql stable set search_path = '' as $$
    select coalesce(jsonb_agg(to_jsonb(h) - array['event_id', 'number'] order by h.number), '[]')
    from bridge.event_history h
    where h.event_id = p_id
$$;
comment on function bridge.history_of(bigint) is 'The lines of a row''s history, the first one first.';
revoke execute on function bridge.history_of(bigint) from public, anon, authenticated;
