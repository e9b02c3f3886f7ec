//! The content of a regular file: pages in memory, over bytes borrowed from the initramfs until they are written.

use super::{
    Shared,
    copies::{ALL_COPIES, Copies},
    pages::{Pages, Source, copy_padded, frame_of},
};
use crate::{OpenFlags, Sealing, Seals, SeekFrom, limits};
use alloc::{sync::Arc, vec::Vec};
use base::Errno;
use core::{
    cmp::Ordering,
    ops::Range,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering::Acquire, Ordering::Relaxed, Ordering::Release},
};
use machine::{
    frame::{FRAME_SIZE, Frame},
    sync::{Mutex, SpinLock, rank},
};
use memory::{ChargeKind, PageUse, SharedPolicies, charge, payer::SharedPage, placement};

/// How often a write waits for somebody else's memory at a limit. Whoever is to give it may wait for a lock that the
/// writer holds.
const RELIEFS: usize = 100;

/// How many pages become holes under one hold of their lock.
const CLEARED_AT_ONCE: usize = 32;

/// The largest file.
const LARGEST: u64 = i64::MAX as u64;

/// The content of a regular file.
pub(super) struct Content {
    shared: Arc<Shared>,
    size: AtomicU64,
    /// Held by whoever changes bytes or size through a system call, so that appends don't mix.
    writing: Mutex<()>,
    pages: SpinLock<Pages>,
    pub(super) sealing: Sealing,
    /// Where new pages come from that somebody mapped and bound.
    pub(super) policies: SharedPolicies,
    /// See [`crate::Inode::mappings`].
    pub(super) mappings: AtomicUsize,
}

/// Who asks for a page.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// A call that has the lock for writing.
    ByCall,
    /// A page fault.
    ByFault,
}

impl Asked {
    fn refusal(self) -> Errno {
        if self == Self::ByCall { Errno::ENOMEM } else { Errno::ENOSPC }
    }
}

/// The piece of `length` bytes at `position` that lies in one page: page, offset in it, bytes.
fn piece(position: u64, length: usize) -> (u64, usize, usize) {
    let offset = (position % FRAME_SIZE as u64) as usize;
    (position / FRAME_SIZE as u64, offset, length.min(FRAME_SIZE - offset))
}

impl Content {
    pub fn new(shared: Arc<Shared>, borrowed: &'static [u8], seals: Seals) -> Self {
        let policies = SharedPolicies::new();
        let policy = *shared.policy.lock();
        if policy.is_some() {
            // One range is never too many.
            let _ = policies.set(0..u64::MAX, policy);
        }
        let pages = Pages::new(borrowed);
        shared.add_pages(pages.count());
        Self {
            shared,
            size: AtomicU64::new(borrowed.len() as u64),
            writing: Mutex::new(rank::INODE, ()),
            pages: SpinLock::new(rank::PAGE_CACHE, pages),
            sealing: Sealing::new(seals),
            policies,
            mappings: AtomicUsize::new(0),
        }
    }

    /// Gives an empty file its bytes, borrowed. `EINVAL` if it is not empty.
    pub fn fill(&self, borrowed: &'static [u8]) -> Result<(), Errno> {
        let _writing = self.writing.lock();
        let mut pages = self.pages.lock();
        if self.size() != 0 {
            return Err(Errno::EINVAL);
        }
        pages.fill(borrowed);
        self.shared.add_pages(pages.count());
        self.size.store(borrowed.len() as u64, Release);
        Ok(())
    }

    pub fn size(&self) -> u64 {
        self.size.load(Acquire)
    }

    /// Pages that are no holes.
    pub fn page_count(&self) -> u64 {
        self.pages.lock().count()
    }

