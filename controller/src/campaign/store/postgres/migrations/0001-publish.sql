-- What hosts publish: who is where. A plan reads it; a VM's runs and its past go with the VM.
--
-- A VM is by its uuid whose it is, and one host at a time *has* it: the first that published it as running there, until
-- that one publishes without it, or as off, or is silent for longer than a lease. Until then another host's word is a
-- claim, which is kept and not planned from: a host that was broken into cannot make others' VMs its own.

CREATE TABLE published_host (
    host      TEXT COLLATE "C" PRIMARY KEY,
    revision  BIGINT NOT NULL,              -- another one than its worker knows: all is to be published anew
    at        BIGINT NOT NULL,              -- when its worker said last that this is so
    about     TEXT NOT NULL                 -- JSON: its name, its datastores
);

-- What the images of a VM are known by, as numbers that an index takes: names may be long.
CREATE FUNCTION numbers(names TEXT[]) RETURNS BIGINT[] LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(array_agg(DISTINCT hashtextextended(n, 0)), '{}') FROM unnest(names) AS n
$$;

CREATE FUNCTION images(seen TEXT) RETURNS BIGINT[] LANGUAGE sql IMMUTABLE SET search_path = trimtab, pg_temp AS $$
    SELECT numbers(array_agg(k)) FROM jsonb_array_elements(seen::JSONB -> 'disks') AS d,
        jsonb_array_elements_text(d -> 'image' -> 'known_as') AS k
$$;

CREATE TABLE published_vm (
    host    TEXT COLLATE "C" NOT NULL REFERENCES published_host,
    name    TEXT COLLATE "C" NOT NULL,
    uuid    TEXT COLLATE "C" NOT NULL,      -- '' where it has none: then it is this host's, whatever others say
    is_on   BOOLEAN NOT NULL,
    has     BOOLEAN NOT NULL DEFAULT FALSE, -- it is this host's; is_on alone is a claim
    since   BIGINT NOT NULL,                -- this host has published it
    at      BIGINT NOT NULL,                -- it was as it says
    seen    TEXT,                           -- JSON; NULL: nobody has looked at it yet
    images  BIGINT[] NOT NULL GENERATED ALWAYS AS (images(seen)) STORED,
    PRIMARY KEY (host, name)
);

CREATE UNIQUE INDEX published_once ON published_vm (uuid) WHERE has AND uuid <> '';
CREATE INDEX published_image ON published_vm USING gin (images) WHERE is_on;
CREATE INDEX published_claim ON published_vm (uuid, since) WHERE is_on AND NOT has;

-- What a host calls itself.
CREATE FUNCTION called(about TEXT) RETURNS TEXT LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(left(about::JSONB ->> 'name', 64), '')
$$;

-- Neither its worker nor what that publishes was heard for a lease. While somebody holds the store's lock nobody is heard:
-- else one host could keep all others silent, and take their VMs.
CREATE FUNCTION is_silent(its TEXT, now BIGINT) RETURNS BOOLEAN LANGUAGE sql STABLE AS $$
    SELECT coalesce(greatest((SELECT p.at FROM published_host p WHERE p.host = its),
        (SELECT h.seen FROM host h WHERE h.id = its), (SELECT max(l.at) FROM stall l))
        + (SELECT s.lease FROM store s) < now, TRUE)
$$;

-- A run that waits goes to the host that its VM is on now, under the same cap as on every host.
CREATE FUNCTION follow(its BIGINT, now BIGINT) RETURNS VOID LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    of RECORD;
BEGIN
    SELECT r.campaign, r.host AS before, v.host AS after INTO of FROM run r JOIN vm v ON v.id = r.vm
    WHERE r.id = its AND r.state = 'waiting' AND r.host <> v.host;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    -- What it waited for was of the host that it has left, or of its way here.
    UPDATE run r SET host = of.after, not_before = 0 WHERE r.id = its;
    INSERT INTO cap (campaign, scope, name, at_once)
    SELECT c.id, 'host', of.after, (c.limits::JSONB ->> 'per_host')::BIGINT FROM campaign c
    WHERE c.id = of.campaign AND c.limits::JSONB ->> 'per_host' IS NOT NULL ON CONFLICT DO NOTHING;
    PERFORM note(now, of.campaign, its, 'moved', 'the store',
        format('its VM has migrated from host %s to host %s', of.before, of.after), NULL);
