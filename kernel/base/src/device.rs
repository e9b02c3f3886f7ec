//! Device files by kind and number, and what is done with them.

use bitflags::bitflags;

/// The two kinds of device files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeviceKind {
    /// A block device.
    Block,
    /// A character device.
    Character,
}

/// A device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Device {
    /// Its kind.
    pub kind: DeviceKind,
    /// The number of its driver.
    pub major: u32,
    /// Its number at the driver.
    pub minor: u32,
}

bitflags! {
    /// What somebody wants of a device.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct DeviceAccess: u8 {
        /// Open it to read.
        const READ = 1 << 0;
        /// Open it to write.
        const WRITE = 1 << 1;
        /// Make a file for it.
        const MAKE = 1 << 2;
    }
}
