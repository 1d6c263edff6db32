-- The store of a fleet, version 1: the tables of SQLite's, in a schema of their own. Times are microseconds since 1970,
-- UTC, by this database's clock alone. There are no slots: a claim counts what runs, under the store's lock.
--
-- Operators (members of the role that owns the schema) read and write the tables. A host's role may do neither: it calls
-- the functions that worker.sql grants, which act for its own host alone.

CREATE TABLE store (
    one      BIGINT PRIMARY KEY CHECK (one = 1),
    version  BIGINT NOT NULL,
    lease    BIGINT NOT NULL CHECK (lease >= 1000000)  -- a worker that is not heard for so long has lost its runs
);

-- Which host a role stands for.
CREATE TABLE host_role (
    role  TEXT COLLATE "C" PRIMARY KEY,
    host  TEXT COLLATE "C" NOT NULL UNIQUE
);

CREATE TABLE host (
    id      TEXT COLLATE "C" PRIMARY KEY,   -- machine-id(5)
    worker  TEXT NOT NULL,                  -- the process that was here last
    seen    BIGINT NOT NULL,
    held    TEXT,                           -- what keeps it from admitting
    lease   BIGINT NOT NULL DEFAULT 0       -- until then no other worker may stand for this host
);

-- What outlives a campaign.
CREATE TABLE vm (
    id      BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    host    TEXT COLLATE "C" NOT NULL,
    name    TEXT COLLATE "C" NOT NULL,
    uuid    TEXT COLLATE "C" NOT NULL,      -- '' where it has none
    seen    BIGINT NOT NULL,                -- named by an apply
    proven  BIGINT,                         -- its last trim that was seen to work, or to have nothing to free
    failed  BIGINT NOT NULL DEFAULT 0,      -- campaigns in a row in which it failed
    UNIQUE (host, name, uuid)
);

-- A uuid is one VM, whatever it is called and wherever it runs.
CREATE UNIQUE INDEX vm_uuid ON vm (uuid) WHERE uuid <> '';

CREATE TABLE campaign (
    id       BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name     TEXT NOT NULL,
    state    TEXT NOT NULL,
    why      TEXT,
    who      TEXT NOT NULL,
    plan     TEXT NOT NULL,
    limits   TEXT NOT NULL,                 -- JSON
    total    BIGINT NOT NULL,
    applied  BIGINT NOT NULL,
    ended    BIGINT,
    since    BIGINT NOT NULL DEFAULT 0,     -- the event from which on budget and streak count
    cancels  BOOLEAN NOT NULL DEFAULT FALSE -- what runs is to be cancelled
);

CREATE TABLE "window" (
    campaign  BIGINT NOT NULL REFERENCES campaign,
    opens     BIGINT NOT NULL,
    closes    BIGINT NOT NULL,
    PRIMARY KEY (campaign, closes)
);

-- Runs at once: in all (scope 'all'), on a host, on a datastore.
CREATE TABLE cap (
    campaign  BIGINT NOT NULL REFERENCES campaign,
    scope     TEXT COLLATE "C" NOT NULL,
    name      TEXT COLLATE "C" NOT NULL,
    at_once   BIGINT NOT NULL,
    PRIMARY KEY (campaign, scope, name)
);

