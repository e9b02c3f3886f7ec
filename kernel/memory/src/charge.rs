//! Who pays for pages of user memory and files: each page that can be charged is made here, and the charger that was
//! installed, if any, says whether it may be had. The charge goes with the frame, as its note, and ends with it.
//!
//! | page | kind | charged when |
//! |---|---|---|
//! | of a program's own | [`ChargeKind::Anonymous`] | a fault brings it in or copies it |
//! | of shared memory, and of a file that is only in memory | [`ChargeKind::Shared`] | the first fault or write |
//! | copy of a file's bytes that can be read again | [`ChargeKind::Cache`] | the first read or fault |
//!
//! The task that runs pays: it is the first to touch the page. The rule: interfaces.md, section 16.

use crate::{Placement, frames};
use arrayvec::ArrayVec;
use base::{Errno, NodeId};
use core::num::NonZeroU32;
use core::sync::atomic::AtomicU64;
use machine::frame::Frame;
use machine::sync::Hook;

/// What a page is that is charged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum ChargeKind {
    /// A page of one address space's own.
    Anonymous = 0,
    /// A copy of a file's bytes that can be dropped and read again.
    Cache = 1,
    /// A page of shared memory, or of a file that is nowhere else.
    Shared = 2,
}

/// What is to be done about a charge that was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Relief {
    /// There is room now, or soon: try again.
    Retry,
    /// The task is to die: give up.
    Dying,
    /// No limit refused anything to the task: the machine itself has no memory.
    NotLimited,
}

/// Keeps the accounts of pages.
pub trait PageCharger: Sync {
    /// Charges a page of `node` to the running task: the note to leave with the frame; the two lowest bits are the kind,
    /// and the others are not 0. Before it refuses, it has had reclaimed what can be read again. Called with no spinning
    /// lock held.
    ///
    /// Errors: `ENOMEM` a limit was met.
    fn charge(&self, kind: ChargeKind, node: NodeId) -> Result<NonZeroU32, Errno>;

    /// Charges up to `most` pages of `node` to the running task that it has not asked for, but may need next: how many, and
    /// the note for each, as of [`charge`](Self::charge). `None`: there is no room, or a limit of the task's own that these
    /// pages would bring nearer. Nothing is reclaimed for them, and no refusal counted. Called like `charge`.
    fn charge_ahead(&self, kind: ChargeKind, node: NodeId, most: u64) -> Option<(NonZeroU32, u64)>;

    /// The bytes of the page with this note lie on another node now, and its note with them.
    fn moved(&self, note: u32, from: NodeId, to: NodeId);

    /// Whether the running task has file pages as charged copies that can be dropped, and not the initramfs's own.
    fn copies_files(&self) -> bool;

    /// After a charge of the running task was refused: makes room by force, or waits for some. `in_fault`: what was
    /// refused is a page fault's. Called with no lock held.
    fn relieve(&self, in_fault: bool) -> Relief;

    /// Which of a task's words the charger keeps for itself.
    fn word(&self) -> usize;

    /// Counts a page fault of the task whose word this is.
    fn count_fault(&self, word: &AtomicU64);

    /// Counts that something had to be read for a page fault of the running task.
    fn count_major_fault(&self);

    /// Pages of a kind that are charged now, to whomever.
    fn pages(&self, kind: ChargeKind) -> u64;

    /// Whether memory of the page with this note should be reclaimed before others when a node is short.
    fn is_over_soft_limit(&self, note: u32) -> bool;
}

/// The charger; installed once at boot, together with [`machine::frame::FRAME_NOTES`]. Without one, nothing is charged.
pub static CHARGER: Hook<dyn PageCharger> = Hook::new();

/// A charged frame whose bytes may be anything, on the best node that `placement` allows.
///
/// Errors: `ENOMEM` no allowed node has one to spare, or a limit was met.
pub fn allocate(placement: &Placement, kind: ChargeKind) -> Result<Frame, Errno> {
    charged(frames::allocate(placement)?, kind)
}

/// A charged frame of zero bytes; else like [`allocate`].
///
/// Errors: `ENOMEM`.
#[inline]
pub fn allocate_zeroed(placement: &Placement, kind: ChargeKind) -> Result<Frame, Errno> {
    charged(frames::allocate_zeroed(placement)?, kind)
}

/// Up to `most` charged frames of zero bytes, on the best node that `placement` allows, for pages that the running task has
/// not asked for; fewer or none where memory is not plenty.
pub(crate) fn allocate_ahead<const N: usize>(
    placement: &Placement,
    kind: ChargeKind,
    most: usize,
) -> ArrayVec<Frame, N> {
    let mut blocks = frames::allocate_ahead(placement, most.min(N));
    let mut ahead = ArrayVec::new();
    let Some(mut block) = blocks.pop() else { return ahead };
    let found = blocks.len() as u64 + 1;
    let (note, count) = match CHARGER.get() {
        Some(charger) => match charger.charge_ahead(kind, block.node(), found) {
            Some((note, count)) => (note.get(), count.min(found)),
            None => return ahead,
        },
        None => (0, found),
    };
    for _ in 0..count {
        block.zero();
        let frame = block.into_frame();
        frame.exchange_note(0, note);
        ahead.push(frame);
        match blocks.pop() {
            Some(next) => block = next,
            None => break,
        }
    }
    ahead
}

/// Charges a frame that nobody else knows yet; refused, it is free again.
fn charged(frame: Frame, kind: ChargeKind) -> Result<Frame, Errno> {
    if let Some(charger) = CHARGER.get() {
        let note = charger.charge(kind, frame.node())?;
        frame.exchange_note(0, note.get());
    }
    Ok(frame)
}

/// Pages of a kind in the whole system; 0 where nobody counts.
pub fn pages(kind: ChargeKind) -> u64 {
    CHARGER.get().map_or(0, |charger| charger.pages(kind))
}

/// Whether the note is that of a page that can be dropped and read again ([`ChargeKind::Cache`]): its two lowest bits are
/// the kind, whatever the charger keeps above them.
pub fn is_copy(note: u32) -> bool {
    note != 0 && note & 3 == ChargeKind::Cache as u32
}

/// After a charge that was no page fault's was refused, and all locks were given up: whether to try again.
pub fn relieve_call() -> bool {
    CHARGER.get().is_some_and(|charger| charger.relieve(false) == Relief::Retry)
}

/// Counts that something had to be read for a page fault of the running task.
pub fn count_major_fault() {
    if let Some(charger) = CHARGER.get() {
        charger.count_major_fault();
    }
}

/// Whether the running task has file pages as charged copies.
pub fn copies_files() -> bool {
    CHARGER.get().is_some_and(PageCharger::copies_files)
}
