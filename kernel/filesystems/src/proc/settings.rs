//! /proc/sys: settings of the kernel.

use super::{System, population, written};
use crate::table::{Directory, Line};
use alloc::string::String;
use base::{Capabilities, Errno, number};
use core::fmt::Write;
use process::{RELEASE, SYSTEM, VERSION};

/// /proc/sys.
pub(super) static SYS: Directory<System> =
    Directory { id: 1, lines: &[Line::directory("kernel", &KERNEL), Line::directory("vm", &VM)], children: None };

static KERNEL: Directory<System> = Directory {
    id: 2,
    lines: &[
        Line::setting("domainname", |_, out| name(out, &population()?.names().domain()), store_domain),
        Line::setting("hostname", |_, out| name(out, &population()?.names().host()), store_host),
        Line::text("ngroups_max", |_, out| written(writeln!(out, "{}", process::identity::MAX_GROUPS))),
        Line::text("osrelease", |_, out| written(writeln!(out, "{RELEASE}"))),
        Line::text("ostype", |_, out| written(writeln!(out, "{SYSTEM}"))),
        Line::setting("pid_max", |_, out| written(writeln!(out, "{}", population()?.largest_pid() + 1)), store_pid_max),
        Line::text("threads-max", |_, out| written(writeln!(out, "{}", population()?.most_tasks()))),
        Line::text("version", |_, out| written(writeln!(out, "{VERSION}"))),
    ],
    children: None,
};

static VM: Directory<System> = Directory {
    id: 3,
    // Memory is promised freely, and who touches too much of it is killed: Linux's mode 1.
    lines: &[Line::text("overcommit_memory", |_, out| written(writeln!(out, "1")))],
    children: None,
};

fn name(out: &mut String, name: &[u8]) -> Result<(), Errno> {
    written(writeln!(out, "{}", String::from_utf8_lossy(name)))
}

fn check(capability: Capabilities) -> Result<(), Errno> {
    let allowed = process::current().is_some_and(|task| task.credentials().has(capability));
    if allowed { Ok(()) } else { Err(Errno::EPERM) }
}

fn new_name(text: &[u8]) -> Result<alloc::vec::Vec<u8>, Errno> {
    check(Capabilities::SYS_ADMIN)?;
    if text.len() > 64 { Err(Errno::EINVAL) } else { Ok(text.to_vec()) }
}

fn store_host(_: &System, text: &[u8]) -> Result<(), Errno> {
    population()?.names().set_host(new_name(text)?);
    Ok(())
}

fn store_domain(_: &System, text: &[u8]) -> Result<(), Errno> {
    population()?.names().set_domain(new_name(text)?);
    Ok(())
}

fn store_pid_max(_: &System, text: &[u8]) -> Result<(), Errno> {
    check(Capabilities::SYS_ADMIN)?;
    let text = core::str::from_utf8(text).map_err(|_| Errno::EINVAL)?;
    let most = i32::try_from(number::parse_unsigned(text)?).map_err(|_| Errno::EINVAL)?;
    population()?.set_largest_pid(most.checked_sub(1).ok_or(Errno::EINVAL)?)
}
