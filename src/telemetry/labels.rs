//! The closed sets metrics and spans are labelled with. Nothing here is read from a request.

/// Declares a label: a name and its values.
macro_rules! label {
    ($(#[$meta:meta])* pub enum $name:ident { $( $(#[$vmeta:meta])* $variant:ident = $word:literal; )+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $( $(#[$vmeta])* $variant ),+ }

        impl $name {
            /// Every value, in order of declaration.
            pub const WORDS: &'static [&'static str] = &[$($word),+];

            /// Returns the value's word.
            pub const fn word(self) -> &'static str {
                Self::WORDS[self as usize]
            }
        }
    };
}

label! {
    /// A method of the contract.
    pub enum Method {
        /// `VerificationService/Verify`
        Verify = "Verify";
        /// `VerificationService/GetLimits`
        GetLimits = "GetLimits";
        /// `VerificationService/DescribeContract`
        DescribeContract = "DescribeContract";
        /// `VerificationService/GetReceipt`
        GetReceipt = "GetReceipt";
        /// `AuthorityService/ApplyChanges`
        ApplyChanges = "ApplyChanges";
        /// `PresentationService/IssueQr`
        IssueQr = "IssueQr";
        /// `PresentationService/IssueShareCode`
        IssueShareCode = "IssueShareCode";
        /// `PresentationService/Revoke`
        Revoke = "Revoke";
        /// `PresentationService/ListConsents`
        ListConsents = "ListConsents";
        /// `PresentationService/WithdrawConsent`
        WithdrawConsent = "WithdrawConsent";
        /// `PresentationService/Object`
        Object = "Object";
        /// `PresentationService/ListAccesses`
        ListAccesses = "ListAccesses";
        /// `PresentationService/WatchAccesses`
        WatchAccesses = "WatchAccesses";
        /// `grpc.health.v1.Health`
        Health = "Health";
        /// Anything else, unknown methods included.
        Other = "other";
    }
}

label! {
    /// How a request ended.
    pub enum OutcomeLabel {
        /// `Verify`: QUALIFIED.
        Qualified = "qualified";
        /// `Verify`: NOT_QUALIFIED.
        NotQualified = "not-qualified";
        /// `Verify`: INDETERMINATE.
        Indeterminate = "indeterminate";
        /// Another method's answer.
        Answered = "answered";
        /// We would not answer this partner.
        Refused = "refused";
        /// The request broke the contract's rules.
        Malformed = "malformed";
        /// We could not answer: UNAVAILABLE, DEADLINE_EXCEEDED.
        Unavailable = "unavailable";
        /// Our fault: INTERNAL.
        Failed = "failed";
        /// The partner went away.
        Cancelled = "cancelled";
    }
}

label! {
    /// A level of the cache.
    pub enum CacheLevel {
        /// This process.
        InProcess = "in-process";
        /// Redis.
        Redis = "redis";
    }
}

label! {
    /// What a level of the cache had.
    pub enum CacheResult {
        /// A usable fact.
        Hit = "hit";
        /// Nothing.
        Miss = "miss";
        /// A fact a change may have overtaken, or one too old for the caller.
        Stale = "stale";
        /// The level was not asked: breaker open or feed stalled.
        Bypassed = "bypassed";
    }
}

label! {
    /// What went wrong with Redis.
    pub enum RedisFault {
        /// No answer in time.
        TimedOut = "timed-out";
        /// Connection or protocol.
        Connection = "connection";
        /// Redis said no (full, not permitted, read-only).
        Refused = "refused";
        /// A value that cannot be opened or decoded.
        Unusable = "unusable-value";
    }
}

label! {
    /// How a call to lease limits ended.
    pub enum LeaseLabel {
        /// Slices came.
        Leased = "leased";
        /// Nothing is leased for a second: Redis was empty or behind.
        Held = "held";
        /// No slices came: this replica keeps to its share.
        Failed = "failed";
    }
}

label! {
    /// How a partner's rate and quota are kept where several replicas share them.
    pub enum KeptLabel {
        /// By all replicas together.
        Leased = "leased";
        /// This replica keeps to its share.
        Divided = "divided";
    }
}

label! {
    /// The state of a breaker.
    pub enum BreakerState {
        /// Calls go through.
        Closed = "closed";
        /// One call at a time tries.
        HalfOpen = "half-open";
        /// Nothing goes through.
        Open = "open";
    }
}

label! {
    /// Whether answers can be put on record, or why not.
    pub enum JournalState {
        /// Entries become durable.
        Open = "open";
        /// The disk is full, or a quota is.
        DiskFull = "disk-full";
        /// The file system was set read-only.
        ReadOnly = "read-only";
        /// A segment cannot be read back as it was told durable.
        Unreadable = "unreadable";
        /// A write, sync or rename fails for another reason.
        Failing = "failing";
        /// The journal was shut down, or its thread died.
        Ended = "ended";
    }
}

