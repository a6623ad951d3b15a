//! The authority's changes on PostgreSQL: not taken yet. Imports fill this store; the stream is refused, and says so.

use jiff::Timestamp;

use super::store::PostgresRegistry;
use crate::intake::ports::{
    ChangeStore, Handle, IncomingChange, Later, QuarantineEntry, StoreFault, Taken, Verdict, VerdictFault,
    WaitingCounts,
};

#[derive(Debug, thiserror::Error)]
#[error("a registry on PostgreSQL takes changes by import only")]
struct NotTaken;

fn not_taken<T>() -> Later<'static, Result<T, StoreFault>>
where
    T: Send + 'static,
{
    Box::pin(std::future::ready(Err(StoreFault(Box::new(NotTaken)))))
}

impl ChangeStore for PostgresRegistry {
    fn take(&self, _batch: Vec<IncomingChange>, _now: Timestamp) -> Later<'_, Result<Taken, StoreFault>> {
        not_taken()
    }

    fn expire(&self, _now: Timestamp) -> Later<'_, Result<WaitingCounts, StoreFault>> {
        Box::pin(std::future::ready(Ok(WaitingCounts::default())))
    }

    fn waiting(&self) -> Later<'_, Result<WaitingCounts, StoreFault>> {
        Box::pin(std::future::ready(Ok(WaitingCounts::default())))
    }

    fn quarantine(
        &self,
        _after: Option<Handle>,
        _count_max: usize,
    ) -> Later<'_, Result<Vec<QuarantineEntry>, StoreFault>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    fn judge(
        &self,
        _handle: Handle,
        _verdict: Verdict,
        _now: Timestamp,
    ) -> Later<'_, Result<Result<u64, VerdictFault>, StoreFault>> {
        Box::pin(std::future::ready(Ok(Err(VerdictFault::NotWaiting))))
    }
}