    /// Reads from `position` on; 0 at and behind the end.
    pub fn read(&self, buffer: &mut [u8], position: u64) -> usize {
        let left = self.size().saturating_sub(position);
        let length = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let mut done = 0;
        let copies = charge::copies_files();
        while done < length {
            let (index, offset, count) = piece(position + done as u64, length - done);
            let out = &mut buffer[done..done + count];
            // The bytes are copied with no lock held: the frame is kept by its count.
            let source = self.pages.lock().source(index);
            match source {
                Source::Own(frame) => frame.read(offset, out),
                // Without a copy, if its container can't have one.
                Source::Borrowed(bytes) if copies && let Ok((frame, _)) = self.copy(index, bytes) => {
                    frame.read(offset, out);
                }
                Source::Borrowed(bytes) => copy_padded(bytes.get(offset..).unwrap_or(&[]), out),
                Source::Hole => out.fill(0),
            }
            done += count;
        }
        length
    }

    /// Writes at `position`, with `O_APPEND` at the end; moves it. `EPERM` a seal, `EFBIG`, `ENOSPC`, `ENOMEM` if nothing
    /// was written.
    pub fn write(&self, buffer: &[u8], position: &mut u64, flags: OpenFlags) -> Result<usize, Errno> {
        for _ in 0..RELIEFS {
            match self.try_write(buffer, position, flags) {
                Err(Errno::ENOMEM) if charge::relieve_call() => {}
                result => return result,
            }
        }
        self.try_write(buffer, position, flags)
    }

    fn try_write(&self, buffer: &[u8], position: &mut u64, flags: OpenFlags) -> Result<usize, Errno> {
        let _writing = self.writing.lock();
        if flags.contains(OpenFlags::APPEND) {
            *position = self.size();
        }
        let most = if buffer.is_empty() { LARGEST } else { limits::largest_at(*position)?.min(LARGEST) };
        let room = most.saturating_sub(*position);
        let length = buffer.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        if length == 0 && !buffer.is_empty() {
            return Err(Errno::EFBIG);
        }
        let start = *position;
        while *position < start + length as u64 {
            let done = (*position - start) as usize;
            let (index, offset, count) = piece(*position, length - done);
            let sealed = self.check_write(*position + count as u64);
            let frame = match sealed.and_then(|()| self.own_page(index, count == FRAME_SIZE, Asked::ByCall)) {
                Ok(frame) => frame,
                Err(_) if done > 0 => break,
                Err(error) => return Err(error),
            };
            frame.write(offset, &buffer[done..done + count]);
            *position += count as u64;
            if *position > self.size() {
                self.size.store(*position, Release);
            }
        }
        Ok((*position - start) as usize)
    }

    /// `EPERM` a seal forbids to write up to `end`.
    fn check_write(&self, end: u64) -> Result<(), Errno> {
        self.sealing.check(if end > self.size() { Seals::NO_WRITE | Seals::GROW } else { Seals::NO_WRITE })
    }

    /// Adds seals, when no write is under way. Errors: see [`Sealing::add`].
    pub fn add_seals(&self, seals: Seals) -> Result<(), Errno> {
        let _writing = self.writing.lock();
        self.sealing.add(seals)
    }

