//! The rules of the manual pages.

use super::*;
use crate::ipc::testing::{start_memory, user};
use memory::PageSource;

const NONE: GetFlags = GetFlags::empty();
const CREATE: GetFlags = GetFlags::CREATE;

/// No segments, on a machine with memory to promise.
fn segments() -> Arc<SharedMemory> {
    start_memory();
    SharedMemory::new()
}

#[test]
fn a_key_finds_what_was_made_with_it() {
    let all = segments();
    let me = user(5, 5);
    assert_eq!(all.get(7, 100, NONE, 0o600, &me), Err(Errno::ENOENT));
    assert_eq!(all.get(7, 0, CREATE, 0o600, &me), Err(Errno::EINVAL));
    assert_eq!(all.get(7, u64::MAX, CREATE, 0o600, &me), Err(Errno::EINVAL));
    let number = all.get(7, 100, CREATE, 0o600, &me).unwrap();
    assert_eq!(all.get(7, 100, NONE, 0o600, &me), Ok(number));
    assert_eq!(all.get(7, 0, NONE, 0, &me), Ok(number));
    assert_eq!(all.get(7, 101, NONE, 0o600, &me), Err(Errno::EINVAL));
    assert_eq!(all.get(7, 100, CREATE | GetFlags::EXCLUSIVE, 0o600, &me), Err(Errno::EEXIST));
    assert_eq!(all.get(7, 100, NONE, 0o600, &user(6, 6)), Err(Errno::EACCES));
    let (one, two) = (all.get(0, 1, NONE, 0, &me).unwrap(), all.get(0, 1, NONE, 0, &me).unwrap());
    assert!(one != two && one != number);
    assert_eq!(all.sums().segments, 3);
    all.set_limits(SegmentLimits { pages: 4, ..SegmentLimits::DEFAULT });
    assert_eq!(all.get(0, 4097, NONE, 0o600, &me), Err(Errno::ENOSPC));
    all.set_limits(SegmentLimits { segments: 3, ..SegmentLimits::DEFAULT });
    assert_eq!(all.get(0, 1, NONE, 0o600, &me), Err(Errno::ENOSPC));
}

#[test]
fn permissions_are_the_owners_the_groups_or_everybodys() {
    let all = segments();
    let number = all.get(1, 1, CREATE, 0o640, &user(5, 50)).unwrap();
    let may = |who: &Credentials, wanted| all.attach(number, wanted, who).map(drop);
    assert_eq!(may(&user(5, 50), 0o666), Ok(()));
    assert_eq!(may(&user(6, 50), 0o444), Ok(()));
    assert_eq!(may(&user(6, 50), 0o666), Err(Errno::EACCES));
    assert_eq!(may(&user(6, 60), 0o444), Err(Errno::EACCES));
    assert_eq!(may(&Credentials::root(), 0o666), Ok(()));
    assert_eq!(all.set(number, Uid::new(6), Gid::new(60), 0o604, &user(6, 60)), Err(Errno::EPERM));
    assert_eq!(all.set(number, Uid::new(6), Gid::new(60), 0o604, &user(5, 50)), Ok(()));
    assert_eq!(may(&user(6, 60), 0o666), Ok(()));
    assert_eq!(may(&user(7, 70), 0o444), Ok(()));
    assert_eq!(all.remove(number, &user(7, 70)), Err(Errno::EPERM));
    assert_eq!(all.set_locked(number, true, true, &user(7, 70)), Err(Errno::EPERM));
    assert_eq!(all.set_locked(number, true, true, &user(6, 60)), Ok(()));
    assert_eq!(all.status(number, false, &user(7, 70)).unwrap().permission.mode, 0o604 | Segment::LOCKED);
}

#[test]
fn a_removed_segment_lives_as_long_as_somebody_has_it() {
    let all = segments();
    let me = user(5, 5);
    let number = all.get(9, 5000, CREATE, 0o600, &me).unwrap();
    let first = all.attach(number, 0o666, &me).unwrap();
    let child = first.for_child().unwrap();
    assert_eq!(child.identity(), first.identity());
    assert_eq!(all.status(number, false, &me).unwrap().attached, 2);
    all.remove(number, &me).unwrap();
    let status = all.status(number, false, &me).unwrap();
    assert_eq!((status.permission.key, status.permission.mode), (0, 0o600 | Segment::REMOVED));
    assert_eq!(all.get(9, 1, NONE, 0, &me), Err(Errno::ENOENT));
    assert!(first.page(2, memory::PageUse::Shared).is_err(), "behind the end");
    drop(first);
    assert_eq!(all.status(number, false, &me).unwrap().attached, 1);
    drop(child);
    assert_eq!(all.status(number, false, &me), Err(Errno::EINVAL));
    assert_eq!(all.sums(), Sums::default());
}
