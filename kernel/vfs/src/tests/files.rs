//! Files and directories in memory.

use super::*;
use crate::{
    Allocation, FileSystem, Follow, FsContext, Namespace, NewNode, Registry, SeekFrom,
    ramfs::{self, Limits, RamFs},
    testing::{read, start_frames, with_caller},
};
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use proptest::prelude::*;
use std::{collections::BTreeSet, vec};

#[test]
fn a_listing_that_is_read_in_pieces_misses_nothing_that_stays() {
    with_caller(|caller| {
        mkdir(caller, "/d");
        for number in 0..50 {
            write(caller, &std::format!("/d/{number}"), b"");
        }
        let directory = open(caller, "/d", OpenFlags::DIRECTORY).unwrap();
        let mut seen = Vec::new();
        for round in 0..60u32 {
            let mut left = 3;
            directory
                .read_directory(&mut |entry| {
                    let taken = left > 0;
                    if taken {
                        seen.push(String::from_utf8(entry.name.to_vec()).unwrap());
                        left -= 1;
                    }
                    taken
                })
                .unwrap();
            // Only those from 40 on come and go.
            let changed = std::format!("/d/{}", 40 + round % 10);
            if caller.unlink(HERE, changed.as_bytes()).is_err() {
                write(caller, &changed, b"");
            }
        }
        for number in 0..40 {
            assert_eq!(seen.iter().filter(|name| **name == std::format!("{number}")).count(), 1, "{number}");
        }
    });
}

#[test]
fn limits_of_a_file_system_hold_and_come_back() {
    start_frames();
    let limits = Limits { pages: 3, inodes: 2 };
    let fs = RamFs::create("tmpfs", limits, mode(0o755), Uid::ROOT, Gid::ROOT).unwrap();
    let context = FsContext::new(Namespace::new(Arc::new(Registry::new()), fs.clone()));
    let caller = Caller { context: &context, credentials: &Arc::new(Credentials::root()) };
    let file = open(caller, "/f", OpenFlags::CREATE | OpenFlags::READ_WRITE).unwrap();
    assert_eq!(open(caller, "/g", OpenFlags::CREATE).err(), Some(Errno::ENOSPC));
    assert_eq!(file.write(&[1; 20_000]), Ok(3 * 4096));
    assert_eq!(file.write(b"x"), Err(Errno::ENOSPC));
    assert_eq!(fs.statistics_as(1).free_blocks, 0);
    file.truncate(4096).unwrap();
    assert_eq!(fs.statistics_as(1).free_blocks, 2);
    caller.unlink(HERE, b"/f").unwrap();
    drop(file);
    assert_eq!((fs.statistics_as(1).free_blocks, fs.statistics_as(1).free_inodes), (3, 1));
}

#[test]
fn appends_go_to_the_end_and_holes_are_found() {
    with_caller(|caller| {
        write(caller, "/f", b"one");
        let append = open(caller, "/f", OpenFlags::READ_WRITE | OpenFlags::APPEND).unwrap();
        append.seek(SeekFrom::Start(0)).unwrap();
        append.write(b"two").unwrap();
        assert_eq!(read(caller, "/f").unwrap(), b"onetwo");
        let file = open(caller, "/f", OpenFlags::READ_WRITE).unwrap();
        file.write_at(b"far", 3 * 4096).unwrap();
        assert_eq!(file.seek(SeekFrom::Hole(0)), Ok(4096));
        assert_eq!(file.seek(SeekFrom::Data(4097)), Ok(3 * 4096));
        assert_eq!(file.seek(SeekFrom::End(-1)), Ok(3 * 4096 + 2));
        assert_eq!(file.seek(SeekFrom::Current(-20_000)), Err(Errno::EINVAL));
        assert_eq!(file.seek(SeekFrom::Data(1 << 20)), Err(Errno::ENXIO));
    });
}

