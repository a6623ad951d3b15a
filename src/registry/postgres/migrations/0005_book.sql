-- The book: uses, share codes, consents and hold-backs, as programs write them from here on.

-- Presentations issued up to this moment (microseconds since 1970) are spent no more: their uses may be unknown. Set by the operator
-- after a restore to an earlier moment. See docs/scale.md.
ALTER TABLE registry ADD COLUMN revoked_until_us bigint;

-- From when on a row may be swept; when a use was spent. Microseconds since 1970. What is in redemption.request_id is a keyed digest.
ALTER TABLE presentation ADD COLUMN ends_us bigint;
ALTER TABLE redemption ADD COLUMN ends_us bigint;
ALTER TABLE redemption ADD COLUMN at_us bigint;
CREATE INDEX presentation_by_end ON presentation (ends_us) WHERE ends_us IS NOT NULL;
CREATE INDEX redemption_by_end ON redemption (ends_us) WHERE ends_us IS NOT NULL;

-- Consents partners say they have, each sealed for its place. Withdrawals stand in it, and on the subject's record, by which they
-- are judged: both are written in one transaction, under the lock of the partition's head.
CREATE TABLE consent (
    partition smallint NOT NULL,
    subject bytea NOT NULL CHECK (octet_length(subject) = 16),
    id bytea NOT NULL CHECK (octet_length(id) = 16),
    sealed bytea NOT NULL,
    PRIMARY KEY (partition, subject, id)
);

-- Look-ups a driver is not told of for a while, each sealed for its place.
CREATE TABLE hold_back (
    partition smallint NOT NULL,
    subject bytea NOT NULL CHECK (octet_length(subject) = 16),
    id bytea NOT NULL CHECK (octet_length(id) = 16),
    sealed bytea NOT NULL,
    PRIMARY KEY (partition, subject, id)
);
