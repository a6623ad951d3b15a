//! How long and how much is remembered.

use std::time::Duration;

/// Bounds of what is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryOptions {
    /// How long an answer is given again. 10 min: the contract's word.
    pub kept_for: Duration,
    /// How long it is known where an answer stands. 24 h: whoever repeats a day's work finds it refused, not charged again.
    pub known_for: Duration,
    /// Bytes of everything remembered. 128 MiB: some 300,000 answers and where as many more stand.
    pub bytes_max: usize,
    /// Bytes remembered of one partner. 32 MiB: some 75,000 answers, which is 125 a second over ten minutes. Beyond it the partner's
    /// oldest answers are let go of, to be answered anew, uncharged; then it is forgotten that they were given.
    pub partner_bytes_max: usize,
    /// How long a claim by another replica is waited for at most.
    pub others_wait_max: Duration,
    /// How long a claim on a request stands for other replicas: longer than any request takes.
    pub claim_for: Duration,
}

impl Default for RetryOptions {
    fn default() -> Self {
        Self {
            kept_for: Duration::from_mins(10),
            known_for: Duration::from_hours(24),
            bytes_max: 128 << 20,
            partner_bytes_max: 32 << 20,
            others_wait_max: Duration::from_millis(250),
            claim_for: Duration::from_secs(5),
        }
    }
}