CREATE TABLE run (
    id          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    campaign    BIGINT NOT NULL REFERENCES campaign,
    vm          BIGINT NOT NULL REFERENCES vm,
    host        TEXT COLLATE "C" NOT NULL,  -- the VM's
    place       TEXT COLLATE "C" NOT NULL,  -- its datastores, sorted, one a line
    position    BIGINT NOT NULL,
    expected    BIGINT NOT NULL,
    is_first    BOOLEAN NOT NULL,
    state       TEXT NOT NULL,
    admitted    BOOLEAN NOT NULL DEFAULT FALSE, -- counts for the ramp
    failures    BIGINT NOT NULL DEFAULT 0,  -- tries that failed and were not the last
    put_off     BIGINT NOT NULL DEFAULT 0,  -- by a guard or a gate, since the last turn that began
    fence       BIGINT NOT NULL DEFAULT 0,
    settled     BIGINT NOT NULL DEFAULT 0,  -- the last fence whose word was taken
    agent_run   TEXT,                       -- the agent's handle, until its result is known
    baseline    TEXT,                       -- JSON, until its result is known
    worker      TEXT,
    cancelled   BIGINT,                     -- its worker was told first then to end it
    nonce       TEXT,                       -- of the claim that has it: the same claim gets the same run
    lease       BIGINT NOT NULL DEFAULT 0,  -- until then it is its worker's
    claimed     BIGINT,
    heard       BIGINT,
    stage       TEXT,
    not_before  BIGINT NOT NULL DEFAULT 0,
    wait        TEXT,
    wait_text   TEXT,
    freed       BIGINT NOT NULL DEFAULT 0,
    held        BIGINT NOT NULL DEFAULT 0,
    duration    BIGINT NOT NULL DEFAULT 0,  -- milliseconds, of all turns
    class       TEXT,
    layer       TEXT,
    result      TEXT,                       -- JSON
    ended       BIGINT,
    end_event   BIGINT,                     -- the order of ends, whatever the clock does
    -- Runs of one lane have room together or not at all.
    lane        TEXT COLLATE "C" NOT NULL GENERATED ALWAYS AS (
        (CASE WHEN is_first THEN '1' ELSE '0' END) || (CASE WHEN admitted THEN '1' ELSE '0' END) || place
    ) STORED,
    UNIQUE (campaign, vm)
);

CREATE INDEX run_running ON run (host) WHERE state = 'running';
CREATE INDEX run_waiting ON run (campaign, host, lane, position) WHERE state = 'waiting';
CREATE INDEX run_until ON run (campaign, host, not_before) WHERE state = 'waiting';
CREATE INDEX run_admitted ON run (campaign, state) WHERE admitted;
CREATE INDEX run_ended ON run (campaign, class, end_event) WHERE state = 'done';
CREATE INDEX run_duration ON run (duration) WHERE class IN ('reclaimed', 'already_compact', 'held', 'not_measurable');

CREATE TABLE run_datastore (
    run        BIGINT NOT NULL REFERENCES run,
    datastore  TEXT COLLATE "C" NOT NULL,
    freed      BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (run, datastore)
);

-- The history: only ever added to.
CREATE TABLE event (
    id        BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at        BIGINT NOT NULL,
    campaign  BIGINT REFERENCES campaign,
    run       BIGINT REFERENCES run,
    what      TEXT NOT NULL,
    who       TEXT NOT NULL,
    text      TEXT NOT NULL,
    result    TEXT                          -- JSON of the turn, counted or not
);

CREATE INDEX event_campaign ON event (campaign, id);

-- What the history has of one host's runs, in bytes.
CREATE TABLE history (
    campaign  BIGINT NOT NULL REFERENCES campaign,
    host      TEXT COLLATE "C" NOT NULL,
    bytes     BIGINT NOT NULL,
    PRIMARY KEY (campaign, host)
);

-- Whom somebody saw holding the store's lock for long: nobody else could be heard then.
CREATE TABLE stall (
    at    BIGINT NOT NULL,
    role  TEXT
);

-- Microseconds since 1970. Not now(), which stands still while a transaction waits for the lock.
CREATE FUNCTION clock() RETURNS BIGINT LANGUAGE sql VOLATILE AS $$
    SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::BIGINT
$$;

-- Takes the store's lock, then reads the time: what is counted after it stays true until the end of the transaction.
-- A program that was started before the store was brought up to date is refused: each connection says its version.
CREATE FUNCTION locked() RETURNS BIGINT LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    found BIGINT;
    known BIGINT := nullif(current_setting('trimtab.version', TRUE), '')::BIGINT;
