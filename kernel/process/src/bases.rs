//! The thread pointer: the bases of the FS and GS segments, `arch_prctl(2)`.

use crate::{exec::image::USER_END, task::Task};
use base::Errno;

/// Checks that an address can be a segment's base. `EPERM`, as Linux says it.
pub(crate) fn check(address: u64) -> Result<(), Errno> {
    if address < USER_END { Ok(()) } else { Err(Errno::EPERM) }
}

impl Task {
    /// `ARCH_SET_FS` of the current task. `EPERM` no user address.
    pub fn set_fs_base(&self, address: u64) -> Result<(), Errno> {
        check(address)?;
        let context = self.entity().context();
        context.set_user_bases(address, context.user_bases().1, true);
        Ok(())
    }

    /// `ARCH_SET_GS` of the current task. `EPERM` no user address.
    pub fn set_gs_base(&self, address: u64) -> Result<(), Errno> {
        check(address)?;
        let context = self.entity().context();
        context.set_user_bases(context.user_bases().0, address, true);
        Ok(())
    }

    /// `ARCH_GET_FS`.
    pub fn fs_base(&self) -> u64 {
        self.entity().context().user_bases().0
    }

    /// `ARCH_GET_GS`.
    pub fn gs_base(&self) -> u64 {
        self.entity().context().user_bases().1
    }
}
