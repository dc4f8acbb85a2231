-- Addresses of accounts that were deleted: nobody gets an account with one before `until`, a day
-- counted from 1970-01-01. Who reads the file cannot read the addresses off it: `address` is
-- SHA-256 over the salt and the address.
CREATE TABLE tombstones (
    address BLOB NOT NULL PRIMARY KEY,
    until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX tombstones_until ON tombstones (until);

CREATE TABLE tombstone_salt (
    salt BLOB NOT NULL
) STRICT;

INSERT INTO tombstone_salt VALUES (randomblob(32));

-- When a job that deletes things last began, in seconds since 1970.
CREATE TABLE job_runs (
    job TEXT NOT NULL PRIMARY KEY,
    began INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
