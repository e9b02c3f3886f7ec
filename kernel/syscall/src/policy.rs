//! Memory policies: from which nodes new pages come.
//!
//! The kernel has no balancing of pages by their use, so `MPOL_F_NUMA_BALANCING` is refused, as the manual has it.

use crate::{arguments::UserPtr, call::Call};
use base::{Capabilities, Errno, NodeId, NodeSet};
use machine::topology;
use memory::{BindRequest, MemoryPolicy, Movable, NodeRule, PolicyMode, policy_range};
use process::Task;

const DEFAULT: i32 = 0;
const PREFERRED: i32 = 1;
const BIND: i32 = 2;
const INTERLEAVE: i32 = 3;
const LOCAL: i32 = 4;
const PREFERRED_MANY: i32 = 5;

const STATIC_NODES: i32 = 1 << 15;
const RELATIVE_NODES: i32 = 1 << 14;

const STRICT: u32 = 1;
pub(crate) const MOVE: u32 = 2;
pub(crate) const MOVE_ALL: u32 = 4;

const NODE: u64 = 1;
const ADDRESS: u64 = 2;
const MEMS_ALLOWED: u64 = 4;

/// The most bits of a mask of nodes: those of a page.
const MOST_BITS: u64 = 4096 * 8;

/// What a mode argument means; no mode is the default. `EINVAL` none that there is, or both rules.
fn decode(mode: i32) -> Result<(Option<PolicyMode>, NodeRule), Errno> {
    let rule = match mode & (STATIC_NODES | RELATIVE_NODES) {
        0 => NodeRule::Remap,
        STATIC_NODES => NodeRule::Static,
        RELATIVE_NODES => NodeRule::Relative,
        _ => return Err(Errno::EINVAL),
    };
    let mode = match mode & !(STATIC_NODES | RELATIVE_NODES) {
        DEFAULT => None,
        PREFERRED => Some(PolicyMode::Preferred),
        BIND => Some(PolicyMode::Bind),
        INTERLEAVE => Some(PolicyMode::Interleave),
        LOCAL => Some(PolicyMode::Local),
        PREFERRED_MANY => Some(PolicyMode::PreferredMany),
        _ => return Err(Errno::EINVAL),
    };
    Ok((mode, rule))
}

/// What `get_mempolicy(2)` shows of a policy, the reverse of [`decode`].
fn encode(policy: &MemoryPolicy) -> i32 {
    let mode = match policy.mode() {
        PolicyMode::Preferred => PREFERRED,
        PolicyMode::Bind => BIND,
        PolicyMode::Interleave => INTERLEAVE,
        PolicyMode::Local => LOCAL,
        PolicyMode::PreferredMany => PREFERRED_MANY,
    };
    mode | match policy.rule() {
        NodeRule::Remap => 0,
        NodeRule::Static => STATIC_NODES,
        NodeRule::Relative => RELATIVE_NODES,
    }
}

/// Fetches a mask of nodes, whose bits are one fewer than `count`. Null is the empty set.
///
/// Errors: `EFAULT`; `EINVAL` more bits than a page has, or one that is set and can be no node's.
pub(crate) fn node_mask(mask: UserPtr<u64>, count: u64) -> Result<NodeSet, Errno> {
    let bits = count.wrapping_sub(1);
    if bits == 0 || mask.is_null() {
        return Ok(NodeSet::EMPTY);
    }
    if bits > MOST_BITS {
        return Err(Errno::EINVAL);
    }
    // Linux looks at the words from the last one on.
    for index in (1..bits.div_ceil(64)).rev() {
        if mask.item(index as usize).read()? != 0 {
            return Err(Errno::EINVAL);
        }
    }
    let word = mask.read()?;
    Ok(NodeSet::from_words([if bits < 64 { word & ((1 << bits) - 1) } else { word }]))
}

/// Gives a mask of nodes to a buffer of `count` bits, one of which is not used, and clears what is left of it.
///
/// Errors: `EFAULT`; `EINVAL` a buffer of more than a page.
fn store_mask(mask: UserPtr<u64>, count: u64, nodes: &NodeSet) -> Result<(), Errno> {
    let words = count.saturating_sub(1).div_ceil(64);
    if words > MOST_BITS / 64 {
        return Err(Errno::EINVAL);
    }
    for index in 1..words {
        mask.item(index as usize).write(&0)?;
    }
    if words > 0 { mask.write(&nodes.words()[0]) } else { Ok(()) }
}

