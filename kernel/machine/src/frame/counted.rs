//! Counted references to a frame.

use super::metadata::{SEALED, at_address};
use super::{Block, FRAME_NOTES, FRAME_SIZE, FrameNumber};
use crate::arch;
use base::NodeId;
use core::fmt;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ops::Deref;
use core::sync::atomic::{AtomicU32, Ordering::Acquire, Ordering::Relaxed, Ordering::Release, fence};

/// A counted reference to one physical frame: a clone counts one more, a drop one less, and the last drop gives the
/// frame to [`super::FRAME_SINK`]. The bytes may be changed by others at any moment.
pub struct Frame {
    number: FrameNumber,
}

impl Frame {
    /// A reference made of a number.
    ///
    /// # Safety
    /// The reference is counted already and nobody else's.
    pub(crate) unsafe fn from_number(number: FrameNumber) -> Self {
        Self { number }
    }

    /// Gives up the reference, which stays counted, for the number.
    pub(crate) fn into_number(self) -> FrameNumber {
        ManuallyDrop::new(self).number
    }

    /// The page of bytes that live forever, shared without a copy; it is *sealed*: [`Frame::write`] and a writable
    /// mapping are refused. `None` if the bytes are no page of the direct map (the kernel's own image, say).
    pub fn of_static(bytes: &'static [u8; FRAME_SIZE]) -> Option<Frame> {
        let number = at_address(bytes.as_ptr())?;
        if !bytes.as_ptr().addr().is_multiple_of(FRAME_SIZE) {
            return None;
        }
        let entry = number.entry();
        // One for the bytes themselves, never given up, so that the frame is never free; and one to return. Both are
        // counted before the mark shows, so that nobody's drop in between finds itself the last.
        entry.count.fetch_add(2, Relaxed);
        if entry.info.fetch_or(SEALED, Relaxed) & SEALED != 0 {
            entry.count.fetch_sub(1, Relaxed);
        }
        Some(Frame { number })
    }

    /// The number of the frame.
    pub fn number(&self) -> FrameNumber {
        self.number
    }

    /// The node whose memory this is.
    pub fn node(&self) -> NodeId {
        self.number.node()
    }

    /// How many references there are, this one included: 1 means that nobody else can reach the frame.
    pub fn reference_count(&self) -> u32 {
        // Acquire: what those did who gave up their references has happened before.
        self.number.entry().count.load(Acquire)
    }

    /// Whether the bytes can't be written (see [`Frame::of_static`]).
    pub fn is_sealed(&self) -> bool {
        self.number.entry().info.load(Relaxed) & SEALED != 0
    }

    /// The note that was left with the frame, for whoever keeps accounts of frames; 0 in a frame just made of a block.
    pub fn note(&self) -> u32 {
        self.number.entry().next.load(Relaxed)
    }

    /// Leaves the note `new` in place of `old`. `false` and nothing changed: there is another one. [`super::FRAME_NOTES`]
    /// is told of a note that is not 0 when the frame is freed.
    pub fn exchange_note(&self, old: u32, new: u32) -> bool {
        self.number.entry().next.compare_exchange(old, new, Relaxed, Relaxed).is_ok()
    }

    /// The frame as a block, if this is its only reference.
    pub fn into_block(self) -> Result<Block, Frame> {
        if self.reference_count() != 1 {
            return Err(self);
        }
        settle(self.number);
        let number = self.into_number();
        number.entry().count.store(0, Relaxed);
        // SAFETY: the only reference was given up just now, so the frame is the block's alone.
        Ok(unsafe { Block::new(number, 0) })
    }

    /// Copies bytes out, from `offset` on. Panics if they don't all lie in the frame.
    pub fn read(&self, offset: usize, out: &mut [u8]) {
        let from = self.at(offset, out.len());
        // SAFETY: `at` has checked that the bytes lie in this frame, which stays mapped while it is counted; the copy
        // tolerates that others write them.
        unsafe { arch::frame::copy(out.as_mut_ptr(), from, out.len()) }
    }