END $$;

-- A campaign that was just applied: runs of VMs that have migrated since the plan go where these are.
CREATE FUNCTION follow_all(of BIGINT, now BIGINT) RETURNS VOID LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    one RECORD;
BEGIN
    FOR one IN
        SELECT r.id, v.id AS vm, p.host, p.name FROM run r JOIN vm v ON v.id = r.vm
        JOIN published_vm p ON p.uuid = v.uuid AND p.has AND p.uuid <> ''
        WHERE r.campaign = of AND (p.host <> v.host OR p.name <> v.name) ORDER BY r.id
    LOOP
        UPDATE vm SET host = one.host, name = one.name WHERE id = one.vm;
        PERFORM follow(one.id, now);
    END LOOP;
END $$;

-- A host has a VM from now on.
CREATE FUNCTION take_over(its_host TEXT, its_name TEXT, its_uuid TEXT, now BIGINT) RETURNS VOID
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    its_vm BIGINT;
    one RECORD;
BEGIN
    UPDATE published_vm p SET has = FALSE WHERE p.uuid = its_uuid AND p.has;
    UPDATE published_vm p SET has = TRUE WHERE p.host = its_host AND p.name = its_name;
    UPDATE vm v SET host = its_host, name = its_name WHERE v.uuid = its_uuid RETURNING v.id INTO its_vm;
    FOR one IN SELECT r.id FROM run r WHERE r.vm = its_vm AND r.state = 'waiting' ORDER BY r.id LOOP
        PERFORM follow(one.id, now);
    END LOOP;
END $$;

-- Gives VMs to who claims them and may have them: this host's claims, and all on VMs that it had (`freed`).
CREATE FUNCTION hand_over(its TEXT, freed TEXT[], now BIGINT) RETURNS VOID LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    one RECORD;
BEGIN
    UPDATE published_vm p SET has = TRUE WHERE p.host = its AND p.uuid = '' AND NOT p.has;
    FOR one IN
        SELECT p.host, p.name, p.uuid FROM published_vm p
        WHERE p.is_on AND NOT p.has AND p.uuid <> '' AND (p.host = its OR p.uuid = ANY (freed))
        ORDER BY p.since, p.host, p.name
    LOOP
        CONTINUE WHEN is_silent(one.host, now) OR EXISTS (
            SELECT FROM published_vm o
            WHERE o.uuid = one.uuid AND o.has AND (o.host = one.host OR NOT is_silent(o.host, now))
        );
        PERFORM take_over(one.host, one.name, one.uuid, now);
    END LOOP;
END $$;

-- Which VMs of other hosts use an image that is known as one of these, for who has this run; NULL: none. A host that is
-- silent may be cut off, and its VMs write.
CREATE FUNCTION used_elsewhere(said TEXT, its BIGINT, known_as TEXT[]) RETURNS TEXT
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = trimtab, pg_temp AS $$
DECLARE
    its_host TEXT := acting(said);
    its_uuid TEXT;
BEGIN
    PERFORM check_lists('images', cardinality(known_as), 5000);
    SELECT v.uuid INTO its_uuid FROM run r JOIN vm v ON v.id = r.vm
    WHERE r.id = its AND r.host = its_host AND r.state = 'running';
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    RETURN (SELECT string_agg(u.name, ', ') FROM (
        SELECT format('%s of host %s', left(p.name, 64), coalesce(nullif(called(h.about), ''), p.host)) AS name
        FROM published_vm p JOIN published_host h ON h.host = p.host
        WHERE p.is_on AND p.images && numbers(known_as) AND p.host <> its_host AND (p.uuid = '' OR p.uuid <> its_uuid)
        ORDER BY p.host, p.name LIMIT 8
    ) AS u);
END $$;

-- No host keeps more here than this, whatever it sends: 5,000 VMs of 64 KiB, and 32 MiB in all.
CREATE FUNCTION check_size(its TEXT) RETURNS VOID LANGUAGE plpgsql STABLE AS $$
DECLARE
    many BIGINT;
    bytes BIGINT;
    widest BIGINT;
