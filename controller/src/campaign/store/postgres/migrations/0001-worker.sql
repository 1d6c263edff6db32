-- What a host's role may call. Each acts for the host of who is logged in (session_user) and for its runs alone, whatever
-- it is told; what changes anything takes the store's lock first. `acting` raises for everybody else.
--
-- Where they read runs they go by an index, whatever the planner knows: of many runs that are over a few wait, and by the
-- figures of an hour ago reading all looked cheaper. The price that marks a way as forbidden is no reason to compile it (jit).

-- Whether a place that is free is for other hosts first: those that are heard, are not held and have room of their own have
-- more of this campaign's runs waiting each, in the mean. They would be alone at the end, with no more than their own caps.
-- Of many hosts it asks 63 others: a fleet of ten times the hosts is not to cost ten times as much.
CREATE FUNCTION yields(of BIGINT, its TEXT) RETURNS BOOLEAN LANGUAGE sql VOLATILE AS $$
    SELECT coalesce(bool_or(q.host = its AND q.many < q.mean), FALSE) FROM (
        SELECT s.host, w.many, avg(w.many) OVER () AS mean
        FROM (
            SELECT h.id AS host FROM host h WHERE h.lease >= clock() AND h.held IS NULL ORDER BY h.id <> its, random() LIMIT 64
        ) AS s CROSS JOIN LATERAL (
            SELECT count(*) AS many FROM run r WHERE r.campaign = of AND r.host = s.host AND r.state = 'waiting'
        ) AS w CROSS JOIN LATERAL (
            SELECT count(*) AS many FROM run r WHERE r.host = s.host AND r.state = 'running'
        ) AS b LEFT JOIN cap p ON p.campaign = of AND p.scope = 'host' AND p.name = s.host
        WHERE w.many > 0 AND (p.at_once IS NULL OR b.many < p.at_once)
    ) AS q
$$;

-- The campaigns that admit runs of this host, or want those cancelled that it has; oldest first.
CREATE FUNCTION active(said TEXT)
RETURNS TABLE (campaign BIGINT, has_waiting BOOLEAN, is_full BOOLEAN, yields BOOLEAN, cancels BOOLEAN, gates TEXT)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = trimtab, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    its TEXT := acting(said);
BEGIN
    RETURN QUERY SELECT c.id, a.waits, f.is_full, CASE WHEN a.waits AND NOT f.is_full THEN yields(c.id, its) ELSE FALSE END,
            c.cancels AND r.has, (c.limits::JSONB -> 'gates')::TEXT
        FROM campaign c CROSS JOIN LATERAL (SELECT EXISTS (
            SELECT FROM run r WHERE r.campaign = c.id AND r.host = its AND r.state = 'waiting'
        ) AS has) w CROSS JOIN LATERAL (SELECT EXISTS (
            SELECT FROM run r WHERE r.campaign = c.id AND r.host = its AND r.state = 'running'
        ) AS has) r CROSS JOIN LATERAL (SELECT c.state = 'active' AND w.has AS waits) a CROSS JOIN LATERAL (
            SELECT CASE WHEN a.waits THEN NOT has_room_on_host(c.id, its) ELSE FALSE END AS is_full
            OFFSET 0 -- or it is worked out wherever it is named
        ) f
        WHERE (c.state = 'active' AND (w.has OR r.has)) OR (c.cancels AND r.has) ORDER BY c.id;
END $$;

-- The number of the newest line of the history, and how many workers there are that look for it.
CREATE FUNCTION latest(OUT newest BIGINT, OUT workers BIGINT)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = trimtab, pg_temp AS $$
    SELECT coalesce(max(e.id), 0), (SELECT count(*) FROM host h WHERE h.lease >= clock()) FROM event e
$$;

-- This host's part of each campaign that goes on or was over a day ago at most, for its metrics: JSON.
CREATE FUNCTION mine(said TEXT) RETURNS TEXT
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = trimtab, pg_temp AS $$
DECLARE
    its TEXT := acting(said);
