//! /proc/PID/{maps,smaps,smaps_rollup}: the areas of a process, and what the pages of each weigh.
//!
//! There are no huge pages and no swap, so their rows are 0.

use super::{check_inspection, task::TaskFiles, written};
use alloc::{string::String, sync::Arc};
use base::Errno;
use core::fmt::{self, Write};
use memory::{AddressSpace, AreaFlags, AreaInfo, Protection, RangeWeights, SHARE_UNITS, Sharing};

/// The memory of a task that the asker may look into; a task that has ended has none.
fn inspected(files: &TaskFiles) -> Result<Option<Arc<AddressSpace>>, Errno> {
    let task = files.task()?;
    check_inspection(&task)?;
    Ok(task.space().ok())
}

/// The record of `maps` of the first area that ends above `from`.
pub(super) fn maps(files: &TaskFiles, from: u64, out: &mut String) -> Result<Option<u64>, Errno> {
    let Some(space) = inspected(files)? else { return Ok(None) };
    let Some(area) = space.area_from(from) else { return Ok(None) };
    written(line(&area, out))?;
    Ok(Some(area.end))
}

/// The record of `smaps` of the first area that ends above `from`.
pub(super) fn smaps(files: &TaskFiles, from: u64, out: &mut String) -> Result<Option<u64>, Errno> {
    let Some(space) = inspected(files)? else { return Ok(None) };
    let Some(area) = space.area_from(from) else { return Ok(None) };
    let weights = space.weigh_pages(area.start..area.end);
    written(line(&area, out).and_then(|()| detail(&area, &weights, out)))?;
    sched::give_way();
    Ok(Some(area.end))
}

/// The text of `smaps_rollup`: the sums. `ESRCH` the task has no memory any more.
pub(super) fn rollup(files: &TaskFiles, out: &mut String) -> Result<(), Errno> {
    let space = inspected(files)?.ok_or(Errno::ESRCH)?;
    let (mut all, mut locked) = (RangeWeights::default(), 0);
    let mut ends = None;
    for area in space.areas() {
        let weights = space.weigh_pages(area.start..area.end);
        all += weights;
        locked += locked_part(&area, &weights);
        ends = Some((ends.map_or(area.start, |(start, _)| start), area.end));
        sched::give_way();
    }
    let (start, end) = ends.unwrap_or_default();
    written(sums(start, end, &all, locked, out))
}

/// The line of `maps`.
fn line(area: &AreaInfo, out: &mut String) -> fmt::Result {
    let letter = |right, letter| if area.protection.contains(right) { letter } else { '-' };
    let start = out.len();
    let (device, inode) = area.source.as_ref().map_or(((0, 0), 0), |source| (source.device, source.inode));
    write!(
        out,
        "{:08x}-{:08x} {}{}{}{} {:08x} {:02x}:{:02x} {inode} ",
        area.start,
        area.end,
        letter(Protection::READ, 'r'),
        letter(Protection::WRITE, 'w'),
        letter(Protection::EXECUTE, 'x'),
        if area.sharing == Sharing::Shared { 's' } else { 'p' },
        area.offset,
        device.0,
        device.1,
    )?;
    let path = area.source.as_ref().map(|source| String::from_utf8_lossy(&source.path));
    name(start, area.name.or(path.as_deref()).unwrap_or_default(), out)
}

/// Ends a line that began at `start` with a name, which stands in column 74, or with none.
fn name(start: usize, name: &str, out: &mut String) -> fmt::Result {
    if !name.is_empty() {
        (out.len() - start..73).for_each(|_| out.push(' '));
        out.push_str(name);
    }
    out.write_char('\n')
}

/// What counts as locked of an area, in the unit of parts.
fn locked_part(area: &AreaInfo, weights: &RangeWeights) -> u64 {
    if area.flags.contains(AreaFlags::LOCKED) { weights.part() } else { 0 }
}

fn row(out: &mut String, name: &str, kibibytes: u64) -> fmt::Result {
    writeln!(out, "{:<16}{kibibytes:>8} kB", alloc::format!("{name}:"))
}

/// What follows the line in `smaps`.
fn detail(area: &AreaInfo, weights: &RangeWeights, out: &mut String) -> fmt::Result {
    row(out, "Size", (area.end - area.start) >> 10)?;
    row(out, "KernelPageSize", 4)?;
    row(out, "MMUPageSize", 4)?;
    rows(weights, locked_part(area, weights), false, out)?;
    out.write_str("THPeligible:    0\nVmFlags: ")?;
    marks(area).iter().filter(|(holds, _)| *holds).try_for_each(|(_, mark)| write!(out, "{mark} "))?;
    out.write_char('\n')
}

