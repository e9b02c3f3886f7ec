//! Rules written to a small tree, and what tasks inside may then do.

use crate::world::World;
use base::{
    Errno,
    device::{Device, DeviceAccess, DeviceKind},
};
use proptest::prelude::*;
use std::{format, string::String, vec::Vec};

const NULL: Device = Device { kind: DeviceKind::Character, major: 1, minor: 3 };
const ZERO: Device = Device { kind: DeviceKind::Character, major: 1, minor: 5 };
const DISK: Device = Device { kind: DeviceKind::Block, major: 8, minor: 0 };

fn world() -> World {
    World::with("devices").mkdir("/a").mkdir("/a/b")
}

fn allow(world: &World, path: &str, rule: &str) -> Result<(), Errno> {
    world.write(path, "devices.allow", rule)
}

fn deny(world: &World, path: &str, rule: &str) -> Result<(), Errno> {
    world.write(path, "devices.deny", rule)
}

fn list(world: &World, path: &str) -> String {
    world.read(path, "devices.list")
}

#[test]
fn everything_is_allowed_at_first() {
    let world = world();
    let task = world.spawn_in("/a/b");
    assert_eq!(list(&world, "/a/b"), "a *:* rwm\n");
    assert_eq!(world.device_access(&task, &DISK, DeviceAccess::all()), Ok(()));
}

#[test]
fn a_device_can_be_taken_out_of_all() {
    let world = world();
    let (inside, outside) = (world.spawn_in("/a/b"), world.spawn_in("/"));
    deny(&world, "/a", "c 1:* w").unwrap();
    assert_eq!(world.device_access(&inside, &NULL, DeviceAccess::READ), Ok(()));
    assert_eq!(world.device_access(&inside, &NULL, DeviceAccess::READ | DeviceAccess::WRITE), Err(Errno::EPERM));
    assert_eq!(world.device_access(&inside, &DISK, DeviceAccess::WRITE), Ok(()));
    assert_eq!(world.device_access(&outside, &NULL, DeviceAccess::WRITE), Ok(()));
    // Exceptions to "all" are not shown.
    assert_eq!(list(&world, "/a/b"), "a *:* rwm\n");
    assert_eq!(allow(&world, "/a/b", "c 1:3 w"), Err(Errno::EPERM));
    assert_eq!(allow(&world, "/a", "c 1:* w"), Ok(()));
    assert_eq!(world.device_access(&inside, &NULL, DeviceAccess::WRITE), Err(Errno::EPERM), "below it stays");
    assert_eq!(allow(&world, "/a/b", "c 1:* w"), Ok(()));
    assert_eq!(world.device_access(&inside, &NULL, DeviceAccess::WRITE), Ok(()));
}

#[test]
fn nothing_but_a_list_can_be_allowed() {
    let world = World::with("devices").mkdir("/a");
    let task = world.spawn_in("/a");
    deny(&world, "/a", "a").unwrap();
    assert_eq!(list(&world, "/a"), "");
    assert_eq!(world.device_access(&task, &NULL, DeviceAccess::READ), Err(Errno::EPERM));
    allow(&world, "/a", "c 1:3 r").unwrap();
    allow(&world, "/a", "b 8:* rwm").unwrap();
    allow(&world, "/a", "c 1:3 w").unwrap();
    assert_eq!(list(&world, "/a"), "c 1:3 rw\nb 8:* rwm\n");
    assert_eq!(world.device_access(&task, &NULL, DeviceAccess::READ | DeviceAccess::WRITE), Ok(()));
    assert_eq!(world.device_access(&task, &NULL, DeviceAccess::MAKE), Err(Errno::EPERM));
    assert_eq!(world.device_access(&task, &ZERO, DeviceAccess::READ), Err(Errno::EPERM));
    assert_eq!(world.device_access(&task, &DISK, DeviceAccess::MAKE), Ok(()));
    deny(&world, "/a", "c 1:3 rm").unwrap();
    assert_eq!(list(&world, "/a"), "c 1:3 w\nb 8:* rwm\n");
    allow(&world, "/a", "a").unwrap();
    assert_eq!(list(&world, "/a"), "a *:* rwm\n");
}

