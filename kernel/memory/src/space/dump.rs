//! What a core dump takes of an address space.

use super::{Access, AddressSpace, Limits};
use crate::area::{Backing, PAGE, Protection};
use machine::frame::{FRAME_SIZE, Frame};
use machine::paging::PageKind;

impl AddressSpace {
    /// Copies the page at `address` for a core dump, whatever the program itself may do with it. A file's page that is not
    /// mapped yet is brought in if the program may read or run it. `false`: there is nothing, which reads as zeros.
    ///
    /// Locks: takes the space's lock, shared, and the page tables'.
    pub fn dump_page(&self, address: u64, out: &mut [u8; FRAME_SIZE]) -> bool {
        let page = address / PAGE * PAGE;
        self.copy_mapped(page, out)
            || self
                .way_in(page)
                .is_some_and(|access| self.fault(page, access, &Limits::NONE).is_ok() && self.copy_mapped(page, out))
    }

    /// Copies a page that is mapped and not the page of zeros.
    fn copy_mapped(&self, page: u64, out: &mut [u8; FRAME_SIZE]) -> bool {
        let mapped = {
            let editor = self.tables.edit();
            let kept = editor.get(page).filter(|mapping| mapping.kind != PageKind::Zero);
            kept.map(|mapping| Frame::clone(&mapping.frame))
        };
        match mapped {
            Some(frame) => {
                frame.read(0, out);
                true
            }
            None => false,
        }
    }

    /// The access that brings in a page that its source has.
    fn way_in(&self, page: u64) -> Option<Access> {
        let state = self.read_state();
        let area = state.areas.find(page)?;
        let Backing::Source { source, .. } = &area.backing else { return None };
        // Of shared memory without a file only what was stored to is there.
        if source.kind() == PageKind::Shared && !source.has_page(area.page_index(page)) {
            return None;
        }
        if area.protection.contains(Protection::READ) {
            Some(Access::Read)
        } else {
            area.protection.contains(Protection::EXECUTE).then_some(Access::Execute)
        }
    }
}
