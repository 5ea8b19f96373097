-- Requests of the Mini App that a worker answers on the row itself: the second kind of work.
--
-- A request table is a queue like tma_events with less to guard: answering twice is harmless, so
-- there is no fence, no order within a chat, and a stale row simply goes back to pending.
-- bridge.make_request_table() turns a table into one; it is how plan_requests is made, and how
-- users make theirs. The functions here work on any such table; per table there are thin ones in
-- public that the bridge calls.

alter table bridge.settings
    add column if not exists max_requests_per_user integer not null default 10
        check (max_requests_per_user > 0);
comment on column bridge.settings.max_requests_per_user is
    'Rows of one user that may wait in one request table when the user inserts more.';

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

create or replace function bridge.take_requests(p_table regclass, p_limit integer)
returns setof bridge.taken_request
language plpgsql set search_path = ''
-- Planned at each call, for the table as it is.
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set jit = off
as $$
begin
    return query execute format($query$
        with due as materialized (
            select r.id
            from %1$s r
            where r.settled_at is null
                and r.status = 'pending'
                and coalesce(r.retry_at, r.created_at) <= now()
            order by coalesce(r.retry_at, r.created_at), r.id
            limit $1
            for update skip locked
        )
        update %1$s r
        set status = 'processing', claimed_at = now(), attempt = r.attempt + 1, retry_at = null
        from due
        where r.id = due.id
        returning r.id::bigint, r.attempt, r.lead_id, r.lead_visible, r.created_at,
            bridge.row_json(r)
    $query$, p_table)
    using p_limit;
end $$;
comment on function bridge.take_requests(regclass, integer) is
    'The requests that bridge.claim_requests() takes, in no order.';
revoke execute on function bridge.take_requests(regclass, integer)
    from public, anon, authenticated;

-- Apart from the claim itself, so that the users' functions are planned as usual.
create or replace function bridge.claim_requests(p_table regclass, p_limit integer)
returns table (id bigint, attempt integer, request text)
language plpgsql set search_path = '' as $$
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
comment on function bridge.claim_requests(regclass, integer) is
    'Takes up to p_limit waiting requests, oldest first: each as the text of a JSON object with all its columns, lead_visible, lead_name, lead (see tma_lead_context) and waited_seconds, so that one that cannot be read spoils no other. The attempt is the token for settle and release.';
revoke execute on function bridge.claim_requests(regclass, integer)
    from public, anon, authenticated;

create or replace function bridge.read_request_outcomes(p_outcomes jsonb)
returns table (
    id bigint,
    attempt integer,
    status text,
    result jsonb,
    error text,
    retry_in double precision,
    counted boolean,
    events jsonb,
    withdraw text
)
language plpgsql immutable rows 50 set search_path = '' as $$
#variable_conflict use_column
declare
    v_bad text;
begin
    perform bridge.checked_claims(p_outcomes);
    select left(item.value::text, 200) into v_bad
    from jsonb_array_elements(p_outcomes) item (value)
    cross join jsonb_to_record(item.value) as o (
        status text, result jsonb, error text, retry_in double precision, events jsonb
    )
    where not coalesce(
        case o.status
            when 'completed' then jsonb_typeof(o.result) <> 'null'
            when 'failed' then o.result is null and o.error <> ''
            when 'pending' then o.result is null and o.events is null
                and coalesce(o.retry_in, 0) between 0 and 2592000
        end
        and coalesce(jsonb_typeof(o.events), 'array') = 'array',
        false
    )
    limit 1;
    if v_bad is not null then
        raise exception 'cannot settle %', v_bad
            using errcode = 'invalid_parameter_value',
            hint = 'Needed: "status": "completed" with "result"; "failed" with "error"; or "pending", optionally with "retry_in" (seconds, up to 30 days) and "counted". "events" is an array.';
    end if;
    return query
    select o.id, o.attempt, o.status, o.result, left(o.error, 500),
        coalesce(o.retry_in, 0), coalesce(o.counted, false), o.events, o.withdraw
    from jsonb_to_recordset(p_outcomes) as o (
        id bigint, attempt integer, status text, result jsonb, error text,
        retry_in double precision, counted boolean, events jsonb, withdraw text
    );
