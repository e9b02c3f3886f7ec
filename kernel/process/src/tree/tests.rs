//! Tests of the tree of tasks.

use super::*;
use proptest::prelude::*;

#[derive(Clone)]
struct Member(Arc<Kinship>);

impl Kin for Member {
    fn kinship(&self) -> &Kinship {
        &self.0
    }
}

fn pid(number: i32) -> Pid {
    Pid::new(number)
}

/// A tree in which 1 is init and each pair is (child, parent), all in session and group 1 at first.
fn tree(pairs: &[(i32, i32)]) -> Tree<Member, i32> {
    let mut tree = Tree::new(32768);
    for &(child, parent) in [(1, 0)].iter().chain(pairs) {
        assert_eq!(tree.reserve(), Ok(pid(child)), "numbers must be given in order");
        tree.add_task(pid(child), child);
        tree.add_process(Member(Arc::new(Kinship::new(pid(child), pid(parent), pid(1), pid(1)))));
    }
    tree
}

#[test]
fn a_number_comes_back_only_after_all_others() {
    let mut tree: Tree<Member, i32> = Tree::new(302);
    for number in 1..=302 {
        assert_eq!(tree.reserve(), Ok(pid(number)));
    }
    assert_eq!(tree.reserve(), Err(Errno::EAGAIN));
    tree.give_back(pid(5));
    tree.give_back(pid(301));
    assert_eq!(tree.reserve(), Ok(pid(301)));
    assert_eq!(tree.reserve(), Ok(pid(5)));
    assert_eq!(tree.reserve(), Err(Errno::EAGAIN));
}

#[test]
fn a_wanted_number_is_given_once_and_moves_nobody_else() {
    let mut tree = tree(&[(2, 1)]);
    assert_eq!(tree.reserve_this(pid(2)), Err(Errno::EEXIST));
    assert_eq!(tree.reserve_this(pid(4)), Ok(()));
    assert_eq!(tree.reserve_this(pid(4)), Err(Errno::EEXIST));
    assert_eq!([tree.reserve(), tree.reserve()], [Ok(pid(3)), Ok(pid(5))]);
    tree.give_back(pid(4));
    assert_eq!(tree.reserve_this(pid(4)), Ok(()));
}

#[test]
fn a_number_stays_taken_while_a_group_has_it() {
    let mut tree = tree(&[(2, 1), (3, 2)]);
    tree.new_session(pid(2)).unwrap();
    tree.set_group(pid(2), pid(3), pid(0)).unwrap_err(); // 3 is in another session
    let mut tree = self::tree(&[(2, 1), (3, 2)]);
    tree.set_group(pid(2), pid(2), pid(0)).unwrap();
    tree.set_group(pid(2), pid(3), pid(2)).unwrap();
    tree.orphan(pid(2));
    tree.remove_task(pid(2));
    tree.remove_process(pid(2));
    assert!(tree.process(pid(2)).is_none());
    assert_eq!(tree.group(pid(2)).len(), 1);
    tree.last = 1;
    assert_eq!(tree.reserve(), Ok(pid(4)));
}

#[test]
fn a_new_process_has_the_relations_that_its_maker_has_when_it_is_entered() {
    let mut tree = tree(&[(2, 1), (3, 2)]);
    let maker = tree.process(pid(3)).unwrap().clone();
    let start = |number| Member(Arc::new(Kinship::new(pid(number), pid(2), pid(1), pid(1))));
    let (sibling, child) = (start(4), start(5));
    assert_eq!([tree.reserve(), tree.reserve()], [Ok(pid(4)), Ok(pid(5))]);
    // Their maker's parent ends meanwhile, and the maker gets a group of its own.
    tree.orphan(pid(2));
    tree.remove_process(pid(2));
    tree.set_group(pid(3), pid(3), pid(0)).unwrap();
    tree.add_relative(sibling, &maker, true);
    tree.add_relative(child, &maker, false);
    let parent_and_group =
        |tree: &Tree<Member, i32>, number| tree.process(pid(number)).map(|it| (it.0.parent(), it.0.group()));
    assert_eq!(parent_and_group(&tree, 4), Some((pid(1), pid(3))));
    assert_eq!(parent_and_group(&tree, 5), Some((pid(3), pid(3))));
    assert_eq!(tree.orphan(pid(1)).len(), 0, "init gives its children to nobody");
    assert_eq!(tree.orphan(pid(3)).len(), 1);
}