label! {
    /// How a reading of the registry ended.
    pub enum RegistryRead {
        /// A record.
        Found = "found";
        /// No such number.
        Absent = "absent";
        /// It could not be read.
        Failed = "failed";
        /// Not in time.
        TimedOut = "timed-out";
    }
}

label! {
    /// What became of a reading that failed.
    pub enum RetriedLabel {
        /// It was tried once more.
        TriedAgain = "tried-again";
        /// The budget of attempts was spent.
        BudgetSpent = "budget-spent";
    }
}

label! {
    /// How many of something there may be, and are.
    pub enum PlacesLabel {
        /// May be.
        Limit = "limit";
        /// Are.
        Taken = "taken";
    }
}

label! {
    /// How urgent a reading of the registry is.
    pub enum ClassLabel {
        /// A driver waits.
        Presentation = "presentation";
        /// A partner asks about whom it claims to know.
        Claim = "claim";
    }
}

label! {
    /// Why a reading was not let to the registry.
    pub enum LineCause {
        /// Too many were waiting.
        Full = "full";
        /// It had waited too long.
        Late = "late";
    }
}

label! {
    /// A limit that was reached.
    pub enum LimitLabel {
        /// Requests per second.
        Rate = "rate";
        /// Requests at once.
        InFlight = "in-flight";
        /// Connections at once.
        Connections = "connections";
        /// Answers per minute.
        QuotaMinute = "quota-minute";
        /// Answers per hour.
        QuotaHour = "quota-hour";
        /// Answers per day.
        QuotaDay = "quota-day";
        /// Different questions about one subject.
        QuestionVariation = "question-variation";
        /// Different numbers claimed.
        Subjects = "subjects";
        /// The gateway's own: it sheds load.
        Overload = "overload";
    }
}

label! {
    /// What a request with a request id was taken up as.
    pub enum RetryLabel {
        /// New.
        First = "first";
        /// The answer was given again.
        Replayed = "replayed";
        /// Answered anew, uncharged: the earlier answer was lost, pushed out, or too old for the caller.
        Renewed = "renewed";
        /// Answered too long ago.
        Spent = "spent";
        /// The id belongs to another request.
        OtherContent = "other-content";
        /// Its twin took longer than its deadline.
        Late = "late";
    }
}

label! {
    /// How a handshake ended.
    pub enum HandshakeLabel {
        /// A connection of a partner.
        Accepted = "accepted";
        /// No client certificate.
        NoCertificate = "no-certificate";
        /// A certificate of another CA.
        NotTrusted = "not-trusted";
        /// Revoked.
        Revoked = "revoked";
        /// Outside its dates, or a revocation list is.
        Expired = "expired";
        /// Not in time.
        TimedOut = "timed-out";
        /// Too many at once.
        Shed = "shed";
        /// Anything else the protocol refuses: versions, ALPN, garbage.
        Protocol = "protocol";
    }
}

label! {
    /// What became of a change of the authority.
    pub enum ChangeLabel {
        /// It joined the record at once.
        Applied = "applied";
        /// It came before.
        Duplicate = "duplicate";
        /// It waits for an earlier one.
        Held = "held";
        /// It went into quarantine as it came.
        Quarantined = "quarantined";
        /// It was not taken.
        Rejected = "rejected";
        /// It had waited, and joined the record.
        Released = "released";
    }
}

label! {
    /// How a change of the authority waits.
    pub enum WaitingLabel {
        /// For an earlier one, up to five seconds.
        Held = "held";
        /// In quarantine.
        Quarantined = "quarantined";
    }
}

label! {
    /// Something that expires.
    pub enum Expiring {
        /// The server's certificate.
        ServerCertificate = "server-certificate";
        /// The next of the trust roots.
        TrustRoot = "trust-root";
        /// The next of the revocation lists (nextUpdate).
        RevocationList = "revocation-list";
    }
}

label! {
    /// What too many unconfirmed claims led to.
    pub enum ClaimsLabel {
        /// Each claim waits.
        Slowed = "slowed";
        /// None is answered.
        Suspended = "suspended";
    }
}

label! {
    /// Where partners stand.
    pub enum StandingLabel {
        /// May call.
        Active = "active";
        /// Suspended by the operator.
        Suspended = "suspended";
        /// Outside the contract's dates.
        NotInForce = "not-in-force";
    }
}

/// The words of a request without a purpose, then those of [`crate::domain::question::Purpose`] in order of its codes.
pub(super) const PURPOSE_WORDS: &[&str] = &[
    "none",
    "insurance-claim",
    "insurance-purchase",
    "rental",
    "recruitment",
    "transport",
    "enforcement",
    "peer-scan",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::question::Purpose;

    #[test]
    fn purposes_are_labelled_by_their_code() {
        for purpose in Purpose::ALL {
            assert_eq!(PURPOSE_WORDS[usize::from(purpose.code())], purpose.word());
        }
        assert_eq!(PURPOSE_WORDS.len(), Purpose::ALL.len() + 1);
    }
}
