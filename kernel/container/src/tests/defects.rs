//! What went wrong in the code of 2006, as far as one task at a time shows it. Its races are in `loom.rs` and
//! `tests/races.rs`, the deadlock of exclusive cpusets and the overshoot of limits with the controllers.

use super::{
    rules::{mkdir, mount, task},
    world::{framework, read, write},
};
use crate::{Framework, MAX_HIERARCHIES, Mounted};
use alloc::vec::Vec;
use base::{Credentials, Errno};
use machine::sync::Arc;

/// Slot lost after a failed mount. Fails on a version in which `new_hierarchy` takes the number before its last check, or
/// in which a reference that a refused mount took is not given back.
#[test]
fn a_mount_that_fails_takes_no_number() {
    let (framework, ..) = framework();
    let nobody = Credentials { effective: base::Capabilities::empty(), ..Credentials::root() };
    let refused = |framework: &Arc<Framework>| {
        for _ in 0..2 * MAX_HIERARCHIES {
            assert_eq!(mount(framework, "apples,name=other").err(), Some(Errno::EBUSY));
            assert_eq!(mount(framework, "bananas").err(), Some(Errno::EINVAL));
            assert_eq!(mount(framework, "apples,pears").err(), Some(Errno::EBUSY));
            let denied = framework.mount(crate::Dialect::Cgroup, b"pears", &nobody);
            assert_eq!(denied.err(), Some(Errno::EPERM));
        }
    };
    let first = mount(&framework, "apples").unwrap();
    refused(&framework);
    let rest: Vec<Mounted> = (2..MAX_HIERARCHIES)
        .map(|number| {
            let mounted = mount(&framework, &alloc::format!("none,name=n{number}")).unwrap();
            assert_eq!(mounted.hierarchy().number(), number);
            mounted
        })
        .collect();
    for _ in 0..2 * MAX_HIERARCHIES {
        assert_eq!(mount(&framework, "pears").err(), Some(Errno::ENOSPC));
    }
    drop((first, rest));
    // What a refused mount left behind would hold the number now.
    assert_eq!(mount(&framework, "pears").unwrap().hierarchy().number(), 1);
    assert_eq!(framework.active().len(), 0);
}

/// Registration against fork. Fails on a version in which a subsystem is not there when the first task begins: in which
/// `can_start` asks nobody, or the set that the first task is put into has no states.
#[test]
fn every_subsystem_knows_every_task_from_the_first_on() {
    let (framework, ..) = framework();
    let one = task(&framework, 1);
    let apples = mount(&framework, "apples").unwrap();
    let two = task(&framework, 2);
    let pears = mount(&framework, "pears").unwrap();
    for mounted in [&apples, &pears] {
        assert_eq!(read(&framework, mounted.root(), "tasks"), Ok("1\n2\n".into()));
    }
    assert_eq!(read(&framework, apples.root(), "apples.count"), Ok("2\n".into()));
    assert_eq!(read(&framework, pears.root(), "pears.count"), Ok("2\n".into()));
    let a = mkdir(&framework, apples.root(), "a");
    write(&framework, &a, "tasks", "0", &one).unwrap();
    framework.exit(&*one);
    framework.exit(&*two);
    for (container, file) in [(apples.root(), "apples.count"), (&a, "apples.count"), (pears.root(), "pears.count")] {
        assert_eq!(read(&framework, container, file), Ok("0\n".into()));
    }
}