end $$;
comment on function bridge.read_request_outcomes(jsonb) is
    'The outcomes that bridge.settle_requests describes. Raises invalid_parameter_value for anything else.';
revoke execute on function bridge.read_request_outcomes(jsonb) from public, anon, authenticated;

create or replace function bridge.withdraw_events(
    p_telegram_id bigint, p_lead_id bigint, p_event_type text, p_step_id text default null
)
returns void
language sql set search_path = '' as $$
    -- One that is being claimed right now is sent: it was due.
    delete from public.tma_events e
    using (
        select w.id
        from public.tma_events w
        where w.telegram_id = p_telegram_id
            and w.settled_at is null and w.status = 'pending'
            and w.lead_id = p_lead_id
            and w.event_type = p_event_type
            and (p_step_id is null or w.payload ->> 'step_id' = p_step_id)
        for update skip locked
    ) withdrawn
    where e.id = withdrawn.id
$$;
comment on function bridge.withdraw_events(bigint, bigint, text, text) is
    'Deletes what of this type still waits for this chat and lead, of one step or of all.';
revoke execute on function bridge.withdraw_events(bigint, bigint, text, text)
    from public, anon, authenticated;

create or replace function bridge.settle_requests(p_table regclass, p_outcomes jsonb)
returns setof bigint
language plpgsql set search_path = '' as $$
declare
    v_outcome record;
    v_id bigint;
    v_telegram_id bigint;
    v_lead_id bigint;
    v_lead_visible boolean;
    v_locale text;
begin
    for v_outcome in
        select * from bridge.read_request_outcomes(p_outcomes) o order by o.id
    loop
        execute format($query$
            update %s r
            set status = $3,
                result = $4,
                error = $5,
                settled_at = case when $3 <> 'pending' then now() end,
                completed_at = case when $3 = 'completed' then now() end,
                claimed_at = case when $3 <> 'pending' then r.claimed_at end,
                retry_at = case
                    when $3 = 'pending' and $6 > 0 then now() + make_interval(secs => $6)
                end,
                retries = r.retries + ($3 = 'pending' and $7)::integer
            where r.id = $1 and r.attempt = $2 and r.status = 'processing'
            returning r.id, r.telegram_id, r.lead_id, coalesce(r.lead_visible, false), r.locale
        $query$, p_table)
        into v_id, v_telegram_id, v_lead_id, v_lead_visible, v_locale
        using v_outcome.id, v_outcome.attempt, v_outcome.status, v_outcome.result,
            v_outcome.error, v_outcome.retry_in, v_outcome.counted;

        if v_id is not null then
            -- With the answer, in the same transaction: neither is there without the other.
            if v_outcome.withdraw is not null then
                perform bridge.withdraw_events(v_telegram_id, v_lead_id, v_outcome.withdraw);
            end if;
            insert into public.tma_events as e (
                telegram_id, lead_id, lead_visible, locale,
                event_type, payload, deliver_after, dedupe_key, priority
            )
            select v_telegram_id, v_lead_id, v_lead_visible, v_locale,
                event.event_type, coalesce(event.payload, '{}'),
                coalesce(event.deliver_after, now()), event.dedupe_key,
                coalesce(event.priority, 0)
            from jsonb_to_recordset(v_outcome.events) as event (
                event_type text, payload jsonb, deliver_after timestamptz, dedupe_key text,
                priority smallint
            )
            on conflict (telegram_id, dedupe_key) do nothing;
            return next v_id;
        else
            -- The caller may repeat a call whose answer it did not get.
            return query execute format(
                'select id from %s where id = $1 and attempt = $2 and status = $3', p_table
            )
            using v_outcome.id, v_outcome.attempt, v_outcome.status;
        end if;
    end loop;