BEGIN
    RETURN (SELECT coalesce(jsonb_agg(jsonb_build_object('id', c.id, 'name', c.name, 'state', c.state,
            'waiting', s.waiting, 'running', s.running, 'held_bytes', s.held, 'expected_bytes', s.expected,
            'done', coalesce((
                SELECT jsonb_object_agg(k.class, k.many) FROM (
                    SELECT r.class, count(*) AS many FROM run r
                    WHERE r.campaign = c.id AND r.host = its AND r.state = 'done' GROUP BY r.class
                ) AS k), '{}'),
            'datastores', coalesce((
                SELECT jsonb_agg(jsonb_build_object('datastore', p.name, 'cap', p.at_once,
                    'running', (SELECT count(*) FROM run r WHERE r.campaign = c.id AND r.host = its
                        AND r.state = 'running' AND p.name = ANY (string_to_array(r.place, E'\n'))),
                    'freed_bytes', coalesce((SELECT sum(d.freed) FROM run_datastore d JOIN run r ON r.id = d.run
                        WHERE r.campaign = c.id AND r.host = its AND d.datastore = p.name), 0)) ORDER BY p.name)
                FROM cap p WHERE p.campaign = c.id AND p.scope = 'datastore' AND EXISTS (
                    SELECT FROM run r WHERE r.campaign = c.id AND r.host = its
                        AND p.name = ANY (string_to_array(r.place, E'\n')))
                ), '[]')) ORDER BY c.id), '[]')
        FROM campaign c CROSS JOIN LATERAL (
            SELECT count(*) AS many, count(*) FILTER (WHERE r.state = 'waiting') AS waiting,
                count(*) FILTER (WHERE r.state = 'running') AS running,
                coalesce(sum(r.held), 0) AS held, coalesce(sum(r.expected), 0) AS expected
            FROM run r WHERE r.campaign = c.id AND r.host = its
        ) AS s
        WHERE s.many > 0 AND (c.ended IS NULL OR c.ended > clock() - 86400000000));
END $$;

-- How long a lease is, in microseconds, and the version of the store.
CREATE FUNCTION terms(OUT lease BIGINT, OUT version BIGINT)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = trimtab, pg_temp AS $$
    SELECT s.lease, s.version FROM store s
$$;

-- What a claim gives: 'run', 'nothing' (why, and how many microseconds until it is worth asking again), 'empty', or
-- 'unknown' for a campaign that the store does not have.
CREATE TYPE claimed AS (
    what TEXT, why TEXT, next BIGINT, run BIGINT, name TEXT, uuid TEXT, agent_run TEXT, fence BIGINT, failures BIGINT,
    put_off BIGINT, baseline TEXT, closes BIGINT, now BIGINT, limits TEXT, campaign BIGINT, place TEXT
);

-- Refuses who was taken for gone: another worker stands for its host within its lease.
CREATE FUNCTION stands(its TEXT, process TEXT, now BIGINT) RETURNS VOID LANGUAGE plpgsql STABLE AS $$
DECLARE
    other TEXT;
BEGIN
    SELECT h.worker INTO other FROM host h WHERE h.id = its AND h.worker <> process AND h.lease >= now;
    IF FOUND THEN
        RAISE EXCEPTION 'another worker stands for host % (%)', its, other USING ERRCODE = 'TT004';
    END IF;
END $$;

