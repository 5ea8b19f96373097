-- The bridge's own ground: a schema for what nobody outside needs to see, and a narrow role, so
-- that a bridge need not hold the key to the whole project.

create schema if not exists bridge;
comment on schema bridge is
    'Internals of realtime-bridge. Not for the API: keep it out of the exposed schemas.';
revoke all on schema bridge from public;

do $$
begin
    create role tma_bridge nologin noinherit;
exception
    -- Roles belong to the whole cluster: another database of it may have made this one.
    when duplicate_object or unique_violation then null;
end $$;
grant usage on schema public to tma_bridge;

-- PostgREST takes on the role that a JWT names only if its own login role is a member of it.
do $$
begin
    grant tma_bridge to authenticator;
exception
    when insufficient_privilege or undefined_object then
        raise warning 'JWTs of the role tma_bridge will be refused (%): as a superuser, run "grant tma_bridge to authenticator"', sqlerrm;
end $$;
