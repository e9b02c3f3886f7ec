//! Everything at once: threads that submit, cancel, reap and make ready in contexts that others end, in programs that are
//! killed; afterwards nothing is left.

use super::*;
use std::{
    sync::atomic::{
        AtomicBool, AtomicU64,
        Ordering::{Relaxed, SeqCst},
    },
    time::Duration,
};

/// Files that requests wait for.
const FILES: usize = 4;

/// So many requests make a round.
const ENOUGH: u64 = 100;

/// A thread's numbers, none like another's.
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: u64) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % most) as usize
    }
}

/// What the threads of one program share.
struct Shared {
    context: AtomicU64,
    files: [c_int; FILES],
    /// Told of every event.
    bell: c_int,
    is_over: AtomicBool,
    submitted: AtomicU64,
}

/// One thread: whatever it does may fail, for others are faster.
fn worker(shared: &Shared, seed: u64) {
    let mut chance = Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut blocks = [Block::default(); 8];
    while !shared.is_over.load(Relaxed) {
        let current = std::mem::ManuallyDrop::new(Context(shared.context.load(Relaxed)));
        let at = chance.below(8);
        match chance.below(10) {
            0..4 => {
                let mut block = Block::poll(shared.files[chance.below(FILES as u64)], POLLIN);
                (block.flags, block.event_file) = (WITH_EVENT_FILE, shared.bell as u32);
                blocks[at] = block;
                if current.start(&mut blocks[at]) == Ok(1) {
                    shared.submitted.fetch_add(1, SeqCst);
                }
            }
            4 => drop(current.cancel(&mut blocks[at])),
            5 => drop(current.get(0, 8, &mut zero())),
            6 | 7 => {
                let file = shared.files[chance.below(FILES as u64)];
                add(file, 1);
                count(file);
            }
            8 => add(shared.files[chance.below(FILES as u64)], 1),
            _ => {
                // Nobody else finds the old one while the new one is made.
                let old = shared.context.swap(0, SeqCst);
                if old != 0 {
                    let _ = Context(old).end();
                    shared.context.store(context(), SeqCst);
                }
            }
        }
    }
    // The kernel has the addresses of these, and looks at them no more.
}

/// One program: `rounds` times so many threads. Whether every request became exactly one event.
fn program(rounds: u64, is_killed: bool) -> bool {
    let mut fine = true;
    for round in 0..rounds {
        let shared = Shared {
            context: AtomicU64::new(context()),
            files: std::array::from_fn(|_| counter(0)),
            bell: counter(0),
            is_over: AtomicBool::new(false),
            submitted: AtomicU64::new(0),
        };
        std::thread::scope(|scope| {
            for number in 1..=4 {
                let shared = &shared;
                scope.spawn(move || worker(shared, round * 8 + number));
            }
            while is_killed || shared.submitted.load(Relaxed) < ENOUGH {
                std::thread::sleep(Duration::from_millis(1));
            }
            shared.is_over.store(true, Relaxed);
        });
        // The end of the context ends what is left; every event rang once.
        drop(Context(shared.context.load(SeqCst)));
        let (made, told) = (shared.submitted.load(SeqCst), count(shared.bell));
        if made != told {
            println!("wrong: {made} requests and {told} events");
            fine = false;
        }
        close_all(&shared.files);
        close_all(&[shared.bell]);
    }
    fine
}

/// Programs that end and programs that are killed in the middle; whether nothing is left of them.
pub fn run(rounds: u64) -> bool {
    let before = requests();
    let mut fine = crate::child::status(|| i32::from(!program(rounds, false))) == 0;
    for round in 0..rounds {
        // SAFETY: this process has one thread, so the child may do anything.
        let victim = unsafe { fork() };
        if victim == 0 {
            std::process::exit(program(1, true).into());
        }
        // SAFETY: takes no address.
        unsafe {
            usleep((round % 5 * 3000) as u32);
            kill(victim, SIGKILL);
            waitpid(victim, null_mut(), 0);
        }
    }
    let after = requests();
    if after != before {
        println!("wrong: contexts for {before} requests before, for {after} after");
        fine = false;
    }
    println!("{rounds} rounds{}", if fine { ", nothing is left" } else { "" });
    fine
}