-- Takes a claim on that this database has forgotten: it was put back to an earlier state, and the worker goes by what was
-- answered before. Such a claim has a fence that the run has not had yet, from a time when its campaign was there; and no
-- host has more of them than may run at once in all, beside as many of that state that are told after it. Where the run is
-- another claim's of this host still, that one has since lost it, and it is no younger for that.
CREATE FUNCTION adopt(its_host TEXT, its BIGINT, its_fence BIGINT, now BIGINT) RETURNS VOID
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    of BIGINT;
BEGIN
    UPDATE run r SET state = 'running', admitted = TRUE, fence = its_fence, heard = now, not_before = 0,
        claimed = CASE r.state WHEN 'running' THEN r.claimed ELSE now END,
        cancelled = CASE r.state WHEN 'running' THEN r.cancelled END,
        worker = (SELECT h.worker FROM host h WHERE h.id = its_host), wait = NULL, wait_text = NULL, nonce = NULL,
        lease = CASE WHEN r.state = 'waiting' OR r.cancelled IS NULL THEN now + s.lease ELSE r.lease END
    FROM campaign c, store s
    WHERE r.id = its AND r.host = its_host AND r.state IN ('waiting', 'running') AND r.fence < its_fence AND c.id = r.campaign
        AND its_fence BETWEEN c.applied AND now + 3600000000
        AND (SELECT count(*) FROM run o WHERE o.host = its_host AND o.state = 'running' AND o.campaign = c.id AND o.id <> its)
            < (SELECT 2 * p.at_once FROM cap p WHERE p.campaign = c.id AND p.scope = 'all')
    RETURNING r.campaign INTO of;
    IF FOUND THEN
        PERFORM note(now, of, its, 'adopted', 'the store', format('fence %s is of a later state than this database', its_fence),
            NULL);
    END IF;
END $$;

-- The best run that has room. What was begun before goes first: a run that a worker left in the middle may go on in its
-- guest for a moment, and has its place back before another one gets it. `nonce` makes a claim whose answer was lost
-- answerable: the same one gets the same run.
CREATE FUNCTION claim(of BIGINT, said TEXT, process TEXT, mark TEXT) RETURNS claimed
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = trimtab, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    its TEXT := acting(said);
    answer claimed;
    its_campaign campaign;
    stage BIGINT;
    one RECORD;
    head RECORD;
    window_says RECORD;
    there RECORD;
    busy BIGINT[];
    best BIGINT;
    best_rank BIGINT[];
BEGIN
    PERFORM check_short('worker', process, 1000);
    PERFORM check_short('mark', mark, 100);
    answer.now := locked();
    PERFORM stands(its, process, answer.now);
    PERFORM expire(answer.now);
    SELECT r.id INTO best FROM run r
    WHERE r.host = its AND r.state = 'running' AND r.worker = process AND r.nonce = mark;
    IF FOUND THEN
        RETURN handed_out(best, answer.now);
    END IF;
    SELECT * INTO its_campaign FROM campaign c WHERE c.id = of;
    IF NOT FOUND THEN
        answer.what := 'unknown';
        RETURN answer;
    END IF;
    IF NOT EXISTS (SELECT FROM run r WHERE r.campaign = of AND r.host = its AND r.state = 'waiting') THEN
        answer.what := 'empty';
        RETURN answer;
    END IF;
    answer.what := 'nothing';
    IF its_campaign.state <> 'active' THEN
        answer.why := 'campaign';
        RETURN answer;
    ELSIF NOT may_admit(its_campaign) THEN
        answer.why := 'budget';
        RETURN answer;
    END IF;
    window_says := hours(of, answer.now);
    IF window_says.said = 'closed' THEN
        answer.why := 'window';
        answer.next := window_says.at - answer.now;
        RETURN answer;
    ELSIF window_says.said = 'past' THEN
        PERFORM stop(of, 'no window is left in which one more run ends in time; plan the rest anew', FALSE, answer.now);
        answer.why := 'campaign';
        RETURN answer;
    END IF;
    IF NOT has_room_on_host(of, its) THEN
        answer.why := 'room';
        RETURN answer;
    END IF;
    stage := ramp_room(its_campaign);
    there := taken(of);
    SELECT coalesce(array_agg(r.vm), '{}') INTO busy FROM run r WHERE r.state = 'running';
    -- One step in the index run_waiting for each lane, and one for the head of each that has room.
    FOR one IN
        WITH RECURSIVE heads (lane) AS (
            (SELECT r.lane FROM run r WHERE r.campaign = of AND r.host = its AND r.state = 'waiting'
                ORDER BY r.lane LIMIT 1)
            UNION ALL
            SELECT (SELECT r.lane FROM run r WHERE r.campaign = of AND r.host = its AND r.state = 'waiting'
                AND r.lane > h.lane ORDER BY r.lane LIMIT 1) FROM heads h WHERE h.lane IS NOT NULL
        )
        SELECT h.lane, left(h.lane, 1) = '1' AS first, substr(h.lane, 2, 1) = '1' AS admitted,
            string_to_array(substr(h.lane, 3), E'\n') AS datastores
        FROM heads h WHERE h.lane IS NOT NULL
    LOOP
        CONTINUE WHEN NOT one.admitted AND stage = 0;
        CONTINUE WHEN one.datastores && there.full_ones OR (one.first AND one.datastores && there.first_ones);
        SELECT r.id, r.position INTO head FROM run r
        WHERE r.campaign = of AND r.host = its AND r.state = 'waiting' AND r.lane = one.lane
            AND r.not_before <= answer.now
            AND r.vm <> ALL (busy)
        ORDER BY r.position LIMIT 1;
        CONTINUE WHEN NOT FOUND;
        IF best_rank IS NULL OR ARRAY[(NOT one.admitted)::INT, head.position, head.id] < best_rank THEN
            best_rank := ARRAY[(NOT one.admitted)::INT, head.position, head.id];
            best := head.id;
        END IF;
    END LOOP;
    IF best IS NULL THEN
        RETURN nothing_due(of, its, stage, answer);
    END IF;
    UPDATE run r SET state = 'running', admitted = TRUE, fence = greatest(r.fence + 1, answer.now), worker = process,
        claimed = answer.now, heard = answer.now, agent_run = coalesce(r.agent_run, gen_random_uuid()::TEXT),
        stage = NULL, not_before = 0, wait = NULL, wait_text = NULL, nonce = mark, cancelled = NULL,
        lease = answer.now + (SELECT s.lease FROM store s)
    WHERE r.id = best;
    answer := handed_out(best, answer.now);
    answer.closes := window_says.at;
    PERFORM note(answer.now, of, best, 'claimed', process, format('fence %s', answer.fence), NULL);
    RETURN answer;
