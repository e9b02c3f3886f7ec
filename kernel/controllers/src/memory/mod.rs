//! memory: how much memory the tasks of a container and everything below it may use.
//!
//! Counted are pages: of programs, of files that were read into the page cache, of files that are only in memory, of
//! shared memory. Each is charged to the container of the task that touched it first, and to every container above,
//! until it is freed, whoever uses it then. Rule: interfaces.md, section 16, which describes each file; the table at
//! the end of this file lists them.
//!
//! | file | what is in it |
//! |---|---|
//! | `account.rs` | what is counted for a container, and the table of accounts |
//! | `ledger.rs` | charging and giving back, exactly |
//! | `relief.rs` | what happens at a limit |
//! | `moving.rs` | pages that come along with a process |
//! | `report.rs` | `memory.stat`, `memory.numa_stat` |
//! | `control.rs` | what the controller asks of tasks |

mod account;
mod control;
mod ledger;
mod moving;
mod relief;
mod report;
#[cfg(test)]
mod tests;

pub use control::{Kill, TASKS, TaskControl};
pub use ledger::Ledger;

use account::{Account, Number};
use alloc::boxed::Box;
use base::{
    Errno,
    number::{ByteLimit, parse_unsigned},
};
use container::{Callbacks, ControlFile, Lineage, Member, Move, Node, Subsystem};
use core::fmt::{self, Write};
use machine::sync::atomic::{
    AtomicU64,
    Ordering::{Relaxed, SeqCst},
};

/// The index of this controller.
const INDEX: usize = 3;

/// The memory of one container.
pub struct Memory {
    ledger: &'static Ledger,
    number: Number,
    /// `move_charge_at_immigrate`.
    move_charges: AtomicU64,
}

impl Subsystem for Memory {
    const NAME: &'static str = "memory";
    const INDEX: usize = INDEX;
    const CALLBACKS: Callbacks = Callbacks::CAN_ATTACH.union(Callbacks::ATTACH).union(Callbacks::POST_ATTACH);
    const FILES: &'static [ControlFile<Self>] = &[
        ControlFile::read("usage_in_bytes", |memory, out| memory.show_pages(out, memory.ledger.usage(memory.number))),
        ControlFile::read_write(
            "max_usage_in_bytes",
            |memory, out| memory.show_pages(out, memory.ledger.peak(memory.number)),
            |memory, _| {
                memory.ledger.reset_peak(memory.number);
                Ok(())
            },
        ),
        ControlFile::read_write_node("limit_in_bytes", show_limit, store_limit),
        ControlFile::read_write("soft_limit_in_bytes", Self::show_soft_limit, Self::store_soft_limit),
        ControlFile::read_write(
            "failcnt",
            |memory, out| writeln!(out, "{}", memory.account().failures.load(Relaxed)),
            |memory, _| {
                memory.account().failures.store(0, Relaxed);
                Ok(())
            },
        ),
        ControlFile::read_node("stat", report::show_stat),
        ControlFile::write_node("force_empty", force_empty),
        ControlFile::read_write("use_hierarchy", |_, out| writeln!(out, "1"), Self::store_use_hierarchy),
        ControlFile::read_write(
            "swappiness",
            |memory, out| writeln!(out, "{}", memory.account().swappiness.load(Relaxed)),
            |memory, text| {
                memory.account().swappiness.store(number_up_to(text, 200)?, Relaxed);
                Ok(())
            },
        ),
        ControlFile::read_write(
            "move_charge_at_immigrate",
            |memory: &Self, out| writeln!(out, "{}", memory.move_charges.load(Relaxed)),
            |memory, text| {
                memory.move_charges.store(number_up_to(text, 3)?, Relaxed);
                Ok(())
            },
        )
        // What a move has reserved by it is given back by it.
        .managed(),
        ControlFile::read_write_node("oom_control", show_oom_control, store_oom_control),
        ControlFile::read_node("numa_stat", report::show_numa_stat),
    ];

    fn create(parent: &Self) -> Result<Self, Errno> {
        Ok(Self::new(parent.ledger, parent.ledger.accounts.open(parent.number)?))
    }

    fn offline(node: &Node<'_, Self>) {
        let Self { ledger, number, .. } = node.state();
        ledger.close(*number);
    }

    fn can_attach(change: &Move<'_, Self>) -> Result<(), Errno> {
        moving::reserve(change)
    }

    fn cancel_attach(change: &Move<'_, Self>) {
        moving::cancel(change);
    }

    fn attach(task: &dyn Member, _from: Lineage<'_, Self>, to: Lineage<'_, Self>) {
        relief::assign(task, to);
    }

    fn post_attach(change: &Move<'_, Self>) {
        moving::finish(change);
    }
}