    /// Copies bytes in, from `offset` on. Panics if they don't all lie in the frame, or if it is sealed.
    pub fn write(&self, offset: usize, bytes: &[u8]) {
        self.assert_writable();
        let to = self.at(offset, bytes.len());
        // SAFETY: as in `read`; nobody has a Rust reference to bytes of a counted frame that is not sealed.
        unsafe { arch::frame::copy(to, bytes.as_ptr(), bytes.len()) }
    }

    /// The word at `offset`, read at once, and after it all that was stored before the word was.
    /// Panics unless it is an aligned word of the frame.
    pub fn load_word(&self, offset: usize) -> u32 {
        self.word(offset).load(Acquire)
    }

    /// Stores a word at `offset` at once, after all that was stored before. Panics unless it is an aligned word of the
    /// frame, or if that is sealed.
    pub fn store_word(&self, offset: usize, value: u32) {
        self.assert_writable();
        self.word(offset).store(value, Release);
    }

    fn word(&self, offset: usize) -> &AtomicU32 {
        assert!(offset.is_multiple_of(4), "no word begins at {offset}");
        // SAFETY: `at` has checked that the word lies in this frame, which begins at a multiple of 4096 and stays mapped
        // while it is counted, as it is while `self` is borrowed; who else reads or writes the bytes of a counted frame does
        // so through copies in assembly, through such words, or in user mode.
        unsafe { AtomicU32::from_ptr(self.at(offset, 4).cast()) }
    }

    /// Sets `length` bytes from `offset` on to zero. Panics if they don't all lie in the frame, or if it is sealed.
    pub fn zero(&self, offset: usize, length: usize) {
        self.assert_writable();
        let to = self.at(offset, length);
        // SAFETY: as in `write`.
        unsafe { arch::frame::zero(to, length) }
    }

    /// Copies all bytes of `other`. Panics if this frame is sealed.
    pub fn copy_from(&self, other: &Frame) {
        self.assert_writable();
        // SAFETY: as in `write`, with whole frames.
        unsafe { arch::frame::copy_frames(self.number.bytes(), other.number.bytes(), FRAME_SIZE) }
    }

    fn at(&self, offset: usize, length: usize) -> *mut u8 {
        assert!(
            offset <= FRAME_SIZE && length <= FRAME_SIZE - offset,
            "{length} bytes at {offset} don't lie in a frame"
        );
        self.number.bytes().wrapping_add(offset)
    }

    fn assert_writable(&self) {
        assert!(!self.is_sealed(), "frame {} is sealed", self.number.raw());
    }
}

impl Clone for Frame {
    fn clone(&self) -> Self {
        let before = self.number.entry().count.fetch_add(1, Relaxed);
        // Far below the number at which the count would wrap; references that are forgotten can add up.
        assert!(before < 1 << 31, "frame {} has too many references", self.number.raw());
        Self { number: self.number }
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        if self.number.entry().count.fetch_sub(1, Release) == 1 {
            // What the others did with the bytes comes before the frame is somebody else's.
            fence(Acquire);
            settle(self.number);
            // SAFETY: the last reference has just gone.
            drop(unsafe { Block::new(self.number, 0) });
        }
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frame({:#x} of {})", self.number.raw(), self.reference_count())
    }
}

/// Tells whoever keeps accounts that a frame, to which nobody else refers, is about to be free.
fn settle(number: FrameNumber) {
    let note = number.entry().next.load(Relaxed);
    if note != 0
        && let Some(notes) = FRAME_NOTES.get()
    {
        notes.freed(note, number.node());
    }
}

/// A frame that a page table refers to, lent for as long as that can't change.
pub struct BorrowedFrame<'a> {
    frame: ManuallyDrop<Frame>,
    lender: PhantomData<&'a ()>,
}

impl BorrowedFrame<'_> {
    /// # Safety
    /// Somebody else's reference to the frame lives as long as the lifetime says.
    pub(crate) unsafe fn new(number: FrameNumber) -> Self {
        Self { frame: ManuallyDrop::new(Frame { number }), lender: PhantomData }
    }
}

impl Deref for BorrowedFrame<'_> {
    type Target = Frame;
    fn deref(&self) -> &Frame {
        &self.frame
    }
}

impl fmt::Debug for BorrowedFrame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.frame.fmt(f)
    }
}