END $$;

-- A run as its worker has it.
CREATE FUNCTION handed_out(its BIGINT, now BIGINT) RETURNS claimed LANGUAGE sql STABLE AS $$
    SELECT 'run', NULL::TEXT, NULL::BIGINT, r.id, v.name, v.uuid, r.agent_run, r.fence, r.failures, r.put_off,
        r.baseline, (hours(r.campaign, now)).at, now, c.limits, c.id, r.place
    FROM run r JOIN vm v ON v.id = r.vm JOIN campaign c ON c.id = r.campaign WHERE r.id = its
$$;

-- Why there is none, in the words of the best that waits.
CREATE FUNCTION nothing_due(of BIGINT, its TEXT, stage BIGINT, answer claimed) RETURNS claimed
LANGUAGE plpgsql STABLE AS $$
BEGIN
    SELECT min(r.not_before) - answer.now INTO answer.next FROM run r
    WHERE r.campaign = of AND r.host = its AND r.state = 'waiting' AND r.not_before > answer.now;
    IF EXISTS (
        SELECT FROM run r
        WHERE r.campaign = of AND r.host = its AND r.state = 'waiting' AND r.not_before <= answer.now
    ) THEN
        answer.why := CASE WHEN stage = 0 THEN 'ramp' ELSE 'room' END;
    ELSE
        SELECT coalesce(r.wait, 'retry') INTO answer.why FROM run r
        WHERE r.campaign = of AND r.host = its AND r.state = 'waiting' ORDER BY r.not_before, r.position LIMIT 1;
    END IF;
    RETURN answer;
END $$;

-- What to do with a run, for who has this fence: 'keep', 'cancel' or 'gone'. A trim ends at its campaign's deadline by
-- itself; what its worker keeps for an hour longer is to end, too.
CREATE FUNCTION instruction(its_host TEXT, its BIGINT, its_fence BIGINT, now BIGINT) RETURNS TEXT LANGUAGE sql STABLE AS $$
    SELECT coalesce((
        SELECT CASE
            WHEN c.cancels OR r.claimed + ((c.limits::JSONB ->> 'deadline_secs')::BIGINT + 3600) * 1000000 < now THEN 'cancel'
            ELSE 'keep' END
        FROM run r JOIN campaign c ON c.id = r.campaign
        WHERE r.id = its AND r.host = its_host AND r.fence = its_fence AND r.state = 'running'
    ), 'gone')
