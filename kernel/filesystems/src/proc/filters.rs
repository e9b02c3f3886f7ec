//! What is said of filters of system calls: /proc/sys/kernel/seccomp (Documentation/userspace-api/seccomp_filter.rst).

use super::{System, settings::check, written};
use crate::table::{Directory, Line};
use alloc::{string::String, vec::Vec};
use base::{Capabilities, Errno};
use core::fmt::Write;
use process::filters::action::{self, LOGGED};

pub(super) static SECCOMP: Directory<System> = Directory {
    id: 10,
    lines: &[
        Line::text("actions_avail", |_, out| list(out, action::names())),
        Line::setting("actions_logged", |_, out| list(out, LOGGED.names()), store_logged),
    ],
    children: None,
};

fn list(out: &mut String, names: impl Iterator<Item = &'static str>) -> Result<(), Errno> {
    written(writeln!(out, "{}", names.collect::<Vec<_>>().join(" ")))
}

/// `EPERM` without CAP_SYS_ADMIN; `EINVAL` a name that there is not, or `allow`.
fn store_logged(_: &System, text: &[u8]) -> Result<(), Errno> {
    check(Capabilities::SYS_ADMIN)?;
    let line = text.split(|&byte| byte == b'\n' || byte == 0).next().unwrap_or_default();
    LOGGED.set(core::str::from_utf8(line).map_err(|_| Errno::EINVAL)?)
}
