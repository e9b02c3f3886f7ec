//! Bad addresses in every system call that takes one: the answer is `EFAULT`, and nothing else happens.

mod fixture;
mod table;

use crate::fuzz;
use fixture::Fixture;
use table::{CALLS, PARTLY};

/// One argument of a call. The letters stand in the table.
#[derive(Clone, Copy)]
enum Argument {
    /// A number.
    N(i64),
    /// The address of a buffer that is large enough; a bad one in turn.
    P,
    /// The address of an I/O vector of one buffer, whose own address is bad in turn.
    V,
    /// The address of a path that exists; a bad one in turn.
    S,
    /// The address of a path that does not exist; a bad one in turn.
    M,
    /// The address of the path of a program; always good.
    X,
    /// The address of the path of a symbolic link; a bad one in turn.
    K,
    /// The address of the name of an attribute that `/tmp` and the regular file have; a bad one in turn.
    A,
    /// The address of a page of zeros; always good.
    G,
    /// The address of the head of a request for capabilities; always good.
    H,
    /// The number of the device that `/tmp` lies on.
    Device,
    /// A regular file that is open for reading and writing.
    F,
    /// An open directory.
    D,
    /// An epoll file that has an event to tell.
    E,
    /// A local stream socket.
    U,
    /// A local stream socket that is connected.
    C,
    /// A local stream socket from which bytes can be received.
    R,
    /// A local stream socket to which somebody wants to connect.
    L,
    /// A timer file.
    T,
    /// A file that stands for this process.
    Q,
    /// The number of a timer.
    Y,
    /// A System V set of one semaphore.
    W,
    /// A System V queue of messages that has one.
    O,
    /// A POSIX message queue that has a message.
    B,
    /// A System V segment of memory.
    J,
    /// An asynchronous context that has an event to tell.
    Context,
    /// A file system that is being configured.
    Configuration,
    /// An inotify file.
    Watch,
    /// The address of a set of signals of which one is pending.
    Pending,
    /// The number of this process.
    I,
    /// The number of a child that has ended and was not waited for.
    Z,
    /// The number of a child that is stopped for this process, its tracer.
    Tracee,
}

impl Argument {
    fn can_be_bad(self) -> bool {
        matches!(self, Self::P | Self::V | Self::S | Self::M | Self::K | Self::A)
    }
}

/// No page, the first address beyond user space, one with a hole in the address bits, the kernel's half.
const BAD: [usize; 4] = [8, 0x7fff_ffff_f000, 0x8000_0000_0000_0000, 0xffff_ffff_8000_0000];

/// Tries all calls; says which do not answer as they should.
pub fn run() -> bool {
    let mut fixture = Fixture::new();
    let (mut tried, mut wrong) = (0, 0);
    for (name, number, arguments) in CALLS {
        let places = arguments.iter().enumerate().filter(|(_, argument)| argument.can_be_bad());
        for (place, argument) in places {
            let mut bad = BAD.to_vec();
            let partly = PARTLY.iter().any(|(call, ..)| call == number);
            // Where the vector is good and its buffer bad, the buffer is what the call transfers.
            let written = fuzz::is_written(*number as u64, place) && !matches!(argument, Argument::V);
            if !partly {
                bad.push(fixture.before_hole());
                bad.extend(written.then(|| fixture.before_read_only()));
            }
            bad.extend(written.then(|| fixture.read_only()));
            for bad in bad {
                tried += 1;
                let answer = fixture.call(*number, arguments, place, bad);
                if answer.errno != libc::EFAULT || answer.left_a_file {
                    wrong += 1;
                    let left = if answer.left_a_file { " and leaves a file open" } else { "" };
                    println!("{name}: argument {place} at {bad:#x} gives {}{left}", answer.errno);
                }
            }
        }
    }
    println!("{tried} bad addresses, {wrong} wrong answers");
    wrong == 0
}
