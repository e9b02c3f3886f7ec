//! The vDSO in a new address space: the page of the clock, which programs may read, and behind it the object whose code
//! reads it (crate `vdso`). The pages are the kernel's own and the same in all programs; who writes to the code, a debugger
//! say, gets a copy.

use super::image::PAGE;
use alloc::{boxed::Box, sync::Arc, vec::Vec};
use base::Errno;
use machine::{
    frame::{FRAME_SIZE, Frame},
    sync::Hook,
    time,
};
use memory::{
    AddressSpace, Limits, MapRequest, PageSource, PageUse, Place, Placement, Protection, SourceDescription, frames,
};

/// What is mapped: the clock, then the object.
struct SharedClock {
    clock: Arc<LentPages>,
    object: Arc<LentPages>,
}

static SHARED_CLOCK: Hook<SharedClock> = Hook::new();

/// Has programs that start from here on read the clock themselves. Once, at boot; without memory they go on with system
/// calls.
pub fn install() {
    match SharedClock::new() {
        Ok(new) => SHARED_CLOCK.install(Box::leak(Box::new(new))),
        Err(error) => machine::log!("time: programs cannot read the clock themselves: {error}"),
    }
}

impl SharedClock {
    fn new() -> Result<Self, Errno> {
        let clock = frames::allocate_zeroed(&Placement::ANY)?;
        let object = vdso::IMAGE.chunks(FRAME_SIZE).map(|bytes| {
            let page = frames::allocate_zeroed(&Placement::ANY)?;
            page.write(0, bytes);
            Ok(page)
        });
        let object = object.collect::<Result<Vec<Frame>, Errno>>()?;
        time::share(clock.clone());
        let lend = |pages, identity| Arc::new(LentPages { pages, identity });
        Ok(Self { clock: lend(Vec::from([clock]), u64::MAX), object: lend(object, u64::MAX - 1) })
    }
}

/// Maps clock and object and returns where the object begins (`AT_SYSINFO_EHDR`); 0 if there is none.
///
/// They lie above the stack, which ends at `stack_top`, in the piece of memory that its page table maps; `chance` says
/// where. Where there is no room they go where other mappings go; a program that lies in the way itself has none. Errors:
/// `ENOMEM`.
pub(super) fn map(space: &AddressSpace, stack_top: u64, chance: u64, limits: &Limits) -> Result<u64, Errno> {
    let Some(SharedClock { clock, object }) = SHARED_CLOCK.get() else { return Ok(0) };
    let length = object.pages.len() as u64 * PAGE;
    let request = |address, length, name, source: &Arc<LentPages>| MapRequest {
        address,
        protection: Protection::READ,
        source: Some((source.clone() as Arc<dyn PageSource>, 0)),
        name: Some(name),
        ..MapRequest::anonymous(length)
    };
    let wanted = address_above(stack_top, PAGE + length, chance).map_or(0, |start| start + PAGE);
    let protection = Protection::READ | Protection::EXECUTE;
    let start = space.map(MapRequest { protection, ..request(wanted, length, "[vdso]", object) }, limits)?;
    let before = request(start - PAGE, PAGE, "[vvar]", clock);
    match space.map(MapRequest { most: Protection::READ, place: Place::FixedNoReplace, ..before }, limits) {
        Ok(_) => Ok(start),
        Err(Errno::EEXIST | Errno::EPERM) => space.unmap(start, length).map(|()| 0),
        Err(error) => Err(error),
    }
}

/// An address for `length` bytes between the end of the stack and the end of what its page table maps.
fn address_above(stack_top: u64, length: u64, chance: u64) -> Option<u64> {
    /// What one page table maps.
    const TABLE: u64 = 2 << 20;
    let end = (stack_top + length).next_multiple_of(TABLE).min(super::image::USER_END);
    let pages = end.checked_sub(stack_top + length)? / PAGE;
    Some(stack_top + chance % (pages + 1) * PAGE)
}

/// Pages that the kernel lends to everybody.
struct LentPages {
    pages: Vec<Frame>,
    identity: u64,
}

impl PageSource for LentPages {
    fn page(&self, index: u64, _usage: PageUse) -> Result<Frame, Errno> {
        let index = usize::try_from(index).map_err(|_| Errno::EFAULT)?;
        self.pages.get(index).cloned().ok_or(Errno::EFAULT)
    }

    fn describe(&self) -> SourceDescription {
        SourceDescription::default()
    }

    fn identity(&self) -> u64 {
        self.identity
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::image::USER_END;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_object_lies_above_the_stack_and_under_its_page_table(
            below in 0u64..1 << 22, pages in 2u64..5, chance: u64
        ) {
            let (top, length) = (USER_END - below * PAGE, pages * PAGE);
            match address_above(top, length, chance) {
                Some(start) => {
                    prop_assert!(start >= top && start + length <= USER_END);
                    prop_assert!((start + length - 1) >> 21 <= (top + length - 1) >> 21);
                }
                None => prop_assert!(below < pages),
            }
        }
    }
}
