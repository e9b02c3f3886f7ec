//! Page faults: demand-zero pages, pages of files, copies on write, and stacks that grow.

use super::around::comes_along;
use super::payment::Pages;
use super::{Access, AddressSpace, FaultError, Limits, STACK_GUARD, Tables};
use crate::area::{Area, AreaFlags, Backing, PAGE, Protection, Sharing};
use crate::source::PageUse;
use crate::{ChargeKind, Placement, charge, frames, placement};
use base::Errno;
use base::charge::Severity;
use machine::frame::Frame;
use machine::paging::{Mapping, PageKind, Permissions, USER_END};
use machine::sync::{Hook, SpinLock, rank};

/// What is to be done about a page.
enum Step {
    /// Nothing, or it has been done.
    Done,
    /// Bring it in.
    Missing,
    /// Copy it before it is written; of the page of zeros, nothing is copied.
    Copy { old: Frame, kind: PageKind },
    /// Ask its source for the frame that may be written.
    AskToWrite,
}

impl AddressSpace {
    /// Resolves a page fault of the current task at `address`. `Ok` also when another thread was faster.
    ///
    /// Errors: see [`FaultError`]. `limits.stack` and `limits.address_space` bound the growth of a stack.
    pub fn fault(&self, address: u64, access: Access, limits: &Limits) -> Result<(), FaultError> {
        self.fault_within(address, access, false, || *limits)
    }

    /// The same with limits that are asked for only where a stack has to grow. `is_missing`: the processor found no page
    /// there; then it is not looked for first.
    #[inline]
    pub fn fault_within(
        &self,
        address: u64,
        access: Access,
        is_missing: bool,
        limits: impl FnOnce() -> Limits,
    ) -> Result<(), FaultError> {
        if address >= USER_END {
            return Err(FaultError::NotMapped);
        }
        let page = address / PAGE * PAGE;
        {
            let state = self.read_state();
            if let Some(area) = state.areas.find(page) {
                // Where another thread has brought one meanwhile, that is looked at.
                if is_missing && allows(area, access) && self.bring(area, page, access)? {
                    return Ok(());
                }
                return self.fault_in(area, page, access);
            }
        }
        self.grow_stack(page, &limits())?;
        let state = self.read_state();
        // Another thread may have unmapped the stack at once.
        let area = state.areas.find(page).ok_or(FaultError::NotMapped)?;
        self.fault_in(area, page, access)
    }

    /// Makes the page, which is in the area, usable for the access.
    #[inline]
    pub(super) fn fault_in(&self, area: &Area, page: u64, access: Access) -> Result<(), FaultError> {
        if !allows(area, access) {
            return Err(FaultError::NoAccess);
        }
        match self.first_step(area, page, access)? {
            Step::Done => Ok(()),
            Step::Missing => self.bring(area, page, access).map(drop),
            Step::Copy { kind: PageKind::Zero, .. } => {
                let new = zeroed(area, page)?;
                self.exchange(page, None, new, writable(area), PageKind::Anonymous)
            }
            Step::Copy { old, .. } => {
                let new = copied(area, page, &old)?;
                self.exchange(page, Some(&old), new, writable(area), PageKind::Anonymous)
            }
            Step::AskToWrite => {
                let Backing::Source { source, .. } = &area.backing else { return Err(FaultError::NoAccess) };
                let frame = source.page(area.page_index(page), PageUse::SharedWrite).map_err(source_error)?;
                self.exchange(page, None, frame, writable(area), source.kind())
            }
        }
    }

    /// Looks what is there, and does at once what needs no frame for the page.
    #[inline]
    fn first_step(&self, area: &Area, page: u64, access: Access) -> Result<Step, FaultError> {
        let mut editor = self.tables.edit();
        let mut found = editor.get(page);
        if access == Access::Write && found.as_ref().is_some_and(|mapping| mapping.shares_table) {
            // Only then does the frame count everybody who has the page, and perhaps nothing else is in the way.
            editor.own(page..page + PAGE, &Tables).map_err(|error| self.table_error(error))?;
            found = editor.get(page);
        }
        let Some(Mapping { frame, permissions, kind, .. }) = found else { return Ok(Step::Missing) };
        if access != Access::Write {
            let wanted = readable(area) | permissions;
            if wanted != permissions {
                editor.set_permissions(page, wanted, &Tables).map_err(|error| self.table_error(error))?;
            }
            return Ok(Step::Done);
        }
        if permissions.contains(Permissions::WRITE) {
            return Ok(Step::Done);
        }
        Ok(match area.sharing {
            Sharing::Shared => Step::AskToWrite,
            // Nobody else can reach it, so nobody would see the store.
            Sharing::Private if kind == PageKind::Anonymous && frame.reference_count() == 1 => {
                editor.set_permissions(page, writable(area), &Tables).map_err(|error| self.table_error(error))?;
                Step::Done
            }
            Sharing::Private => Step::Copy { old: Frame::clone(&frame), kind },
        })
    }

