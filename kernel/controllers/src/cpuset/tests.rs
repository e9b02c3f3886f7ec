//! The rules of cpuset, in a world of four CPUs and two nodes.

use super::follow_machine;
use crate::world::{World, domains};
use base::{CpuId, Errno};

fn world() -> World {
    // 4 CPUs and 2 nodes
    World::with("cpuset").mkdir("/a").mkdir("/a/b").mkdir("/c")
}

fn give(world: &World, path: &str, cpus: &str, mems: &str) {
    world.write(path, "cpuset.cpus", cpus).unwrap();
    world.write(path, "cpuset.mems", mems).unwrap();
}

#[test]
fn the_root_has_the_whole_machine_and_a_child_begins_with_nothing() {
    let world = world();
    assert_eq!((world.read("/", "cpuset.cpus"), world.read("/", "cpuset.mems")), ("0-3\n".into(), "0-1\n".into()));
    assert_eq!((world.read("/a", "cpuset.cpus"), world.read("/a", "cpuset.mems")), ("\n".into(), "\n".into()));
    assert_eq!(
        (world.read("/", "cpuset.cpu_exclusive"), world.read("/a", "cpuset.cpu_exclusive")),
        ("1\n".into(), "0\n".into())
    );
}

#[test]
fn a_task_that_comes_in_runs_exactly_on_the_containers_cpus() {
    let world = world();
    give(&world, "/a", "2-3", "1");
    let task = world.spawn_in("/");
    world.attach("/a", &task).unwrap();
    assert_eq!((task.cpus(), task.nodes()), ("2-3".into(), "1".into()));
    world.attach("/", &task).unwrap();
    assert_eq!((task.cpus(), task.nodes()), ("0-3".into(), "0-1".into()));
}

#[test]
fn a_move_between_equal_sets_leaves_nothing_as_it_was_before() {
    let world = world();
    give(&world, "/a", "2-3", "1");
    give(&world, "/c", "2-3", "1");
    let task = world.spawn_in("/a");
    // What the task chose itself is forgotten.
    task.choose_cpus("3");
    world.attach("/c", &task).unwrap();
    assert_eq!(task.cpus(), "2-3");
    // Whoever is there already is told of what comes later, its children too.
    world.attach("/a", &task).unwrap();
    world.write("/a", "cpuset.cpus", "0-1").unwrap();
    assert_eq!((task.cpus(), world.fork(&task).unwrap().cpus()), ("0-1".into(), "0-1".into()));
    // Equal are only containers that have all in common.
    give(&world, "/c", "0-1", "1");
    world.write("/c", "cpuset.memory_spread_page", "1").unwrap();
    world.attach("/c", &task).unwrap();
    assert_eq!(task.spreads(), [true, false]);
    world.write("/a", "cpuset.mem_hardwall", "1").unwrap();
    world.attach("/a", &task).unwrap();
    assert_eq!((task.spreads(), task.kernel_nodes()), ([false, false], "1".into()));
}

/// Fails on a version in which the copied sets are not a change: neither the child nor its parent has seen one.
#[test]
fn who_is_born_into_a_container_with_copied_sets_obeys_them() {
    let world = world();
    give(&world, "/a", "2-3", "1");
    world.write("/a", "cgroup.clone_children", "1").unwrap();
    world.try_mkdir("/a/c").unwrap();
    let parent = world.spawn_in("/");
    let child = world.fork_into(&parent, "/a/c").unwrap();
    assert_eq!((child.cpus(), child.nodes()), ("2-3".into(), "1".into()));
}

#[test]
fn new_mems_leave_the_cpus_that_a_task_chose() {
    let world = world();
    give(&world, "/a", "2-3", "1");
    let task = world.spawn_in("/");
    world.attach("/a", &task).unwrap();
    task.choose_cpus("3");
    world.write("/a", "cpuset.mems", "0-1").unwrap();
    assert_eq!((task.cpus(), task.nodes()), ("3".into(), "0-1".into()));
    world.write("/a", "cpuset.cpus", "1-3").unwrap();
    assert_eq!(task.cpus(), "1-3");
}

