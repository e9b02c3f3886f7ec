//! `/dev/qemu-exit` (10, 200): the exit status of the machine.
//!
//! A decimal number from 0 to 255 written to it is told when the machine is switched off, in the line
//! `menagerie: exit status N` of the kernel log, where `cargo xtask qemu --run` finds it.

use alloc::sync::Arc;
use base::Errno;
use vfs::{DeviceDriver, DeviceNumber, FileOps, Inode, OpenFlags, OpenRequest};

/// Major number of miscellaneous devices.
pub const MISC_MAJOR: u32 = 10;
/// Its minor number.
const EXIT: u32 = 200;

/// The driver.
pub struct ExitDriver;

impl DeviceDriver for ExitDriver {
    fn names(&self) -> &'static [&'static str] {
        &["misc"]
    }

    fn open(
        &self,
        number: DeviceNumber,
        _inode: &Arc<dyn Inode>,
        _request: &OpenRequest<'_>,
    ) -> Result<Arc<dyn FileOps>, Errno> {
        if number.minor == EXIT { Ok(Arc::new(ExitStatus)) } else { Err(Errno::ENXIO) }
    }
}

struct ExitStatus;

/// The number in a text, which may end in white space. `EINVAL` no number from 0 to 255.
fn parse(text: &[u8]) -> Result<u8, Errno> {
    core::str::from_utf8(text.trim_ascii()).ok().and_then(|text| text.parse().ok()).ok_or(Errno::EINVAL)
}

impl FileOps for ExitStatus {
    fn write(&self, buffer: &[u8], _position: &mut u64, _flags: OpenFlags) -> Result<usize, Errno> {
        process::power::set_exit_status(parse(buffer)?);
        Ok(buffer.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_status_is_taken() {
        assert_eq!(parse(b"42\n"), Ok(42));
        assert_eq!(parse(b"256"), Err(Errno::EINVAL));
        assert_eq!(parse(b"-1"), Err(Errno::EINVAL));
        assert_eq!(parse(b""), Err(Errno::EINVAL));
    }
}
