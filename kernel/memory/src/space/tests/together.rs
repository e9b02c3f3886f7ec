//! Address spaces that others use too: the kernel's copies, and many threads at once.

use super::*;

/// The address space of this thread, for faults of user copies.
fn current() -> &'static Hook<dyn FaultHandler> {
    struct Handler;
    impl FaultHandler for Handler {
        fn fault(&self, address: u64, write: bool) -> Result<(), Errno> {
            let access = if write { Access::Write } else { Access::Read };
            CURRENT.with_borrow(|space| {
                let space = space.as_ref().ok_or(Errno::EFAULT)?;
                space.fault(address, access, &Limits::NONE).map_err(|_| Errno::EFAULT)
            })
        }
    }
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| FAULTS.install(&Handler));
    &FAULTS
}

thread_local! { static CURRENT: RefCell<Option<Arc<AddressSpace>>> = const { RefCell::new(None) } }

#[test]
fn user_copies_bring_pages_in_and_stop_where_nothing_is() {
    let space = space();
    assert!(current().get().is_some());
    CURRENT.set(Some(space.clone()));
    space.activate();
    map(&space, fixed(0, 2, RW));
    let bytes: Vec<u8> = (0..2 * PAGE as usize + 10).map(|at| at as u8).collect();
    assert_eq!(user_memory::write_partial(BASE + 100, &bytes), 2 * PAGE as usize - 100);
    let mut back = std::vec![0; 5000];
    assert_eq!(user_memory::read(BASE + 100, &mut back), Ok(()));
    assert_eq!(back, bytes[..5000]);
    assert_eq!(user_memory::write(BASE + 2 * PAGE, &[1]), Err(Errno::EFAULT));
    assert_eq!(user_memory::read(u64::MAX - 3, &mut back), Err(Errno::EFAULT));
    assert_eq!(user_memory::zero(BASE, 2 * PAGE as usize), Ok(()));
    user_memory::write(BASE + PAGE - 3, b"string\0").unwrap();
    assert_eq!(user_memory::read_string(BASE + PAGE - 3, 64).unwrap(), b"string");
    assert_eq!(user_memory::read_string(BASE + PAGE - 3, 6), Err(Errno::ENAMETOOLONG));
    assert_eq!(&*user_memory::read_text(BASE + PAGE - 3, 64).unwrap(), b"string");
    assert_eq!(user_memory::read_text(BASE + PAGE - 3, 6).err(), Some(Errno::ENAMETOOLONG));
    assert_eq!(&*user_memory::read_text(BASE + PAGE, 64).unwrap(), b"ing");
    user_memory::write(BASE + 2 * PAGE - 3, b"abc").unwrap();
    assert_eq!(user_memory::read_string(BASE + 2 * PAGE - 3, 64), Err(Errno::EFAULT));
    assert_eq!(user_memory::read_text(BASE + 2 * PAGE - 3, 64).err(), Some(Errno::EFAULT));
    user_memory::write(BASE + 512, &[b'l'; 100]).unwrap();
    assert_eq!(&*user_memory::read_text(BASE + 512, 200).unwrap(), [b'l'; 100]);
    assert_eq!(user_memory::fetch_update_u32(BASE + 8, |old| old + 5), Ok(0));
    assert_eq!(user_memory::load_u32(BASE + 8), Ok(5));
    assert_eq!(user_memory::load_u32(BASE + 9), Err(Errno::EINVAL));
    assert!(!space.tables.active_on().is_empty());
    machine::paging::deactivate();
    assert!(space.tables.active_on().is_empty());
    CURRENT.set(None);
}

#[test]
fn many_threads_fault_fork_and_unmap_at_once() {
    let space = space();
    map(&space, fixed(0, 64, RW));
    std::thread::scope(|scope| {
        for cpu in 0..4u32 {
            let space = &space;
            scope.spawn(move || {
                machine::host::set_cpu(base::CpuId::new(cpu));
                for round in 0..50u64 {
                    for page in 0..64 {
                        let _ = store(space, page, cpu as u8);
                    }
                    let own = 100 + u64::from(cpu) * 8;
                    map(space, fixed(own, 8, RW));
                    (own..own + 8).for_each(|page| store(space, page, round as u8).unwrap());
                    let child = space.fork(crate::payer::current()).unwrap();
                    (own..own + 8).for_each(|page| store(space, page, 77).unwrap());
                    (own..own + 8).for_each(|page| assert_eq!(load(&child, page), Ok(round as u8)));
                    space.unmap(BASE + own * PAGE, 8 * PAGE).unwrap();
                }
            });
        }
    });
    assert_eq!(space.resident().anonymous, 64);
}

#[test]
fn children_that_share_page_tables_part_from_them_at_once() {
    /// Pages of two tables, of which the second has only these.
    const PAGES: u64 = 32;
    for round in 0..60u64 {
        let parent = space();
        map(&parent, fixed(0, PAGES, RW));
        (0..PAGES).for_each(|page| store(&parent, page, page as u8).unwrap());
        let children: Vec<_> = (0..4).map(|_| parent.fork(crate::payer::current()).unwrap()).collect();
        let tables = parent.resident().tables;
        std::thread::scope(|scope| {
            for (child, cpu) in children.into_iter().zip(0..4u32) {
                scope.spawn(move || {
                    machine::host::set_cpu(base::CpuId::new(cpu));
                    assert_eq!(child.resident().tables, tables);
                    let own = (u64::from(cpu) * 7 + round) % PAGES;
                    match (round + u64::from(cpu)) % 4 {
                        0 => store(&child, own, 200).unwrap(),
                        1 => child.unmap(BASE + own * PAGE, PAGE).unwrap(),
                        2 => child.protect(BASE + own * PAGE, PAGE, Protection::READ).unwrap(),
                        _ => return child.clear(),
                    }
                    for page in (0..PAGES).filter(|&page| page != own) {
                        assert_eq!(load(&child, page), Ok(page as u8));
                    }
                    child.clear();
                    assert_eq!((child.resident().anonymous, child.resident().tables), (0, 1));
                });
            }
            (0..PAGES).for_each(|page| store(&parent, page, 100 + page as u8).unwrap());
        });
        (0..PAGES).for_each(|page| assert_eq!(load(&parent, page), Ok(100 + page as u8)));
        assert_eq!((parent.resident().anonymous, parent.resident().tables), (PAGES, tables));
        parent.tables.edit().scan(0..USER_END, &mut |_, mapping| {
            assert_eq!((mapping.frame.reference_count(), mapping.shares_table), (1, false), "the children are gone");
        });
    }
}
