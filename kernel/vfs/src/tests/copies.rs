//! Copies of the initramfs's bytes for tasks that pay for their pages: made when needed, dropped when wanted.

use super::{mode, open};
use crate::{
    Inode, NewNode, NodeKind, OpenFlags,
    ramfs::{ALL_COPIES, RamInode},
    testing::{read, with_caller},
};
use base::{Errno, Gid, NodeId, Uid};
use core::cell::Cell;
use core::num::NonZeroU32;
use core::sync::atomic::AtomicU64;
use memory::charge::{CHARGER, ChargeKind, PageCharger, Relief};
use memory::reclaim::FileCopies;

std::thread_local! {
    /// Whether the "task" of this thread pays for its pages.
    static PAYS: Cell<bool> = const { Cell::new(false) };
}

/// Charges everybody everything, and has only some threads read copies.
struct Charger;

impl PageCharger for Charger {
    fn charge(&self, kind: ChargeKind, _node: NodeId) -> Result<NonZeroU32, Errno> {
        NonZeroU32::new(4 | kind as u32).ok_or(Errno::ENOMEM)
    }
    fn charge_ahead(&self, _kind: ChargeKind, _node: NodeId, _most: u64) -> Option<(NonZeroU32, u64)> {
        None
    }
    fn moved(&self, _note: u32, _from: NodeId, _to: NodeId) {}
    fn copies_files(&self) -> bool {
        PAYS.get()
    }
    fn relieve(&self, _in_fault: bool) -> Relief {
        Relief::NotLimited
    }
    fn word(&self) -> usize {
        0
    }
    fn count_fault(&self, _word: &AtomicU64) {}
    fn count_major_fault(&self) {}
    fn pages(&self, _kind: ChargeKind) -> u64 {
        0
    }
    fn is_over_soft_limit(&self, _note: u32) -> bool {
        false
    }
}

/// Has pages charged from now on.
fn charge() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| CHARGER.install(&Charger));
}

/// How many copies of any file can be dropped, up to `most`; they are gone then.
fn dropped(most: usize) -> usize {
    ALL_COPIES.drop_unused(&|_| true, most)
}

#[test]
fn copies_are_dropped_and_read_again_and_never_hide_what_was_written() {
    charge();
    with_caller(|caller| {
        let bytes: &'static [u8] = std::vec![7; 3 * 4096 + 100].leak();
        let root = RamInode::of(&caller.context.root().inode).unwrap();
        let node = NewNode { kind: NodeKind::Regular, permissions: mode(0o644), uid: Uid::ROOT, gid: Gid::ROOT };
        let file = root.create_file(b"file", &node, bytes).unwrap();
        assert_eq!(read(caller, "/file").unwrap(), bytes);
        assert_eq!(dropped(10), 0, "who does not pay has no copies");

        PAYS.set(true);
        assert_eq!(read(caller, "/file").unwrap(), bytes);
        assert_eq!((dropped(1), dropped(10), dropped(10)), (1, 3, 0));
        assert_eq!(read(caller, "/file").unwrap(), bytes);

        // A page that somebody maps stays until it is unmapped.
        let mapped = file.page(1, memory::PageUse::Private).unwrap();
        assert_eq!(dropped(10), 3);
        drop(mapped);
        assert_eq!(dropped(10), 1);

        assert_eq!(read(caller, "/file").unwrap(), bytes);
        assert_eq!(open(caller, "/file", OpenFlags::READ_WRITE).unwrap().write(b"new"), Ok(3));
        assert_eq!(dropped(10), 3, "the page that was written has no copy");
        let mut changed = bytes.to_vec();
        changed[..3].copy_from_slice(b"new");
        assert_eq!(read(caller, "/file").unwrap(), changed);

        file.truncate(2 * 4096 + 10).unwrap();
        file.truncate(3 * 4096).unwrap();
        changed.truncate(2 * 4096 + 10);
        changed.resize(3 * 4096, 0);
        assert_eq!(read(caller, "/file").unwrap(), changed);
        PAYS.set(false);
        drop(file);
    });
}

#[test]
fn pages_are_there_for_mappings_as_far_as_nothing_need_be_made() {
    charge();
    with_caller(|caller| {
        let bytes: &'static [u8] = std::vec![7; 3 * 4096 + 100].leak();
        let root = RamInode::of(&caller.context.root().inode).unwrap();
        let node = NewNode { kind: NodeKind::Regular, permissions: mode(0o644), uid: Uid::ROOT, gid: Gid::ROOT };
        let file = root.create_file(b"there", &node, bytes).unwrap();
        let there = |first: u64, usage: memory::PageUse| {
            let mut frames = [const { None }; 8];
            file.pages_there(first, usage, &mut frames);
            let numbers = frames.iter().flatten().map(|frame| frame.number()).collect::<std::vec::Vec<_>>();
            let found = (first..).zip(frames).filter_map(|(index, frame)| frame.map(|_| index));
            (found.collect::<std::vec::Vec<_>>(), numbers)
        };
        use memory::PageUse::{Private, Shared};
        PAYS.set(true);
        assert_eq!(there(0, Private).0, []);
        let copy = file.page(1, Private).unwrap();
        assert_eq!((there(0, Private), there(0, Shared).0), ((std::vec![1], std::vec![copy.number()]), std::vec![]));
        assert_eq!(there(2, Private).0, []);
        drop(copy);

        // The file's own are there for all, whether they hide borrowed bytes or lie behind them.
        let own = [2, 3].map(|index| file.page(index, Shared).unwrap().number());
        file.truncate(20 * 4096).unwrap();
        let last = file.page(9, Shared).unwrap().number();
        assert_eq!(there(0, Shared), (std::vec![2, 3], own.to_vec()));
        assert_eq!((there(0, Private).0, there(3, Private).0), (std::vec![1, 2, 3], std::vec![3, 9]));
        assert_eq!(
            (there(9, Shared).1, there(17, Shared).0, there(100, Private).0),
            (std::vec![last], std::vec![], std::vec![])
        );
        // Behind the end there is nothing, and nothing comes back.
        file.truncate(2 * 4096 + 1).unwrap();
        assert_eq!(there(0, Private).0, [1, 2]);
        file.truncate(20 * 4096).unwrap();
        assert_eq!((there(0, Private).0, there(8, Private).0), (std::vec![1, 2], std::vec![]));
        PAYS.set(false);
    });
}