#[test]
fn new_files_get_the_memory_policy_of_the_file_system() {
    start_frames();
    let fs = RamFs::create("tmpfs", Limits::NONE, mode(0o755), Uid::ROOT, Gid::ROOT).unwrap();
    let context = FsContext::new(Namespace::new(Arc::new(Registry::new()), fs.clone()));
    let caller = Caller { context: &context, credentials: &Arc::new(Credentials::root()) };
    let policy = |path: &str| {
        let file = open(caller, path, OpenFlags::CREATE | OpenFlags::READ_WRITE).unwrap();
        [0, u64::MAX - 1].map(|page| file.inode().policies().unwrap().get(page))
    };
    let nodes = [base::NodeId::new(0)].into_iter().collect();
    let bound = memory::MemoryPolicy::parse("bind:0", &nodes).unwrap();
    assert!(bound.is_some());
    assert_eq!(policy("/before"), [None; 2]);
    fs.set_policy(bound);
    assert_eq!(policy("/after"), [bound; 2]);
    assert_eq!(policy("/before"), [None; 2]);
    fs.set_policy(None);
    assert_eq!((policy("/after"), policy("/later")), ([bound; 2], [None; 2]));
}

#[test]
fn memory_is_reserved_wholly_or_not_at_all_and_a_hole_gives_it_back() {
    start_frames();
    let limits = Limits { pages: 4, inodes: 9 };
    let fs = RamFs::create("tmpfs", limits, mode(0o755), Uid::ROOT, Gid::ROOT).unwrap();
    let context = FsContext::new(Namespace::new(Arc::new(Registry::new()), fs.clone()));
    let caller = Caller { context: &context, credentials: &Arc::new(Credentials::root()) };
    let file = open(caller, "/f", OpenFlags::CREATE | OpenFlags::READ_WRITE).unwrap();
    let free = || fs.statistics_as(1).free_blocks;
    let (keep, grow) = (Allocation::Reserve { grow: false }, Allocation::Reserve { grow: true });
    file.allocate(4096..2 * 4096, grow).unwrap();
    assert_eq!((free(), file.inode().metadata().size), (3, 2 * 4096));
    assert_eq!(file.allocate(0..9 * 4096, grow), Err(Errno::ENOSPC));
    assert_eq!((free(), file.inode().metadata().size), (3, 2 * 4096), "nothing is left of it");
    file.allocate(0..4 * 4096, keep).unwrap();
    assert_eq!((free(), file.inode().metadata().size), (0, 2 * 4096));
    let mapped = file.inode().page(1, memory::PageUse::Shared).unwrap();
    mapped.write(0, b"seen");
    file.allocate(100..4 * 4096, Allocation::Punch).unwrap();
    assert_eq!(free(), 2, "the part of a page and the page that is mapped stay");
    let mut bytes = [1; 4];
    mapped.read(0, &mut bytes);
    assert_eq!(bytes, [0; 4]);
    let reader = open(caller, "/f", OpenFlags::empty()).unwrap();
    assert_eq!(reader.allocate(0..1, keep), Err(Errno::EBADF));
}

#[test]
fn a_file_has_no_pages_behind_its_end_whoever_faults() {
    with_caller(|caller| {
        let file = open(caller, "/f", OpenFlags::CREATE | OpenFlags::READ_WRITE).unwrap();
        let inode = file.inode();
        let (faults, done, mut left) = (AtomicUsize::new(0), AtomicBool::new(false), 0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                machine::host::set_cpu(base::CpuId::new(1));
                while !done.load(Relaxed) {
                    let _ = inode.page(1, memory::PageUse::SharedWrite);
                    faults.fetch_add(1, SeqCst);
                }
            });
            for _ in 0..1000 {
                file.truncate(2 * 4096).unwrap();
                file.truncate(0).unwrap();
                // The fault that was under way then is over after two more.
                let before = faults.load(SeqCst);
                while faults.load(SeqCst) < before + 2 {
                    std::thread::yield_now();
                }
                left += inode.metadata().blocks;
            }
            done.store(true, Relaxed);
        });
        assert_eq!(left, 0);
    });
}

