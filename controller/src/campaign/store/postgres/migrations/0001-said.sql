-- What hosts say, as far as it is kept. A host may have been broken into, and whoever holds its role's password speaks SQL of
-- his own making; operators read what he has said beside what all the others have. So each document is taken apart into the
-- types here and put together again: no word that is on no list, no other key, no number that sums cannot hold, nothing
-- that is long. Who says anything else is refused (TT006), and nothing of it is kept.
--
-- The documents are those of campaign/run.rs, campaign/seen.rs and model/baseline.rs; tests/words.rs holds the words to theirs.

CREATE TYPE word_class AS ENUM (
    'reclaimed', 'already_compact', 'cut', 'held', 'not_measurable', 'not_run', 'away', 'failed', 'set_aside', 'harmed',
    'aborted'
);
CREATE TYPE word_verdict AS ENUM (
    'reclaimed', 'partly_reclaimed', 'already_compact', 'cut_in_vmm', 'cut_in_guest', 'held_on_host', 'not_run',
    'not_measurable', 'failed'
);
CREATE TYPE word_layer AS ENUM (
    'link', 'agent', 'filesystem', 'crypt', 'lvm', 'md', 'scsi', 'device', 'granularity', 'drive', 'format',
    'preallocation', 'backup', 'job', 'protocol', 'host_filesystem', 'datastore', 'volume', 'underneath'
);
CREATE TYPE word_kind AS ENUM (
    'usage', 'config', 'unknown_vm', 'vm_off', 'vm_paused', 'vm_io_error', 'storage_worse', 'no_link', 'no_agent',
    'no_permission', 'agent_version', 'agent_silent', 'agent_nonsense', 'agent_lost', 'guest_rebooted', 'busy', 'vetoed',
    'too_soon', 'agent_refused', 'no_qmp', 'qmp_nonsense', 'no_libvirt', 'libvirt_refused', 'image', 'store',
    'unknown_campaign', 'drifted', 'interrupted', 'internal'
);
CREATE TYPE word_reason AS ENUM (
    'cut', 'guarded', 'nothing_to_free', 'no_image', 'off', 'no_agent', 'no_answer', 'set_aside', 'spared', 'host_silent',
    'claimed', 'excluded', 'not_looked_at'
);
CREATE TYPE word_wait AS ENUM (
    'worker', 'room', 'ramp', 'budget', 'window', 'gate', 'guard', 'retry', 'campaign'
);

-- Of one run: words.rs has the same end, so that no campaign's sum can run over.
CREATE DOMAIN figure AS BIGINT CHECK (VALUE BETWEEN 0 AND 562949953421312);
CREATE DOMAIN growth AS BIGINT CHECK (VALUE BETWEEN -562949953421312 AND 562949953421312);
-- Of an image, and of a datastore: what is added up of them still fits into a plan.
CREATE DOMAIN size AS BIGINT CHECK (VALUE BETWEEN 0 AND 72057594037927936);
CREATE DOMAIN room AS BIGINT NOT NULL CHECK (VALUE BETWEEN 0 AND 4611686018427387904);
-- u64: what a kernel numbers.
CREATE DOMAIN number AS NUMERIC CHECK (VALUE BETWEEN 0 AND 18446744073709551615 AND scale(VALUE) = 0);
CREATE DOMAIN pair AS number[] NOT NULL CHECK (
    array_ndims(VALUE) = 1 AND cardinality(VALUE) = 2 AND array_position(VALUE, NULL) IS NULL
);
CREATE DOMAIN yes_or_no AS BOOLEAN NOT NULL;

CREATE DOMAIN words AS TEXT CHECK (octet_length(VALUE) <= 8192);
CREATE DOMAIN title AS TEXT NOT NULL CHECK (octet_length(VALUE) <= 4096);
-- A datastore's: one a line of run.place.
CREATE DOMAIN place AS TEXT CHECK (octet_length(VALUE) BETWEEN 1 AND 4096 AND VALUE !~ '[\u0001-\u001f\u007f-\u009f]');
CREATE DOMAIN place_of_its_own AS place NOT NULL;
CREATE DOMAIN titles AS title[] NOT NULL CHECK (coalesce(array_ndims(VALUE), 1) = 1 AND cardinality(VALUE) <= 1000);

-- RunResult.
CREATE DOMAIN a_class AS word_class NOT NULL;
CREATE DOMAIN a_verdict AS word_verdict NOT NULL;
CREATE TYPE disk_result AS (
    name title, image words, datastore place, verdict a_verdict, freed_bytes growth, held_bytes figure
);
CREATE DOMAIN a_disk_result AS disk_result NOT NULL;
CREATE DOMAIN disk_results AS a_disk_result[] NOT NULL CHECK (
    coalesce(array_ndims(VALUE), 1) = 1 AND cardinality(VALUE) <= 1000
);
CREATE DOMAIN span AS figure NOT NULL;
CREATE TYPE run_result AS (
    class a_class, disks disk_results, text words, kind word_kind, layer word_layer, duration_ms span
);

