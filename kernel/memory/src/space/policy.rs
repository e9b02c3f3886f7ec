//! Memory policies of areas and of what they map: `mbind(2)` and its relatives.

use super::fault::placed;
use super::{Access, AddressSpace, FaultError, Movable, State, most_areas};
use crate::area::{Area, Backing, PAGE, Sharing};
use crate::{MemoryPolicy, Placement, placement};
use alloc::collections::LinkedList;
use base::{Errno, NodeId, NodeSet};
use core::ops::Range;
use machine::paging::PageKind;
use machine::{cpu, topology};

/// What `mbind(2)` is asked for.
pub struct BindRequest {
    /// The new policy; `None` is the default.
    pub policy: Option<MemoryPolicy>,
    /// Where pages that are there already should lie.
    pub nodes: NodeSet,
    /// Pages that lie elsewhere are an error.
    pub strict: bool,
    /// Pages that lie elsewhere are moved.
    pub moves: Option<Movable>,
}

impl AddressSpace {
    /// `mbind(2)`: gives a range a policy. That of shared memory becomes the policy of the memory itself.
    ///
    /// Errors: `EFAULT` nothing is mapped there, or with a policy, a hole; `EIO` a page lies elsewhere and is not to be moved (nothing is changed then), or could not be;
    /// `ENOMEM` too many areas.
    pub fn bind(&self, range: Range<u64>, request: &BindRequest) -> Result<(), Errno> {
        if range.is_empty() {
            return Ok(());
        }
        let mut state = self.write_state();
        let mut at = range.start;
        for area in state.areas.overlapping(range.clone()) {
            let hole = area.start > at || area.end < range.end && state.areas.find(area.end).is_none();
            if hole && request.policy.is_some() {
                return Err(Errno::EFAULT);
            }
            at = area.end;
            if request.strict && request.moves.is_none() && self.lies_elsewhere(&area.part(&range), &request.nodes) {
                return Err(Errno::EIO);
            }
        }
        if at == range.start {
            return Err(Errno::EFAULT);
        }
        set_policy(&mut state, &range, request.policy)?;
        drop(state);
        let Some(which) = request.moves else { return Ok(()) };
        let left = self.move_to_policy(range, which, &request.nodes);
        if left && request.strict { Err(Errno::EIO) } else { Ok(()) }
    }

    /// `set_mempolicy_home_node(2)`.
    ///
    /// Errors: `ENOENT` nothing there has a policy of its own; `EOPNOTSUPP` one that has no home (what lies before is
    /// changed); `ENOMEM` too many areas.
    pub fn set_home(&self, range: Range<u64>, home: NodeId) -> Result<(), Errno> {
        if range.is_empty() {
            return Ok(());
        }
        let mut state = self.write_state();
        let with_policy = |area: &Area| Some((area.part(&range).range(), area.policy?));
        let parts: LinkedList<_> = state.areas.overlapping(range.clone()).filter_map(with_policy).collect();
        if parts.is_empty() {
            return Err(Errno::ENOENT);
        }
        for (part, policy) in parts {
            let homed = policy.with_home(home).ok_or(Errno::EOPNOTSUPP)?;
            set_policy(&mut state, &part, Some(homed))?;
        }
        Ok(())
    }

    /// The policy of the memory at `address`, if it has one of its own. `EFAULT` nothing is mapped there.
    pub fn policy_at(&self, address: u64) -> Result<Option<MemoryPolicy>, Errno> {
        let state = self.read_state();
        Ok(state.areas.find(address).ok_or(Errno::EFAULT)?.policy_at(address / PAGE * PAGE))
    }

    /// The node of the page at `address`, which is brought in to be read if it is not there. `EFAULT` it can't be.
    pub fn node_after_access(&self, address: u64) -> Result<NodeId, Errno> {
        let page = address / PAGE * PAGE;
        loop {
            let state = self.read_state();
            let area = state.areas.find(page).ok_or(Errno::EFAULT)?;
            self.fault_in(area, page, Access::Read).map_err(|error| match error {
                FaultError::OutOfMemory | FaultError::NotPaid => Errno::ENOMEM,
                _ => Errno::EFAULT,
            })?;
            // Copies of files may go at any time.
            if let Some(mapping) = self.tables.edit().get(page) {
                return Ok(mapping.frame.node());
            }
        }
    }

    /// The program may use the nodes `allowed` from now on: the policies of its areas follow.
    pub fn rebind_policies(&self, allowed: &NodeSet) {
        let some = self.read_state().areas.iter().any(|area| area.policy.is_some());
        if some {
            self.write_state().areas.change_policies(|policy| policy.rebind(allowed));
        }
    }

    /// Whether a page of the area lies on another node.
    fn lies_elsewhere(&self, area: &Area, nodes: &NodeSet) -> bool {
        let mut found = false;
        self.tables.edit().scan(area.range(), &mut |_, mapping| {
            found |= mapping.kind != PageKind::Zero && !nodes.contains(mapping.frame.node());
        });
        found
    }

    /// Moves the pages of the range that lie on other nodes to where their policies say; whether some could not be moved.
    fn move_to_policy(&self, range: Range<u64>, which: Movable, nodes: &NodeSet) -> bool {
        let parts: LinkedList<Area> =
            self.read_state().areas.overlapping(range.clone()).map(|area| area.part(&range)).collect();
        let mut left = false;
        for area in &parts {
            let moved = self.move_pages(area.range(), which, &|page, node| {
                (!nodes.contains(node)).then(|| {
                    tightened(match area.sharing {
                        Sharing::Private => placed(area, page),
                        Sharing::Shared => placement::current(area.policy_at(page).as_ref(), area.page_index(page)),
                    })
                })
            });
            left |= moved.left > 0 || moved.others > 0;
        }
        left
    }
}

/// Where a page should be moved for this placement: nowhere but to where it would have come from first.
fn tightened(placement: Placement) -> Placement {
    let own = if placement.first.is_empty() { placement.allowed } else { placement.first };
    let nearest = placement.preferred.unwrap_or_else(|| topology::get().node_of(cpu::current()));
    match own.contains(nearest) {
        true => Placement::on(NodeSet::only(nearest)),
        false => Placement { preferred: Some(nearest), ..Placement::on(own) },
    }
}

/// Gives all areas of the range the policy, and shared memory that they map. `ENOMEM`.
fn set_policy(state: &mut State, range: &Range<u64>, policy: Option<MemoryPolicy>) -> Result<(), Errno> {
    if state.areas.len() + 2 > most_areas() {
        return Err(Errno::ENOMEM);
    }
    for area in state.areas.overlapping(range.clone()) {
        let part = area.part(range);
        if let Backing::Source { source, index } = &part.backing
            && part.sharing == Sharing::Shared
            && let Some(policies) = source.policies()
        {
            policies.set(*index..index + part.pages(), policy)?;
        }
    }
    state.areas.change(range.clone(), |area| area.policy = policy);
    Ok(())
}

/// The pages that a call about policies means. `EINVAL`: the range does not begin with a page, or wraps.
pub fn policy_range(address: u64, length: u64) -> Result<Range<u64>, Errno> {
    if !address.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL);
    }
    // Linux rounds up to pages with wrapping arithmetic: a length next to 2^64 is none.
    let length = length.wrapping_add(PAGE - 1) / PAGE * PAGE;
    Ok(address..address.checked_add(length).ok_or(Errno::EINVAL)?)
}
