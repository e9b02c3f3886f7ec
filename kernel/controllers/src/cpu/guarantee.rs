//! The container dialect: guarantees as weights beside the rest, and caps as limits.

use super::{Cpu, DEFAULT_WEIGHT, Limit};
use crate::resgroups::{self, Amounts};
use base::Errno;
use container::{Framework, Node};
use core::sync::atomic::Ordering::Relaxed;

/// Microseconds of a period.
const PERIOD: u64 = 100_000;
/// The least quota of a period: a container with a cap of 0 can still end its tasks.
const LEAST_QUOTA: u64 = 1000;
/// The sum of the weights of a level with guarantees.
const WEIGHTS: u64 = 102_400;

/// Microseconds of CPU time in a period of the whole machine.
pub(super) fn total() -> u64 {
    PERIOD * machine::cpu::online().count() as u64
}

/// What a write to `cpu.shares` does.
pub(super) fn store(node: &Node<'_, Cpu>, text: &str) -> Result<(), Errno> {
    resgroups::store(node, text)?;
    if let Some(parent) = node.parent() {
        arrange(&parent, None);
    }
    Ok(())
}

/// The container's shares, those of one above it, or the total are new.
pub(super) fn apply(node: &Node<'_, Cpu>, amounts: Amounts) {
    arrange(node, None);
    let Some(groups) = &node.state().groups else { return };
    let quota = amounts.max.filter(|&max| max != total()).map(|max| max.max(LEAST_QUOTA));
    let limit = quota.map(|quota| Limit { quota: quota * 1000, period: PERIOD * 1000, burst: 0 });
    groups.outer.set_limit(limit);
}

/// The CPUs that are online have changed: caps are parts of all of them. Locks: takes *manage*, exclusively.
pub fn follow_machine(framework: &Framework) {
    framework.with_tree(|root: &Node<'_, Cpu>| {
        let mut has_caps = false;
        root.for_each_below(|node| has_caps |= node.state().parts.values().numeric_max().is_some());
        if has_caps {
            resgroups::recompute(root);
        }
    });
}

/// Gives the children of `node` and its rest their weights, and those with a guarantee their place beside the rest.
/// `leaving` is about to be removed.
pub(super) fn arrange(node: &Node<'_, Cpu>, leaving: Option<&Node<'_, Cpu>>) {
    let Some(own) = node.state().groups() else { return };
    let divisor = u64::try_from(node.state().parts.values().divisor).unwrap_or(0);
    let mut left = divisor;
    for child in node.children() {
        let state = child.state();
        let min = state.parts.values().numeric_min().map_or(0, u64::from);
        let is_leaving = leaving.is_some_and(|leaving| leaving.is(&child));
        let is_guaranteed = min > 0 && !is_leaving;
        let Some(groups) = &state.groups else { continue };
        if is_guaranteed {
            left = left.saturating_sub(min);
            groups.outer.set_weight(weight(min, divisor));
        } else {
            groups.outer.set_weight(state.settings().shares);
        }
        if state.is_guaranteed.swap(is_guaranteed, Relaxed) != is_guaranteed {
            groups.outer.set_parent(if is_guaranteed { &*own.outer } else { &*own.rest });
        }
    }
    own.rest.set_weight(if left == divisor { DEFAULT_WEIGHT } else { weight(left, divisor) });
}

/// The weight of `part` of `divisor`, rounded.
fn weight(part: u64, divisor: u64) -> u32 {
    let rounded = (WEIGHTS * part + divisor / 2).checked_div(divisor).unwrap_or(0);
    u32::try_from(rounded).unwrap_or(u32::MAX).max(2)
}
