//! /proc/sys: settings of the kernel.

use super::{System, core_dump, files, files::number_in, filters, ipc_limits, overcommit, population, random, written};
use crate::table::{Directory, Line};
use alloc::string::String;
use base::{Capabilities, Errno, number};
use core::fmt::Write;
use process::{KERNEL_LOG, RELEASE, SYSTEM, VERSION, exec::layout};
use sched::RealTimeLimit;

/// /proc/sys.
pub(super) static SYS: Directory<System> = Directory {
    id: 1,
    lines: &[Line::directory("fs", &files::FS), Line::directory("kernel", &KERNEL), Line::directory("vm", &VM)],
    children: None,
};

static KERNEL: Directory<System> = Directory {
    id: 2,
    lines: &[
        Line::text("cap_last_cap", |_, out| written(writeln!(out, "{}", Capabilities::all().bits().ilog2()))),
        core_dump::PATTERN,
        core_dump::PIPE_LIMIT,
        core_dump::USES_PID,
        Line::setting(
            "dmesg_restrict",
            |_, out| written(writeln!(out, "{}", u8::from(KERNEL_LOG.restricted()))),
            store_restriction,
        ),
        Line::setting("domainname", |_, out| name(out, &population()?.names().domain()), store_domain),
        Line::setting("hostname", |_, out| name(out, &population()?.names().host()), store_host),
        ipc_limits::MSGMAX,
        ipc_limits::MSGMNB,
        ipc_limits::MSGMNI,
        Line::text("ngroups_max", |_, out| written(writeln!(out, "{}", process::identity::MAX_GROUPS))),
        Line::text("osrelease", |_, out| written(writeln!(out, "{RELEASE}"))),
        Line::text("ostype", |_, out| written(writeln!(out, "{SYSTEM}"))),
        Line::setting("pid_max", |_, out| written(writeln!(out, "{}", population()?.largest_pid() + 1)), store_pid_max),
        Line::setting("printk", log_levels, store_log_levels),
        Line::directory("random", &random::RANDOM),
        Line::setting(
            "randomize_va_space",
            |_, out| written(writeln!(out, "{}", layout::randomization())),
            store_randomization,
        ),
        Line::setting(
            "sched_deadline_period_max_us",
            |_, out| written(writeln!(out, "{}", sched::period_bounds().1)),
            |_, text| sched::set_period_bounds(sched::period_bounds().0, number_in(text, 0..=u32::MAX.into())? as u32),
        ),
        Line::setting(
            "sched_deadline_period_min_us",
            |_, out| written(writeln!(out, "{}", sched::period_bounds().0)),
            |_, text| sched::set_period_bounds(number_in(text, 0..=u32::MAX.into())? as u32, sched::period_bounds().1),
        ),
        Line::setting(
            "sched_rt_period_us",
            |_, out| written(writeln!(out, "{}", sched::real_time_limit().period / MICROSECOND)),
            store_real_time_period,
        ),
        Line::setting("sched_rt_runtime_us", real_time_runtime, store_real_time_runtime),
        Line::directory("seccomp", &filters::SECCOMP),
        ipc_limits::SEM,
        ipc_limits::SHMALL,
        ipc_limits::SHMMAX,
        ipc_limits::SHMMNI,
        Line::setting(
            "threads-max",
            |_, out| written(writeln!(out, "{}", population()?.most_tasks())),
            |_, text| set_most_tasks(number_in(text, 1..=MOST_THREADS)?),
        ),
        Line::text("version", |_, out| written(writeln!(out, "{VERSION}"))),
    ],
    children: None,
};

static VM: Directory<System> = Directory {
    id: 3,
    lines: &[
        overcommit::ADMIN,
        Line::order("drop_caches", drop_caches),
        Line::setting(
            "max_map_count",
            |_, out| written(writeln!(out, "{}", memory::most_areas())),
            |_, text| number_in(text, 0..=i32::MAX as u64).map(|most| memory::set_most_areas(most as u32)),
        ),
        Line::text("mmap_min_addr", |_, out| written(writeln!(out, "{}", memory::LOWEST))),
        overcommit::KBYTES,
        overcommit::MEMORY,
        overcommit::RATIO,
        overcommit::USER,
    ],
    children: None,
};

/// `drop_caches` (Documentation/admin-guide/sysctl/vm.rst): 1 clean pages of files, 2 what the kernel's heap keeps for
/// later, 3 both, 4 not to be logged any more.
fn drop_caches(_: &System, text: &[u8]) -> Result<(), Errno> {
    let what = number::parse_unsigned(core::str::from_utf8(text).map_err(|_| Errno::EINVAL)?)?;
    if !(1..=4).contains(&what) {
        return Err(Errno::EINVAL);
    }
    if what & 2 != 0 {
        memory::heap::trim();
    }
    Ok(())
}

