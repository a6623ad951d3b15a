-- What the intake of the authority's changes keeps beside the records: how far each feed's sequence came and what waits, and which
-- changes came before.

-- One row per subject the feed ever spoke of, and per number nobody has for which changes came. A subject's lies in the subject's
-- partition, a number's in its home: whoever writes it holds the lock of that partition's head.
CREATE TABLE intake_state (
    partition smallint NOT NULL,
    -- 0: a subject's. 1: a number's that nobody has.
    kind smallint NOT NULL CHECK (kind IN (0, 1)),
    owner bytea NOT NULL CHECK (octet_length(owner) = 16),
    -- Bound to its owner; another place than that of the owner's record.
    sealed bytea NOT NULL,
    -- How many changes wait: for an earlier one, and in quarantine.
    held integer NOT NULL CHECK (held >= 0),
    quarantined integer NOT NULL CHECK (quarantined >= 0),
    -- When the first that is held goes into quarantine, in milliseconds since 1970; 0: to be looked at next, whatever the time.
    held_until_ms bigint,
    PRIMARY KEY (partition, kind, owner)
);

-- What waits: few rows of many.
CREATE INDEX intake_waiting ON intake_state (held_until_ms) WHERE held > 0 OR quarantined > 0;

-- Numbers nobody has: counted, because there may be only so many.
CREATE INDEX intake_number ON intake_state (owner) WHERE kind = 1;

-- Changes known by the keyed pseudonym of (feed, change id). Of two that take the same id at once only one can have it.
CREATE TABLE intake_known (
    key bytea PRIMARY KEY CHECK (octet_length(key) = 16),
    digest bytea NOT NULL CHECK (octet_length(digest) = 16),
    -- 0: it waits. 1: it is on record, where the position says. 2: the operator discarded it.
    fate smallint NOT NULL CHECK (fate IN (0, 1, 2)),
    epoch bigint,
    partition smallint,
    seq bigint,
    remembered_ms bigint NOT NULL,
    CHECK ((fate = 1) = (epoch IS NOT NULL)),
    CHECK ((fate = 1) = (partition IS NOT NULL)),
    CHECK ((fate = 1) = (seq IS NOT NULL))
);

-- For forgetting the oldest.
CREATE INDEX intake_known_by_time ON intake_known (remembered_ms);