#[test]
fn pages_move_with_mems_and_with_the_leader_if_memory_migrate_says_so() {
    let world = world();
    give(&world, "/a", "0-1", "0");
    give(&world, "/c", "2-3", "1");
    let task = world.spawn_in("/");
    world.attach("/a", &task).unwrap();
    assert_eq!(task.moves(), [""; 0]);
    for path in ["/a", "/c"] {
        world.write(path, "cpuset.memory_migrate", "1").unwrap();
        assert_eq!(world.read(path, "cpuset.memory_migrate"), "1\n");
    }
    world.write("/a", "cpuset.mems", "0-1").unwrap();
    world.write("/a", "cpuset.mems", "1").unwrap();
    assert_eq!(task.moves(), ["0 to 0-1", "0-1 to 1"]);
    world.write("/a", "cpuset.mems", "0").unwrap();
    world.attach("/c", &task).unwrap();
    assert_eq!(task.moves(), ["1 to 0", "0 to 1"]);
    world.write("/c", "cpuset.cpus", "2").unwrap();
    world.attach("/", &task).unwrap();
    assert_eq!(task.moves(), [""; 0]);
}

#[test]
fn policies_of_memory_follow_new_mems() {
    let world = world();
    give(&world, "/a", "0-1", "0");
    give(&world, "/c", "2-3", "0");
    let task = world.spawn_in("/");
    world.attach("/a", &task).unwrap();
    assert_eq!(task.rebinds(), ["0"]);
    world.attach("/c", &task).unwrap();
    world.write("/c", "cpuset.cpus", "2").unwrap();
    assert_eq!(task.rebinds(), [""; 0]);
    world.write("/c", "cpuset.mems", "1").unwrap();
    world.attach("/", &task).unwrap();
    assert_eq!(task.rebinds(), ["1", "0-1"]);
}

#[test]
fn memory_for_the_kernels_needs_stops_at_the_nearest_wall() {
    let world = world();
    give(&world, "/a", "0-3", "0-1");
    give(&world, "/a/b", "0-3", "1");
    let task = world.spawn_in("/");
    world.attach("/a/b", &task).unwrap();
    assert_eq!((task.nodes(), task.kernel_nodes()), ("1".into(), "0-1".into()));
    world.write("/a/b", "cpuset.mem_hardwall", "1").unwrap();
    assert_eq!(task.kernel_nodes(), "1");
    world.write("/a/b", "cpuset.mem_hardwall", "0").unwrap();
    assert_eq!(task.kernel_nodes(), "0-1");
    // A wall above holds below, and moves with its nodes; mem_exclusive is one.
    world.attach("/", &task).unwrap();
    world.write("/a", "cpuset.mems", "1").unwrap();
    world.attach("/a/b", &task).unwrap();
    assert_eq!(task.kernel_nodes(), "0-1");
    world.write("/a", "cpuset.mem_exclusive", "1").unwrap();
    let child = world.fork(&task).unwrap();
    assert_eq!((task.kernel_nodes(), child.kernel_nodes()), ("1".into(), "1".into()));
    world.write("/a", "cpuset.mems", "0-1").unwrap();
    assert_eq!((task.kernel_nodes(), task.nodes()), ("0-1".into(), "1".into()));
}

#[test]
fn spreading_is_inherited_and_reaches_tasks_at_once() {
    let mut world = world();
    give(&world, "/a", "0-3", "0-1");
    let task = world.spawn_in("/");
    world.attach("/a", &task).unwrap();
    let files = ["cpuset.memory_spread_page", "cpuset.memory_spread_slab"];
    for (file, child, spread) in [(files[0], "/a/d", [true, false]), (files[1], "/a/e", [false, true])] {
        world.write("/a", file, "1").unwrap();
        assert_eq!(task.spreads(), spread);
        world = world.mkdir(child);
        let shown = |container| files.map(|file| world.read(container, file));
        assert_eq!(shown(child), spread.map(|flag| std::format!("{}\n", u8::from(flag))));
        assert_eq!(shown("/a/b"), ["0\n", "0\n"]);
        world.write("/a", file, "0").unwrap();
        assert_eq!(task.spreads(), [false, false]);
    }
}

