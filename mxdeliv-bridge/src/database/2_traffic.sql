-- How mail to and from peers fares. Times are seconds since 1970. `succeeded` of a peer: whether any attempt
-- ever did.
CREATE TABLE traffic_peers (
    id INTEGER PRIMARY KEY,
    domain TEXT NOT NULL UNIQUE,
    contact INTEGER NOT NULL,
    succeeded INTEGER NOT NULL
) STRICT;

-- For each direction (in, out) and transport (mxdeliv, smtp): when it last succeeded, when it last failed, and
-- why, without addresses.
CREATE TABLE traffic_ways (
    peer INTEGER NOT NULL,
    direction TEXT NOT NULL,
    transport TEXT NOT NULL,
    succeeded INTEGER,
    failed INTEGER,
    error TEXT,
    PRIMARY KEY (peer, direction, transport)
) STRICT, WITHOUT ROWID;

-- Counts for five minutes each, numbered from 1970. `times` is a histogram (statistics::histogram) of those
-- that succeeded, `micros` the sum of what it holds, in microseconds.
CREATE TABLE traffic_buckets (
    peer INTEGER NOT NULL,
    direction TEXT NOT NULL,
    transport TEXT NOT NULL,
    slot INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    micros INTEGER NOT NULL,
    times BLOB NOT NULL,
    PRIMARY KEY (peer, direction, transport, slot)
) STRICT, WITHOUT ROWID;

CREATE INDEX traffic_buckets_by_slot ON traffic_buckets (slot);
