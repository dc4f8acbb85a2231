-- Who may make an account. `token` is a hash (chatmail::invites); times are seconds since 1970, and an
-- invite without `expires` never does.
CREATE TABLE invites (
    token TEXT NOT NULL PRIMARY KEY,
    uses INTEGER NOT NULL CHECK (uses > 0),
    uses_left INTEGER NOT NULL CHECK (uses_left BETWEEN 0 AND uses),
    created INTEGER NOT NULL,
    expires INTEGER,
    note TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Uses that are taken for an account which may not be on disk yet: a row lives as long as it takes to
-- write one. `number` is random, and tells a claim from a later one for the same address.
CREATE TABLE invite_claims (
    address TEXT NOT NULL PRIMARY KEY,
    number INTEGER NOT NULL,
    token TEXT NOT NULL,
    claimed INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