BEGIN
    SELECT version INTO STRICT found FROM store WHERE one = 1 FOR UPDATE;
    IF known <> found THEN
        RAISE EXCEPTION 'the store is of version % now, and this trimtab knows version %', found, known
            USING ERRCODE = 'TT005';
    END IF;
    RETURN clock();
END $$;

-- The host that who is logged in acts for. A host's role has its own, whatever it says; an operator may stand for any.
CREATE FUNCTION acting(said TEXT) RETURNS TEXT LANGUAGE plpgsql STABLE AS $$
DECLARE
    own TEXT;
BEGIN
    SELECT h.host INTO own FROM host_role h WHERE h.role = session_user;
    IF own = said THEN
        RETURN own;
    ELSIF own IS NOT NULL THEN
        RAISE EXCEPTION 'role "%" stands for host %, and not for %', session_user, own, said USING ERRCODE = 'TT002';
    ELSIF pg_has_role(session_user, current_user, 'MEMBER') THEN
        RETURN said;
    END IF;
    RAISE EXCEPTION 'role "%" stands for no host', session_user USING ERRCODE = 'TT001';
END $$;

-- ramp.rs, limits.rs: so many of so many, rounded up and at least 1.
CREATE FUNCTION share(of JSONB, total BIGINT) RETURNS BIGINT LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE jsonb_typeof(of)
        WHEN 'number' THEN of::BIGINT
        ELSE greatest((total * (regexp_replace(of #>> '{}', '[^0-9]', '', 'g'))::BIGINT + 99) / 100, 1)
    END
$$;

-- Adds a line to the history. Of one host's runs that is 256 MiB in a campaign at most; after that nothing but ends.
CREATE FUNCTION note(at BIGINT, of BIGINT, its BIGINT, what TEXT, who TEXT, said TEXT, result TEXT)
RETURNS BIGINT LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    most CONSTANT BIGINT := 256 << 20;
    size BIGINT := 128 + octet_length(said) + coalesce(octet_length(result), 0);
    so_far BIGINT;
    line BIGINT;
BEGIN
    INSERT INTO history AS h (campaign, host, bytes) SELECT r.campaign, r.host, size FROM run r WHERE r.id = its
    ON CONFLICT (campaign, host) DO UPDATE SET bytes = h.bytes + excluded.bytes RETURNING h.bytes INTO so_far;
    IF so_far > most THEN
        IF so_far - size <= most THEN
            INSERT INTO event (at, campaign, run, what, who, text) VALUES (note.at, of, its, 'full', 'the store',
                'the history has 256 MiB of this host''s runs: of these nothing but ends is kept from here on');
        END IF;
        IF what <> 'counted' THEN
            RETURN NULL;
        END IF;
        said := '';
        result := NULL;
    END IF;
    INSERT INTO event (at, campaign, run, what, who, text, result)
    VALUES (note.at, of, its, note.what, note.who, said, note.result) RETURNING id INTO line;
    RETURN line;
END $$;

-- room.rs: the datastores that have no room for one more run of this campaign, and those on which a VM's first trim ever
-- runs, of which each takes one at a time. The cap of another campaign binds while it has something running there.
CREATE FUNCTION taken(asks BIGINT, OUT full_ones TEXT[], OUT first_ones TEXT[]) LANGUAGE sql STABLE AS $$
    WITH there AS (
        SELECT d.name, count(*) AS many, array_agg(DISTINCT r.campaign) AS campaigns, bool_or(r.is_first) AS has_first
        FROM run r CROSS JOIN LATERAL unnest(string_to_array(r.place, E'\n')) AS d (name)
        WHERE r.state = 'running' GROUP BY d.name
    )
    SELECT coalesce(array_agg(t.name) FILTER (WHERE t.many >= (
            SELECT min(c.at_once) FROM cap c
            WHERE c.scope = 'datastore' AND c.name = t.name AND (c.campaign = asks OR c.campaign = ANY (t.campaigns))
        )), '{}'), coalesce(array_agg(t.name) FILTER (WHERE t.has_first), '{}')
    FROM there t
$$;

-- Whether the campaign may have one more on this host at all.
CREATE FUNCTION has_room_on_host(asks BIGINT, its TEXT) RETURNS BOOLEAN LANGUAGE plpgsql STABLE AS $$
DECLARE
    own BIGINT;
    there BIGINT;
    campaigns BIGINT[];
BEGIN
    SELECT count(*) FILTER (WHERE r.campaign = asks), count(*) FILTER (WHERE r.host = its),
        coalesce(array_agg(r.campaign) FILTER (WHERE r.host = its), '{}')
    INTO own, there, campaigns FROM run r WHERE r.state = 'running';
    RETURN NOT EXISTS (
        SELECT FROM cap c WHERE c.campaign = asks AND c.scope = 'all' AND c.at_once <= own
    ) AND NOT EXISTS (
        SELECT FROM cap c WHERE c.scope = 'host' AND c.name = its AND c.at_once <= there
            AND (c.campaign = asks OR c.campaign = ANY (campaigns))
    );
END $$;

-- budget.rs
CREATE FUNCTION failed_since(of BIGINT, after BIGINT) RETURNS BIGINT LANGUAGE sql STABLE AS $$
    SELECT count(*) FROM run
    WHERE campaign = of AND state = 'done' AND class = 'failed' AND end_event > after
$$;

CREATE FUNCTION may_admit(of campaign) RETURNS BOOLEAN LANGUAGE plpgsql STABLE AS $$
DECLARE
    limits JSONB := of.limits::JSONB;
    budget BIGINT := share(limits -> 'failure_budget', of.total);
    failed BIGINT := failed_since(of.id, of.since);
BEGIN
    IF failed >= budget OR NOT (limits ->> 'strict')::BOOLEAN THEN
        RETURN failed < budget;
    END IF;
    -- All that runs, by the index that has only those.
    RETURN failed + (SELECT count(*) FILTER (WHERE r.campaign = of.id) FROM run r WHERE r.state = 'running') < budget;
END $$;

-- ramp.rs: how many more VMs may be admitted for the first time; NULL: any number.
CREATE FUNCTION ramp_room(of campaign) RETURNS BIGINT LANGUAGE plpgsql STABLE AS $$
DECLARE
    stage JSONB;
    before BIGINT := 0;
    allowance BIGINT;
    many BIGINT;
    unended BIGINT;
BEGIN
    IF jsonb_array_length(of.limits::JSONB -> 'ramp') = 0 THEN
        RETURN NULL;
    END IF;
    SELECT count(*), count(*) FILTER (WHERE r.state IN ('running', 'waiting')) INTO many, unended
    FROM run r WHERE r.campaign = of.id AND r.admitted;
    FOR stage IN SELECT jsonb_array_elements(of.limits::JSONB -> 'ramp') LOOP
        allowance := before + share(stage, of.total);
        IF many < allowance THEN
            RETURN CASE WHEN many > before OR unended = 0 THEN allowance - many ELSE 0 END;
        END IF;
        before := allowance;
    END LOOP;
    RETURN CASE WHEN many > before OR unended = 0 OR before = 0 THEN NULL ELSE 0 END;
END $$;

-- hours.rs: what nineteen of twenty runs have stayed below, in microseconds.
CREATE FUNCTION expected_micros() RETURNS BIGINT LANGUAGE plpgsql STABLE AS $$
DECLARE
    ends BIGINT;
    millis BIGINT;
BEGIN
    SELECT count(*) INTO ends FROM run
    WHERE class IN ('reclaimed', 'already_compact', 'held', 'not_measurable');
    IF ends < 10 THEN
        RETURN 600000000;
    END IF;
    SELECT duration INTO millis FROM run
    WHERE class IN ('reclaimed', 'already_compact', 'held', 'not_measurable')
    ORDER BY duration LIMIT 1 OFFSET ends * 95 / 100;
    RETURN millis * 1000;
END $$;

-- What the windows say to a run that would begin now: 'open' until closes (NULL: for good), 'closed' until opens, 'past'.
CREATE FUNCTION hours(of BIGINT, now BIGINT, OUT said TEXT, OUT at BIGINT) LANGUAGE plpgsql STABLE AS $$
DECLARE
    one RECORD;
    expected BIGINT;
BEGIN
    IF NOT EXISTS (SELECT FROM "window" w WHERE w.campaign = of) THEN
        said := 'open';
        RETURN;
    END IF;
    expected := expected_micros();
    FOR one IN
        SELECT w.opens, w.closes FROM "window" w WHERE w.campaign = of AND w.closes > now ORDER BY w.closes LIMIT 2
    LOOP
        IF now < one.opens THEN
            said := 'closed';
            at := one.opens;
            RETURN;
        ELSIF now + least(expected, (one.closes - one.opens) / 2) <= one.closes THEN
            said := 'open';
            at := one.closes;
            RETURN;
        END IF;
    END LOOP;
    said := 'past';
END $$;

CREATE FUNCTION stop(of BIGINT, reason TEXT, cancel BOOLEAN, now BIGINT) RETURNS VOID LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    UPDATE campaign SET state = 'stopped', why = reason, cancels = cancels OR cancel WHERE id = of;
    PERFORM note(now, of, NULL, 'stopped', 'the store', reason, NULL);
END $$;

-- A result of a run that a person ended.
CREATE FUNCTION aborted(said TEXT, disks JSONB) RETURNS JSONB LANGUAGE sql IMMUTABLE AS $$
    SELECT jsonb_build_object('class', 'aborted', 'disks', disks, 'text', said, 'kind', NULL, 'layer', NULL,
        'duration_ms', 0)
$$;

-- Ends all that waits: the campaign is aborted.
CREATE FUNCTION end_waiting(of BIGINT, now BIGINT) RETURNS VOID LANGUAGE sql VOLATILE AS $$
    UPDATE run SET state = 'done', class = 'aborted', ended = now, end_event = (SELECT max(e.id) FROM event e),
        result = aborted(CASE WHEN baseline IS NULL THEN 'the campaign was aborted before its turn'
            ELSE 'the campaign was aborted before the end of its turn was known' END, '[]')::TEXT,
        agent_run = NULL, baseline = NULL
    WHERE campaign = of AND state = 'waiting'
$$;

-- Ends a campaign of which nothing waits or runs any more.
CREATE FUNCTION close(of BIGINT, now BIGINT) RETURNS VOID LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    word TEXT;
BEGIN
    -- By an index that has only those: the order asks for run_waiting, the count for run_running.
    PERFORM FROM run r WHERE r.campaign = of AND r.state = 'waiting' ORDER BY r.host, r.lane, r.position LIMIT 1;
    IF FOUND OR (SELECT count(*) FROM run r WHERE r.campaign = of AND r.state = 'running') > 0 THEN
        RETURN;
    END IF;
    UPDATE campaign SET state = CASE state WHEN 'aborting' THEN 'aborted' ELSE 'done' END, ended = now, cancels = FALSE
    WHERE id = of RETURNING state INTO word;
    PERFORM note(now, of, NULL, word, 'the store', 'every run has ended', NULL);
END $$;

-- budget.rs: runs that ended cut or held since the last one that ended otherwise and says something of the way.
CREATE FUNCTION streak(of campaign) RETURNS TEXT LANGUAGE plpgsql STABLE AS $$
DECLARE
    most BIGINT := (of.limits::JSONB ->> 'cut_in_a_row')::BIGINT;
    since BIGINT;
    many BIGINT;
    layers TEXT;
BEGIN
    IF most = 0 THEN
        RETURN NULL;
    END IF;
    SELECT greatest(of.since, coalesce(max(r.end_event), 0)) INTO since FROM run r
    WHERE r.campaign = of.id AND r.state = 'done' AND r.class IN ('reclaimed', 'not_measurable', 'failed', 'harmed');
    SELECT count(*), string_agg(DISTINCT l.layer, ', ' ORDER BY l.layer) INTO many, layers FROM (
        SELECT r.layer COLLATE "C" AS layer FROM run r
        WHERE r.campaign = of.id AND r.state = 'done' AND r.class IN ('cut', 'held') AND r.end_event > since
        ORDER BY r.end_event DESC LIMIT most
    ) AS l;
    IF many < most THEN
        RETURN NULL;
    END IF;
    RETURN format('%s runs in a row were cut or held%s: something is wired wrong', many, ' at ' || layers);
END $$;

-- Looks at a campaign after one of its runs came to an end: of its turn (`done` is what that came to) or of all.
CREATE FUNCTION settle(id BIGINT, vm TEXT, done JSONB, now BIGINT) RETURNS VOID LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    of campaign;
    class TEXT := done ->> 'class';
    is_harm BOOLEAN := coalesce(class = 'harmed', FALSE);
    failed BIGINT;
    budget BIGINT;
    reason TEXT;
BEGIN
    SELECT * INTO STRICT of FROM campaign c WHERE c.id = settle.id;
    IF is_harm AND of.state <> 'aborting' THEN
        reason := format('harm: %s: %s', vm, coalesce(done ->> 'text', 'the host saw harm'));
    ELSIF of.state IN ('active', 'paused') AND class IN ('cut', 'held') THEN
        reason := streak(of);
    ELSIF of.state IN ('active', 'paused') AND class = 'failed' THEN
        failed := failed_since(of.id, of.since);
        budget := share(of.limits::JSONB -> 'failure_budget', of.total);
        IF failed >= budget THEN
            reason := format('%s of %s VMs have failed; the budget is %s', failed, of.total, budget);
        END IF;
    END IF;
    IF reason IS NOT NULL THEN
        PERFORM stop(of.id, reason, is_harm, now);
    END IF;
    PERFORM close(of.id, now);
END $$;

-- Puts a run back whose worker is gone; in a campaign that a person has aborted, ends it.
CREATE FUNCTION put_back(its BIGINT, what TEXT, who TEXT, said TEXT, now BIGINT) RETURNS VOID
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    of campaign;
BEGIN
    UPDATE run SET state = 'waiting', stage = NULL, not_before = 0, nonce = NULL WHERE id = its;
    PERFORM follow(its, now);
    SELECT c.* INTO STRICT of FROM campaign c JOIN run r ON r.campaign = c.id WHERE r.id = its;
    IF of.state = 'aborting' THEN
        PERFORM end_waiting(of.id, now);
    END IF;
    PERFORM note(now, of.id, its, what, who, said, NULL);
    PERFORM settle(of.id, NULL, NULL, now);
END $$;

-- Takes back what workers have that were not heard for a lease.
CREATE FUNCTION expire(now BIGINT) RETURNS VOID LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    one RECORD;
BEGIN
    FOR one IN SELECT r.id FROM run r WHERE r.state = 'running' AND r.lease < now ORDER BY r.id LOOP
        PERFORM put_back(one.id, 'expired', 'the store', 'its worker was not heard for a lease; it waits again', now);
    END LOOP;
END $$;

-- Notes that a worker is there.
CREATE FUNCTION seen(its TEXT, process TEXT, why TEXT, now BIGINT) RETURNS VOID LANGUAGE sql VOLATILE AS $$
    INSERT INTO host (id, worker, seen, held, lease) SELECT its, process, now, why, now + s.lease FROM store s
    ON CONFLICT (id) DO UPDATE SET worker = excluded.worker, seen = excluded.seen, held = excluded.held,
        lease = excluded.lease
$$;
