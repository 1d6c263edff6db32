-- Who holds everybody up. Every change waits for the row of `store`, and a host's role may call a function in a transaction
-- that it does not end: PostgreSQL has no setting against that which the role could not change. So who waits for long looks
-- who it is, and the store ends the session of a host's role itself; `grant` makes its owner a member of each, which that takes.

-- Who has the lock in a transaction now: xmax is the one that has locked the row, or changed it, whoever looks.
CREATE FUNCTION holder(OUT its XID, OUT pid INT, OUT role TEXT, OUT prepared TEXT) LANGUAGE sql VOLATILE AS $$
    SELECT l.transactionid, l.pid, coalesce(a.usename, p.owner)::TEXT, p.gid FROM store s
    JOIN pg_locks l ON l.locktype = 'transactionid' AND l.transactionid = s.xmax AND l.mode = 'ExclusiveLock' AND l.granted
    LEFT JOIN pg_stat_activity a ON a.pid = l.pid LEFT JOIN pg_prepared_xacts p ON p.transaction = s.xmax
    LIMIT 1
$$;

-- Looks twice, a twelfth of a lease apart and five seconds at most. Where both times the same transaction has the lock it
-- says whose that is; a host's role has none that takes so long, and loses its session. `ended` is NULL where it is no
-- host's, and false where the owner of the store may not. What is waited for is never counted as a host's silence.
CREATE FUNCTION unblock(OUT pid INT, OUT role TEXT, OUT prepared TEXT, OUT ended BOOLEAN)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = trimtab, pg_temp AS $$
DECLARE
    first RECORD;
    second RECORD;
    long BIGINT := (SELECT least(s.lease / 12, 5000000) FROM store s);
    now BIGINT := clock();
BEGIN
    SELECT * INTO first FROM holder();
    IF first.its IS NULL THEN
        RETURN;
    END IF;
    PERFORM pg_sleep(long / 1000000.0);
    PERFORM pg_stat_clear_snapshot();
    SELECT * INTO second FROM holder();
    IF second.its IS DISTINCT FROM first.its THEN
        RETURN;
    END IF;
    pid := second.pid;
    role := second.role;
    prepared := second.prepared;
    -- A word for whoever reads the history, and not each few seconds.
    IF NOT EXISTS (SELECT FROM stall l WHERE l.role = second.role AND l.at > now - 60000000) THEN
        PERFORM note(clock(), c.id, NULL, 'held up', 'the store',
            format('role "%s" held the store''s lock for seconds; all others waited', second.role), NULL)
        FROM campaign c WHERE c.state = 'active';
    END IF;
    DELETE FROM stall l WHERE l.ctid = ANY (ARRAY(
        SELECT o.ctid FROM stall o, store s WHERE o.at < now - 2 * s.lease FOR UPDATE OF o SKIP LOCKED
    ));
    INSERT INTO stall (at, role) VALUES (clock(), second.role);
    IF pid IS NOT NULL AND EXISTS (SELECT FROM host_role h WHERE h.role = second.role) THEN
        BEGIN
            ended := pg_terminate_backend(pid);
        EXCEPTION WHEN insufficient_privilege THEN
            ended := FALSE;
        END;
    END IF;
END $$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA trimtab FROM PUBLIC;