/// `/proc/sysrq-trigger` (Documentation/admin-guide/sysrq.rst): the first letter is an order. This kernel knows `b`
/// (reset at once), `c` (panic), `o` (power off); any other gets their list in the log.
pub(super) fn sysrq(_: &System, text: &[u8]) -> Result<(), Errno> {
    match text.first() {
        Some(b'b') => {
            machine::log!("sysrq: Resetting");
            machine::power::reset()
        }
        Some(b'c') => panic!("sysrq: a crash was asked for"),
        Some(b'o') => process::power_off(),
        _ => machine::log!("sysrq: HELP : reboot(b) crash(c) poweroff(o)"),
    }
    Ok(())
}

fn log_levels(_: &System, out: &mut String) -> Result<(), Errno> {
    let [console, message, least, boot] = KERNEL_LOG.levels();
    written(writeln!(out, "{console}\t{message}\t{least}\t{boot}"))
}

/// Reads numbers into `values`; those that are not given stay. `EINVAL`.
pub(super) fn numbers(text: &[u8], values: &mut [i32]) -> Result<(), Errno> {
    let text = core::str::from_utf8(text).map_err(|_| Errno::EINVAL)?;
    for (value, word) in values.iter_mut().zip(text.split_ascii_whitespace()) {
        *value = i32::try_from(number::parse_signed(word)?).map_err(|_| Errno::EINVAL)?;
    }
    Ok(())
}

fn store_log_levels(_: &System, text: &[u8]) -> Result<(), Errno> {
    let mut levels = KERNEL_LOG.levels();
    numbers(text, &mut levels)?;
    KERNEL_LOG.set_levels(levels);
    Ok(())
}

fn store_restriction(_: &System, text: &[u8]) -> Result<(), Errno> {
    check(Capabilities::SYS_ADMIN)?;
    let value = number::parse_signed(core::str::from_utf8(text).map_err(|_| Errno::EINVAL)?)?;
    KERNEL_LOG.set_restricted(match value {
        0 => false,
        1 => true,
        _ => return Err(Errno::EINVAL),
    });
    Ok(())
}

fn name(out: &mut String, name: &[u8]) -> Result<(), Errno> {
    written(writeln!(out, "{}", String::from_utf8_lossy(name)))
}

pub(super) fn check(capability: Capabilities) -> Result<(), Errno> {
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

fn set_most_tasks(most: u64) -> Result<(), Errno> {
    population()?.set_most_tasks(most);
    Ok(())
}

fn store_pid_max(_: &System, text: &[u8]) -> Result<(), Errno> {
    check(Capabilities::SYS_ADMIN)?;
    let text = core::str::from_utf8(text).map_err(|_| Errno::EINVAL)?;
    let most = i32::try_from(number::parse_unsigned(text)?).map_err(|_| Errno::EINVAL)?;
    population()?.set_largest_pid(most.checked_sub(1).ok_or(Errno::EINVAL)?)
}

/// `randomize_va_space` (Documentation/admin-guide/sysctl/kernel.rst): any number.
fn store_randomization(_: &System, text: &[u8]) -> Result<(), Errno> {
    let mut number = [layout::randomization()];
    numbers(text, &mut number)?;
    layout::set_randomization(number[0]);
    Ok(())
}

/// More threads than this there can't be, as their numbers have to fit into the words of futexes.
const MOST_THREADS: u64 = 0x3fff_ffff;

const MICROSECOND: u64 = 1_000;

fn integer(text: &[u8]) -> Result<i64, Errno> {
    let text = core::str::from_utf8(text).map_err(|_| Errno::EINVAL)?.trim();
    text.parse().map_err(|_| Errno::EINVAL)
}

/// `sched_rt_runtime_us` (sched(7)): microseconds of each period, -1 without a limit.
fn real_time_runtime(_: &System, out: &mut String) -> Result<(), Errno> {
    match sched::real_time_limit().runtime {
        u64::MAX => written(writeln!(out, "-1")),
        runtime => written(writeln!(out, "{}", runtime / MICROSECOND)),
    }
}

/// `EINVAL` less than -1, or more than the period; `EBUSY` tasks have reserved more.
fn store_real_time_runtime(_: &System, text: &[u8]) -> Result<(), Errno> {
    check(Capabilities::SYS_ADMIN)?;
    let period = sched::real_time_limit().period;
    let runtime = match integer(text)? {
        -1 => u64::MAX,
        runtime => {
            let runtime = u64::try_from(runtime).ok().and_then(|runtime| runtime.checked_mul(MICROSECOND));
            runtime.filter(|&runtime| runtime <= period).ok_or(Errno::EINVAL)?
        }
    };
    sched::set_real_time_limit(RealTimeLimit { runtime, period })
}

/// `EINVAL` no time at all, more than 2^31 - 1 microseconds, or less than the runtime; `EBUSY` tasks have reserved more.
fn store_real_time_period(_: &System, text: &[u8]) -> Result<(), Errno> {
    check(Capabilities::SYS_ADMIN)?;
    let runtime = sched::real_time_limit().runtime;
    let wanted = i32::try_from(integer(text)?).ok().filter(|&wanted| wanted > 0).ok_or(Errno::EINVAL)?;
    let period = u64::from(wanted.unsigned_abs()) * MICROSECOND;
    if runtime != u64::MAX && runtime > period {
        return Err(Errno::EINVAL);
    }
    sched::set_real_time_limit(RealTimeLimit { runtime, period })
}
