//! Stands in for names of `memory` and `sched` until those rooms have landed them.

/// `memory::PageSource`.
pub trait PageSource: Send + Sync {}
/// `sched::WaitQueue`.
pub struct WaitQueue {}
