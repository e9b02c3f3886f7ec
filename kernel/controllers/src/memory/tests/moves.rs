//! Moves that take pages along.

use super::{Anonymous, NODE, charge};
use crate::memory::{Kill, Memory, TASKS, TaskControl};
use crate::world::World;
use container::Member;
use core::cell::RefCell;
use machine::{frame::Frame, host::fresh_frames, paging::PageKind};
use std::{boxed::Box, sync::Once, thread, time::Duration, vec::Vec};

std::thread_local! {
    /// What the tasks of this thread map.
    static MAPPED: RefCell<Vec<Frame>> = const { RefCell::new(Vec::new()) };
    /// What happens after the next look at that.
    static MEANWHILE: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
}

/// Tasks that map what the test says.
struct Tasks;

impl TaskControl for Tasks {
    fn with_current(&self, _f: &mut dyn FnMut(&dyn Member)) {}
    fn is_signalled(&self) -> bool {
        false
    }
    fn kill_largest(&self, _inside: &dyn Fn(&dyn Member) -> bool, _limit: u64) -> Kill {
        Kill::Nobody
    }
    fn sleep(&self, _ready: &mut dyn FnMut() -> bool, _look_again: u64) -> bool {
        false
    }
    fn wake(&self) {}
    fn for_each_page(&self, _task: &dyn Member, each: &mut dyn FnMut(PageKind, &Frame)) {
        MAPPED.with_borrow(|frames| frames.iter().for_each(|frame| each(PageKind::Anonymous, frame)));
        if let Some(meanwhile) = MEANWHILE.take() {
            meanwhile();
        }
    }
    fn for_each_locked_page(&self, _each: &mut dyn FnMut(&Frame)) {}
    fn for_each_mapped_page(&self, _each: &mut dyn FnMut(&Frame)) {}
}

/// Fails on a version in which the file can be written while a task moves in: what the move had taken stays taken.
#[test]
fn room_that_a_move_has_taken_is_used_or_given_back_whatever_is_written_meanwhile() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| TASKS.install(&Tasks));
    let world: &World = Box::leak(Box::new(World::with("memory").mkdir("/a").mkdir("/b")));
    world.write("/b", "memory.move_charge_at_immigrate", "1").unwrap();
    let (ledger, a) = world.state("/a", |memory: &Memory| (memory.ledger(), memory.number()));
    let task = world.spawn_in("/a");
    for _ in 0..3 {
        let frame = fresh_frames(1, NODE).remove(0).into_frame();
        assert!(frame.exchange_note(0, charge(ledger, a, Anonymous).unwrap()));
        MAPPED.with_borrow_mut(|frames| frames.push(frame));
    }
    MEANWHILE.set(Some(Box::new(move || {
        let write = thread::spawn(|| world.write("/b", "memory.move_charge_at_immigrate", "0"));
        // Time for what must not happen.
        thread::sleep(Duration::from_millis(50));
        assert!(!write.is_finished());
    })));
    world.attach("/b", &task).unwrap();
    let usage = |path: &str| world.read(path, "memory.usage_in_bytes");
    assert_eq!((usage("/a"), usage("/b")), ("0\n".into(), "12288\n".into()));
    for frame in MAPPED.take() {
        ledger.uncharge(frame.note(), NODE);
        // No allocator knows it.
        core::mem::forget(frame);
    }
    assert_eq!(usage("/b"), "0\n");
}