/// Runs `test` as the superuser in a fresh tree with limits.
fn with_limited(limits: Limits, test: impl FnOnce(Caller<'_>, &RamFs)) {
    start_frames();
    let fs = RamFs::create("tmpfs", limits, mode(0o755), Uid::ROOT, Gid::ROOT).unwrap();
    let context = FsContext::new(Namespace::new(Arc::new(Registry::new()), fs.clone()));
    test(Caller { context: &context, credentials: &Arc::new(Credentials::root()) }, &fs);
}

#[derive(Clone, Debug)]
enum FileStep {
    Write(u64, usize, u8),
    Truncate(u64),
    Read(u64, usize),
    Page(u64),
    Reserve(u64, u64, bool),
    Punch(u64, u64),
}

fn any_file_step() -> impl Strategy<Value = FileStep> {
    let offset = 0..20_000u64;
    prop_oneof![
        (offset.clone(), 0..9000usize, any::<u8>()).prop_map(|(at, length, fill)| FileStep::Write(at, length, fill)),
        offset.clone().prop_map(FileStep::Truncate),
        (offset.clone(), 0..9000usize).prop_map(|(at, length)| FileStep::Read(at, length)),
        (offset.clone(), 1..9000u64, any::<bool>()).prop_map(|(at, length, grow)| FileStep::Reserve(at, length, grow)),
        (offset, 1..9000u64).prop_map(|(at, length)| FileStep::Punch(at, length)),
        (0..6u64).prop_map(FileStep::Page),
    ]
}

proptest! {
    #[test]
    fn a_file_is_a_row_of_bytes(borrowed in 0..10_000usize, steps in proptest::collection::vec(any_file_step(), 1..30)) {
        with_limited(Limits { pages: 1000, inodes: 9 }, |caller, fs| {
            let mut model: Vec<u8> = (0..borrowed).map(|at| at as u8).collect();
            let node = NewNode { kind: NodeKind::Regular, permissions: mode(0o644), uid: Uid::ROOT, gid: Gid::ROOT };
            let root = ramfs::RamInode::of(&fs.root()).unwrap();
            root.create_file(b"f", &node, model.clone().leak()).unwrap();
            let file = open(caller, "/f", OpenFlags::READ_WRITE).unwrap();
            let pages = |start: u64, length: u64| start / 4096..(start + length).div_ceil(4096);
            // Which pages are no holes, and how many of them, from the first on, never become holes.
            let mut present: BTreeSet<u64> = pages(0, borrowed as u64).collect();
            let mut given = present.len() as u64;
            for step in steps {
                match &step {
                    FileStep::Write(_, 0, _) | FileStep::Read(..) => {}
                    FileStep::Write(at, length, _) => present.extend(pages(*at, *length as u64)),
                    FileStep::Truncate(size) if (*size as usize) < model.len() => {
                        present.retain(|&index| index < size.div_ceil(4096));
                        given = given.min(size.div_ceil(4096));
                    }
                    FileStep::Truncate(_) => {}
                    FileStep::Reserve(at, length, _) => present.extend(pages(*at, *length)),
                    FileStep::Punch(at, length) => {
                        let whole = at.div_ceil(4096)..(at + length) / 4096;
                        present.retain(|&index| index < given || !whole.contains(&index));
                    }
                    FileStep::Page(index) if *index < model.len().div_ceil(4096) as u64 => drop(present.insert(*index)),
                    FileStep::Page(_) => {}
                }
                match step {
                    FileStep::Write(at, length, fill) => {
                        assert_eq!(file.write_at(&vec![fill; length], at), Ok(length));
                        let end = at as usize + length;
                        if length > 0 && end > model.len() {
                            model.resize(end, 0);
                        }
                        model.iter_mut().skip(at as usize).take(length).for_each(|byte| *byte = fill);
                    }
                    FileStep::Truncate(size) => {
                        file.truncate(size).unwrap();
                        model.resize(size as usize, 0);
                    }
                    FileStep::Read(at, length) => {
                        let mut out = vec![0xaa; length];
                        let count = file.read_at(&mut out, at).unwrap();
                        let rest = model.get(at as usize..).unwrap_or(&[]);
                        assert_eq!(&out[..count], &rest[..rest.len().min(length)]);
                    }
                    FileStep::Reserve(at, length, grow) => {
                        file.allocate(at..at + length, Allocation::Reserve { grow }).unwrap();
                        if grow && (at + length) as usize > model.len() {
                            model.resize((at + length) as usize, 0);
                        }
                    }
                    FileStep::Punch(at, length) => {
                        file.allocate(at..at + length, Allocation::Punch).unwrap();
                        model.iter_mut().skip(at as usize).take(length as usize).for_each(|byte| *byte = 0);
                    }
                    FileStep::Page(index) => {
                        let found = file.inode().page(index, memory::PageUse::Shared);
                        match model.get(index as usize * 4096..) {
                            None | Some([]) => assert_eq!(found.err(), Some(Errno::EFAULT)),
                            Some(rest) => {
                                let mut page = [0; 4096];
                                found.unwrap().read(0, &mut page);
                                let count = rest.len().min(4096);
                                assert_eq!(&page[..count], &rest[..count]);
                                assert!(page[count..].iter().all(|&byte| byte == 0));
                            }
                        }
                    }
                }
                let now = file.inode().metadata();
                assert_eq!((now.size, now.blocks), (model.len() as u64, 8 * present.len() as u64));
                assert_eq!(1000 - fs.statistics_as(1).free_blocks, present.len() as u64);
            }
            caller.unlink(HERE, b"/f").unwrap();
            drop(file);
            assert_eq!(fs.statistics_as(1).free_blocks, 1000);
        });
    }
}

/// What the initramfs gave counts as the file system's, and is no reason to refuse a program its pages when that is full.
#[test]
fn a_full_file_system_still_has_the_pages_of_what_the_initramfs_gave() {
    with_limited(Limits { pages: 2, inodes: 9 }, |caller, fs| {
        let node = NewNode { kind: NodeKind::Regular, permissions: mode(0o755), uid: Uid::ROOT, gid: Gid::ROOT };
        let root = ramfs::RamInode::of(&fs.root()).unwrap();
        root.create_file(b"program", &node, &[7; 3 * 4096 - 5]).unwrap();
        assert_eq!(fs.statistics_as(1).free_blocks, 0);
        assert_eq!(
            open(caller, "/f", OpenFlags::CREATE | OpenFlags::READ_WRITE).unwrap().write(b"x"),
            Err(Errno::ENOSPC)
        );
        let program = open(caller, "/program", OpenFlags::READ_WRITE).unwrap();
        for usage in [memory::PageUse::Private, memory::PageUse::SharedWrite] {
            program.inode().page(2, usage).unwrap();
        }
        assert_eq!(program.write_at(b"x", 0), Ok(1));
    });
}

#[test]
fn a_file_is_written_or_executed_but_not_both() {
    with_caller(|caller| {
        write(caller, "/program", b"\x7fELF");
        caller.change_mode(HERE, b"/program", mode(0o755), Follow::Yes).unwrap();
        let program = || caller.open_program(HERE, b"/program", Follow::Yes).unwrap();
        let writer = open(caller, "/program", OpenFlags::READ_WRITE).unwrap();
        assert_eq!(program().begin_execution().err(), Some(Errno::ETXTBSY));
        drop(writer);
        let execution = program().begin_execution().unwrap();
        let another = execution.clone();
        drop(execution);
        for flags in [OpenFlags::WRITE_ONLY, OpenFlags::READ_WRITE, OpenFlags::TRUNCATE] {
            assert_eq!(open(caller, "/program", flags).err(), Some(Errno::ETXTBSY));
        }
        assert_eq!(caller.truncate(b"/program", 0), Err(Errno::ETXTBSY));
        assert_eq!(read(caller, "/program").unwrap(), b"\x7fELF");
        drop(another);
        assert_eq!(caller.truncate(b"/program", 2), Ok(()));
        drop(open(caller, "/program", OpenFlags::TRUNCATE).unwrap());
        assert!(program().begin_execution().is_ok(), "who cut it is gone");
    });
}