end $$;
comment on function bridge.settle_requests(regclass, jsonb) is
    'Ends claims: [{"id", "attempt", "status", ...}] with status "completed" (result), "failed" (error, for the user to read) or "pending" (retry_in seconds, counted, error). With an answer go "withdraw", a type of event of which nothing that waits for this chat and lead is sent any more, and then "events" for the chat: [{"event_type", "payload", "deliver_after", "dedupe_key", "priority"}]. Returns the ids accepted.';
revoke execute on function bridge.settle_requests(regclass, jsonb)
    from public, anon, authenticated;

create or replace function bridge.release_requests(p_table regclass, p_claims jsonb)
returns setof bigint
language plpgsql set search_path = '' as $$
declare
    v_claims constant jsonb := bridge.checked_claims(p_claims);
begin
    return query execute format($query$
        update %s r
        set status = 'pending', claimed_at = null
        from jsonb_to_recordset($1) as c (id bigint, attempt integer)
        where r.id = c.id and r.attempt = c.attempt and r.status = 'processing'
        returning r.id
    $query$, p_table)
    using v_claims;
    perform bridge.ring((select relname from pg_class where oid = p_table));
end $$;
comment on function bridge.release_requests(regclass, jsonb) is
    'Hands claims back, [{"id", "attempt"}]; no attempt is used up. Returns the ids released.';
revoke execute on function bridge.release_requests(regclass, jsonb)
    from public, anon, authenticated;

create or replace function bridge.recover_requests(
    p_table regclass,
    p_lease interval,
    out returned integer,
    out next_due_seconds double precision
)
language plpgsql set search_path = '' as $$
begin
    if p_lease is null or p_lease < interval '0' then
        raise exception 'p_lease must be an interval of zero or more'
            using errcode = 'invalid_parameter_value';
    end if;
    execute format($query$
        with stale as materialized (
            select r.id from %1$s r
            where r.settled_at is null and r.status = 'processing'
                and (r.claimed_at < now() - $1 or r.claimed_at > now() + interval '1 minute')
            for update skip locked
        ),
        back as (
            update %1$s r
            set status = 'pending', claimed_at = null, retries = r.retries + 1,
                error = 'the worker that had claimed it went away'
            from stale
            where r.id = stale.id
            returning r.id
        )
        select (select count(*) from back), (
            select greatest(extract(epoch from coalesce(r.retry_at, r.created_at) - now()), 0)
            from %1$s r
            where r.settled_at is null and r.status = 'pending'
            order by coalesce(r.retry_at, r.created_at), r.id
            limit 1
        )
    $query$, p_table)
    into returned, next_due_seconds
    using p_lease;
end $$;
comment on function bridge.recover_requests(regclass, interval) is
    'Takes claims older than p_lease back to pending, each counted as a retry: how often is enough is for the worker to say that claims it again. next_due_seconds: until the next pending row is due, 0 if one is due now, null if none is pending.';
revoke execute on function bridge.recover_requests(regclass, interval)
    from public, anon, authenticated;

create or replace function bridge.count_requests(p_table regclass) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
    v_counts jsonb;
begin
    execute format($query$
        select jsonb_build_object(
            'pending', count(*) filter (where r.status = 'pending'),
            'processing', count(*) filter (where r.status = 'processing'),
            'oldest_pending_seconds', coalesce(extract(epoch from
                now() - min(r.created_at) filter (where r.status = 'pending')), 0)
        )
        from %s r
        where r.settled_at is null
    $query$, p_table)
    into v_counts;
    return v_counts;
end $$;
comment on function bridge.count_requests(regclass) is
    'Requests pending and processing now; oldest_pending_seconds since it was inserted (0: none).';
revoke execute on function bridge.count_requests(regclass) from public, anon, authenticated;

create or replace function bridge.ring_for_requests() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    if exists (select from inserted where status = 'pending') then
        perform bridge.ring(tg_table_name);
    end if;
    return null;
end $$;
comment on function bridge.ring_for_requests() is
    'Rings once per statement that inserted requests.';
revoke execute on function bridge.ring_for_requests() from public, anon, authenticated;