#[test]
fn a_child_begins_with_its_parents_rules_and_loses_what_that_loses() {
    let world = World::with("devices").mkdir("/a");
    deny(&world, "/a", "a").unwrap();
    allow(&world, "/a", "c 1:* rw").unwrap();
    let world = world.mkdir("/a/b");
    assert_eq!(list(&world, "/a/b"), "c 1:* rw\n");
    assert_eq!(allow(&world, "/a/b", "c 1:3 m"), Err(Errno::EPERM));
    assert_eq!(allow(&world, "/a/b", "c *:3 r"), Err(Errno::EPERM));
    allow(&world, "/a/b", "c 1:3 r").unwrap();
    deny(&world, "/a", "c 1:* w").unwrap();
    assert_eq!(list(&world, "/a/b"), "c 1:* r\nc 1:3 r\n");
    deny(&world, "/a", "c 1:* r").unwrap();
    assert_eq!(list(&world, "/a/b"), "");
}

#[test]
fn all_or_nothing_is_decided_before_there_are_children() {
    let world = world();
    assert_eq!(deny(&world, "/a", "a"), Err(Errno::EINVAL));
    assert_eq!(allow(&world, "/a", "a"), Err(Errno::EINVAL));
    world.rmdir("/a/b").unwrap();
    deny(&world, "/a", "a").unwrap();
    let world = world.mkdir("/a/b");
    assert_eq!(allow(&world, "/a/b", "a"), Err(Errno::EPERM));
}

#[test]
fn rules_are_for_who_has_the_capability() {
    let world = world();
    let weak = world.spawn_in("/");
    weak.lose_capabilities();
    for file in ["devices.allow", "devices.deny"] {
        assert_eq!(world.write_as(&weak, "/a", file, "c 1:3 r"), Err(Errno::EPERM));
        assert_eq!(world.write_as(&weak, "/a", file, "nonsense"), Err(Errno::EPERM));
        assert_eq!(world.write("/a", file, "nonsense"), Err(Errno::EINVAL));
    }
    assert_eq!(world.write("/a", "devices.list", "a"), Err(Errno::EINVAL));
}

proptest! {
    /// Whatever was written: what a child may, its parent may.
    #[test]
    fn a_child_never_has_more_than_its_parent(
        steps in proptest::collection::vec((any::<bool>(), 0usize..3, 0usize..4, 0usize..4, 1usize..8), 1..40),
    ) {
        const PATHS: [&str; 3] = ["/", "/a", "/a/b"];
        let mut world = World::with("devices").mkdir("/a");
        let mut made = false;
        for (allows, place, major, minor, access) in steps {
            if PATHS[place] == "/a/b" && !made {
                world = world.mkdir("/a/b");
                made = true;
            }
            let star = |number: usize| if number == 0 { "*".into() } else { format!("{number}") };
            let letters: String = "rwm".chars().enumerate().filter(|(bit, _)| access >> bit & 1 == 1).map(|(_, l)| l).collect();
            let rule = if major == 3 { "a".into() } else { format!("c {}:{} {letters}", star(major), star(minor)) };
            let _ = if allows { allow(&world, PATHS[place], &rule) } else { deny(&world, PATHS[place], &rule) };
            let tasks: Vec<_> = PATHS.iter().filter(|path| world.exists(path)).map(|path| world.spawn_in(path)).collect();
            for major in 1..4 {
                for minor in 1..4 {
                    for access in [DeviceAccess::READ, DeviceAccess::WRITE, DeviceAccess::MAKE] {
                        let device = Device { kind: DeviceKind::Character, major, minor };
                        let may: Vec<_> =
                            tasks.iter().map(|task| world.device_access(task, &device, access).is_ok()).collect();
                        prop_assert!(may.windows(2).all(|pair| pair[0] >= pair[1]), "{device:?} {access:?} {may:?}");
                    }
                }
            }
            tasks.iter().for_each(|task| world.exit(task));
        }
    }
}
