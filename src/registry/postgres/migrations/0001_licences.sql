-- The registry itself: who it is, where its feed stands, numbers, records, feed.
--
-- Expand/contract: a migration may add tables, nullable columns, columns with a default, and indexes. It never renames, drops or
-- narrows what the version before it uses; what is no longer used goes one release later, in a migration that also raises
-- registry.program_oldest. See docs/scale.md.
--
-- Plain SQL: no sequences, advisory locks, triggers or functions. Every hot statement names its partition, so that each can be
-- sent to one server.

CREATE TABLE registry (
    only_one smallint PRIMARY KEY DEFAULT 1 CHECK (only_one = 1),
    id bytea NOT NULL CHECK (octet_length(id) = 16),
    -- The layout of sealed values.
    format integer NOT NULL,
    -- The oldest version of the schema whose programs may still run against this one.
    program_oldest bigint NOT NULL DEFAULT 1,
    partitions smallint NOT NULL CHECK (partitions BETWEEN 1 AND 256),
    -- The server, and the branch of its history, in which the epoch in force began. Another one begins a new epoch.
    server text NOT NULL,
    sealing_check bytea NOT NULL,
    pseudonym_check bytea NOT NULL CHECK (octet_length(pseudonym_check) = 16),
    created_at timestamptz NOT NULL DEFAULT now()
);

-- One row per partition. Whoever changes a partition holds its row's lock until it commits: so the order of commits is the order
-- of seq, without gaps.
CREATE TABLE feed_head (
    partition smallint PRIMARY KEY,
    epoch bigint NOT NULL CHECK (epoch BETWEEN 1 AND 4294967295),
    seq bigint NOT NULL CHECK (seq >= 0)
);

-- Keyed pseudonym of a number -> subject. A number lies in its own home partition; it never changes its subject.
CREATE TABLE number (
    partition smallint NOT NULL,
    pseudonym bytea NOT NULL CHECK (octet_length(pseudonym) = 16),
    subject bytea NOT NULL CHECK (octet_length(subject) = 16),
    PRIMARY KEY (partition, pseudonym)
) PARTITION BY LIST (partition);

-- Subject -> its sealed history, bound to the subject.
CREATE TABLE record (
    partition smallint NOT NULL,
    subject bytea NOT NULL CHECK (octet_length(subject) = 16),
    sealed bytea NOT NULL,
    PRIMARY KEY (partition, subject)
) PARTITION BY LIST (partition);

-- Who changed, in the order it was committed. pseudonyms: 16 bytes for every number by which the change must be found.
CREATE TABLE feed (
    partition smallint NOT NULL,
    seq bigint NOT NULL CHECK (seq >= 1),
    epoch bigint NOT NULL,
    subject bytea NOT NULL CHECK (octet_length(subject) = 16),
    pseudonyms bytea NOT NULL CHECK (octet_length(pseudonyms) % 16 = 0),
    written_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (partition, seq)
);

-- For retention, and for where a replica starts tailing.
CREATE INDEX feed_by_time ON feed (partition, written_at);
