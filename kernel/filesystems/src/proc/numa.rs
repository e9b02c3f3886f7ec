//! /proc/PID/numa_maps: the areas of a process with their memory policies, and how many pages each has on which node.
//!
//! No page is ever inactive here, so `active=`, which Linux shows only of areas that have such pages, never stands there.

use super::{check_inspection, task::TaskFiles, written};
use alloc::string::String;
use base::Errno;
use core::fmt::Write;
use memory::{AreaInfo, RangePages};

/// The record of `numa_maps` of the first area that ends above `from`.
pub(super) fn maps(files: &TaskFiles, from: u64, out: &mut String) -> Result<Option<u64>, Errno> {
    let task = files.task()?;
    check_inspection(&task)?;
    let Ok(space) = task.space() else { return Ok(None) };
    let Some(area) = space.area_from(from) else { return Ok(None) };
    let pages = space.count_pages(area.start..area.end);
    written(match area.policy.or(task.memory_policy()) {
        Some(policy) => write!(out, "{:08x} {policy}", area.start),
        None => write!(out, "{:08x} default", area.start),
    })?;
    written(line(&area, &pages, out))?;
    Ok(Some(area.end))
}

/// What follows the policy.
fn line(area: &AreaInfo, pages: &RangePages, out: &mut String) -> core::fmt::Result {
    match &area.source {
        Some(source) if !source.path.is_empty() => {
            out.write_str(" file=")?;
            String::from_utf8_lossy(&source.path).chars().try_for_each(|character| match character {
                '\n' | '\t' | '=' | ' ' => write!(out, "\\{:03o}", character as u32),
                _ => out.write_char(character),
            })?;
        }
        _ => match area.name {
            Some("[heap]") => out.write_str(" heap")?,
            Some("[stack]") => out.write_str(" stack")?,
            _ => {}
        },
    }
    if pages.pages > 0 {
        for (word, count) in [("anon", pages.anonymous), ("dirty", pages.dirty)] {
            if count > 0 {
                write!(out, " {word}={count}")?;
            }
        }
        if pages.pages != pages.anonymous && pages.pages != pages.dirty {
            write!(out, " mapped={}", pages.pages)?;
        }
        if pages.most_mapped > 1 {
            write!(out, " mapmax={}", pages.most_mapped)?;
        }
        for (node, count) in pages.nodes.iter().enumerate().filter(|(_, count)| **count > 0) {
            write!(out, " N{node}={count}")?;
        }
        out.write_str(" kernelpagesize_kB=4")?;
    }
    out.write_char('\n')
}

#[cfg(test)]
mod tests {
    use super::*;
    use memory::{AreaFlags, Protection, Sharing, SourceDescription};

    fn shown(area: AreaInfo, pages: [u64; 4], nodes: &[u64]) -> String {
        let [pages, anonymous, dirty, most_mapped] = pages;
        let mut sum = RangePages { pages, anonymous, dirty, most_mapped, nodes: [0; base::MAX_NODES] };
        sum.nodes[..nodes.len()].copy_from_slice(nodes);
        let mut out = String::new();
        line(&area, &sum, &mut out).unwrap();
        out
    }

    #[test]
    fn lines_are_those_of_linux() {
        let area = AreaInfo {
            start: 0x1000,
            end: 0x9000,
            protection: Protection::READ,
            most: Protection::READ,
            flags: AreaFlags::empty(),
            sharing: Sharing::Private,
            offset: 0,
            source: None,
            policy: None,
            name: None,
        };
        let file = SourceDescription { path: b"/a b=c (deleted)".to_vec(), device: (0, 1), inode: 1 };
        let heap = AreaInfo { name: Some("[heap]"), ..area.clone() };
        let of_file = AreaInfo { source: Some(file), ..area.clone() };
        assert_eq!(shown(area.clone(), [0; 4], &[]), "\n");
        assert_eq!(shown(heap, [5, 5, 5, 1], &[2, 3]), " heap anon=5 dirty=5 N0=2 N1=3 kernelpagesize_kB=4\n");
        assert_eq!(
            shown(of_file, [9, 1, 2, 4], &[0, 9]),
            " file=/a\\040b\\075c\\040(deleted) anon=1 dirty=2 mapped=9 mapmax=4 N1=9 kernelpagesize_kB=4\n"
        );
    }
}