#[test]
fn orphans_go_to_the_nearest_subreaper_else_to_init() {
    let mut tree = tree(&[(2, 1), (3, 2), (4, 3), (5, 4)]);
    tree.process(pid(2)).unwrap().kinship().subreaper.store(true, Relaxed);
    assert_eq!(tree.orphan(pid(4)).len(), 1);
    assert_eq!(tree.process(pid(5)).unwrap().kinship().parent(), pid(2));
    tree.process(pid(2)).unwrap().kinship().exiting.store(true, Relaxed);
    tree.orphan(pid(2));
    assert_eq!(tree.process(pid(5)).unwrap().kinship().parent(), pid(1));
    assert_eq!(tree.children(pid(1)).len(), 3);
}

#[test]
fn a_group_leader_can_not_start_a_session() {
    let mut tree = tree(&[(2, 1), (3, 2)]);
    assert_eq!(tree.new_session(pid(1)), Err(Errno::EPERM));
    tree.set_group(pid(2), pid(0), pid(0)).unwrap();
    assert_eq!(tree.new_session(pid(2)), Err(Errno::EPERM));
    assert_eq!(tree.new_session(pid(3)), Ok(pid(3)));
    assert_eq!(tree.set_group(pid(3), pid(0), pid(0)), Err(Errno::EPERM));
}

#[test]
fn set_group_has_linux_errors() {
    let mut tree = tree(&[(2, 1), (3, 2), (4, 1)]);
    assert_eq!(tree.set_group(pid(2), pid(3), pid(-1)), Err(Errno::EINVAL));
    assert_eq!(tree.set_group(pid(2), pid(4), pid(0)), Err(Errno::ESRCH));
    assert_eq!(tree.set_group(pid(2), pid(99), pid(0)), Err(Errno::ESRCH));
    assert_eq!(tree.set_group(pid(2), pid(3), pid(77)), Err(Errno::EPERM));
    tree.process(pid(3)).unwrap().kinship().executed.store(true, Relaxed);
    assert_eq!(tree.set_group(pid(2), pid(3), pid(0)), Err(Errno::EACCES));
    assert_eq!(tree.set_group(pid(3), pid(0), pid(0)), Ok(()));
}

#[test]
fn a_group_is_orphaned_once_its_shell_is_gone() {
    let mut tree = tree(&[(2, 1), (3, 2)]);
    tree.new_session(pid(2)).unwrap();
    let mut add = Kinship::new(pid(4), pid(2), pid(2), pid(2));
    add.pid = tree.reserve().unwrap();
    tree.add_process(Member(Arc::new(add)));
    tree.set_group(pid(2), pid(4), pid(0)).unwrap();
    assert!(!tree.is_orphaned(pid(4), None));
    tree.orphan(pid(2));
    assert!(tree.is_orphaned(pid(4), None));
}

proptest! {
    /// Births and deaths in any order leave no number behind.
    #[test]
    fn after_all_are_gone_every_number_is_free(order in Just((2..40).collect::<Vec<i32>>()).prop_shuffle(),
                                               sessions in proptest::collection::vec(2..40i32, 0..20)) {
        let pairs: Vec<(i32, i32)> = (2..40).map(|number| (number, number / 2)).collect();
        let mut tree = tree(&pairs);
        for number in sessions {
            let _ = tree.new_session(pid(number));
            let _ = tree.set_group(pid(number / 2), pid(number), pid(0));
        }
        for number in order {
            tree.orphan(pid(number));
            tree.remove_task(pid(number));
            tree.remove_process(pid(number));
        }
        prop_assert_eq!(tree.slots.values_from(0).count(), 1);
        prop_assert_eq!(tree.task_count(), 1);
        prop_assert!(tree.children(pid(1)).is_empty());
    }
}

#[test]
fn tracees_are_kept_beside_children_until_they_are_taken_out() {
    let mut tree = tree(&[(2, 1), (3, 1)]);
    tree.add_tracee(pid(2), 3);
    tree.add_tracee(pid(2), 7);
    assert_eq!((tree.tracees(pid(2)), tree.children(pid(2)).len()), (&[3, 7][..], 0));
    tree.remove_tracee(pid(2), |&tracee| tracee == 3);
    tree.remove_tracee(pid(1), |_| true);
    assert_eq!(tree.tracees(pid(2)), [7]);
    assert!(tree.tracees(pid(9)).is_empty(), "nobody");
}
