-- Different questions about one subject, told among replicas once a second. Only of subjects that somebody asked about differently on one
-- replica; gone a day after they were asked, or thirty days if they are about a case.

CREATE TABLE claim_question (
    partner text NOT NULL CHECK (partner <> ''),
    -- `subject` is a subject under a case reference; else a subject and purpose.
    is_case boolean NOT NULL,
    -- Eight keyed bytes of whom, or of which case.
    subject bigint NOT NULL,
    -- Four keyed bytes of what.
    question bigint NOT NULL,
    -- When it was asked first, in microseconds since 1970.
    asked_us bigint NOT NULL,
    -- Counted with those of claim_mark, by claim_head.
    seq bigint NOT NULL CHECK (seq >= 1),
    PRIMARY KEY (partner, is_case, subject, question)
);

CREATE INDEX claim_question_by_seq ON claim_question (seq);
CREATE INDEX claim_question_by_age ON claim_question (is_case, asked_us);
