-- A chat's place in the queue. A claim walks along the rows that are due, and of each chat and class
-- (priority) only the first open row may go. So that a chat with very many rows costs the others nothing, only its first
-- few stand in the index that claims walk along; the others are marked as standing behind them, and
-- move up as rows before them end.

create or replace function bridge.rows_in_front() returns integer
language sql immutable parallel safe set search_path = '' as 'select 3';
comment on function bridge.rows_in_front() is
    'How many rows of one chat and class claims look at. One would do; with a few, a row that is inserted while the one before it is settled need not wait for the next sweep to move up.';
revoke execute on function bridge.rows_in_front() from public, anon, authenticated;

create index if not exists tma_events_behind_by_class
    on public.tma_events (telegram_id, priority) where settled_at is null and behind;
drop index if exists public.tma_events_behind; -- from when there was one class

do $$
begin
    create type bridge.line as (telegram_id bigint, priority smallint);
exception
    when duplicate_object then null;
end $$;
comment on type bridge.line is 'The rows of one chat that have one priority: they go in order.';

-- A statement that inserts very many rows for one chat is seen by the row before: looking for others in
-- the table would take twice the time of the insert itself. What this leaves is found afterwards, but
-- at the price of a dead entry in the index that claims walk along.
create or replace function bridge.place_crowd() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
    v_row constant text := concat_ws(' ', new.telegram_id, new.priority, new.deliver_after);
    v_rows integer := 1;
begin
    if current_setting('bridge.crowd', true) = v_row then
        v_rows := current_setting('bridge.crowd_rows')::integer + 1;
    else
        perform set_config('bridge.crowd', v_row, true);
    end if;
    perform set_config('bridge.crowd_rows', v_rows::text, true);
    new.behind := v_rows > bridge.rows_in_front();
    return new;
end $$;
comment on function bridge.place_crowd() is
    'Marks the fourth row of a run of rows that one statement inserts for one chat, class and time, and those after it.';
revoke execute on function bridge.place_crowd() from public, anon, authenticated;

create or replace trigger place_crowd before insert on public.tma_events
    for each row when (new.settled_at is null and new.status = 'pending')
    execute function bridge.place_crowd();

-- After the statement and for all of its rows at once.
create or replace function bridge.place_events() returns trigger
language plpgsql security definer set search_path = ''
-- Only the index of open rows by chat leads to these rows, whatever a kept plan knew of the table.
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set jit = off
as $$
begin
    update public.tma_events e
    set behind = true,
        -- What holds a row is decided when it is the first.
        retry_at = case when e.held_by is null then e.retry_at end, held_by = null
    where e.id = any (array(
        -- New rows behind others ...
        select i.id
        from inserted i
        where i.settled_at is null and i.status = 'pending' and not i.behind
            and ( -- `exists` would be planned as a join, with more than one way to go
                select f.id
                from public.tma_events f
                where f.telegram_id = i.telegram_id and f.priority = i.priority
                    and f.settled_at is null
                    and (f.deliver_after, f.id) < (i.deliver_after, i.id)
                order by f.deliver_after, f.id
                offset bridge.rows_in_front() - 1
                limit 1
            ) is not null
        union all
        -- ... or behind one that waits for long ...
        select i.id
        from inserted i
        where i.settled_at is null and i.status = 'pending' and not i.behind
            and (
                select f.held_by
                from public.tma_events f
                where f.telegram_id = i.telegram_id and f.priority = i.priority
                    and f.settled_at is null
                order by f.deliver_after, f.id
                limit 1
            ) is not null
        union all
        -- ... and others behind new ones. One that somebody else holds stays where it is: a row too
        -- many in front does no harm.
        select pushed.id
        from (
            select i.telegram_id, i.priority, count(*) as rows
            from inserted i
            where i.settled_at is null
            group by i.telegram_id, i.priority
        ) chats
        cross join lateral (
            select p.id, p.behind, p.status
            from public.tma_events p
            where p.telegram_id = chats.telegram_id and p.priority = chats.priority
                and p.settled_at is null
            order by p.deliver_after, p.id
            offset bridge.rows_in_front()
            limit least(chats.rows, bridge.rows_in_front())
        ) pushed
        cross join lateral (
            select l.id from public.tma_events l where l.id = pushed.id for update skip locked
        ) locked
        where pushed.status = 'pending' and not pushed.behind
    ));
    -- A row that place_crowd() counted was not inserted if its dedupe key was there.
    perform bridge.promote_events(array(
        select (i.telegram_id, i.priority)::bridge.line from inserted i where i.behind
    ));
    return null;
end $$;
comment on function bridge.place_events() is
    'Marks rows that stand behind the first open rows of their chat.';
revoke execute on function bridge.place_events() from public, anon, authenticated;

create or replace trigger place_events after insert on public.tma_events
    referencing new table as inserted
    for each statement execute function bridge.place_events();

create or replace function bridge.place_moved_event() returns trigger
language plpgsql security definer set search_path = ''
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set jit = off
as $$
begin
    new.behind := exists (
        select from public.tma_events e
        where e.telegram_id = new.telegram_id and e.priority = new.priority
            and e.settled_at is null and e.id <> new.id
            and (e.deliver_after, e.id) < (new.deliver_after, new.id)
        order by e.deliver_after, e.id
        offset bridge.rows_in_front() - 1
    );
    return new;