#[test]
fn pressure_is_read_only_and_measured_where_the_root_says_so() {
    let world = world();
    assert_eq!(world.read("/a", "cpuset.memory_pressure"), "0\n");
    assert_eq!(world.write("/a", "cpuset.memory_pressure", "1"), Err(Errno::EINVAL));
    assert!(
        world.has_file("/", "cpuset.memory_pressure_enabled")
            && !world.has_file("/a", "cpuset.memory_pressure_enabled")
    );
}

#[test]
fn no_task_comes_into_an_empty_set() {
    let world = world();
    let task = world.spawn_in("/");
    assert_eq!(world.attach("/a", &task), Err(Errno::ENOSPC));
    world.write("/a", "cpuset.cpus", "0").unwrap();
    assert_eq!(world.attach("/a", &task), Err(Errno::ENOSPC));
    world.write("/a", "cpuset.mems", "0").unwrap();
    assert_eq!(world.attach("/a", &task), Ok(()));
}

#[test]
fn a_change_reaches_every_task_inside_before_the_write_returns() {
    let world = world();
    give(&world, "/a", "0-1", "0");
    let one = world.spawn_in("/");
    world.attach("/a", &one).unwrap();
    let two = world.fork(&one).unwrap();
    assert_eq!(two.cpus(), "0-1");
    world.write("/a", "cpuset.cpus", "3").unwrap();
    world.write("/a", "cpuset.mems", "1").unwrap();
    for task in [&one, &two] {
        assert_eq!((task.cpus(), task.nodes()), ("3".into(), "1".into()));
    }
}

#[test]
fn a_child_born_during_a_change_obeys_it() {
    let world = world();
    give(&world, "/a", "0-1", "0");
    let parent = world.spawn_in("/");
    world.attach("/a", &parent).unwrap();
    let narrow = || world.write("/a", "cpuset.cpus", "1").unwrap();
    // by another thread, since this one is in the middle of a fork
    let meanwhile = || std::thread::scope(|scope| scope.spawn(narrow).join().unwrap());
    let child = world.fork_with(&parent, meanwhile).unwrap();
    assert_eq!(child.cpus(), "1");
}

#[test]
fn each_wrong_list_has_its_errno() {
    let world = world();
    for (text, errno) in
        [("x", Errno::EINVAL), ("3-1", Errno::EINVAL), ("4", Errno::ERANGE), ("99999999999", Errno::EOVERFLOW)]
    {
        assert_eq!(world.write("/a", "cpuset.cpus", text), Err(errno), "{text}");
    }
    assert_eq!(world.write("/", "cpuset.cpus", "0"), Err(Errno::EACCES));
    assert_eq!(world.write("/a", "cpuset.effective_cpus", "0"), Err(Errno::EINVAL));
    assert_eq!(world.read("/a", "cpuset.cpus"), "\n");
}

#[test]
fn a_child_stays_within_its_parent() {
    let world = world();
    give(&world, "/a", "0-1", "0");
    assert_eq!(world.write("/a/b", "cpuset.cpus", "1-2"), Err(Errno::EACCES));
    world.write("/a/b", "cpuset.cpus", "1").unwrap();
    assert_eq!(world.write("/a", "cpuset.cpus", "0"), Err(Errno::EBUSY));
    assert_eq!(world.write("/a", "cpuset.cpus", "1-3"), Ok(()));
}

