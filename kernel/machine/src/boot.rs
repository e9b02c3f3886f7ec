//! What the boot loader and the firmware hand over.

pub use crate::arch::boot::*;

/// What is known from boot on; filled before the kernel's main function runs.
#[derive(Clone, Copy, Debug)]
pub struct BootInfo {
    /// The kernel command line, without a newline at the end.
    pub command_line: &'static str,
    /// The initramfs as it was handed over: a cpio archive, maybe compressed.
    pub initramfs: Option<&'static [u8]>,
    /// The table of the kernel's symbols, for [`crate::symbols`].
    pub symbols: Option<&'static [u8]>,
    /// Whether QEMU's configuration device is there: the machine runs under QEMU, and somebody may read its status.
    pub has_fw_cfg: bool,
}