BEGIN
    SELECT count(*), coalesce(sum(octet_length(p.seen)), 0), coalesce(max(octet_length(p.seen)), 0)
    INTO many, bytes, widest FROM published_vm p WHERE p.host = its;
    SELECT bytes + octet_length(h.about), greatest(widest, octet_length(h.about) / 8) INTO bytes, widest
    FROM published_host h WHERE h.host = its;
    IF many > 5000 OR bytes > 32 << 20 OR widest > 64 << 10 THEN
        RAISE EXCEPTION 'host % would publish % VMs in % bytes, of one % bytes', its, many, bytes, widest
            USING ERRCODE = 'TT003';
    END IF;
END $$;

-- What a host says of its VMs, as it is kept of each; NULL where it says nothing.
CREATE FUNCTION kept_vms(names TEXT[], uuids TEXT[], are_on BOOLEAN[], docs TEXT[], gone TEXT[]) RETURNS TEXT[]
LANGUAGE plpgsql STABLE AS $$
BEGIN
    PERFORM check_lists('VMs', cardinality(names), 20000, cardinality(uuids), cardinality(are_on), cardinality(docs));
    PERFORM check_lists('names', cardinality(gone), 20000);
    PERFORM check_short('name', n, 4096) FROM unnest(names || gone) AS n;
    PERFORM check_short('uuid', u, 100) FROM unnest(uuids) AS u;
    RETURN (SELECT coalesce(array_agg(kept_as('VM', d.doc, 64 << 10)::TEXT ORDER BY d.n), '{}')
        FROM unnest(docs) WITH ORDINALITY AS d (doc, n));
END $$;

-- Keeps what is different since revision `base`; NULL: all that there is. The revision that it is then; NULL: the store
-- knows another one, and nothing was kept. `host_about` may be NULL, and any of `docs`: as before.
CREATE FUNCTION publish(
    said TEXT, base BIGINT, host_about TEXT, names TEXT[], uuids TEXT[], are_on BOOLEAN[], docs TEXT[], gone TEXT[]
) RETURNS BIGINT
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = trimtab, pg_temp AS $$
DECLARE
    its TEXT := acting(said);
    -- All that takes long is done before the lock is had.
    its_about TEXT := kept_as('host', host_about, 512 << 10);
    its_docs TEXT[] := kept_vms(names, uuids, are_on, docs, gone);
    now BIGINT := locked();
    answer BIGINT;
    freed TEXT[];
BEGIN
    SELECT p.revision INTO answer FROM published_host p WHERE p.host = its;
    IF base IS NOT NULL AND base IS DISTINCT FROM answer THEN
        RETURN NULL;
    END IF;
    IF base IS NULL OR its_about IS NOT NULL OR cardinality(names) > 0 OR cardinality(gone) > 0 THEN
        answer := greatest(answer + 1, now);
    END IF;
    INSERT INTO published_host AS p (host, revision, at, about) VALUES (its, answer, now, coalesce(its_about, '{}'))
    ON CONFLICT (host) DO UPDATE SET revision = answer, at = now, about = coalesce(its_about, p.about);
    -- What it had before, and what of that it has still.
    SELECT coalesce(array_agg(p.uuid), '{}') INTO freed FROM published_vm p
    WHERE p.host = its AND p.has AND p.uuid <> '' AND (base IS NULL OR p.name = ANY (names || gone));
    DELETE FROM published_vm p
    WHERE p.host = its AND (p.name = ANY (gone) OR (base IS NULL AND p.name <> ALL (names)));
    INSERT INTO published_vm AS p (host, name, uuid, is_on, since, at, seen)
    SELECT its, u.name, u.uuid, u.is_on, now, now, u.seen
    FROM unnest(names, uuids, are_on, its_docs) AS u (name, uuid, is_on, seen)
    ON CONFLICT (host, name) DO UPDATE SET uuid = excluded.uuid, is_on = excluded.is_on,
        at = CASE WHEN excluded.seen IS NULL THEN p.at ELSE now END,
        seen = coalesce(excluded.seen, CASE WHEN p.uuid = excluded.uuid THEN p.seen END),
        has = p.has AND p.uuid = excluded.uuid AND (excluded.is_on OR excluded.uuid = ''),
        since = CASE WHEN p.uuid = excluded.uuid AND p.is_on THEN p.since ELSE now END;
    PERFORM check_size(its);
    PERFORM hand_over(its, freed, now);
    RETURN answer;
END $$;
