//! The names that `uname(2)` tells.

use alloc::vec::Vec;
use machine::sync::{SpinLock, rank};

/// The name of the system whose calls the kernel speaks.
pub const SYSTEM: &str = "Linux";
/// The release: that of the Linux whose interface is offered, which libraries look at, and our name.
pub const RELEASE: &str = "6.1.0-menagerie";
/// The same for programs that were made when releases began with 2.6 (`UNAME26` of personality(2)).
pub const RELEASE_26: &str = "2.6.61-menagerie";
/// The version of the kernel itself.
pub const VERSION: &str = concat!("#1 SMP Menagerie ", env!("CARGO_PKG_VERSION"));
/// The machine.
pub const MACHINE: &str = "x86_64";

/// Host and domain name.
pub struct Names {
    names: SpinLock<[Vec<u8>; 2]>,
}

impl Names {
    /// The names before anybody set them.
    pub fn new() -> Self {
        Self { names: SpinLock::new(rank::TASK, [b"menagerie".to_vec(), b"(none)".to_vec()]) }
    }

    /// The host name.
    pub fn host(&self) -> Vec<u8> {
        self.names.lock()[0].clone()
    }

    /// The NIS domain name.
    pub fn domain(&self) -> Vec<u8> {
        self.names.lock()[1].clone()
    }

    /// Sets the host name; right and length (at most 64) were checked.
    pub fn set_host(&self, name: Vec<u8>) {
        let old = core::mem::replace(&mut self.names.lock()[0], name);
        drop(old);
    }

    /// Sets the NIS domain name; right and length were checked.
    pub fn set_domain(&self, name: Vec<u8>) {
        let old = core::mem::replace(&mut self.names.lock()[1], name);
        drop(old);
    }
}

impl Default for Names {
    fn default() -> Self {
        Self::new()
    }
}