#[test]
fn an_exclusive_container_shares_nothing_with_siblings() {
    let world = world();
    give(&world, "/a", "0-1", "0");
    give(&world, "/c", "1-2", "0");
    assert_eq!(world.write("/a", "cpuset.cpu_exclusive", "1"), Err(Errno::EINVAL));
    world.write("/c", "cpuset.cpus", "2").unwrap();
    world.write("/a", "cpuset.cpu_exclusive", "1").unwrap();
    assert_eq!(world.write("/c", "cpuset.cpus", "1"), Err(Errno::EINVAL));
    world.write("/a/b", "cpuset.cpu_exclusive", "1").unwrap();
    assert_eq!(world.write("/a", "cpuset.cpu_exclusive", "0"), Err(Errno::EBUSY));
    world.write("/a/b", "cpuset.cpu_exclusive", "0").unwrap();
    world.write("/a", "cpuset.cpu_exclusive", "0").unwrap();
    assert_eq!(world.write("/a/b", "cpuset.cpu_exclusive", "1"), Err(Errno::EACCES));
}

/// The deadlock of 2006, whose removal of an exclusive cpuset changed the flag as a write does. Fails on a version in
/// which `offline` takes what rmdir holds: *manage*, or a container's lock.
#[test]
fn an_exclusive_container_can_be_removed_and_leaves_nothing_taken() {
    let world = world();
    give(&world, "/a", "0-1", "0");
    give(&world, "/c", "2", "1");
    for flag in ["cpuset.cpu_exclusive", "cpuset.mem_exclusive"] {
        world.write("/a", flag, "1").unwrap();
    }
    assert_eq!(world.write("/c", "cpuset.cpus", "0-3"), Err(Errno::EINVAL));
    world.rmdir("/a/b").unwrap();
    world.rmdir("/a").unwrap();
    assert_eq!(world.write("/c", "cpuset.cpus", "0-3"), Ok(()));
    assert_eq!(world.write("/c", "cpuset.mems", "0-1"), Ok(()));
    assert_eq!(world.write("/c", "cpuset.cpu_exclusive", "1"), Ok(()));
}

#[test]
fn a_set_with_tasks_inside_does_not_become_empty() {
    let world = world();
    give(&world, "/a", "0", "0");
    let task = world.spawn_in("/");
    world.attach("/a", &task).unwrap();
    assert_eq!(world.write("/a", "cpuset.cpus", " "), Err(Errno::ENOSPC));
    assert_eq!(world.write("/a", "cpuset.mems", "\n"), Err(Errno::ENOSPC));
    world.exit(&task);
    assert_eq!(world.write("/a", "cpuset.cpus", " "), Ok(()));
}

fn take_offline(world: &World, number: u32) {
    machine::cpu::withdraw(CpuId::new(number));
    follow_machine(world.framework());
}

#[test]
fn a_cpu_that_goes_offline_leaves_every_set() {
    let world = world();
    give(&world, "/a", "1-3", "0");
    give(&world, "/a/b", "2-3", "0");
    let task = world.spawn_in("/a/b");
    take_offline(&world, 3);
    for (path, cpus) in [("/", "0-2\n"), ("/a", "1-2\n"), ("/a/b", "2\n"), ("/c", "\n")] {
        assert_eq!(world.read(path, "cpuset.cpus"), cpus, "{path}");
    }
    assert_eq!(task.cpus(), "2");
    assert_eq!(world.write("/c", "cpuset.cpus", "3"), Err(Errno::EINVAL));
    come_back(&world, 3);
    assert_eq!((world.read("/", "cpuset.cpus"), world.read("/a", "cpuset.cpus")), ("0-3\n".into(), "1-2\n".into()));
}

#[test]
fn tasks_of_a_container_that_lost_its_last_cpu_move_to_the_nearest_one_that_has_some() {
    let world = world().mkdir("/a/b/c");
    give(&world, "/a", "2-3", "1");
    give(&world, "/a/b", "3", "1");
    give(&world, "/a/b/c", "3", "1");
    let tasks = [world.spawn_in("/a/b/c"), world.spawn_in("/a/b/c"), world.spawn_in("/a/b")];
    take_offline(&world, 3);
    assert_eq!((world.tasks_in("/a/b/c"), world.tasks_in("/a/b"), world.tasks_in("/a")), (0, 0, 3));
    assert!(tasks.iter().all(|task| task.cpus() == "2"));
    take_offline(&world, 2);
    assert_eq!((world.tasks_in("/a"), world.read("/a", "cpuset.cpus")), (0, "\n".into()));
    assert!(tasks.iter().all(|task| task.cpus() == "0-3"));
}

