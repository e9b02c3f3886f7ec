//! The rules of the manual pages, and a model: what is done at once is done wholly or not at all.

use super::*;
use crate::ipc::testing::user;
use base::Errno;
use proptest::prelude::*;
use std::{sync::Arc, thread, vec, vec::Vec};

const CREATE: GetFlags = GetFlags::CREATE;
const NONE: GetFlags = GetFlags::empty();

fn semaphores() -> Semaphores {
    Semaphores::new(Budget::new(1 << 20))
}

fn add(index: u16, change: i16) -> Operation {
    Operation { index, change, no_wait: true, undo: false }
}

fn undone(index: u16, change: i16) -> Operation {
    Operation { undo: true, ..add(index, change) }
}

fn patient(index: u16, change: i16) -> Operation {
    Operation { no_wait: false, ..add(index, change) }
}

fn operate_as(all: &Semaphores, number: i32, operations: &[Operation], who: &Credentials) -> Result<(), Errno> {
    let who = Operator { credentials: who, pid: Pid::new(7), list: None };
    all.operate(number, operations.to_vec(), None, &who)
}

fn operate(all: &Semaphores, number: i32, operations: &[Operation]) -> Result<(), Errno> {
    operate_as(all, number, operations, &user(5, 5))
}

#[test]
fn sets_are_found_by_key_and_counted() {
    let (all, me) = (semaphores(), user(5, 5));
    assert_eq!(all.get(1, 1, NONE, 0o600, &me), Err(Errno::ENOENT));
    assert_eq!(all.get(1, 0, CREATE, 0o600, &me), Err(Errno::EINVAL));
    assert_eq!(all.get(1, -1, CREATE, 0o600, &me), Err(Errno::EINVAL));
    assert_eq!(all.get(1, 32_001, CREATE, 0o600, &me), Err(Errno::EINVAL));
    let number = all.get(1, 3, CREATE, 0o600, &me).unwrap();
    assert_eq!(all.get(1, 3, NONE, 0o600, &me), Ok(number));
    assert_eq!(all.get(1, 4, NONE, 0o600, &me), Err(Errno::EINVAL));
    assert_eq!(all.get(1, 4, CREATE | GetFlags::EXCLUSIVE, 0o600, &me), Err(Errno::EEXIST));
    assert_eq!(all.get(1, 0, NONE, 0o400, &user(6, 6)), Err(Errno::EACCES));
    assert_eq!(all.sums(), SemaphoreSums { sets: 1, semaphores: 3 });
    all.set_limits(SemaphoreLimits { all: 5, ..SemaphoreLimits::DEFAULT });
    assert_eq!(all.get(0, 3, NONE, 0o600, &me), Err(Errno::ENOSPC));
    all.set_limits(SemaphoreLimits { sets: 1, ..SemaphoreLimits::DEFAULT });
    assert_eq!(all.get(0, 1, NONE, 0o600, &me), Err(Errno::ENOSPC));
    all.set_limits(SemaphoreLimits { per_set: 1 << 30, ..SemaphoreLimits::DEFAULT });
    assert_eq!(all.get(0, 1 << 20, NONE, 0o600, &me), Err(Errno::ENOMEM));
    assert_eq!(all.remove(number, &user(6, 6)), Err(Errno::EPERM));
    assert_eq!(all.remove(number, &me), Ok(()));
    assert_eq!(all.remove(number, &me), Err(Errno::EINVAL));
    assert_eq!(all.sums(), SemaphoreSums::default());
}

