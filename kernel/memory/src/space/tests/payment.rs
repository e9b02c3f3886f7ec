//! What address spaces pay for, and locked memory.

use super::*;
use crate::payer::{PAYERS, PayerSource};
use base::charge::{Refused, Severity};

/// Counts what was charged, up to a bound for each resource.
struct Ledger {
    held: [AtomicU64; Resource::COUNT],
    bounds: [AtomicU64; Resource::COUNT],
}

impl Payer for Ledger {
    fn charge(&self, resource: Resource, amount: u64, severity: Severity) -> Result<(), Refused> {
        let bound = self.bounds[resource as usize].load(Relaxed);
        let fits = |held: u64| (severity == Severity::Force || held + amount <= bound).then_some(held + amount);
        self.held[resource as usize].fetch_update(Relaxed, Relaxed, fits).map(drop).map_err(|_| Refused)
    }
    fn uncharge(&self, resource: Resource, amount: u64) {
        let before = self.held[resource as usize].fetch_sub(amount, Relaxed);
        assert!(before >= amount, "{resource:?}: {amount} given back of {before}");
    }
}

impl Ledger {
    fn held(&self, resource: Resource) -> u64 {
        self.held[resource as usize].load(Relaxed)
    }
    fn bound(&self, resource: Resource, bound: u64) {
        self.bounds[resource as usize].store(bound, Relaxed);
    }
}

thread_local! { static PAYER: RefCell<Option<Arc<Ledger>>> = const { RefCell::new(None) } }

/// A ledger that pays for all spaces that this thread makes from now on.
fn ledger() -> Arc<Ledger> {
    struct Source;
    impl PayerSource for Source {
        fn current(&self) -> Option<Arc<dyn Payer>> {
            PAYER.with_borrow(|payer| payer.clone().map(|payer| payer as Arc<dyn Payer>))
        }
    }
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| PAYERS.install(&Source));
    let unbounded = || AtomicU64::new(i64::MAX as u64);
    let ledger = Arc::new(Ledger { held: Default::default(), bounds: core::array::from_fn(|_| unbounded()) });
    PAYER.set(Some(ledger.clone()));
    ledger
}

fn touch(space: &AddressSpace, page: u64) -> Result<(), FaultError> {
    space.fault(BASE + page * PAGE, Access::Write, &Limits::NONE)
}

/// Some steps are refused; then they change nothing.
fn ignore<T, E>(_result: Result<T, E>) {}

const NOTHING: [u64; Resource::COUNT] = [0; Resource::COUNT];

fn all(ledger: &Ledger) -> [u64; Resource::COUNT] {
    core::array::from_fn(|index| ledger.held[index].load(Relaxed))
}

#[test]
fn promised_memory_is_paid_for_until_it_is_unmapped() {
    let ledger = ledger();
    let space = space();
    ledger.bound(Resource::PrivatePages, 10);
    map(&space, fixed(0, 4, RW));
    map(&space, fixed(4, 4, Protection::READ));
    assert_eq!(ledger.held(Resource::PrivatePages), 4, "what can't be written is not promised");
    assert_eq!(space.protect(BASE + 4 * PAGE, 4 * PAGE, RW), Ok(()));
    assert_eq!(ledger.held(Resource::PrivatePages), 8);
    assert_eq!(space.protect(BASE, 8 * PAGE, Protection::READ), Ok(()));
    assert_eq!(ledger.held(Resource::PrivatePages), 8, "what was written stays");
    assert_eq!(space.map(fixed(8, 3, RW), &Limits::NONE), Err(Errno::ENOMEM));
    assert_eq!(space.map(fixed(4, 6, RW), &Limits::NONE), Ok(BASE + 4 * PAGE), "4 of these are paid for");
    assert_eq!(ledger.held(Resource::PrivatePages), 10);
    assert_eq!(space.unmap(BASE + 2 * PAGE, 4 * PAGE), Ok(()));
    assert_eq!(ledger.held(Resource::PrivatePages), 6);
    assert_eq!(space.fork(crate::payer::current()).err(), Some(Errno::ENOMEM));
    assert_eq!(ledger.held(Resource::PrivatePages), 6);
    ledger.bound(Resource::PrivatePages, 12);
    let child = space.fork(crate::payer::current()).unwrap();
    assert_eq!(ledger.held(Resource::PrivatePages), 12);
    drop((space, child));
    assert_eq!(all(&ledger), NOTHING);
}

