//! The heap of a program: the area that `brk(2)` moves the end of.

use super::lock::brings_in;
use super::map::{check_limits, free_with_guard};
use super::payment::Pages;
use super::{AddressSpace, Limits, page_range};
use crate::area::{Area, AreaFlags, Backing, PAGE, Protection, Sharing};
use base::charge::Severity;
use machine::paging::USER_END;

impl AddressSpace {
    /// Sets where the heap begins and ends (once, by exec).
    pub fn set_brk_start(&self, address: u64) {
        let mut state = self.write_state();
        state.brk_start = address;
        state.brk_end = address;
    }

    /// `brk(2)`: moves the end of the heap and gives the end as it is then; an impossible one changes nothing.
    pub fn brk(&self, end: u64, limits: &Limits) -> u64 {
        let mut state = self.write_state();
        if end < state.brk_start || end > USER_END || end - state.brk_start > limits.data {
            return state.brk_end;
        }
        // The pages in use end at these addresses.
        let (old, new) = (state.brk_end.next_multiple_of(PAGE), end.next_multiple_of(PAGE));
        let mut brought_in = None;
        if new > old {
            let area = Area {
                start: old,
                end: new,
                protection: Protection::READ | Protection::WRITE,
                most: Protection::all(),
                sharing: Sharing::Private,
                backing: Backing::Anonymous,
                flags: AreaFlags::PROMISED | state.later,
                policy: None,
                name: Some("[heap]"),
            };
            let fits = page_range(old, new - old).is_some_and(|range| free_with_guard(&state.areas, &range));
            let fits = fits && check_limits(&state.areas, &area, 0, limits).is_ok();
            let mapped = state.areas.totals().mapped;
            if !fits || self.pay(Pages::of(&area), mapped, Severity::Barrier).is_err() {
                return state.brk_end;
            }
            brought_in = brings_in(area.flags).then(|| area.range());
            state.areas.insert(area);
        }
        let Ok(taken) = (new < old).then(|| self.take_range(&mut state, new..old)).transpose() else {
            return state.brk_end;
        };
        state.brk_end = end;
        self.settle(&state);
        drop(state);
        drop(taken);
        if let Some(range) = brought_in {
            // As far as it goes: the pages that can't be had now fault later.
            let _ = self.populate(range, true);
        }
        end
    }
}