#[test]
fn operations_are_done_together_or_not_at_all() {
    let (all, me) = (semaphores(), user(5, 5));
    let number = all.get(0, 2, NONE, 0o640, &me).unwrap();
    assert_eq!(operate(&all, number + 1, &[add(0, 1)]), Err(Errno::EINVAL));
    assert_eq!(operate(&all, number, &[add(0, 1), add(2, 1)]), Err(Errno::EFBIG));
    assert_eq!(operate_as(&all, number, &[add(0, 1)], &user(6, 5)), Err(Errno::EACCES));
    assert_eq!(operate_as(&all, number, &[add(0, 0)], &user(6, 5)), Ok(()), "a wait for zero only reads");
    assert_eq!(operate(&all, number, &[add(0, 2), add(1, -1)]), Err(Errno::EAGAIN));
    assert_eq!(all.values(number, &me).unwrap(), [0, 0]);
    assert_eq!(operate(&all, number, &[add(0, 2), add(0, -1), add(1, 5)]), Ok(()), "one after the other");
    assert_eq!(all.values(number, &me).unwrap(), [1, 5]);
    assert_eq!(operate(&all, number, &[add(1, 1), add(0, 32_767)]), Err(Errno::ERANGE));
    assert_eq!(operate(&all, number, &[add(0, 0)]), Err(Errno::EAGAIN));
    assert_eq!(all.ask(number, 1, Question::LastProcess, &me), Ok(7));
    assert_eq!(all.ask(number, 2, Question::Value, &me), Err(Errno::EINVAL));
    assert_eq!(all.set_value(number, 0, 32_768, &me), Err(Errno::ERANGE));
    assert_eq!(all.set_value(number, -1, 1, &me), Err(Errno::EINVAL));
    assert_eq!(all.set_values(number, &[1, 40_000], &me), Err(Errno::ERANGE));
    assert_eq!(all.set_values(number, &[9, 8], &me), Ok(()));
    assert_eq!(all.values(number, &me).unwrap(), [9, 8]);
}

#[test]
fn the_end_of_the_last_holder_takes_back_what_was_to_be_undone() {
    let (all, me) = (semaphores(), user(5, 5));
    let number = all.get(0, 3, NONE, 0o600, &me).unwrap();
    let list = UndoList::new();
    let operate = |operations: &[Operation]| {
        let who = Operator { credentials: &me, pid: Pid::new(7), list: Some(list.clone()) };
        all.operate(number, operations.to_vec(), None, &who)
    };
    assert_eq!(operate(&[undone(0, 4), undone(1, 2), add(2, 1)]), Ok(()));
    assert_eq!(operate(&[undone(0, -1), undone(1, -2), undone(2, -5)]), Err(Errno::EAGAIN), "nothing of it is noted");
    assert_eq!(operate(&[undone(0, -1)]), Ok(()));
    assert_eq!(all.set_value(number, 1, 6, &me), Ok(()), "forgets what was to be undone");
    let thread = list.clone();
    thread.leave(Pid::new(7));
    assert_eq!(all.values(number, &me).unwrap(), [3, 6, 1]);
    list.leave(Pid::new(8));
    assert_eq!(all.values(number, &me).unwrap(), [0, 6, 1]);
    assert_eq!(all.ask(number, 0, Question::LastProcess, &me), Ok(8));
    assert_eq!(all.ask(number, 1, Question::LastProcess, &me), Ok(0));
}

#[test]
fn what_is_undone_stays_in_range() {
    let (all, me) = (semaphores(), user(5, 5));
    let number = all.get(0, 1, NONE, 0o600, &me).unwrap();
    let list = UndoList::new();
    let who = Operator { credentials: &me, pid: Pid::new(7), list: Some(list.clone()) };
    assert_eq!(all.operate(number, vec![undone(0, 5)], None, &who), Ok(()));
    assert_eq!(operate(&all, number, &[add(0, -3)]), Ok(()));
    drop(who);
    list.leave(Pid::new(7));
    assert_eq!(all.values(number, &me).unwrap(), [0]);
    let list = UndoList::new();
    let who = Operator { credentials: &me, pid: Pid::new(7), list: Some(list) };
    for _ in 0..32_768 {
        assert!(all.operate(number, vec![add(0, 1), undone(0, -1)], None, &who).is_ok());
        if all.operate(number, vec![add(0, 1), undone(0, -1)], None, &who).is_err() {
            break;
        }
    }
    assert_eq!(all.operate(number, vec![add(0, 1), undone(0, -1)], None, &who), Err(Errno::ERANGE));
}

/// Waits until so many operations sleep on semaphore 0.
fn until_sleeping(all: &Semaphores, number: i32, for_zero: bool, count: i32) {
    let question = if for_zero { Question::WaitingForZero } else { Question::WaitingForMore };
    while all.ask(number, 0, question, &user(5, 5)) != Ok(count) {
        thread::yield_now();
    }
}

