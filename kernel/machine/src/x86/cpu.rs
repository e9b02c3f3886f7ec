//! CPUs of the real machine.

use base::{CpuId, CpuSet};

/// The CPU that this runs on.
pub fn current() -> CpuId {
    CpuId::new(0)
}

/// The CPUs that can be used.
pub fn possible() -> CpuSet {
    CpuSet::first(1)
}
