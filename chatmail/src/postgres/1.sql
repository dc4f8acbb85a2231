-- Hosts that keep mailboxes. `host` is where Dovecot's proxy finds one, by name or address; a backend that is
-- drained gets no new accounts.
CREATE TABLE backends (
    name text COLLATE "C" PRIMARY KEY,
    host text NOT NULL,
    weight integer NOT NULL DEFAULT 1 CHECK (weight > 0),
    drained boolean NOT NULL DEFAULT false
);

-- Accounts. `password` is what a password file holds ({SHA512-CRYPT}...); whatever is no hash locks the account.
-- `moving_to`: the backend that gets the mailbox; with `closed` nobody may use it meanwhile.
-- `last_login` is a day counted from 1970-01-01. `expiring`: about to be deleted, unless somebody logs in. An
-- account without backend is one of a relay that has none: of whichever host is asked.
CREATE TABLE accounts (
    address text COLLATE "C" PRIMARY KEY,
    password bytea NOT NULL,
    last_login integer NOT NULL,
    blocked boolean NOT NULL DEFAULT false,
    cleartext boolean NOT NULL DEFAULT false,
    expiring boolean NOT NULL DEFAULT false,
    backend text COLLATE "C",
    moving_to text COLLATE "C",
    closed boolean NOT NULL DEFAULT false
) WITH (fillfactor = 90);

CREATE INDEX accounts_expiring ON accounts (backend) WHERE expiring;

-- How many accounts each backend has, '' for none. In parts, so that connections which make accounts at the same
-- time do not wait for each other's commits: each counts in the row of its own process.
CREATE TABLE backend_accounts (
    backend text COLLATE "C",
    part smallint,
    accounts bigint NOT NULL,
    PRIMARY KEY (backend, part)
) WITH (fillfactor = 50);

CREATE FUNCTION count_accounts(counted_backend text, difference bigint) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO backend_accounts AS counted
    VALUES (coalesce(counted_backend, ''), (pg_backend_pid() % 16)::smallint, difference)
    ON CONFLICT (backend, part) DO UPDATE SET accounts = counted.accounts + excluded.accounts
$$;

CREATE FUNCTION accounts_inserted() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM count_accounts(backend, count(*)) FROM inserted GROUP BY backend;
    RETURN NULL;
END
$$;

CREATE FUNCTION accounts_deleted() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM count_accounts(backend, -count(*)) FROM deleted GROUP BY backend;
    RETURN NULL;
END
$$;

CREATE FUNCTION account_moved() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM count_accounts(OLD.backend, -1), count_accounts(NEW.backend, 1);
    RETURN NULL;
END
$$;

CREATE TRIGGER accounts_inserted AFTER INSERT ON accounts
    REFERENCING NEW TABLE AS inserted FOR EACH STATEMENT EXECUTE FUNCTION accounts_inserted();
CREATE TRIGGER accounts_deleted AFTER DELETE ON accounts
    REFERENCING OLD TABLE AS deleted FOR EACH STATEMENT EXECUTE FUNCTION accounts_deleted();
CREATE TRIGGER account_moved AFTER UPDATE OF backend ON accounts
    FOR EACH ROW WHEN (OLD.backend IS DISTINCT FROM NEW.backend) EXECUTE FUNCTION account_moved();

-- Mailboxes of deleted accounts that their backend has yet to remove. Nobody gets the address before: what is made
-- in a mailbox that is being removed would go with it.
CREATE TABLE removals (
    address text COLLATE "C" PRIMARY KEY,
    backend text COLLATE "C"
);

-- While there is a row no account is made: accounts are on their way to or from mailbox directories.
CREATE TABLE moves (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one)
);

-- Addresses of accounts that were deleted: nobody gets an account with one before `until`, a day. `address` is
-- SHA-256 over a salt and the address. The salt with `own` is for new ones; others came with tombstones from
-- files.
CREATE TABLE tombstones (
    address bytea PRIMARY KEY,
    until integer NOT NULL
);

CREATE INDEX tombstones_until ON tombstones (until);

CREATE TABLE tombstone_salts (
    salt bytea PRIMARY KEY,
    own boolean NOT NULL
);

CREATE UNIQUE INDEX tombstone_salt_own ON tombstone_salts (own) WHERE own;

-- sha256 of 244 random bits.
INSERT INTO tombstone_salts
SELECT sha256(convert_to(gen_random_uuid()::text || gen_random_uuid()::text, 'UTF8')), true;

-- Who may make an account. `token` is a hash (chatmail::invites); times are seconds since 1970.
CREATE TABLE invites (
    token text COLLATE "C" PRIMARY KEY,
    uses bigint NOT NULL CHECK (uses > 0),
    uses_left bigint NOT NULL CHECK (uses_left BETWEEN 0 AND uses),
    created bigint NOT NULL,
    expires bigint,
    note text NOT NULL
);

-- The block list, as chatmail::blocks::Entry writes it; `added` is a time such as 2026-01-31T12:00:00Z.
CREATE TABLE blocks (
    entry text COLLATE "C" PRIMARY KEY,
    note text NOT NULL,
    added text NOT NULL
);

-- How often the block list has changed, so that it is read again only then.
CREATE TABLE generations (
    name text PRIMARY KEY,
    number bigint NOT NULL
);

INSERT INTO generations VALUES ('blocks', 0);

CREATE FUNCTION blocks_changed() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE generations SET number = number + 1 WHERE name = 'blocks';
    RETURN NULL;
END
$$;

CREATE TRIGGER blocks_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON blocks
    FOR EACH STATEMENT EXECUTE FUNCTION blocks_changed();

-- When a job that deletes things last began on a backend, in seconds since 1970.
CREATE TABLE job_runs (
    job text NOT NULL,
    backend text COLLATE "C" NOT NULL,
    began bigint NOT NULL,
    PRIMARY KEY (job, backend)
);
