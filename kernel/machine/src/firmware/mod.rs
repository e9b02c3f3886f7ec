//! Decoders of what firmware and boot loader say: pure code over bytes, so that it is tested on the host.
//!
//! Nothing here trusts a length, an address or a number; what makes no sense is left out.

pub(crate) mod calendar;
pub(crate) mod memory_map;
pub(crate) mod sleep;
pub(crate) mod slit;
pub(crate) mod srat;