#[test]
fn a_task_of_the_root_forgets_a_wish_for_nothing_but_a_cpu_that_left() {
    let world = world();
    let (one, two) = (world.spawn_in("/"), world.spawn_in("/"));
    one.choose_cpus("3");
    two.choose_cpus("2-3");
    take_offline(&world, 3);
    assert_eq!((one.cpus(), two.cpus()), ("0-3".into(), "2-3".into()));
}

fn come_back(world: &World, number: u32) {
    machine::host::set_cpu(CpuId::new(number));
    machine::cpu::unpark(&machine::interrupts::off());
    machine::host::set_cpu(CpuId::new(0));
    follow_machine(world.framework());
}

#[test]
fn a_stronger_task_is_not_moved_without_the_right_to() {
    let world = world();
    give(&world, "/a", "0", "0");
    let strong = world.spawn_in("/");
    let weak = world.spawn_in("/");
    weak.lose_capabilities();
    assert_eq!(world.attach_as(&weak, "/a", &strong), Err(Errno::EPERM));
    assert_eq!(world.attach_as(&weak, "/a", &weak), Ok(()));
}

#[test]
fn a_task_comes_where_there_is_time_for_what_it_has_reserved() {
    let world = world();
    give(&world, "/a", "0", "0");
    give(&world, "/c", "1-2", "0");
    let task = world.spawn_in("/");
    task.reserve();
    assert_eq!(world.attach("/a", &task), Err(Errno::EBUSY));
    assert_eq!(task.cpus(), "0-3");
    assert_eq!(world.attach("/c", &task), Ok(()));
    assert_eq!(task.cpus(), "1-2");
}

#[test]
fn a_set_of_its_own_keeps_the_cpus_that_reservations_need() {
    let world = world();
    give(&world, "/a", "1-2", "0");
    world.write("/a", "cpuset.cpus", "1").unwrap();
    world.write("/a", "cpuset.cpus", "1-2").unwrap();
    world.write("/a", "cpuset.cpu_exclusive", "1").unwrap();
    assert_eq!(world.write("/a", "cpuset.cpus", "1"), Err(Errno::EBUSY));
    assert_eq!(world.read("/a", "cpuset.cpus"), "1-2\n");
    assert_eq!(world.write("/a", "cpuset.cpus", "1-3"), Ok(()));
}

#[test]
fn domains_are_the_groups_of_overlapping_sets_with_the_flag() {
    let world = world();
    world.write("/", "cpuset.sched_relax_domain_level", "2").unwrap();
    assert_eq!(domains(), "0-3 to 2");
    give(&world, "/a", "0-1", "0");
    give(&world, "/c", "1-2", "0");
    world.write("/", "cpuset.sched_load_balance", "0").unwrap();
    assert_eq!(domains(), "0-2 to 5");
    world.write("/c", "cpuset.cpus", "2-3").unwrap();
    world.write("/c", "cpuset.sched_relax_domain_level", "0").unwrap();
    assert_eq!(domains(), "0-1 to 5; 2-3 to 0");
    world.write("/a", "cpuset.sched_load_balance", "0").unwrap();
    assert_eq!(domains(), "2-3 to 0");
    world.rmdir("/c").unwrap();
    assert_eq!(domains(), "");
    world.write("/", "cpuset.sched_load_balance", "1").unwrap();
    assert_eq!(domains(), "0-3 to 2");
    for wrong in ["-2", "6", "x"] {
        assert_eq!(world.write("/a", "cpuset.sched_relax_domain_level", wrong), Err(Errno::EINVAL), "{wrong}");
    }
}
