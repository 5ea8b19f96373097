-- Replaces the extension uuid-ossp where PostgreSQL was built without it. Because of the entry in the
-- catalog, `create extension if not exists "uuid-ossp"` does not look for the extension's files.

insert into pg_extension
    (oid, extname, extowner, extnamespace, extrelocatable, extversion)
values (
    pg_nextoid('pg_extension', 'oid', 'pg_extension_oid_index'), 'uuid-ossp',
    current_user::regrole, 'extensions'::regnamespace, true, '1.1'
);

create function extensions.uuid_generate_v4() returns uuid language sql volatile parallel safe
as $$ select pg_catalog.gen_random_uuid() $$;

-- From the time and a random node: version 1 with a random multicast address.
create function extensions.uuid_generate_v1mc() returns uuid language sql volatile parallel safe
as $$
    select (
        substr(ticks, 8) || '-' || substr(ticks, 4, 4) || '-1' || left(ticks, 3) || '-'
        || overlay(right(gen_random_uuid()::text, 17) placing 'b' from 7)
    )::uuid
    from lpad(
        to_hex((extract(epoch from clock_timestamp()) * 10000000)::bigint + 122192928000000000),
        15, '0'
    ) as ticks
$$;

create function extensions.uuid_generate_v1() returns uuid language sql volatile parallel safe
as $$ select extensions.uuid_generate_v1mc() $$;

create function extensions.uuid_generate_v3(namespace uuid, name text) returns uuid
language sql immutable strict parallel safe as $$
    select overlay(overlay(hex placing '3' from 13) placing
        substr('89ab', (get_byte(decode(hex, 'hex'), 8) >> 4 & 3) + 1, 1) from 17)::uuid
    from md5(uuid_send(namespace) || convert_to(name, 'UTF8')) as hex
$$;

create function extensions.uuid_generate_v5(namespace uuid, name text) returns uuid
language sql immutable strict parallel safe as $$
    select overlay(overlay(hex placing '5' from 13) placing
        substr('89ab', (get_byte(decode(hex, 'hex'), 8) >> 4 & 3) + 1, 1) from 17)::uuid
    from left(encode(
        extensions.digest(uuid_send(namespace) || convert_to(name, 'UTF8'), 'sha1'), 'hex'
    ), 32) as hex
$$;

create function extensions.uuid_nil() returns uuid language sql immutable parallel safe
as $$ select '00000000-0000-0000-0000-000000000000'::uuid $$;
create function extensions.uuid_ns_dns() returns uuid language sql immutable parallel safe
as $$ select '6ba7b810-9dad-11d1-80b4-00c04fd430c8'::uuid $$;
create function extensions.uuid_ns_url() returns uuid language sql immutable parallel safe
as $$ select '6ba7b811-9dad-11d1-80b4-00c04fd430c8'::uuid $$;
create function extensions.uuid_ns_oid() returns uuid language sql immutable parallel safe
as $$ select '6ba7b812-9dad-11d1-80b4-00c04fd430c8'::uuid $$;
create function extensions.uuid_ns_x500() returns uuid language sql immutable parallel safe
as $$ select '6ba7b814-9dad-11d1-80b4-00c04fd430c8'::uuid $$;

-- Members of the extension, so that `pg_dump` writes the extension instead of these.
alter extension "uuid-ossp" add function extensions.uuid_generate_v1();
alter extension "uuid-ossp" add function extensions.uuid_generate_v1mc();
alter extension "uuid-ossp" add function extensions.uuid_generate_v3(uuid, text);
alter extension "uuid-ossp" add function extensions.uuid_generate_v4();
alter extension "uuid-ossp" add function extensions.uuid_generate_v5(uuid, text);
alter extension "uuid-ossp" add function extensions.uuid_nil();
alter extension "uuid-ossp" add function extensions.uuid_ns_dns();
alter extension "uuid-ossp" add function extensions.uuid_ns_url();
alter extension "uuid-ossp" add function extensions.uuid_ns_oid();
alter extension "uuid-ossp" add function extensions.uuid_ns_x500();
