//! Where in the kernel a task waits: `stack`, `syscall`, `wchan`.

use super::{check_inspection, task::TaskFiles, written};
use alloc::string::String;
use base::{Capabilities, Errno};
use core::fmt::Write;
use machine::symbols;
use process::{Task, signals::deliver::NO_CALL};

/// The most callers that are shown.
const MOST: usize = 32;

/// Where a task returns to that does not run, innermost first; zeros behind them.
fn callers(task: &Task) -> [u64; MOST] {
    let mut addresses = [0; MOST];
    task.entity().context().callers(&mut addresses);
    addresses
}

/// Whether a function belongs to putting a task to sleep, and not to what it sleeps for.
fn is_of_scheduler(name: &str) -> bool {
    let path = name.trim_start_matches('<');
    ["sched::", "core::", "alloc::", "machine::"].iter().any(|part| path.starts_with(part))
}

/// `stack`: the callers, for CAP_SYS_ADMIN; `EACCES` for others. Without a table of symbols only addresses are known.
pub(super) fn stack(files: &TaskFiles, out: &mut String) -> Result<(), Errno> {
    let asker = process::current().ok_or(Errno::EACCES)?;
    if !asker.credentials().has(Capabilities::SYS_ADMIN) {
        return Err(Errno::EACCES);
    }
    callers(&*files.task()?).into_iter().take_while(|&address| address != 0).try_for_each(|address| {
        written(match symbols::find(address) {
            None => writeln!(out, "[<0>] {address:#x}"),
            Some(symbol) => writeln!(out, "[<0>] {}+{:#x}/{:#x}", symbol.name, symbol.offset, symbol.size),
        })
    })
}

/// `syscall`: the call that the task is in, with its arguments and the program's stack and instruction pointers; -1 and these
/// two outside of a call; or that it runs. `EPERM` for who may not look into it.
pub(super) fn system_call(files: &TaskFiles, out: &mut String) -> Result<(), Errno> {
    let task = files.task()?;
    check_inspection(&task).map_err(|_| Errno::EPERM)?;
    written(match task.shown_registers() {
        None if task.is_kernel_thread() => writeln!(out, "0 0x0 0x0 0x0 0x0 0x0 0x0 0x0 0x0"),
        None if task.is_exiting() => writeln!(out, "-1 0x0 0x0"),
        None => writeln!(out, "running"),
        Some((r, NO_CALL)) => writeln!(out, "-1 {:#x} {:#x}", r.rsp, r.rip),
        Some((r, call)) => writeln!(
            out,
            "{} {:#x} {:#x} {:#x} {:#x} {:#x} {:#x} {:#x} {:#x}",
            call as i32, r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9, r.rsp, r.rip
        ),
    })
}

/// `wchan`: the function for which it sleeps; 0 while it runs, for who may not know, and without a table of symbols.
pub(super) fn channel(files: &TaskFiles, out: &mut String) -> Result<(), Errno> {
    let task = files.task()?;
    let callers = if check_inspection(&task).is_ok() { callers(&task) } else { [0; MOST] };
    let mut names = callers.into_iter().filter_map(symbols::find).map(|symbol| symbol.name);
    out.push_str(names.find(|name| !is_of_scheduler(name)).unwrap_or("0"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_puts_a_task_to_sleep_is_not_what_it_sleeps_for() {
        assert!(is_of_scheduler("<sched::wait::WaitQueue>::wait_until"));
        assert!(is_of_scheduler("machine::arch::context::switch"));
        assert!(!is_of_scheduler("<vfs::pipe::PipeEnd as vfs::file::FileOps>::read"));
    }
}
