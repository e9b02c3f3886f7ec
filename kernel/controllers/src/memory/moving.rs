//! Pages that come along when a process moves: `memory.move_charge_at_immigrate` of the container that it moves to.
//!
//! Only the leader's move takes pages along, and only those that the container it comes from pays for. Room for all
//! is taken before the move; what could not be moved then (the process went on meanwhile) is given back after it.

use super::Memory;
use super::account::Number;
use super::control::{TASKS, TaskControl};
use super::ledger::{Ledger, make_note, read_note};
use base::Errno;
use container::{Member, Move};
use core::sync::atomic::Ordering::Relaxed;
use machine::frame::Frame;
use memory::ChargeKind;

/// The bit for pages of the process's own.
const ANONYMOUS: u64 = 1;
/// The bit for pages of files and of shared memory that it maps.
const MAPPED: u64 = 2;

/// One process that moves with its pages.
struct Process<'a> {
    leader: &'a dyn Member,
    from: Number,
    to: Number,
    ledger: &'static Ledger,
    which: u64,
    tasks: &'static dyn TaskControl,
}

impl<'a> Process<'a> {
    /// The process of a move, if its leader is among the tasks and pages are to come along.
    #[inline]
    fn of(change: &Move<'a, Memory>) -> Option<Self> {
        match change.target().own().move_charges.load(Relaxed) {
            0 => None,
            which => Self::with_pages(change, which),
        }
    }

    fn with_pages(change: &Move<'a, Memory>, which: u64) -> Option<Self> {
        let to = change.target().own();
        let (leader, from) = change.tasks().find(|(task, _)| task.tid() == task.process_id())?;
        let (ledger, from) = (to.ledger, from.own().number);
        Some(Self { leader, from, to: to.number, ledger, which, tasks: TASKS.get()? })
    }

    /// Whether the page comes along; then what is said of it.
    fn takes(&self, frame: &Frame) -> Option<(Number, ChargeKind)> {
        let note = frame.note();
        let (owner, kind) = read_note(note);
        let wanted = if kind == ChargeKind::Anonymous { ANONYMOUS } else { MAPPED };
        let moves = note != 0 && self.which & wanted != 0 && self.ledger.accounts.open_for(owner) == self.from;
        moves.then_some((owner, kind))
    }
}

/// Takes room in the target for the pages that come along.
///
/// Errors: `ENOMEM`.
pub fn reserve(change: &Move<'_, Memory>) -> Result<(), Errno> {
    let Some(process) = Process::of(change) else { return Ok(()) };
    let mut pages = 0;
    process.tasks.for_each_page(process.leader, &mut |_, frame| pages += u64::from(process.takes(frame).is_some()));
    process.ledger.reserve_move(process.from, process.to, pages).map_err(|_| Errno::ENOMEM)?;
    process.ledger.accounts.get(process.to).moving.store(pages, Relaxed);
    Ok(())
}

/// Gives the room back: the process does not move.
pub fn cancel(change: &Move<'_, Memory>) {
    if let Some(process) = Process::of(change) {
        give_back(&process);
    }
}

/// Moves the pages of a process that has moved.
pub fn finish(change: &Move<'_, Memory>) {
    let Some(process) = Process::of(change) else { return };
    let room = &process.ledger.accounts.get(process.to).moving;
    process.tasks.for_each_page(process.leader, &mut |_, frame| {
        if room.load(Relaxed) > 0
            && let Some((owner, kind)) = process.takes(frame)
            && frame.exchange_note(make_note(owner, kind), make_note(process.to, kind))
        {
            process.ledger.moved(owner, process.to, frame.node(), kind);
            room.fetch_sub(1, Relaxed);
        }
    });
    give_back(&process);
}

/// Gives back the room that was not needed.
fn give_back(process: &Process<'_>) {
    let left = process.ledger.accounts.get(process.to).moving.swap(0, Relaxed);
    if left > 0 {
        process.ledger.cancel_move(process.from, process.to, left);
    }
}