#[test]
fn a_heap_and_a_stack_that_are_not_paid_for_do_not_grow() {
    let ledger = ledger();
    let space = space();
    ledger.bound(Resource::PrivatePages, 3);
    space.set_brk_start(BASE);
    assert_eq!(space.brk(BASE + 2 * PAGE, &Limits::NONE), BASE + 2 * PAGE);
    assert_eq!(space.brk(BASE + 4 * PAGE, &Limits::NONE), BASE + 2 * PAGE);
    assert_eq!(space.brk(BASE + PAGE, &Limits::NONE), BASE + PAGE);
    assert_eq!(ledger.held(Resource::PrivatePages), 1);
    map(&space, MapRequest { grows_down: true, ..fixed(1000, 1, RW) });
    assert_eq!(touch(&space, 998), Err(FaultError::NotMapped));
    assert_eq!(touch(&space, 999), Ok(()));
    assert_eq!(ledger.held(Resource::PrivatePages), 3);
}

#[test]
fn mapped_pages_and_tables_are_counted_as_they_come_and_go() {
    let ledger = ledger();
    let space = space();
    map(&space, fixed(0, 4, RW));
    space.fault(BASE, Access::Read, &Limits::NONE).unwrap();
    assert_eq!(ledger.held(Resource::PhysicalPages), 0, "the page of zeros is nobody's");
    touch(&space, 0).unwrap();
    touch(&space, 1).unwrap();
    assert_eq!(ledger.held(Resource::PhysicalPages), 2);
    assert_eq!(ledger.held(Resource::KernelMemory), space.resident().tables * PAGE);
    let child = space.fork(crate::payer::current()).unwrap();
    assert_eq!(ledger.held(Resource::PhysicalPages), 4, "each space maps its own");
    space.advise(BASE, PAGE, Advice::DontNeed).unwrap();
    assert_eq!(ledger.held(Resource::PhysicalPages), 3);
    child.clear();
    assert_eq!(ledger.held(Resource::PhysicalPages), 1);
    assert_eq!(ledger.held(Resource::KernelMemory), (space.resident().tables + 1) * PAGE);
    ledger.bound(Resource::KernelMemory, ledger.held(Resource::KernelMemory));
    map(&space, MapRequest { address: 1 << 40, ..fixed(0, 1, RW) });
    assert_eq!(space.fault(1 << 40, Access::Write, &Limits::NONE), Err(FaultError::NotPaid));
    drop((space, child));
    assert_eq!(all(&ledger), NOTHING);
}

#[test]
fn a_fork_has_all_tables_of_the_child_paid_for_or_none() {
    let ledger = ledger();
    let space = space();
    map(&space, fixed(0, 4, RW));
    touch(&space, 0).unwrap();
    let tables = space.resident().tables * PAGE;
    ledger.bound(Resource::KernelMemory, 2 * tables - 1);
    let before = all(&ledger);
    assert_eq!(space.fork(crate::payer::current()).err(), Some(Errno::ENOMEM));
    assert_eq!(all(&ledger), before);
    ledger.bound(Resource::KernelMemory, 2 * tables);
    let child = space.fork(crate::payer::current()).unwrap();
    assert_eq!(ledger.held(Resource::KernelMemory), 2 * tables);
    drop(space);
    assert_eq!(ledger.held(Resource::KernelMemory), child.resident().tables * PAGE);
    drop(child);
    assert_eq!(all(&ledger), NOTHING);
}

/// A child may be born in another container than its parent's.
#[test]
fn the_space_of_a_child_is_paid_for_by_its_own_containers() {
    let own = ledger();
    // The last one pays for what this thread makes.
    let parents = ledger();
    let space = space();
    map(&space, fixed(0, 4, RW));
    touch(&space, 0).unwrap();
    let before = all(&parents);
    let child = space.fork(Some(own.clone())).unwrap();
    assert_eq!(all(&parents), before);
    assert_eq!(own.held(Resource::PrivatePages), 4);
    assert_eq!(own.held(Resource::KernelMemory), child.resident().tables * PAGE);
    touch(&child, 1).unwrap();
    assert_eq!((own.held(Resource::PhysicalPages), parents.held(Resource::PhysicalPages)), (2, 1));
    drop((space, child));
    assert_eq!((all(&own), all(&parents)), (NOTHING, NOTHING));
}