    /// Brings in a page where none is, for an access that is allowed; `false`: another one is there by now, and stays.
    #[inline]
    fn bring(&self, area: &Area, page: u64, access: Access) -> Result<bool, FaultError> {
        let Backing::Source { source, .. } = &area.backing else { return self.bring_zero(area, page, access) };
        let usage = match (area.sharing, access) {
            (Sharing::Private, _) => PageUse::Private,
            (Sharing::Shared, Access::Write) => PageUse::SharedWrite,
            (Sharing::Shared, _) => PageUse::Shared,
        };
        if comes_along(area) {
            return self.bring_around(area, page, &**source, usage);
        }
        let frame = source.page(area.page_index(page), usage).map_err(source_error)?;
        match (area.sharing, access) {
            (Sharing::Private, Access::Write) => {
                self.install(page, copied(area, page, &frame)?, writable(area), PageKind::Anonymous)
            }
            (Sharing::Shared, Access::Write) => self.install(page, frame, writable(area), source.kind()),
            _ => self.install(page, frame, readable(area), source.kind()),
        }
    }

    /// Brings in a page that starts as zeros; `false`: another one is there by now, and stays.
    #[inline]
    fn bring_zero(&self, area: &Area, page: u64, access: Access) -> Result<bool, FaultError> {
        if access != Access::Write
            && let Some(zero) = zero_page()
        {
            return self.install(page, zero, readable(area), PageKind::Zero);
        }
        let frame = zeroed(area, page)?;
        if self.is_filled_ahead(area, page) {
            return self.install_ahead(area, page, frame);
        }
        self.install(page, frame, writable(area), PageKind::Anonymous)
    }

    /// Maps a frame where nothing was; `false`: something is by now, and stays.
    #[inline]
    pub(super) fn install(
        &self,
        page: u64,
        frame: Frame,
        permissions: Permissions,
        kind: PageKind,
    ) -> Result<bool, FaultError> {
        match self.tables.edit().map(page, frame, permissions, kind, &Tables) {
            Ok(()) => self.counts.add(kind, 1),
            Err(Errno::EEXIST) => return Ok(false),
            Err(error) => return Err(self.table_error(error)),
        }
        Ok(true)
    }

    /// Puts a frame in place of another, unless the page has changed meanwhile: then the access faults again.
    pub(super) fn exchange(
        &self,
        page: u64,
        old: Option<&Frame>,
        new: Frame,
        permissions: Permissions,
        kind: PageKind,
    ) -> Result<(), FaultError> {
        let mut editor = self.tables.edit();
        let Some(mapping) = editor.get(page) else { return Ok(()) };
        let unchanged = old.is_none_or(|old| old.number() == mapping.frame.number());
        if !unchanged || mapping.permissions.contains(Permissions::WRITE) {
            return Ok(());
        }
        let replaced =
            editor.replace(page, new, permissions, kind, &Tables).map_err(|error| self.table_error(error))?;
        self.counts.exchange(kind, replaced);
        Ok(())
    }

    /// Why a page can't be put into the tables.
    pub(super) fn table_error(&self, error: Errno) -> FaultError {
        match error {
            Errno::ENOMEM if self.tables.is_refused() => FaultError::NotPaid,
            Errno::ENOMEM => FaultError::OutOfMemory,
            _ => FaultError::BeyondEnd,
        }
    }

