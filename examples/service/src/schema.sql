-- Run at each start, in one transaction. Copies of the service that start together take turns.
select pg_advisory_xact_lock(hashtext('txpostgres-example-service'));

create table if not exists account (
    id      bigint generated always as identity primary key,
    owner   text not null check (owner <> ''),
    balance bigint not null check (balance >= 0)
);

create table if not exists transfer (
    id     text primary key,
    payer  bigint not null references account,
    payee  bigint not null references account,
    amount bigint not null check (amount > 0),
    check (payer <> payee)
);

-- One notification for each statement, however many rows it has changed.
create or replace function account_changed() returns trigger language plpgsql as $$
begin
    perform pg_notify('account', jsonb_build_object(
        'change', lower(tg_op), 'rows', count(*), 'first', min(id), 'last', max(id))::text)
        from changed having count(*) > 0;
    return null;
end $$;

create or replace trigger account_inserted after insert on account
    referencing new table as changed for each statement execute function account_changed();
create or replace trigger account_updated after update on account
    referencing new table as changed for each statement execute function account_changed();
create or replace trigger account_deleted after delete on account
    referencing old table as changed for each statement execute function account_changed();