#[test]
fn locking_brings_pages_in_within_limits() {
    let ledger = ledger();
    let space = space();
    map(&space, fixed(0, 4, RW));
    map(&space, fixed(5, 1, Protection::empty()));
    let limits = Limits { locked: 3 * PAGE, ..Limits::NONE };
    let lock = |page: u64, pages: u64| space.lock(BASE + page * PAGE, pages * PAGE, false, &limits);
    assert_eq!(space.lock(BASE, PAGE, false, &Limits { locked: 0, ..Limits::NONE }), Err(Errno::EPERM));
    assert_eq!(lock(0, 4), Err(Errno::ENOMEM), "over the limit");
    assert_eq!(space.lock(BASE + 5, PAGE, false, &limits), Ok(()), "every page that is touched");
    assert_eq!(space.resident().anonymous, 2);
    assert_eq!((space.resident().locked, ledger.held(Resource::LockedPages)), (2, 2));
    assert_eq!(lock(0, 3), Ok(()), "two of them are locked already");
    assert_eq!(lock(5, 1), Err(Errno::ENOMEM), "over the limit");
    assert_eq!(space.unlock(BASE, 3 * PAGE), Ok(()));
    assert_eq!(lock(3, 2), Err(Errno::ENOMEM), "a hole");
    assert_eq!(space.resident().locked, 1, "what lies before it is locked");
    assert_eq!(lock(5, 1), Err(Errno::ENOMEM), "nothing may be done there");
    assert_eq!(space.lock(u64::MAX - 5, PAGE, false, &limits), Err(Errno::EINVAL));
    assert_eq!(space.advise(BASE + 3 * PAGE, PAGE, Advice::DontNeed), Err(Errno::EINVAL));
    space.unlock_all();
    ledger.bound(Resource::LockedPages, 1);
    assert_eq!(lock(0, 2), Err(Errno::ENOMEM));
    assert_eq!(lock(0, 1), Ok(()));
    let child = space.fork(crate::payer::current()).unwrap();
    assert_eq!(child.resident().locked, 0);
    assert_eq!(ledger.held(Resource::LockedPages), 1);
    space.unmap(BASE, PAGE).unwrap();
    assert_eq!(ledger.held(Resource::LockedPages), 0);
}

#[test]
fn what_comes_later_is_locked_if_all_is() {
    let space = space();
    map(&space, fixed(0, 2, RW));
    let all = |current, future, on_fault| space.lock_all(LockAll { current, future, on_fault }, &Limits::NONE);
    all(true, true, true).unwrap();
    map(&space, fixed(2, 2, RW));
    assert_eq!((space.resident().locked, space.resident().anonymous), (4, 0));
    all(false, true, false).unwrap();
    map(&space, fixed(4, 2, RW));
    assert_eq!((space.resident().locked, space.resident().anonymous), (6, 2));
    let narrow = Limits { locked: 6 * PAGE, ..Limits::NONE };
    assert_eq!(space.map(fixed(6, 1, RW), &narrow), Err(Errno::EAGAIN));
    space.unlock_all();
    map(&space, fixed(6, 1, RW));
    assert_eq!(space.resident().locked, 0);
    all(true, false, false).unwrap();
    assert_eq!(space.resident().anonymous, 7);
    map(&space, MapRequest { locked: true, ..fixed(7, 1, RW) });
    assert_eq!(space.resident().anonymous, 8);
}

proptest! {
    #[test]
    fn what_is_paid_is_what_the_areas_and_tables_say(
        steps in prop::collection::vec((0..9u8, 0..12u64, 1..6u64, 0..4u8), 1..40),
    ) {
        let ledger = ledger();
        let space = space();
        ledger.bound(Resource::PrivatePages, 14);
        ledger.bound(Resource::LockedPages, 4);
        let mut child = None;
        for (what, page, pages, how) in steps {
            let (at, length) = (BASE + page * PAGE, pages * PAGE);
            let protection = [Protection::empty(), Protection::READ, RW, RW][how as usize];
            match what {
                0 | 1 => {
                    let request = MapRequest { no_reserve: what == 1, ..fixed(page, pages, protection) };
                    ignore(space.map(request, &Limits::NONE));
                }
                2 => ignore(space.unmap(at, length)),
                3 => ignore(space.protect(at, length, protection)),
                4 => ignore(space.lock(at, length, how == 0, &Limits::NONE)),
                5 => ignore(space.unlock(at, length)),
                6 => ignore(touch(&space, page)),
                7 => ignore(space.remap(at, length, u64::from(how) * PAGE, 1, 0, &Limits::NONE)),
                _ => child = space.fork(crate::payer::current()).ok(),
            }
            let spaces = || [Some(&space), child.as_ref()].into_iter().flatten();
            let sum = |of: fn(&AddressSpace) -> u64| spaces().map(|space| of(space)).sum::<u64>();
            prop_assert_eq!(ledger.held(Resource::PrivatePages), sum(|space| space.read_state().areas.totals().promised));
            prop_assert_eq!(
                sum(|space| space.paid.committed()), sum(|space| space.read_state().areas.totals().committed)
            );
            prop_assert_eq!(ledger.held(Resource::LockedPages), sum(|space| space.resident().locked));
            prop_assert_eq!(ledger.held(Resource::LockedPages), sum(AddressSpace::locked_pages));
            prop_assert_eq!(ledger.held(Resource::KernelMemory), sum(|space| space.resident().tables * PAGE));
            let mapped = |space: &AddressSpace| {
                let resident = space.resident();
                resident.anonymous + resident.file + resident.shared
            };
            prop_assert_eq!(ledger.held(Resource::PhysicalPages), sum(mapped));
        }
        drop((space, child));
        prop_assert_eq!(all(&ledger), NOTHING);
    }
}