-- Baseline.
CREATE TYPE disk_baseline AS (
    device title, file pair, allocated_bytes number, written_bytes number, arrived_bytes number, failed_requests number,
    failed_io number
);
CREATE DOMAIN a_disk_baseline AS disk_baseline NOT NULL;
CREATE DOMAIN disk_baselines AS a_disk_baseline[] NOT NULL CHECK (
    coalesce(array_ndims(VALUE), 1) = 1 AND cardinality(VALUE) <= 1000
);
CREATE TYPE run_baseline AS (disks disk_baselines);

-- SeenVm.
CREATE DOMAIN a_number AS number NOT NULL;
CREATE TYPE seen_image AS (path title, inode a_number, datastore place, known_as titles);
CREATE DOMAIN a_size AS size NOT NULL;
CREATE TYPE seen_slack AS (min_bytes a_size, max_bytes a_size);
CREATE TYPE seen_disk AS (
    name title, image seen_image, slack seen_slack, allocated_bytes size, used_bytes size, goes yes_or_no
);
CREATE DOMAIN a_seen_disk AS seen_disk NOT NULL;
CREATE DOMAIN seen_disks AS a_seen_disk[] NOT NULL CHECK (
    coalesce(array_ndims(VALUE), 1) = 1 AND cardinality(VALUE) <= 64
);
CREATE DOMAIN a_reason AS word_reason NOT NULL;
CREATE TYPE seen_out AS (reason a_reason, text title, paste words);
CREATE TYPE seen_vm AS (
    name title, uuid words, labels titles, is_on yes_or_no, disks seen_disks, "out" seen_out, notes titles
);

-- SeenHost.
CREATE TYPE seen_datastore AS (
    name place_of_its_own, identity title, path title, size_bytes room, free_bytes room
);
CREATE DOMAIN a_seen_datastore AS seen_datastore NOT NULL;
CREATE DOMAIN seen_datastores AS a_seen_datastore[] NOT NULL CHECK (
    coalesce(array_ndims(VALUE), 1) = 1 AND cardinality(VALUE) <= 1000
);
CREATE TYPE seen_host AS (name title, datastores seen_datastores, gates titles);

CREATE FUNCTION refuse(why TEXT) RETURNS VOID LANGUAGE plpgsql STABLE AS $$
BEGIN
    RAISE EXCEPTION 'what role "%" says is none of what a worker says: %', session_user, why USING ERRCODE = 'TT006';
END $$;

-- A document of that type, as it is kept; NULL for NULL.
CREATE FUNCTION kept_as(kind TEXT, said TEXT, most INT) RETURNS JSONB LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF octet_length(said) > most THEN
        PERFORM refuse(format('%s of more than %s bytes', kind, most));
    END IF;
    RETURN CASE kind
        WHEN 'result' THEN to_jsonb(jsonb_populate_record(NULL::run_result, said::JSONB))
        WHEN 'baseline' THEN to_jsonb(jsonb_populate_record(NULL::run_baseline, said::JSONB))
        WHEN 'host' THEN to_jsonb(jsonb_populate_record(NULL::seen_host, said::JSONB))
        WHEN 'VM' THEN to_jsonb(jsonb_populate_record(NULL::seen_vm, said::JSONB))
    END;
-- A domain's CHECK, a word that is on no list, no JSON, nested too deep.
EXCEPTION WHEN data_exception OR integrity_constraint_violation OR program_limit_exceeded THEN
    PERFORM refuse(format('%s: %s', kind, left(SQLERRM, 200)));
    RETURN NULL;
END $$;

-- A short text.
CREATE FUNCTION check_short(kind TEXT, said TEXT, most INT) RETURNS VOID LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF said IS NULL OR octet_length(said) > most THEN
        PERFORM refuse(format('%s of %s bytes, of at most %s', kind, coalesce(octet_length(said), 0), most));
    END IF;
END $$;

-- Lists that are read side by side.
CREATE FUNCTION check_lists(kind TEXT, many INT, most INT, VARIADIC others INT[] DEFAULT '{}') RETURNS VOID LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF many IS NULL OR many > most OR EXISTS (SELECT FROM unnest(others) AS o (many) WHERE o.many IS DISTINCT FROM check_lists.many)
    THEN
        PERFORM refuse(format('%s: lists of %s and %s, of at most %s', kind, many, others, most));
    END IF;
END $$;