$$;

-- Keeps the baseline of a run that goes on.
CREATE FUNCTION baseline(said TEXT, its BIGINT, its_fence BIGINT, text TEXT) RETURNS TEXT
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = trimtab, pg_temp AS $$
DECLARE
    its_host TEXT := acting(said);
    kept TEXT := kept_as('baseline', text, 128 << 10);
    now BIGINT := locked();
    answer TEXT;
BEGIN
    PERFORM adopt(its_host, its, its_fence, now);
    answer := instruction(its_host, its, its_fence, now);
    IF answer = 'keep' THEN
        UPDATE run r SET baseline = kept, heard = now, lease = now + s.lease FROM store s WHERE r.id = its;
    END IF;
    RETURN answer;
END $$;

-- Says that this worker is there, and where each of its runs is; renews their leases.
CREATE FUNCTION heartbeat(said TEXT, process TEXT, why TEXT, runs BIGINT[], fences BIGINT[], stages TEXT[])
RETURNS TABLE (run BIGINT, answer TEXT)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = trimtab, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    its_host TEXT := acting(said);
    now BIGINT;
    one RECORD;
BEGIN
    PERFORM check_short('worker', process, 1000);
    PERFORM check_short('reason', coalesce(why, ''), 4096);
    PERFORM check_lists('runs', cardinality(runs), 1000, cardinality(fences), cardinality(stages));
    PERFORM check_short('stage', s, 4096) FROM unnest(stages) AS s;
    now := locked();
    PERFORM stands(its_host, process, now);
    PERFORM expire(now);
    PERFORM seen(its_host, process, why, now);
    FOR one IN SELECT u.run, u.fence, u.stage FROM unnest(runs, fences, stages) AS u (run, fence, stage) LOOP
        PERFORM adopt(its_host, one.run, one.fence, now);
        run := one.run;
        answer := instruction(its_host, one.run, one.fence, now);
        -- What is to end is not kept for ever: ten leases are enough for every agent.
        UPDATE run r SET stage = one.stage, heard = now,
            cancelled = CASE WHEN answer = 'cancel' THEN coalesce(r.cancelled, now) END,
            lease = CASE WHEN answer = 'keep' OR coalesce(r.cancelled, now) + 10 * s.lease >= now THEN now + s.lease
                ELSE r.lease END
        FROM store s WHERE r.id = one.run AND answer <> 'gone';
        RETURN NEXT;
    END LOOP;
END $$;

-- What a result says of all disks together.
CREATE FUNCTION sum_of(done JSONB, figure TEXT) RETURNS NUMERIC LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(sum((d ->> figure)::NUMERIC), 0) FROM jsonb_array_elements(done -> 'disks') AS d
$$;

-- No further than sums of all runs of a campaign can go: words.rs.
CREATE FUNCTION within(figure NUMERIC) RETURNS BIGINT LANGUAGE sql IMMUTABLE AS $$
    SELECT greatest(least(figure, 562949953421312), -562949953421312)::BIGINT
$$;

-- Adds what a turn freed: to the run's sum and to its datastores', which are those of its plan.
CREATE FUNCTION count_freed(its BIGINT, done JSONB) RETURNS VOID LANGUAGE sql VOLATILE AS $$
    UPDATE run SET freed = within(freed::NUMERIC + sum_of(done, 'freed_bytes')), held = within(sum_of(done, 'held_bytes')),
        duration = within(duration::NUMERIC + (done ->> 'duration_ms')::BIGINT)
    WHERE id = its;
    UPDATE run_datastore p SET freed = within(p.freed::NUMERIC + f.freed) FROM (
        SELECT d ->> 'datastore' AS datastore, sum((d ->> 'freed_bytes')::NUMERIC) AS freed
        FROM jsonb_array_elements(done -> 'disks') AS d WHERE d ->> 'freed_bytes' IS NOT NULL GROUP BY 1
    ) AS f
    WHERE p.run = its AND p.datastore = f.datastore
$$;

