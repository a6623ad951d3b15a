-- What the wallet and the operator will keep beside the licences: presentations and their uses, grounds, standing. The rules that
-- must hold whatever a program does are constraints.

CREATE TABLE presentation (
    token bytea PRIMARY KEY CHECK (octet_length(token) = 16),
    partition smallint NOT NULL,
    subject bytea NOT NULL CHECK (octet_length(subject) = 16),
    kind text NOT NULL CHECK (kind IN ('qr', 'share-code')),
    terms bytea NOT NULL,
    uses_max smallint NOT NULL CHECK (uses_max BETWEEN 1 AND 1000),
    issued_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    CHECK (expires_at > issued_at),
    CHECK (kind = 'share-code' OR uses_max = 1)
);

-- One row per use that is gone, by redemption or by revocation: both compete for the same key, and only one can have it.
CREATE TABLE redemption (
    token bytea NOT NULL CHECK (octet_length(token) = 16),
    use_number smallint NOT NULL CHECK (use_number >= 1),
    revoked boolean NOT NULL DEFAULT false,
    partner text,
    request_id text,
    request_digest bytea CHECK (octet_length(request_digest) = 16),
    redeemed_at timestamptz NOT NULL,
    origin text,
    entry_index bigint CHECK (entry_index >= 0),
    PRIMARY KEY (token, use_number),
    UNIQUE (token, partner, request_id),
    CHECK (revoked = (partner IS NULL)),
    CHECK ((partner IS NULL) = (request_id IS NULL)),
    CHECK ((partner IS NULL) = (request_digest IS NULL)),
    CHECK ((origin IS NULL) = (entry_index IS NULL)),
    CHECK (NOT revoked OR origin IS NULL)
);

-- What a partner asserted, or the driver agreed to. Never deleted before its time; withdrawn or objected to by date.
CREATE TABLE ground (
    id bytea PRIMARY KEY CHECK (octet_length(id) = 16),
    partition smallint NOT NULL,
    subject bytea NOT NULL CHECK (octet_length(subject) = 16),
    partner text NOT NULL,
    purpose smallint NOT NULL,
    kind smallint NOT NULL,
    subject_is_party boolean NOT NULL DEFAULT false,
    notice_version text NOT NULL,
    evidence_digest bytea CHECK (octet_length(evidence_digest) = 32),
    -- Fields and case, sealed.
    terms bytea NOT NULL,
    obtained_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    withdrawn_at timestamptz,
    objected_at timestamptz,
    CHECK (expires_at > obtained_at),
    CHECK (withdrawn_at IS NULL OR withdrawn_at >= obtained_at),
    CHECK (objected_at IS NULL OR objected_at >= obtained_at)
);

CREATE INDEX ground_by_subject ON ground (partition, subject, partner);

-- Whether a partner may call: every change is a row of its own, taken under the lock of the row before it.
CREATE TABLE standing (
    partner text NOT NULL,
    change_number bigint NOT NULL CHECK (change_number >= 1),
    state text NOT NULL CHECK (state IN ('active', 'suspended')),
    reason text NOT NULL CHECK (reason <> ''),
    changed_by text NOT NULL CHECK (changed_by <> ''),
    changed_at timestamptz NOT NULL,
    PRIMARY KEY (partner, change_number)
);
