-- The index of look-ups: who looked at whom, and where the entries of a request or of a case lie in the logs. Fed from the logs, and
-- rebuilt from them: nothing here is the only copy of anything.

-- One row per log that was read. A log that is being forgotten has no origin any more: nobody finds its rows, and they are deleted.
CREATE TABLE look_up_log (
    -- Random: rows of a forgotten log are nobody else's.
    id bigint PRIMARY KEY,
    origin text COLLATE "C" UNIQUE,
    -- How many of its entries were read. Whoever moves it holds the row's lock until the rows below are in.
    cursor bigint NOT NULL DEFAULT 0 CHECK (cursor >= 0)
);

-- One row per look-up. No text of anybody: random ids, keyed pseudonyms, keyed digests.
CREATE TABLE look_up (
    log bigint NOT NULL,
    entry_index bigint NOT NULL CHECK (entry_index >= 0),
    -- Microseconds since 1970.
    at_us bigint NOT NULL,
    subject bytea NOT NULL CHECK (octet_length(subject) = 16),
    request bytea CHECK (octet_length(request) = 16),
    case_digest bytea NOT NULL CHECK (octet_length(case_digest) = 16),
    PRIMARY KEY (log, entry_index)
);

CREATE INDEX look_up_by_subject ON look_up (subject, at_us);
CREATE INDEX look_up_by_request ON look_up (request, at_us) WHERE request IS NOT NULL;
CREATE INDEX look_up_by_case ON look_up (case_digest, at_us);