#[test]
fn sleepers_go_on_in_their_order_and_those_for_zero_first() {
    let (all, me) = (Arc::new(semaphores()), user(5, 5));
    let number = all.get(0, 2, NONE, 0o600, &me).unwrap();
    let order = Arc::new(std::sync::Mutex::new(Vec::new()));
    let start = |name: &'static str, operations: Vec<Operation>| {
        let (all, order) = (all.clone(), order.clone());
        thread::spawn(move || {
            let result = operate(&all, number, &operations);
            order.lock().unwrap().push((name, result));
        })
    };
    let first = start("two", vec![patient(0, -2)]);
    until_sleeping(&all, number, false, 1);
    let second = start("one", vec![patient(0, -1)]);
    until_sleeping(&all, number, false, 2);
    assert_eq!(operate(&all, number, &[add(0, 1)]), Ok(()));
    second.join().unwrap();
    assert_eq!(operate(&all, number, &[add(0, 3)]), Ok(()));
    first.join().unwrap();
    let third = start("zero", vec![patient(0, 0)]);
    until_sleeping(&all, number, true, 1);
    assert_eq!(operate(&all, number, &[add(0, -1)]), Ok(()));
    third.join().unwrap();
    let fourth = start("removed", vec![patient(0, -1)]);
    until_sleeping(&all, number, false, 1);
    assert_eq!(all.remove(number, &me), Ok(()));
    fourth.join().unwrap();
    let expected = [("one", Ok(())), ("two", Ok(())), ("zero", Ok(())), ("removed", Err(Errno::EIDRM))];
    assert_eq!(*order.lock().unwrap(), expected);
}

#[test]
fn a_deadline_ends_a_sleep_and_leaves_nothing_behind() {
    let (all, me) = (semaphores(), user(5, 5));
    let number = all.get(0, 1, NONE, 0o600, &me).unwrap();
    let who = Operator { credentials: &me, pid: Pid::new(7), list: None };
    assert_eq!(all.operate(number, vec![patient(0, -1)], Some(0), &who), Err(Errno::EAGAIN));
    assert_eq!(all.ask(number, 0, Question::WaitingForMore, &me), Ok(0));
    assert_eq!(operate(&all, number, &[add(0, 1)]), Ok(()));
    assert_eq!(all.values(number, &me).unwrap(), [1]);
}

proptest! {
    #[test]
    fn values_and_what_is_undone_are_those_of_a_model(
        steps in prop::collection::vec(
            prop::collection::vec((0u16..3, -3i16..4, any::<bool>()), 1..4),
            1..80,
        )
    ) {
        let (all, me) = (semaphores(), user(5, 5));
        let number = all.get(0, 3, NONE, 0o600, &me).unwrap();
        let list = UndoList::new();
        let (mut values, mut undo) = ([0i32; 3], [0i32; 3]);
        for step in steps {
            let operations: Vec<_> =
                step.iter().map(|&(index, change, undo)| Operation { undo, ..add(index, change) }).collect();
            let (mut new_values, mut new_undo, mut fine) = (values, undo, true);
            for &(index, change, undone) in &step {
                let (index, change) = (usize::from(index), i32::from(change));
                fine &= if change == 0 { new_values[index] == 0 } else { new_values[index] + change >= 0 };
                new_values[index] += change;
                new_undo[index] -= if undone { change } else { 0 };
            }
            if fine {
                (values, undo) = (new_values, new_undo);
            }
            let who = Operator { credentials: &me, pid: Pid::new(7), list: Some(list.clone()) };
            prop_assert_eq!(all.operate(number, operations, None, &who).is_ok(), fine);
            let found: Vec<i32> = all.values(number, &me).unwrap().into_iter().map(i32::from).collect();
            prop_assert_eq!(found, values);
        }
        list.leave(Pid::new(7));
        let found: Vec<i32> = all.values(number, &me).unwrap().into_iter().map(i32::from).collect();
        let expected: Vec<i32> = (0..3).map(|index| (values[index] + undo[index]).max(0)).collect();
        prop_assert_eq!(found, expected);
    }
}
