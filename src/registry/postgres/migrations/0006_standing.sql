-- Standing that holds for every replica: each change a row of its own, in the order it was committed, never rewritten. The table `standing`
-- of an earlier migration was never written; it goes one release later.

-- Whoever changes a standing holds this row's lock until it commits: so the order of commits is the order of seq, without gaps.
CREATE TABLE standing_head (
    only_one smallint PRIMARY KEY DEFAULT 1 CHECK (only_one = 1),
    seq bigint NOT NULL CHECK (seq >= 0)
);

INSERT INTO standing_head (seq) VALUES (0);

CREATE TABLE standing_change (
    seq bigint PRIMARY KEY CHECK (seq >= 1),
    -- A partner's id, or 'key-' and the SHA-256 of a public key in hexadecimal.
    whose text NOT NULL CHECK (whose <> ''),
    state text NOT NULL CHECK (state IN ('active', 'suspended')),
    reason text NOT NULL CHECK (reason <> ''),
    changed_by text NOT NULL CHECK (changed_by <> ''),
    -- Microseconds since 1970.
    changed_us bigint NOT NULL
);

-- The latest word about each.
CREATE INDEX standing_change_latest ON standing_change (whose, seq);