-- Before the row is stored, so that a statement of ten thousand is refused at the first that is wrong
-- or one too many; what counts in the end is the table after the statement.
create or replace function bridge.check_user_request() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
    v_limits bridge.settings;
    v_rows bigint := nullif(current_setting('bridge.due_rows', true), '')::bigint;
begin
    select * into v_limits from bridge.settings;
    -- One level more than a payload has: the row around it.
    perform bridge.check_json('the request', to_jsonb(new), v_limits.max_payload_bytes, 33);
    v_rows := coalesce(v_rows, 0) + 1;
    perform bridge.check_requests_waiting(v_limits, v_rows);
    perform set_config('bridge.due_rows', v_rows::text, true);
    return new;
end $$;
comment on function bridge.check_user_request() is
    'Refuses a request that is too large or nested too deep, and the first that is one too many.';
revoke execute on function bridge.check_user_request() from public, anon, authenticated;

create or replace function bridge.check_requests_waiting(p_limits bridge.settings, p_rows bigint)
returns void
language plpgsql immutable set search_path = '' as $$
begin
    if p_rows > p_limits.max_requests_per_user then
        raise exception 'too many requests of this user wait to be answered'
            using errcode = 'check_violation',
            hint = format('Up to %s. Try again when some have been answered.',
                p_limits.max_requests_per_user);
    end if;
end $$;
comment on function bridge.check_requests_waiting(bridge.settings, bigint) is
    'Raises check_violation where a user has so many requests waiting.';
revoke execute on function bridge.check_requests_waiting(bridge.settings, bigint)
    from public, anon, authenticated;

-- Answers write events: without this, a user who may have no more of them could ask for plans instead.
create or replace function bridge.check_open_events(p_telegram_id bigint, p_limits bridge.settings)
returns void
language plpgsql stable set search_path = '' as $$
declare
    v_most constant integer :=
        least(p_limits.max_pending_per_user::bigint + p_limits.max_scheduled_per_user, 2000000000);
begin
    if bridge.count_due(p_telegram_id, v_most, 'infinity') >= v_most then
        raise exception 'too many events wait to be sent to this user'
            using errcode = 'check_violation',
            hint = format('Up to %s, with those scheduled. Try again when some have been delivered.',
                v_most);
    end if;
end $$;
comment on function bridge.check_open_events(bigint, bridge.settings) is
    'Raises check_violation where a user has as many events waiting and scheduled as are allowed.';
revoke execute on function bridge.check_open_events(bigint, bridge.settings)
    from public, anon, authenticated;

create or replace function bridge.check_user_requests() returns trigger
language plpgsql security definer set search_path = ''
set enable_seqscan = off set enable_bitmapscan = off set jit = off
as $$
declare
    v_limits bridge.settings;
    v_user record;
    v_waiting bigint;
begin
    select * into v_limits from bridge.settings;
    for v_user in
        select distinct telegram_id from inserted order by telegram_id
    loop
        perform bridge.take_turn(v_user.telegram_id);
        execute format(
            'select count(*) from (select from %s where telegram_id = $1 and settled_at is null limit $2) waiting',
            tg_relid::regclass
        )
        into v_waiting
        using v_user.telegram_id, v_limits.max_requests_per_user + 1;
        perform bridge.check_requests_waiting(v_limits, v_waiting);
        perform bridge.check_open_events(v_user.telegram_id, v_limits);
    end loop;
    return null;
end $$;
comment on function bridge.check_user_requests() is
    'Refuses a statement after which a user would have too many requests waiting, and any from a user who has too many events open.';
revoke execute on function bridge.check_user_requests() from public, anon, authenticated;

create or replace function bridge.make_request_table(p_table regclass, p_user_columns text[])
returns void
language plpgsql set search_path = '' as $$
declare
    v_name text;
    v_rule record;
    v_function record;
