-- How often each table has changed, so that a reader need not read a table again when another one
-- has changed. Triggers count, so that changes made by hand count too.
CREATE TABLE generations (
    name TEXT NOT NULL PRIMARY KEY,
    number INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The block list. `entry` is an address, a domain or a network, as chatmail::blocks::Entry writes
-- it; `added` is a time such as 2026-01-31T12:00:00Z.
CREATE TABLE blocks (
    entry TEXT NOT NULL PRIMARY KEY,
    note TEXT NOT NULL,
    added TEXT NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO generations VALUES ('blocks', 0);

CREATE TRIGGER blocks_inserted AFTER INSERT ON blocks BEGIN
    UPDATE generations SET number = number + 1 WHERE name = 'blocks';
END;
CREATE TRIGGER blocks_updated AFTER UPDATE ON blocks BEGIN
    UPDATE generations SET number = number + 1 WHERE name = 'blocks';
END;
CREATE TRIGGER blocks_deleted AFTER DELETE ON blocks BEGIN
    UPDATE generations SET number = number + 1 WHERE name = 'blocks';
END;