-- "reclaimed, 1073741824 bytes": words.rs.
CREATE FUNCTION line_of(done JSONB) RETURNS TEXT LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT format('%s, %s bytes%s', done ->> 'class', within(sum_of(done, 'freed_bytes')), ': ' || (done ->> 'text'))
$$;

-- What outlives the campaign. A cut or held run has shown that the VM answers; one that was away has shown nothing.
CREATE FUNCTION remember(its_vm BIGINT, class TEXT, is_over BOOLEAN, now BIGINT) RETURNS VOID LANGUAGE sql VOLATILE AS $$
    UPDATE vm SET
        proven = CASE WHEN class IN ('reclaimed', 'already_compact') THEN now ELSE proven END,
        failed = CASE
            WHEN is_over AND class IN ('failed', 'harmed') THEN failed + 1
            WHEN is_over AND class IN ('reclaimed', 'already_compact', 'cut', 'held', 'not_measurable') THEN 0
            ELSE failed END
    WHERE id = its_vm
$$;

-- A run of this host whose word is taken now, or what became of it: 'counted', 'already_counted', 'fenced', 'unknown'.
CREATE FUNCTION turn(its_host TEXT, its BIGINT, its_fence BIGINT, done JSONB, now BIGINT) RETURNS TEXT
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    of run;
BEGIN
    PERFORM adopt(its_host, its, its_fence, now);
    SELECT * INTO of FROM run r WHERE r.id = its AND r.host = its_host;
    IF NOT FOUND THEN
        RETURN 'unknown';
    ELSIF of.fence = its_fence AND of.state = 'running' THEN
        RETURN 'counted';
    ELSIF of.settled = its_fence THEN
        RETURN 'already_counted';
    END IF;
    PERFORM note(now, of.campaign, its, 'fenced', 'a former worker',
        format('fence %s came too late%s', its_fence, ': ' || line_of(done)), done::TEXT);
    RETURN 'fenced';
END $$;

-- The end of a run that is counted.
CREATE FUNCTION over(its BIGINT, done JSONB, said TEXT, now BIGINT) RETURNS VOID
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    of run;
    line BIGINT;
BEGIN
    SELECT * INTO STRICT of FROM run r WHERE r.id = its;
    line := note(now, of.campaign, its, 'counted', coalesce(of.worker, ''), said, done::TEXT);
    UPDATE run SET state = 'done', settled = fence, agent_run = NULL, baseline = NULL, stage = NULL, nonce = NULL,
        class = done ->> 'class', layer = done ->> 'layer', result = done::TEXT, ended = now, end_event = line
    WHERE id = its;
    PERFORM remember(of.vm, done ->> 'class', TRUE, now);
    PERFORM settle(of.campaign, (SELECT v.name FROM vm v WHERE v.id = of.vm), done, now);
END $$;

-- The run's end.
CREATE FUNCTION finish(said TEXT, its BIGINT, its_fence BIGINT, result TEXT) RETURNS TEXT
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = trimtab, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    its_host TEXT := acting(said);
    done JSONB := kept_as('result', result, 128 << 10);
    now BIGINT;
    answer TEXT;
BEGIN
    IF done IS NULL THEN
        PERFORM refuse('no result');
    END IF;
    now := locked();
    answer := turn(its_host, its, its_fence, done, now);
    IF answer = 'counted' THEN
        PERFORM count_freed(its, done);
        PERFORM over(its, done, line_of(done), now);
    END IF;
    RETURN answer;
END $$;

-- The run goes back to wait, for `after` microseconds; where a person has aborted the campaign, this is its end.
-- `result` is what the turn did until then; NULL: nothing, or, where that is `unknown`, what is still with the agent.
CREATE FUNCTION later(
    said TEXT, its BIGINT, its_fence BIGINT, reason TEXT, words TEXT, after BIGINT, is_unknown BOOLEAN, result TEXT
) RETURNS TEXT
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = trimtab, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    its_host TEXT := acting(said);
    done JSONB := kept_as('result', result, 128 << 10);
    now BIGINT;
    answer TEXT;
    of run;
    is_put_off BOOLEAN;
    line TEXT;