    /// The page of its own with this index, made if there is none. A page that is `overwritten` wholly need not be filled.
    ///
    /// Errors: `ENOSPC`; `ENOMEM`, for a call already where memory is low; if the running task's containers don't pay for it, `ENOMEM` in a call and `ENOSPC` in a
    /// fault (which is SIGBUS); `EFAULT` a fault behind the end.
    fn own_page(&self, index: u64, overwritten: bool, asked: Asked) -> Result<Frame, Errno> {
        let source = self.pages.lock().source(index);
        if let Source::Own(frame) = source {
            return Ok(frame);
        }
        // Borrowed pages have been counted with the file.
        let counted = u64::from(matches!(source, Source::Hole));
        if counted == 1 {
            self.shared.take_page(asked == Asked::ByFault)?;
        } else if asked == Asked::ByCall {
            Shared::check_memory()?;
        }
        let allowed = placement::files(self.policies.get(index).as_ref(), index);
        let made = match source {
            // What the initramfs gave is there without anybody's doing.
            Source::Borrowed(bytes) => charge::allocate(&allowed, ChargeKind::Shared).map(|frame| {
                if !overwritten {
                    frame.write(0, bytes);
                    frame.zero(bytes.len(), FRAME_SIZE - bytes.len());
                }
                SharedPage::free(frame)
            }),
            _ => SharedPage::new(asked.refusal(), || match overwritten {
                true => charge::allocate(&allowed, ChargeKind::Shared),
                false => charge::allocate_zeroed(&allowed, ChargeKind::Shared),
            }),
        };
        let page = made.inspect_err(|_| self.shared.give_pages(counted))?;
        let mut pages = self.pages.lock();
        let now = pages.source(index);
        // What has been cut off meanwhile must not come back; calls have the lock for writing.
        let behind = asked == Asked::ByFault && index >= self.size().div_ceil(FRAME_SIZE as u64);
        if behind || !source.is_still(&now) {
            drop(pages);
            self.shared.give_pages(counted);
            return match now {
                _ if behind => Err(Errno::EFAULT),
                // A page fault may have been faster: its page is the file's then.
                Source::Own(frame) => Ok(frame),
                _ => self.own_page(index, overwritten, asked),
            };
        }
        let frame = page.frame.clone();
        pages.insert(index, page);
        let copies = pages.copies.clone();
        drop(pages);
        if let Some(copies) = copies {
            copies.remove(index);
        }
        Ok(frame)
    }

    /// The copy of a borrowed page, and whether it had to be made.
    ///
    /// Errors: `ENOMEM`.
    fn copy(&self, index: u64, bytes: &'static [u8]) -> Result<(Frame, bool), Errno> {
        let there = self.pages.lock().copies.as_ref().and_then(|copies| copies.get(index));
        if let Some(frame) = there {
            return Ok((frame, false));
        }
        let frame = charge::allocate(&placement::files(self.policies.get(index).as_ref(), index), ChargeKind::Cache)?;
        frame.write(0, bytes);
        frame.zero(bytes.len(), FRAME_SIZE - bytes.len());
        let mut pages = self.pages.lock();
        // As it was: a copy of what has been cut off or written meanwhile would stay.
        let kept = match pages.source(index) {
            Source::Borrowed(now) if now.len() == bytes.len() => {
                pages.copies.get_or_insert_with(Copies::new).insert(index, frame)
            }
            _ => frame,
        };
        Ok((kept, true))
    }

    /// Puts another frame in place of a page of its own, or of a copy; see [`memory::PageSource::exchange`].
    pub fn exchange_page(&self, index: u64, make: &mut dyn FnMut(&Frame, u32) -> Option<Frame>) -> bool {
        let mut pages = self.pages.lock();
        let copies = pages.copies.clone();
        let old = pages.get_mut(index).map(|page| page.exchange(make));
        drop(pages);
        match (old, copies) {
            (Some(old), _) => old.is_some(),
            (None, Some(copies)) => copies.exchange(index, make),
            (None, None) => false,
        }
    }

    /// The page for a mapping. `EFAULT` wholly behind the end.
    #[inline]
    pub fn page(&self, index: u64, usage: PageUse) -> Result<Frame, Errno> {
        if index >= self.size().div_ceil(FRAME_SIZE as u64) {
            return Err(Errno::EFAULT);
        }
        if usage == PageUse::Private {
            let source = self.pages.lock().source(index);
            match source {
                Source::Own(frame) => return Ok(frame),
                Source::Borrowed(bytes) if charge::copies_files() => {
                    let (frame, made) = self.copy(index, bytes)?;
                    if made {
                        charge::count_major_fault();
                    }
                    return Ok(frame);
                }
                Source::Borrowed(bytes) => {
                    if let Some(frame) = frame_of(bytes) {
                        return Ok(frame);
                    }
                }
                Source::Hole => {}
            }
        }
        self.own_page(index, false, Asked::ByFault)
    }