end $$;
comment on function bridge.place_moved_event() is
    'Places a row that was opened again, moved, or given another class: by a retry, or by hand.';
revoke execute on function bridge.place_moved_event() from public, anon, authenticated;

create or replace trigger place_moved_event
    before update of telegram_id, priority, deliver_after, settled_at on public.tma_events
    for each row when (
        new.settled_at is null
        and (old.settled_at, old.telegram_id, old.priority, old.deliver_after)
            is distinct from (new.settled_at, new.telegram_id, new.priority, new.deliver_after)
    )
    execute function bridge.place_moved_event();

create or replace function bridge.push_behind_moved_event() returns trigger
language plpgsql security definer set search_path = ''
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set jit = off
as $$
begin
    update public.tma_events e
    set behind = true,
        retry_at = case when e.held_by is null then e.retry_at end, held_by = null
    where e.id = any (array(
        select pushed.id
        from (
            select p.id, p.behind, p.status
            from public.tma_events p
            where p.telegram_id = new.telegram_id and p.priority = new.priority
                and p.settled_at is null
            order by p.deliver_after, p.id
            offset bridge.rows_in_front()
            limit bridge.rows_in_front()
        ) pushed
        cross join lateral (
            select l.id from public.tma_events l where l.id = pushed.id for update skip locked
        ) locked
        where pushed.status = 'pending' and not pushed.behind
    ));
    return null;
end $$;
comment on function bridge.push_behind_moved_event() is
    'Marks the rows before which a moved one has come, as place_events() does for a new one: or whoever moves many would fill what claims walk along.';
revoke execute on function bridge.push_behind_moved_event() from public, anon, authenticated;

create or replace trigger push_behind_moved_event
    after update of telegram_id, priority, deliver_after, settled_at on public.tma_events
    for each row when (
        new.settled_at is null and not new.behind
        and (old.settled_at, old.telegram_id, old.priority, old.deliver_after)
            is distinct from (new.settled_at, new.telegram_id, new.priority, new.deliver_after)
    )
    execute function bridge.push_behind_moved_event();

drop function if exists bridge.promote_events(bigint[]); -- from when there was one class
create or replace function bridge.promote_events(p_lines bridge.line[]) returns void
language plpgsql set search_path = ''
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set jit = off
as $$
begin
    update public.tma_events e set behind = false
    where e.id = any (array(
        select front.id
        from (select distinct telegram_id, priority from unnest(p_lines)) lines
        cross join lateral (
            select f.id, f.behind,
                first_value(f.held_by) over (order by f.deliver_after, f.id) as line_held_by
            from public.tma_events f
            where f.telegram_id = lines.telegram_id and f.priority = lines.priority
                and f.settled_at is null
            order by f.deliver_after, f.id
            limit bridge.rows_in_front()
        ) front
        cross join lateral (
            -- Nobody waits here, so nobody can wait in a circle: the next sweep looks again.
            select l.id from public.tma_events l where l.id = front.id for update skip locked
        ) locked
        where front.behind and front.line_held_by is null
    ));
end $$;
comment on function bridge.promote_events(bridge.line[]) is
    'Lets rows of these chats and classes move up, after rows before them have ended.';
revoke execute on function bridge.promote_events(bridge.line[]) from public, anon, authenticated;

create or replace function bridge.promote_all_events() returns void
language plpgsql set search_path = ''
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set jit = off
as $$
begin
    perform bridge.promote_events(array(
        -- From one line to the next along the index, not through the rows of each.
        with recursive lines as (
            (
                select e.telegram_id, e.priority from public.tma_events e
                where e.settled_at is null and e.behind
                order by e.telegram_id, e.priority
                limit 1
            )
            union all
            select next.telegram_id, next.priority
            from lines
            cross join lateral (
                select e.telegram_id, e.priority from public.tma_events e
                where e.settled_at is null and e.behind
                    and (e.telegram_id, e.priority) > (lines.telegram_id, lines.priority)
                order by e.telegram_id, e.priority
                limit 1
            ) next
        )
        select (telegram_id, priority)::bridge.line from lines
    ));
end $$;
comment on function bridge.promote_all_events() is
    'What promote_events() does, for every chat and class that has rows behind: for rows that missed it, as one inserted at the moment when the rows before it ended.';
revoke execute on function bridge.promote_all_events() from public, anon, authenticated;

create or replace function bridge.promote_after_delete() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    perform bridge.promote_events(array(
        select (d.telegram_id, d.priority)::bridge.line
        from deleted d where d.settled_at is null and not d.behind
    ));
    return null;
end $$;
comment on function bridge.promote_after_delete() is
    'Rows behind a deleted one move up.';
revoke execute on function bridge.promote_after_delete() from public, anon, authenticated;

create or replace trigger promote_after_delete after delete on public.tma_events
    referencing old table as deleted
    for each statement execute function bridge.promote_after_delete();

-- Rows that were here before. The trigger marks those that are inserted from now on.
update public.tma_events e
set behind = true
from (
    select id, row_number() over (
        partition by telegram_id, priority order by deliver_after, id
    ) as place
    from public.tma_events
    where settled_at is null
) placed
where e.id = placed.id and placed.place > bridge.rows_in_front() and not e.behind;
