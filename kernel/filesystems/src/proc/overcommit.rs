//! /proc/sys/vm: how much memory is promised to programs (Documentation/admin-guide/sysctl/vm.rst).

use super::{System, files::number_in, written};
use crate::table::Line;
use alloc::string::String;
use base::Errno;
use core::fmt::Write;
use memory::commitment::{self, ADMIN_RESERVE, Overcommit, USER_RESERVE};

pub(super) const ADMIN: Line<System> = Line::setting(
    "admin_reserve_kbytes",
    |_, out| show(out, ADMIN_RESERVE.get()),
    |_, text| number_in(text, 0..=u64::MAX).map(|size| ADMIN_RESERVE.set(size)),
);
pub(super) const USER: Line<System> = Line::setting(
    "user_reserve_kbytes",
    |_, out| show(out, USER_RESERVE.get()),
    |_, text| number_in(text, 0..=u64::MAX).map(|size| USER_RESERVE.set(size)),
);
pub(super) const KBYTES: Line<System> = Line::setting(
    "overcommit_kbytes",
    |_, out| show(out, commitment::kibibytes()),
    |_, text| number_in(text, 0..=u64::MAX).map(commitment::set_kibibytes),
);
pub(super) const MEMORY: Line<System> = Line::setting(
    "overcommit_memory",
    |_, out| show(out, commitment::mode() as u64),
    |_, text| {
        commitment::set_mode(Overcommit::new(number_in(text, 0..=2)?).ok_or(Errno::EINVAL)?);
        Ok(())
    },
);
pub(super) const RATIO: Line<System> = Line::setting(
    "overcommit_ratio",
    |_, out| show(out, commitment::ratio()),
    |_, text| number_in(text, 0..=i32::MAX as u64).map(commitment::set_ratio),
);

fn show(out: &mut String, value: u64) -> Result<(), Errno> {
    written(writeln!(out, "{value}"))
}