/// The rows that areas and their sum have.
fn rows(weights: &RangeWeights, locked: u64, by_kind: bool, out: &mut String) -> fmt::Result {
    let part = |units: u64| units / (SHARE_UNITS * 1024);
    row(out, "Rss", weights.resident() * 4)?;
    row(out, "Pss", part(weights.part()))?;
    row(out, "Pss_Dirty", part(weights.part_dirty))?;
    if by_kind {
        row(out, "Pss_Anon", part(weights.part_anonymous))?;
        row(out, "Pss_File", part(weights.part_file))?;
        row(out, "Pss_Shmem", part(weights.part_shared))?;
    }
    row(out, "Shared_Clean", weights.shared_clean * 4)?;
    row(out, "Shared_Dirty", weights.shared_dirty * 4)?;
    row(out, "Private_Clean", weights.private_clean * 4)?;
    row(out, "Private_Dirty", weights.private_dirty * 4)?;
    row(out, "Referenced", weights.referenced * 4)?;
    row(out, "Anonymous", weights.anonymous * 4)?;
    let none = ["LazyFree", "AnonHugePages", "ShmemPmdMapped", "FilePmdMapped", "Shared_Hugetlb", "Private_Hugetlb"];
    none.iter().chain(&["Swap", "SwapPss"]).try_for_each(|name| row(out, name, 0))?;
    row(out, "Locked", part(locked))
}

/// The text of `smaps_rollup`.
fn sums(start: u64, end: u64, all: &RangeWeights, locked: u64, out: &mut String) -> fmt::Result {
    let begin = out.len();
    write!(out, "{start:08x}-{end:08x} ---p 00000000 00:00 0 ")?;
    name(begin, "[rollup]", out)?;
    rows(all, locked, true, out)
}

/// Linux's two letters for what holds of an area, in its order (proc(5)).
fn marks(area: &AreaInfo) -> [(bool, &'static str); 17] {
    let now = |right| area.protection.contains(right);
    let ever = |right| area.most.contains(right);
    let flag = |flag| area.flags.contains(flag);
    let shared = area.sharing == Sharing::Shared;
    [
        (now(Protection::READ), "rd"),
        (now(Protection::WRITE), "wr"),
        (now(Protection::EXECUTE), "ex"),
        (shared, "sh"),
        (ever(Protection::READ), "mr"),
        (ever(Protection::WRITE), "mw"),
        (ever(Protection::EXECUTE), "me"),
        (shared, "ms"),
        (flag(AreaFlags::GROWS_DOWN), "gd"),
        (flag(AreaFlags::LOCKED), "lo"),
        (flag(AreaFlags::DONT_FORK), "dc"),
        (flag(AreaFlags::PROMISED), "ac"),
        (flag(AreaFlags::NO_RESERVE), "nr"),
        (flag(AreaFlags::WIPE_ON_FORK), "wf"),
        (flag(AreaFlags::DONT_DUMP), "dd"),
        (flag(AreaFlags::LARGE), "hg"),
        (flag(AreaFlags::SMALL), "nh"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_area_and_the_sum_look_as_on_linux() {
        let area = AreaInfo {
            start: 0x7ffc_0000_0000,
            end: 0x7ffc_0002_1000,
            protection: Protection::READ | Protection::WRITE,
            most: Protection::all(),
            sharing: Sharing::Private,
            flags: AreaFlags::GROWS_DOWN | AreaFlags::PROMISED | AreaFlags::LOCKED,
            offset: 0,
            source: None,
            policy: None,
            name: Some("[stack]"),
        };
        let page = 4096 * SHARE_UNITS;
        let weights = RangeWeights {
            shared_dirty: 1,
            private_dirty: 2,
            referenced: 2,
            anonymous: 3,
            part_anonymous: page / 3 + 2 * page,
            part_dirty: page / 3 + 2 * page,
            ..RangeWeights::default()
        };
        let rows = |kinds: &str| {
            alloc::format!(
                "Rss:                  12 kB\nPss:                   9 kB\nPss_Dirty:             9 kB\n{kinds}\
                 Shared_Clean:          0 kB\nShared_Dirty:          4 kB\nPrivate_Clean:         0 kB\n\
                 Private_Dirty:         8 kB\nReferenced:            8 kB\nAnonymous:            12 kB\n\
                 LazyFree:              0 kB\nAnonHugePages:         0 kB\nShmemPmdMapped:        0 kB\n\
                 FilePmdMapped:         0 kB\nShared_Hugetlb:        0 kB\nPrivate_Hugetlb:       0 kB\n\
                 Swap:                  0 kB\nSwapPss:               0 kB\nLocked:                9 kB\n"
            )
        };
        let mut out = String::new();
        line(&area, &mut out).and_then(|()| detail(&area, &weights, &mut out)).unwrap();
        let own = rows("");
        assert_eq!(
            out,
            alloc::format!(
                "7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0                          [stack]\n\
                 Size:                132 kB\nKernelPageSize:        4 kB\nMMUPageSize:           4 kB\n{own}\
                 THPeligible:    0\nVmFlags: rd wr mr mw me gd lo ac \n"
            )
        );
        out.clear();
        sums(area.start, area.end, &weights, weights.part(), &mut out).unwrap();
        let all = rows("Pss_Anon:              9 kB\nPss_File:              0 kB\nPss_Shmem:             0 kB\n");
        assert_eq!(
            out,
            alloc::format!("7ffc00000000-7ffc00021000 ---p 00000000 00:00 0                          [rollup]\n{all}")
        );
    }
}
