-- What is known of peers' endpoints. Times are milliseconds since 1970. `lax`: of connections that take
-- any certificate. `state` is one of the words of routes::knowledge.
CREATE TABLE endpoints (
    host TEXT NOT NULL,
    port INTEGER NOT NULL,
    lax INTEGER NOT NULL,
    state TEXT NOT NULL,
    spoke INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    since INTEGER NOT NULL,
    closed_until INTEGER NOT NULL,
    PRIMARY KEY (host, port, lax)
) STRICT, WITHOUT ROWID;

-- Where mail for a domain has gone. `candidates` are hosts in the order of trying, with a space
-- between them; `good` is the one that answered last, or empty.
CREATE TABLE peers (
    domain TEXT NOT NULL PRIMARY KEY,
    candidates TEXT NOT NULL,
    good TEXT NOT NULL,
    used INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What the operator has decided: `endpoint` is a URL, or "smtp".
CREATE TABLE overrides (
    domain TEXT NOT NULL PRIMARY KEY,
    endpoint TEXT NOT NULL,
    lax INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