    /// Makes the stack above longer, so that it contains the page.
    fn grow_stack(&self, page: u64, limits: &Limits) -> Result<(), FaultError> {
        let mut state = self.write_state();
        let areas = &state.areas;
        if areas.find(page).is_some() {
            return Ok(());
        }
        let stack = areas.above(page).filter(|area| area.flags.contains(AreaFlags::GROWS_DOWN));
        let stack = stack.ok_or(FaultError::NotMapped)?;
        let more = (stack.start - page) / PAGE;
        let fits = stack.end - page <= limits.stack
            && (areas.totals().mapped + more).saturating_mul(PAGE) <= limits.address_space
            && page >= super::LOWEST;
        // An area just below keeps its distance, unless it is a stack too, or nothing may be done in it.
        let clear = areas.below(page).is_none_or(|below| {
            below.flags.contains(AreaFlags::GROWS_DOWN)
                || below.protection.is_empty()
                || page - below.end >= STACK_GUARD
        });
        if !fits || !clear {
            return Err(FaultError::NotMapped);
        }
        let grown = Area { start: page, end: stack.start, ..stack.clone() };
        let locked = areas.totals().locked + Pages::of(&grown).locked;
        let may_lock = !grown.flags.contains(AreaFlags::LOCKED) || locked.saturating_mul(PAGE) <= limits.locked;
        if !may_lock || self.pay(Pages::of(&grown), areas.totals().mapped, Severity::Limit).is_err() {
            return Err(FaultError::NotMapped);
        }
        state.areas.insert(grown);
        self.settle(&state);
        Ok(())
    }
}

/// Whether the area allows the access. The hardware can't allow storing or running without loading.
#[inline]
fn allows(area: &Area, access: Access) -> bool {
    match access {
        Access::Read => !area.protection.is_empty(),
        Access::Write => area.protection.contains(Protection::WRITE),
        Access::Execute => area.protection.contains(Protection::EXECUTE),
    }
}

/// What the entry of a page allows that must not be written yet.
#[inline]
pub(super) fn readable(area: &Area) -> Permissions {
    if area.protection.is_empty() {
        return Permissions::empty();
    }
    let mut permissions = Permissions::READ;
    permissions.set(Permissions::EXECUTE, area.protection.contains(Protection::EXECUTE));
    permissions
}

/// What the entry of a page of a writable area allows once it may be written.
pub(super) fn writable(area: &Area) -> Permissions {
    readable(area) | Permissions::WRITE
}

/// What the entries of an area's pages may allow at most.
pub(super) fn permissions_of(protection: Protection) -> Permissions {
    let mut permissions = Permissions::empty();
    permissions.set(Permissions::READ, !protection.is_empty());
    permissions.set(Permissions::WRITE, protection.contains(Protection::WRITE));
    permissions.set(Permissions::EXECUTE, protection.contains(Protection::EXECUTE));
    permissions
}

/// Where a page of the current task's own should lie.
pub(super) fn placed(area: &Area, page: u64) -> Placement {
    placement::current(area.policy.as_ref(), area.page_index(page))
}

/// A frame of zeros of the current task's own.
#[inline]
pub(super) fn zeroed(area: &Area, page: u64) -> Result<Frame, FaultError> {
    let frame = charge::allocate_zeroed(&placed(area, page), ChargeKind::Anonymous);
    frame.map_err(|_| FaultError::OutOfMemory)
}

/// A frame of the current task's own with the same bytes.
#[inline]
pub(super) fn copied(area: &Area, page: u64, frame: &Frame) -> Result<Frame, FaultError> {
    let new = charge::allocate(&placed(area, page), ChargeKind::Anonymous).map_err(|_| FaultError::OutOfMemory)?;
    new.copy_from(frame);
    Ok(new)
}

pub(super) fn source_error(error: Errno) -> FaultError {
    match error {
        Errno::ENOMEM => FaultError::OutOfMemory,
        _ => FaultError::BeyondEnd,
    }
}

/// The page of zeros that all share who only read; `None` if it can't be had, or too many share it already.
fn zero_page() -> Option<Frame> {
    /// References that leave room below the number at which a frame refuses more.
    const MOST: u32 = 1 << 30;
    static ZERO: Hook<Frame> = Hook::new();
    static MAKING: SpinLock<()> = SpinLock::new(rank::PAGE_TABLE, ());
    if ZERO.get().is_none() {
        let making = MAKING.lock();
        if ZERO.get().is_none() {
            let frame = frames::allocate_zeroed(&crate::Placement::ANY).ok()?;
            ZERO.install(alloc::boxed::Box::leak(alloc::boxed::Box::new(frame)));
        }
        drop(making);
    }
    ZERO.get().filter(|frame| frame.reference_count() < MOST).cloned()
}