/// A policy for the task. `EINVAL` as [`MemoryPolicy::new`]; the default with a node.
fn policy(
    task: &Task,
    mode: Option<PolicyMode>,
    rule: NodeRule,
    nodes: NodeSet,
) -> Result<Option<MemoryPolicy>, Errno> {
    match mode {
        None if nodes.is_empty() => Ok(None),
        None => Err(Errno::EINVAL),
        Some(mode) => MemoryPolicy::new(mode, rule, nodes, &task.usable_nodes()).map(Some),
    }
}

/// `set_mempolicy(2)`.
pub fn set_mempolicy(call: &Call<'_>, mode: i32, nodes: UserPtr<u64>, count: u64) -> Result<usize, Errno> {
    let (mode, rule) = decode(mode)?;
    let nodes = node_mask(nodes, count)?;
    call.task.set_memory_policy(policy(call.task, mode, rule, nodes)?);
    Ok(0)
}

/// `get_mempolicy(2)`.
pub fn get_mempolicy(
    call: &Call<'_>,
    mode: UserPtr<i32>,
    nodes: UserPtr<u64>,
    count: u64,
    address: u64,
    flags: u64,
) -> Result<usize, Errno> {
    if !nodes.is_null() && count < topology::get().nodes.len().max(1) as u64 {
        return Err(Errno::EINVAL);
    }
    let (shown, mask) = asked_policy(call, address, flags)?;
    mode.write_optional(&shown)?;
    if !nodes.is_null() {
        store_mask(nodes, count, &mask)?;
    }
    Ok(0)
}

/// The number and the nodes that `get_mempolicy(2)` is asked for.
fn asked_policy(call: &Call<'_>, address: u64, flags: u64) -> Result<(i32, NodeSet), Errno> {
    if flags & !(NODE | ADDRESS | MEMS_ALLOWED) != 0 {
        return Err(Errno::EINVAL);
    }
    if flags & MEMS_ALLOWED != 0 {
        return if flags == MEMS_ALLOWED { Ok((0, call.task.usable_nodes())) } else { Err(Errno::EINVAL) };
    }
    let policy = if flags & ADDRESS != 0 {
        call.address_space()?.policy_at(address)?
    } else if address != 0 {
        return Err(Errno::EINVAL);
    } else {
        call.task.memory_policy()
    };
    let number = match flags & (NODE | ADDRESS) {
        NODE => call.task.next_interleaved().ok_or(Errno::EINVAL)?.raw() as i32,
        0 | ADDRESS => policy.as_ref().map_or(DEFAULT, encode),
        _ => call.address_space()?.node_after_access(address)?.raw() as i32,
    };
    Ok((number, policy.map_or(NodeSet::EMPTY, |policy| policy.shown_nodes())))
}

/// `mbind(2)`.
pub fn mbind(
    call: &Call<'_>,
    start: u64,
    length: u64,
    mode: i32,
    nodes: UserPtr<u64>,
    count: u64,
    flags: u32,
) -> Result<usize, Errno> {
    let (mode, rule) = decode(mode)?;
    let nodes = node_mask(nodes, count)?;
    if flags & !(STRICT | MOVE | MOVE_ALL) != 0 {
        return Err(Errno::EINVAL);
    }
    let moves = movable(call, flags)?;
    let range = policy_range(start, length)?;
    if range.is_empty() {
        return Ok(0);
    }
    let policy = policy(call.task, mode, rule, nodes)?;
    let nodes = match rule {
        NodeRule::Relative => memory::effective_nodes(rule, &nodes, &call.task.usable_nodes()),
        NodeRule::Remap | NodeRule::Static => nodes,
    };
    let strict = flags & STRICT != 0 && policy.is_some();
    call.address_space()?.bind(range, &BindRequest { policy, nodes, strict, moves })?;
    Ok(0)
}

/// Which pages the flags of a call want moved. `EPERM` those of others, without CAP_SYS_NICE.
pub(crate) fn movable(call: &Call<'_>, flags: u32) -> Result<Option<Movable>, Errno> {
    if flags & MOVE_ALL != 0 {
        let may = call.task.credentials().has(Capabilities::SYS_NICE);
        return if may { Ok(Some(Movable::Everybodys)) } else { Err(Errno::EPERM) };
    }
    Ok((flags & MOVE != 0).then_some(Movable::Own))
}

/// `set_mempolicy_home_node(2)`.
pub fn set_mempolicy_home_node(
    call: &Call<'_>,
    start: u64,
    length: u64,
    home: u64,
    flags: u64,
) -> Result<usize, Errno> {
    let aligned = policy_range(start, 0).is_ok();
    if !aligned || flags != 0 || home >= topology::get().nodes.len() as u64 {
        return Err(Errno::EINVAL);
    }
    call.address_space()?.set_home(policy_range(start, length)?, NodeId::new(home as u32))?;
    Ok(0)
}