    /// Gives the pages that are there; see [`memory::PageSource::pages_there`].
    pub fn pages_there(&self, first: u64, usage: PageUse, frames: &mut [Option<Frame>]) {
        let left = self.size().div_ceil(FRAME_SIZE as u64).saturating_sub(first);
        let count = frames.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        self.pages.lock().there(first, usage, &mut frames[..count]);
    }

    /// Sets the size; what is cut off is gone, what is added is zero. Says whether any was cut off. `EFBIG`, `EPERM` a seal.
    pub fn truncate(&self, size: u64) -> Result<bool, Errno> {
        limits::check_growth(self.size(), size)?;
        if size > LARGEST {
            return Err(Errno::EFBIG);
        }
        let _writing = self.writing.lock();
        match size.cmp(&self.size()) {
            Ordering::Less => self.sealing.check(Seals::SHRINK)?,
            Ordering::Equal => {}
            Ordering::Greater => self.sealing.check(Seals::GROW)?,
        }
        let cut = size < self.size();
        if cut {
            // First the size, so that nobody reads what goes.
            self.size.store(size, Release);
            let mut pages = self.pages.lock();
            let before = pages.count();
            let gone = pages.cut(size);
            let given = before - pages.count();
            let copies = pages.copies.clone();
            drop(pages);
            drop(gone);
            // The copy of the last page has the bytes that were cut off.
            if let Some(copies) = copies {
                copies.cut(size / FRAME_SIZE as u64);
            }
            self.shared.give_pages(given);
        }
        self.size.store(size, Release);
        Ok(cut)
    }

    /// Gives each page of the range memory of its own now, and with `grow` makes the file reach the range's end. All or
    /// nothing: `EFBIG`, `EPERM` a seal, `ENOSPC`, `ENOMEM`.
    pub fn reserve(&self, range: Range<u64>, grow: bool) -> Result<(), Errno> {
        if range.end > LARGEST {
            return Err(Errno::EFBIG);
        }
        limits::check_growth(self.size(), range.end)?;
        if range.end > self.size() {
            self.sealing.check(Seals::GROW)?;
        }
        let pages = range.start / FRAME_SIZE as u64..range.end.div_ceil(FRAME_SIZE as u64);
        // What can't end well is not begun: there may be no limit but the memory of the machine.
        if pages.end - pages.start > memory::frames::total().free {
            return Err(Errno::ENOSPC);
        }
        let mut made: Vec<Range<u64>> = Vec::new();
        let mut result = self.try_reserve(&pages, &mut made);
        for _ in 0..RELIEFS {
            if result != Err(Errno::ENOMEM) || !charge::relieve_call() {
                break;
            }
            result = self.try_reserve(&pages, &mut made);
        }
        let _writing = self.writing.lock();
        // A seal may have come while nobody was kept from writing.
        let grows = grow && range.end > self.size();
        let result = result.and_then(|()| if grows { self.sealing.check(Seals::GROW) } else { Ok(()) });
        match result {
            Ok(()) if grows => self.size.store(range.end, Release),
            Ok(()) => {}
            Err(_) => made.into_iter().for_each(|pages| self.clear_own(pages)),
        }
        result
    }

    /// Makes the pages that are missing, and notes which.
    fn try_reserve(&self, pages: &Range<u64>, made: &mut Vec<Range<u64>>) -> Result<(), Errno> {
        let _writing = self.writing.lock();
        for index in pages.clone() {
            let source = self.pages.lock().source(index);
            if !matches!(source, Source::Hole) {
                continue;
            }
            made.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
            self.own_page(index, false, Asked::ByCall)?;
            match made.last_mut() {
                Some(last) if last.end == index => last.end += 1,
                _ => made.push(index..index + 1),
            }
        }
        Ok(())
    }

