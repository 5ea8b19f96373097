-- A chat's place in the queue. A claim walks along the rows that are due, and of each chat only the
-- first open row may go. So that a chat with very many rows costs the others nothing, only its first
-- few stand in the index that claims walk along; the others are marked as standing behind them, and
-- move up as rows before them end.

create or replace function bridge.rows_in_front() returns integer
language sql immutable parallel safe set search_path = '' as 'select 3';
comment on function bridge.rows_in_front() is
    'How many rows of one chat claims look at. One would do; with a few, a row that is inserted while the one before it is settled need not wait for the next sweep to move up.';
revoke execute on function bridge.rows_in_front() from public, anon, authenticated;

create index if not exists tma_events_behind
    on public.tma_events (telegram_id) where settled_at is null and behind;

-- After the statement and for all of its rows at once: one by one would take twice the time of the
-- insert itself.
create or replace function bridge.place_events() returns trigger
language plpgsql security definer set search_path = ''
-- Only the index of open rows by chat leads to these rows, whatever a kept plan knew of the table.
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set jit = off
as $$
begin
    update public.tma_events e set behind = true
    where e.id = any (array(
        -- New rows behind others ...
        select i.id
        from inserted i
        where i.settled_at is null and i.status = 'pending'
            and ( -- `exists` would be planned as a join, with more than one way to go
                select f.id
                from public.tma_events f
                where f.telegram_id = i.telegram_id and f.settled_at is null
                    and (f.deliver_after, f.id) < (i.deliver_after, i.id)
                order by f.deliver_after, f.id
                offset bridge.rows_in_front() - 1
                limit 1
            ) is not null
        union all
        -- ... and others behind new ones. One that somebody else holds stays where it is: a row too
        -- many in front does no harm.
        select pushed.id
        from (
            select i.telegram_id, count(*) as rows
            from inserted i
            where i.settled_at is null
            group by i.telegram_id
        ) chats
        cross join lateral (
            select p.id, p.behind, p.status
            from public.tma_events p
            where p.telegram_id = chats.telegram_id and p.settled_at is null
            order by p.deliver_after, p.id
            offset bridge.rows_in_front()
            limit least(chats.rows, bridge.rows_in_front())
        ) pushed
        cross join lateral (
            select l.id from public.tma_events l where l.id = pushed.id for update skip locked
        ) locked
        where pushed.status = 'pending' and not pushed.behind
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
        where e.telegram_id = new.telegram_id and e.settled_at is null and e.id <> new.id
            and (e.deliver_after, e.id) < (new.deliver_after, new.id)
        order by e.deliver_after, e.id
        offset bridge.rows_in_front() - 1
    );
    return new;
end $$;
comment on function bridge.place_moved_event() is
    'Places a row that was opened again, or moved: by a retry, or by hand.';
revoke execute on function bridge.place_moved_event() from public, anon, authenticated;

create or replace trigger place_moved_event
    before update of telegram_id, deliver_after, settled_at on public.tma_events
    for each row when (
        new.settled_at is null
        and (old.settled_at, old.telegram_id, old.deliver_after)
            is distinct from (new.settled_at, new.telegram_id, new.deliver_after)
    )
    execute function bridge.place_moved_event();

create or replace function bridge.promote_events(p_chats bigint[]) returns void
language plpgsql set search_path = ''
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set jit = off
as $$
begin
    update public.tma_events e set behind = false
    where e.id = any (array(
        select front.id
        from (select distinct chat from unnest(p_chats) chat) chats
        cross join lateral (
            select f.id, f.behind
            from public.tma_events f
            where f.telegram_id = chats.chat and f.settled_at is null
            order by f.deliver_after, f.id
            limit bridge.rows_in_front()
        ) front
        cross join lateral (
            -- Nobody waits here, so nobody can wait in a circle: the next sweep looks again.
            select l.id from public.tma_events l where l.id = front.id for update skip locked
        ) locked
        where front.behind
    ));
end $$;
comment on function bridge.promote_events(bigint[]) is
    'Lets rows of these chats move up, after rows before them have ended.';
revoke execute on function bridge.promote_events(bigint[]) from public, anon, authenticated;

create or replace function bridge.promote_all_events() returns void
language plpgsql set search_path = ''
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set jit = off
as $$
begin
    perform bridge.promote_events(array(
        -- From one chat to the next along the index, not through the rows of each.
        with recursive chats as (
            (
                select e.telegram_id from public.tma_events e
                where e.settled_at is null and e.behind
                order by e.telegram_id
                limit 1
            )
            union all
            select (
                select e.telegram_id from public.tma_events e
                where e.settled_at is null and e.behind and e.telegram_id > chats.telegram_id
                order by e.telegram_id
                limit 1
            )
            from chats
            where chats.telegram_id is not null
        )
        select telegram_id from chats where telegram_id is not null
    ));
end $$;
comment on function bridge.promote_all_events() is
    'What promote_events() does, for every chat that has rows behind: for rows that missed it, as one inserted at the moment when the rows before it ended.';
revoke execute on function bridge.promote_all_events() from public, anon, authenticated;

create or replace function bridge.promote_after_delete() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    perform bridge.promote_events(array(
        select d.telegram_id from deleted d where d.settled_at is null and not d.behind
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
    select id, row_number() over (partition by telegram_id order by deliver_after, id) as place
    from public.tma_events
    where settled_at is null
) placed
where e.id = placed.id and placed.place > bridge.rows_in_front() and not e.behind;
