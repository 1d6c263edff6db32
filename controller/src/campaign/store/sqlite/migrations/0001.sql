-- The store, version 1. Times are microseconds since 1970, UTC, by the store's own clock.
-- Words (states, classes, waits) are those of the JSON documents. There are no slots: a claim counts what runs.

CREATE TABLE store (
    one      INTEGER PRIMARY KEY CHECK (one = 1),
    version  INTEGER NOT NULL
) STRICT;

CREATE TABLE host (
    id      TEXT PRIMARY KEY,               -- machine-id(5)
    worker  TEXT NOT NULL,                  -- the process that was here last
    seen    INTEGER NOT NULL,
    held    TEXT                            -- what keeps it from admitting
) STRICT;

-- What outlives a campaign.
CREATE TABLE vm (
    id      INTEGER PRIMARY KEY,
    host    TEXT NOT NULL,
    name    TEXT NOT NULL,
    uuid    TEXT NOT NULL,                  -- '' where it has none
    seen    INTEGER NOT NULL,               -- named by an apply
    proven  INTEGER,                        -- its last trim that was seen to work, or to have nothing to free
    failed  INTEGER NOT NULL DEFAULT 0,     -- campaigns in a row in which it failed
    UNIQUE (host, name, uuid)
) STRICT;

-- A uuid is one VM, whatever it is called.
CREATE UNIQUE INDEX vm_uuid ON vm (uuid) WHERE uuid <> '';

CREATE TABLE campaign (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    name     TEXT NOT NULL,
    state    TEXT NOT NULL,
    why      TEXT,
    who      TEXT NOT NULL,
    plan     TEXT NOT NULL,
    limits   TEXT NOT NULL,                 -- JSON
    total    INTEGER NOT NULL,
    applied  INTEGER NOT NULL,
    ended    INTEGER,
    since    INTEGER NOT NULL DEFAULT 0,    -- the event from which on budget and streak count
    cancels  INTEGER NOT NULL DEFAULT 0     -- what runs is to be cancelled
) STRICT;

CREATE TABLE "window" (
    campaign  INTEGER NOT NULL REFERENCES campaign,
    opens     INTEGER NOT NULL,
    closes    INTEGER NOT NULL,
    PRIMARY KEY (campaign, closes)
) STRICT, WITHOUT ROWID;

-- Runs at once: in all (scope 'all'), on a host, on a datastore.
CREATE TABLE cap (
    campaign  INTEGER NOT NULL REFERENCES campaign,
    scope     TEXT NOT NULL,
    name      TEXT NOT NULL,
    at_once   INTEGER NOT NULL,
    PRIMARY KEY (campaign, scope, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE run (
    id          INTEGER PRIMARY KEY,
    campaign    INTEGER NOT NULL REFERENCES campaign,
    vm          INTEGER NOT NULL REFERENCES vm,
    host        TEXT NOT NULL,              -- the VM's
    place       TEXT NOT NULL,              -- its datastores, sorted, one a line
    position    INTEGER NOT NULL,
    expected    INTEGER NOT NULL,
    is_first    INTEGER NOT NULL,
    state       TEXT NOT NULL,
    admitted    INTEGER NOT NULL DEFAULT 0, -- counts for the ramp
    failures    INTEGER NOT NULL DEFAULT 0, -- tries that failed and were not the last
    put_off     INTEGER NOT NULL DEFAULT 0, -- by a guard or a gate, since the last turn that began
    fence       INTEGER NOT NULL DEFAULT 0,
    settled     INTEGER NOT NULL DEFAULT 0, -- the last fence whose word was taken
    agent_run   TEXT,                       -- the agent's handle, until its result is known
    baseline    TEXT,                       -- JSON, until its result is known
    worker      TEXT,
    claimed     INTEGER,
    heard       INTEGER,
    stage       TEXT,
    not_before  INTEGER NOT NULL DEFAULT 0,
    wait        TEXT,
    wait_text   TEXT,
    freed       INTEGER NOT NULL DEFAULT 0,
    held        INTEGER NOT NULL DEFAULT 0,
    duration    INTEGER NOT NULL DEFAULT 0, -- milliseconds, of all turns
    class       TEXT,
    layer       TEXT,
    result      TEXT,                       -- JSON
    ended       INTEGER,
    end_event   INTEGER,                    -- the order of ends, whatever the clock does
    -- Runs of one lane have room together or not at all.
    lane        TEXT NOT NULL GENERATED ALWAYS AS (is_first || admitted || place) VIRTUAL,
    UNIQUE (campaign, vm)
) STRICT;

CREATE INDEX run_running ON run (host) WHERE state = 'running';
CREATE INDEX run_waiting ON run (campaign, host, lane, position) WHERE state = 'waiting';
CREATE INDEX run_until ON run (campaign, not_before) WHERE state = 'waiting';
CREATE INDEX run_admitted ON run (campaign, state) WHERE admitted;
CREATE INDEX run_ended ON run (campaign, class, end_event) WHERE state = 'done';
CREATE INDEX run_duration ON run (duration) WHERE class IN ('reclaimed', 'already_compact', 'held', 'not_measurable');

CREATE TABLE run_datastore (
    run        INTEGER NOT NULL REFERENCES run,
    datastore  TEXT NOT NULL,
    freed      INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (run, datastore)
) STRICT, WITHOUT ROWID;

-- The history: only ever added to.
CREATE TABLE event (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    at        INTEGER NOT NULL,
    campaign  INTEGER REFERENCES campaign,
    run       INTEGER REFERENCES run,
    what      TEXT NOT NULL,
    who       TEXT NOT NULL,
    text      TEXT NOT NULL,
    result    TEXT                          -- JSON of the turn, counted or not
) STRICT;

CREATE INDEX event_campaign ON event (campaign, id);