BEGIN
    PERFORM check_short('reason', words, 4096);
    IF reason IS NULL OR reason <> ALL (enum_range(NULL::word_wait)::TEXT[]) OR is_unknown IS NULL
        OR (after BETWEEN 0 AND 562949953421312) IS NOT TRUE
    THEN
        PERFORM refuse(format('wait for %L, for %s microseconds', left(reason, 40), after));
    END IF;
    now := locked();
    answer := turn(its_host, its, its_fence, done, now);
    IF answer <> 'counted' THEN
        RETURN answer;
    END IF;
    IF done IS NOT NULL THEN
        PERFORM count_freed(its, done);
    END IF;
    SELECT * INTO STRICT of FROM run r WHERE r.id = its;
    IF EXISTS (SELECT FROM campaign c WHERE c.id = of.campaign AND c.state = 'aborting') THEN
        line := words || CASE WHEN is_unknown AND of.baseline IS NOT NULL
            THEN '; what its last turn freed is not known' ELSE '' END;
        -- The line's figure is of this turn, the run's of all.
        PERFORM over(its, aborted(line, coalesce(done -> 'disks', '[]')),
            format('aborted, %s bytes: %s', within(sum_of(done, 'freed_bytes')), line), now);
        RETURN answer;
    END IF;
    -- "Not now" before anything was begun is no start.
    is_put_off := reason IN ('gate', 'guard') AND done IS NULL;
    UPDATE run r SET state = 'waiting', settled = r.fence, stage = NULL, nonce = NULL,
        admitted = NOT is_put_off OR (is_unknown AND of.baseline IS NOT NULL),
        failures = r.failures + (reason = 'retry')::INT,
        -- At once is at once, also when the clock goes back meanwhile.
        not_before = CASE after WHEN 0 THEN 0 ELSE now + after END,
        wait = reason, wait_text = words, put_off = CASE WHEN is_put_off THEN r.put_off + 1 ELSE 0 END,
        -- Its result is known: the next turn is another one to the agent.
        agent_run = CASE WHEN is_unknown THEN r.agent_run END,
        baseline = CASE WHEN is_unknown THEN r.baseline END
    WHERE r.id = its;
    IF done IS NOT NULL THEN
        PERFORM remember(of.vm, done ->> 'class', FALSE, now);
    END IF;
    PERFORM note(now, of.campaign, its, 'later', coalesce(of.worker, ''), words || coalesce(' (' || line_of(done) || ')', ''),
        done::TEXT);
    PERFORM follow(its, now);
    PERFORM settle(of.campaign, (SELECT v.name FROM vm v WHERE v.id = of.vm), done, now);
    RETURN answer;
END $$;

-- Takes back what a worker of this host had that is gone, and stands for the host from now on: how many runs that were.
-- NULL and who it is, where another one was heard within its lease.
CREATE FUNCTION recover(said TEXT, process TEXT, OUT runs BIGINT, OUT other TEXT)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = trimtab, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    its_host TEXT := acting(said);
    now BIGINT;
    one RECORD;
BEGIN
    PERFORM check_short('worker', process, 1000);
    now := locked();
    SELECT h.worker INTO other FROM host h WHERE h.id = its_host AND h.worker <> process AND h.lease >= now;
    IF FOUND THEN
        RETURN;
    END IF;
    runs := 0;
    FOR one IN
        SELECT r.id FROM run r WHERE r.state = 'running' AND r.host = its_host AND r.worker <> process ORDER BY r.id
    LOOP
        PERFORM put_back(one.id, 'recovered', process, 'its worker is gone; it waits again', now);
        runs := runs + 1;
    END LOOP;
    PERFORM seen(its_host, process, NULL, now);
END $$;

-- This worker ends: another one may stand for its host at once.
CREATE FUNCTION leave(said TEXT, process TEXT) RETURNS VOID
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = trimtab, pg_temp AS $$
DECLARE
    its_host TEXT := acting(said);
    now BIGINT := locked();
BEGIN
    UPDATE host SET lease = 0, seen = now WHERE id = its_host AND worker = process;
END $$;