impl Memory {
    /// The memory of the root, with a ledger of its own. Panics if there is no memory for that, at boot.
    pub fn root() -> Self {
        let ledger = Ledger::new().expect("at boot there is memory for the accounts of memory");
        let ledger: &'static Ledger = Box::leak(Box::new(ledger));
        Self::new(ledger, ledger.root)
    }

    fn new(ledger: &'static Ledger, number: Number) -> Self {
        Self { ledger, number, move_charges: AtomicU64::new(0) }
    }

    /// The ledger of the tree: what charges pages.
    pub fn ledger(&self) -> &'static Ledger {
        self.ledger
    }

    /// The number of its account.
    pub fn number(&self) -> Number {
        self.number
    }

    fn account(&self) -> &'static Account {
        self.ledger.accounts.get(self.number)
    }

    fn show_pages(&self, out: &mut dyn Write, pages: u64) -> fmt::Result {
        writeln!(out, "{}", pages * base::number::PAGE_BYTES)
    }

    fn show_soft_limit(&self, out: &mut dyn Write) -> fmt::Result {
        writeln!(out, "{}", ByteLimit::from_pages(self.account().soft_limit.load(Relaxed)))
    }

    fn store_soft_limit(&self, text: &str) -> Result<(), Errno> {
        let limit: ByteLimit = text.parse()?;
        self.account().soft_limit.store(limit.pages(), Relaxed);
        Ok(())
    }

    fn store_use_hierarchy(&self, text: &str) -> Result<(), Errno> {
        if parse_unsigned(text)? == 1 { Ok(()) } else { Err(Errno::EINVAL) }
    }
}

impl Drop for Memory {
    /// Until now somebody could name the account: a task that has left, or who has a file of the container open.
    fn drop(&mut self) {
        self.ledger.give_up_number(self.number);
    }
}

/// A number from 0 up. `EINVAL` none, or more than `most`.
fn number_up_to(text: &str, most: u64) -> Result<u64, Errno> {
    Some(parse_unsigned(text)?).filter(|&number| number <= most).ok_or(Errno::EINVAL)
}

fn show_limit(node: &Node<'_, Memory>, out: &mut dyn Write) -> fmt::Result {
    writeln!(out, "{}", ByteLimit::from_pages(node.state().account().limit.load(Relaxed)))
}

fn store_limit(node: &Node<'_, Memory>, text: &str) -> Result<(), Errno> {
    if node.is_root() {
        return Err(Errno::EINVAL);
    }
    let limit: ByteLimit = text.parse()?;
    let Memory { ledger, number, .. } = node.state();
    while !ledger.set_limit(*number, limit.pages()) {
        if TASKS.get().is_some_and(TaskControl::is_signalled) {
            return Err(Errno::EINTR);
        }
        let over = ledger.usage(*number).saturating_sub(limit.pages()).max(1);
        if ledger.reclaim(*number, usize::try_from(over).unwrap_or(usize::MAX)) == 0 {
            return Err(Errno::EBUSY);
        }
    }
    ledger.look_again();
    Ok(())
}

fn force_empty(node: &Node<'_, Memory>, _text: &str) -> Result<(), Errno> {
    if node.is_root() {
        return Err(Errno::EINVAL);
    }
    let Memory { ledger, number, .. } = node.state();
    while ledger.reclaim(*number, usize::MAX) > 0 {
        if TASKS.get().is_some_and(TaskControl::is_signalled) {
            return Err(Errno::EINTR);
        }
    }
    Ok(())
}

fn show_oom_control(node: &Node<'_, Memory>, out: &mut dyn Write) -> fmt::Result {
    let Memory { ledger, number, .. } = node.state();
    let account = node.state().account();
    let waits = |level: Number| ledger.accounts.get(level).waiting.load(Relaxed) > 0;
    let under_oom = ledger.accounts.upwards(*number).any(waits);
    writeln!(out, "oom_kill_disable {}", u8::from(account.kill_disabled.load(Relaxed)))?;
    writeln!(out, "under_oom {}", u8::from(under_oom))?;
    writeln!(out, "oom_kill {}", account.kills.load(Relaxed))
}

fn store_oom_control(node: &Node<'_, Memory>, text: &str) -> Result<(), Errno> {
    let disabled = number_up_to(text, 1)? == 1;
    if node.is_root() {
        return Err(Errno::EINVAL);
    }
    node.state().account().kill_disabled.store(disabled, SeqCst);
    node.state().ledger.look_again();
    Ok(())
}
