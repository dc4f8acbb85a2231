-- Notifications that have not been sent. A token has one at most: further messages are told by it too.
CREATE TABLE notification (
    id INTEGER PRIMARY KEY,
    token TEXT NOT NULL UNIQUE,
    -- The account that loses the token when the server says that it is gone.
    address TEXT NOT NULL,
    -- Since when it waits, in Unix seconds.
    queued INTEGER NOT NULL,
    -- How often sending it has failed.
    attempts INTEGER NOT NULL DEFAULT 0,
    -- When to send it, in Unix seconds.
    due INTEGER NOT NULL
) STRICT;
CREATE INDEX notification_due ON notification (due);
