-- Claims, told among replicas once a second: who was claimed within a window, and how many claims came to nothing. All of it is gone a day
-- after its window began.

-- Whoever puts marks down holds this row's lock until it commits: so the order of commits is the order of seq.
CREATE TABLE claim_head (
    only_one smallint PRIMARY KEY DEFAULT 1 CHECK (only_one = 1),
    seq bigint NOT NULL CHECK (seq >= 0)
);

INSERT INTO claim_head (seq) VALUES (0);

-- A number was claimed. Up to a thousand rows share a seq.
CREATE TABLE claim_mark (
    partner text NOT NULL CHECK (partner <> ''),
    -- Microseconds since 1970.
    window_us bigint NOT NULL,
    -- Eight bytes of the number's keyed pseudonym.
    mark bigint NOT NULL,
    -- When it was told of, in microseconds since 1970.
    told_us bigint NOT NULL,
    seq bigint NOT NULL CHECK (seq >= 1),
    PRIMARY KEY (partner, window_us, mark)
);

-- Marks are read in this order, so many at a time.
CREATE INDEX claim_mark_by_seq ON claim_mark (seq);
CREATE INDEX claim_mark_by_window ON claim_mark (window_us);

-- How many claims of a partner came to nothing, on each replica.
CREATE TABLE claim_tally (
    partner text NOT NULL CHECK (partner <> ''),
    since_us bigint NOT NULL,
    replica text NOT NULL CHECK (replica <> ''),
    unconfirmed bigint NOT NULL CHECK (unconfirmed >= 0),
    PRIMARY KEY (partner, since_us, replica)
);
