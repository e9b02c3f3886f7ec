//! Files that become shorter while they are mapped.

use super::*;
use crate::area::Sharing;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

#[test]
fn pages_that_a_file_has_lost_leave_shared_and_private_mappings_and_nothing_else_does() {
    let space = space();
    let file = File::new(4);
    let from = |index: u64| Some((file.clone() as Arc<dyn PageSource>, index * PAGE));
    map(&space, MapRequest { source: from(0), sharing: Sharing::Shared, ..fixed(0, 4, RW) });
    map(&space, MapRequest { source: from(1), ..fixed(4, 3, RW) });
    map(&space, fixed(7, 1, RW));
    (0..8).for_each(|page| store(&space, page, 50 + page as u8).unwrap());
    let child = space.fork(crate::payer::current()).unwrap();
    file.pages.lock().unwrap().truncate(2);
    for space in [&space, &child] {
        space.cut(8, 0);
        space.cut(7, 2);
        assert_eq!((load(space, 1), load(space, 4), load(space, 7)), (Ok(51), Ok(54), Ok(57)));
        for page in [2, 3, 5, 6] {
            assert_eq!(load(space, page), Err(FaultError::BeyondEnd), "page {page}");
        }
    }
    // Shared by both, two of the one, and a page without a file.
    assert_eq!(space.residency(BASE, 8 * PAGE).unwrap().iter().filter(|&&there| there).count(), 4);
}

#[test]
fn no_fault_maps_a_page_that_was_lost_meanwhile() {
    let space = space();
    let file = File::new(1);
    let page = file.pages.lock().unwrap()[0].clone();
    map(&space, MapRequest { source: Some((file.clone(), 0)), sharing: Sharing::Shared, ..fixed(0, 1, RW) });
    let (done, mut left) = (AtomicBool::new(false), 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            machine::host::set_cpu(base::CpuId::new(1));
            while !done.load(Relaxed) {
                let _ = space.fault(BASE, Access::Write, &Limits::NONE);
            }
        });
        for _ in 0..2000 {
            file.pages.lock().unwrap().clear();
            space.cut(7, 0);
            left += usize::from(space.residency(BASE, PAGE).unwrap()[0]);
            file.pages.lock().unwrap().push(page.clone());
        }
        done.store(true, Relaxed);
    });
    assert_eq!(left, 0);
}