begin
    select relname into v_name
    from pg_class where oid = p_table and relnamespace = 'public'::regnamespace;
    if v_name is null then
        raise exception '% must be in the schema public, where the API finds it', p_table;
    end if;

    -- Shape

    execute format($ddl$
        alter table %s
            add column if not exists telegram_id bigint,
            add column if not exists lead_id bigint,
            add column if not exists status text,
            add column if not exists result jsonb,
            add column if not exists error text,
            add column if not exists created_at timestamptz,
            add column if not exists completed_at timestamptz,
            add column if not exists dedupe_key text,
            add column if not exists locale text,
            add column if not exists attempt integer not null default 0,
            add column if not exists retries integer not null default 0,
            add column if not exists retry_at timestamptz,
            add column if not exists claimed_at timestamptz,
            add column if not exists settled_at timestamptz,
            add column if not exists lead_visible boolean
    $ddl$, p_table);

    -- Rows of an older table. Answering again is harmless, so what was in work is to be done.
    execute format($dml$
        update %s set
            created_at = coalesce(created_at, now()),
            status = case
                when status is null or (status = 'processing' and claimed_at is null) then 'pending'
                else status
            end,
            settled_at = case
                when status in ('completed', 'failed')
                then coalesce(settled_at, completed_at, created_at, now())
            end,
            completed_at = case
                when status = 'completed' then coalesce(completed_at, created_at, now())
            end,
            error = case
                when status = 'failed' then coalesce(nullif(error, ''), 'failed without a reason')
                else error
            end
        where created_at is null or status is null
            or (status = 'processing' and claimed_at is null)
            or (status in ('completed', 'failed') and settled_at is null)
    $dml$, p_table);

    execute format($ddl$
        alter table %s
            alter column telegram_id set not null,
            alter column telegram_id set default bridge.statement_user_id(),
            alter column status set not null,
            alter column status set default 'pending',
            alter column created_at set not null,
            alter column created_at set default now(),
            alter column locale set default bridge.statement_user_locale(),
            replica identity default,
            set (
                autovacuum_vacuum_scale_factor = 0.02,
                autovacuum_vacuum_threshold = 1000
            )
    $ddl$, p_table);

    for v_rule in
        select * from (values
            ('status_is_known',
                'check (status in (''pending'', ''processing'', ''completed'', ''failed''))'),
            ('pending_is_unclaimed', 'check (status <> ''pending'' or claimed_at is null)'),
            ('processing_is_claimed',
                'check (status <> ''processing'' or (claimed_at is not null and retries < attempt))'),
            ('terminal_is_settled',
                'check ((status in (''completed'', ''failed'')) = (settled_at is not null))'),
            ('completed_has_time',
                'check ((status = ''completed'') = (completed_at is not null))'),
            ('failed_has_error', 'check (status <> ''failed'' or error is not null)'),
            ('retry_is_pending', 'check (retry_at is null or status = ''pending'')'),
            ('retries_within_attempts', 'check (retries between 0 and attempt)'),
            ('attempt_can_grow', 'check (attempt < 2000000000)'),
            ('times_are_finite',
                'check (isfinite(created_at) and isfinite(retry_at) and isfinite(claimed_at)'
                ' and isfinite(settled_at) and isfinite(completed_at))'),
            ('dedupe_key_is_short', 'check (char_length(dedupe_key) between 1 and 200)'),
            ('locale_is_short', 'check (char_length(locale) between 1 and 35)'),
            ('dedupe_key', 'unique (telegram_id, dedupe_key)')
        ) as rules (name, rule)
    loop
        execute format('alter table %s drop constraint if exists %I', p_table,
            v_name || '_' || v_rule.name);
        execute format('alter table %s add constraint %I %s', p_table,
            v_name || '_' || v_rule.name, v_rule.rule);
    end loop;

    execute format(
        'create index if not exists %I on %s ((coalesce(retry_at, created_at)), id) where settled_at is null',
        v_name || '_due', p_table
    );
    execute format(
        'create index if not exists %I on %s (telegram_id) where settled_at is null',
        v_name || '_waiting', p_table
    );

    perform bridge.use_identity(p_table);

    -- Access

    execute format('alter table %s enable row level security', p_table);
    execute format(
        'revoke all on %s from public, anon, authenticated, service_role, tma_bridge', p_table
    );
    execute format('grant select, insert, update, delete on %s to service_role', p_table);
    execute format('grant select on %s to anon, authenticated', p_table);
    execute format(
        'grant insert (telegram_id, dedupe_key, %s) on %s to anon, authenticated',
        (select string_agg(quote_ident(name), ', ') from unnest(p_user_columns) name), p_table
    );
    execute format('grant select (id) on %s to tma_bridge', p_table);

    perform bridge.drop_open_policy(p_table);
    execute format('drop policy if exists "users insert their own requests" on %s', p_table);
    execute format($ddl$
        create policy "users insert their own requests" on %s for insert to anon, authenticated
            with check (bridge.must_be_own(telegram_id, (select public.tma_user_id())))
    $ddl$, p_table);
    execute format('drop policy if exists "users read their own requests" on %s', p_table);
    execute format($ddl$
        create policy "users read their own requests" on %s for select to anon, authenticated
            using (telegram_id = (select public.tma_user_id()))
    $ddl$, p_table);
    execute format('drop policy if exists "the bridge hears of every row" on %s', p_table);
    execute format($ddl$
        create policy "the bridge hears of every row" on %s for select to tma_bridge using (true)
    $ddl$, p_table);
    execute format($ddl$
        create or replace trigger begin_insert before insert on %s
            for each statement execute function bridge.begin_insert()
    $ddl$, p_table);
    execute format($ddl$
        create or replace trigger check_user_request before insert on %s
            for each row when (row_security_active(%L))
            execute function bridge.check_user_request()
    $ddl$, p_table, p_table);
    execute format($ddl$
        create or replace trigger remember_lead before insert on %s
            for each row when (new.lead_id is not null and new.lead_visible is null)
            execute function bridge.remember_lead()
    $ddl$, p_table);
    execute format($ddl$
        create or replace trigger check_user_requests after insert on %s
            referencing new table as inserted
            for each statement when (row_security_active(%L))
            execute function bridge.check_user_requests()
    $ddl$, p_table, p_table);

    -- Bells

    execute format($ddl$
        create or replace trigger tma_bell after insert on %s
            referencing new table as inserted
            for each statement execute function bridge.ring_for_requests()
    $ddl$, p_table);

    -- What the bridge calls

    for v_function in
        select * from (values
            ('claim', 'p_limit integer', ', p_limit',
                'returns table (id bigint, attempt integer, request text)'),
            ('settle', 'p_outcomes jsonb', ', p_outcomes', 'returns setof bigint'),
            ('release', 'p_claims jsonb', ', p_claims', 'returns setof bigint'),
            ('recover',
                'p_lease interval, out returned integer, out next_due_seconds double precision',
                ', p_lease', ''),
            ('count', '', '', 'returns jsonb')
        ) as functions (verb, parameters, arguments, result)
    loop
        execute format(
            'create or replace function public.%I(%s) %s '
            'language sql security definer set search_path = '''' '
            'as $body$ select * from bridge.%I(%L%s) $body$',
            v_function.verb || '_' || v_name, v_function.parameters, v_function.result,
            v_function.verb || '_requests', p_table, v_function.arguments
        );
        execute format('comment on function public.%I is %L',
            v_function.verb || '_' || v_name,
            format('bridge.%s_requests() of %s.', v_function.verb, v_name));
        execute format('revoke execute on function public.%I from public, anon, authenticated',
            v_function.verb || '_' || v_name);
        execute format('grant execute on function public.%I to service_role, tma_bridge',
            v_function.verb || '_' || v_name);
    end loop;
end $$;
comment on function bridge.make_request_table(regclass, text[]) is
    'Makes a table of public, with a bigint primary key id, a request table: adds the columns, rules, policies, bells and functions (claim_<table>, settle_<table>, release_<table>, recover_<table>, count_<table>) that it needs. Users may insert p_user_columns, telegram_id (their own) and dedupe_key. May be run again.';
revoke execute on function bridge.make_request_table(regclass, text[])
    from public, anon, authenticated;