    /// Makes the bytes of the range zeros and gives back the memory of its whole pages. `EPERM` a seal; `ENOMEM`, `ENOSPC`:
    /// bytes that the initramfs gave can only be covered.
    pub fn punch(&self, range: Range<u64>) -> Result<(), Errno> {
        let page = FRAME_SIZE as u64;
        let whole = range.start.div_ceil(page)..range.end / page;
        let _writing = self.writing.lock();
        self.sealing.check(Seals::NO_WRITE)?;
        if whole.start > whole.end {
            return self.zero_part(range);
        }
        self.zero_part(range.start..whole.start * page)?;
        self.zero_part(whole.end * page..range.end)?;
        let borrowed = self.pages.lock().borrowed();
        for index in whole.start..whole.end.min(borrowed) {
            self.own_page(index, false, Asked::ByCall)?;
        }
        self.clear_own(whole);
        Ok(())
    }

    /// Makes bytes of one page zeros; of a hole, they are.
    fn zero_part(&self, range: Range<u64>) -> Result<(), Errno> {
        let (index, offset, count) = piece(range.start, (range.end - range.start) as usize);
        let source = self.pages.lock().source(index);
        if count > 0 && !matches!(source, Source::Hole) {
            self.own_page(index, false, Asked::ByCall)?.zero(offset, count);
        }
        Ok(())
    }

    /// Whether there are bytes for the page, and not a hole.
    pub fn has_page(&self, index: u64) -> bool {
        !matches!(self.pages.lock().source(index), Source::Hole)
    }

    /// Makes holes of the pages of its own in a range. One that somebody has mapped, or that hides borrowed bytes, stays
    /// and becomes zeros.
    fn clear_own(&self, range: Range<u64>) {
        let mut from = range.start;
        loop {
            // Some at a time: they are freed without the lock, and a list of all might find no memory.
            let mut gone = [const { None }; CLEARED_AT_ONCE];
            let mut pages = self.pages.lock();
            let borrowed = pages.borrowed();
            let mut looked = 0;
            for slot in &mut gone {
                let Some(index) = pages.next(from).filter(|&index| index < range.end) else { break };
                (from, looked) = (index + 1, looked + 1);
                // Who wants the frame takes it under this lock, so a count of one stays one.
                match pages.get_mut(index) {
                    Some(page) if index < borrowed || page.frame.reference_count() > 1 => {
                        page.frame.zero(0, FRAME_SIZE)
                    }
                    _ => *slot = pages.remove(index),
                }
            }
            drop(pages);
            self.shared.give_pages(gone.iter().flatten().count() as u64);
            if looked < CLEARED_AT_ONCE {
                return;
            }
        }
    }

    /// The first byte from `from` on that is data (`SEEK_DATA`) or in a hole (`SEEK_HOLE`; the end is one). `ENXIO` no
    /// such before the end.
    pub fn seek(&self, target: SeekFrom) -> Result<u64, Errno> {
        let (from, data) = match target {
            SeekFrom::Data(from) => (from, true),
            SeekFrom::Hole(from) => (from, false),
            _ => return Err(Errno::EINVAL),
        };
        let size = self.size();
        let from = u64::try_from(from).ok().filter(|&from| from < size).ok_or(Errno::ENXIO)?;
        let pages = self.pages.lock();
        let borrowed = pages.borrowed();
        let mut index = from / FRAME_SIZE as u64;
        if data {
            if index >= borrowed {
                index = pages.next(index).ok_or(Errno::ENXIO)?;
            }
        } else {
            index = index.max(borrowed);
            while pages.next(index) == Some(index) {
                index += 1;
            }
        }
        let found = (index * FRAME_SIZE as u64).max(from);
        if found < size {
            Ok(found)
        } else if data {
            Err(Errno::ENXIO)
        } else {
            Ok(size)
        }
    }
}

impl Drop for Content {
    fn drop(&mut self) {
        let pages = self.pages.get_mut();
        self.shared.give_pages(pages.count());
        if let Some(copies) = pages.copies.take() {
            ALL_COPIES.forget(&copies);
        }
        // Relaxed: nobody else can see the value any more.
        self.size.store(0, Relaxed);
    }
}
