//! The serial lines as terminals: ttyS0 and ttyS1, the first of them the console.
//!
//! Received bytes come from an interrupt; a kernel thread takes them on to the terminals, because echo and signals need
//! locks that an interrupt must not take.

use super::tty::{Line, Tty};
use alloc::{collections::VecDeque, sync::Arc, vec::Vec};
use machine::sync::{IrqLock, rank};
use sched::WaitQueue;
use vfs::DeviceNumber;

/// Major number of `ttyS*`.
pub const SERIAL_MAJOR: u32 = 4;
/// Minor number of `ttyS0`.
pub const SERIAL_MINOR: u32 = 64;
/// How many serial lines there may be.
pub const PORTS: u8 = 2;
/// The most received bytes that wait for the thread.
const MOST_RECEIVED: usize = 16 * 1024;

/// A serial line.
struct SerialLine {
    port: u8,
}

impl Line for SerialLine {
    fn room(&self) -> usize {
        usize::MAX
    }

    fn write(&self, bytes: &[u8]) {
        machine::console::write(self.port, bytes);
    }
}

/// The serial terminals, and what has been received for them.
pub struct Console {
    terminals: Vec<Arc<Tty>>,
    received: IrqLock<VecDeque<(u8, u8)>>,
    arrived: WaitQueue,
}

impl Console {
    /// The terminals of the ports that are there.
    pub fn new() -> Self {
        let ports = (0..PORTS).filter(|&port| port == 0 || machine::console::has_port(port));
        let terminal = |port: u8| {
            let device = DeviceNumber::new(SERIAL_MAJOR, SERIAL_MINOR + u32::from(port));
            Tty::new(device, Arc::new(SerialLine { port }))
        };
        let mut received = VecDeque::new();
        received.reserve_exact(MOST_RECEIVED);
        Self {
            terminals: ports.map(terminal).collect(),
            received: IrqLock::new(rank::CONSOLE_INPUT, received),
            arrived: WaitQueue::new(),
        }
    }

    /// The terminal of a serial port, if it is there.
    pub fn terminal(&self, port: u8) -> Option<&Arc<Tty>> {
        self.terminals.get(usize::from(port))
    }

    /// Takes received bytes; called from the interrupt. Those for which there is no room are lost.
    pub fn receive(&self, port: u8, bytes: &[u8]) {
        let mut received = self.received.lock();
        let room = MOST_RECEIVED - received.len();
        received.extend(bytes.iter().take(room).map(|&byte| (port, byte)));
        drop(received);
        self.arrived.wake_all();
    }

    /// Carries received bytes to the terminals, for ever: the body of a kernel thread.
    pub fn carry(&self) -> ! {
        loop {
            sched::between_jobs();
            let mut batch = [0; 64];
            let (port, count) = self.arrived.wait_until(|| self.take(&mut batch));
            if let Some(tty) = self.terminal(port) {
                tty.receive(&batch[..count]);
            }
        }
    }

    /// Takes bytes of one port off the front.
    fn take(&self, batch: &mut [u8]) -> Option<(u8, usize)> {
        let mut received = self.received.lock();
        let port = received.front()?.0;
        let mut count = 0;
        while count < batch.len()
            && let Some((_, byte)) = received.pop_front_if(|(from, _)| *from == port)
        {
            batch[count] = byte;
            count += 1;
        }
        Some((port, count))
    }
}

impl Default for Console {
    fn default() -> Self {
        Self::new()
    }
}
