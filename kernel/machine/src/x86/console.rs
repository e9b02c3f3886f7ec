//! The serial ports: bytes out at once, bytes in by interrupt.
//!
//! Port 0 is COM1, the console; port 1 is COM2, the kernel log where it exists.

use super::interrupts::{self, vector};
use super::io_apic;
use crate::interrupts::HANDLERS;
use core::sync::atomic::{AtomicBool, Ordering};
use spin::Mutex;
use uart_16550::backend::PioBackend;
use uart_16550::spec::registers::{FifoTriggerLevel, IER};
use uart_16550::{BaudRate, Config, Uart16550};

struct Port {
    base: u16,
    /// The ISA interrupt line.
    line: u8,
    vector: u8,
    present: AtomicBool,
    uart: Mutex<Uart16550<PioBackend>>,
}

impl Port {
    const fn new(base: u16, line: u8, vector: u8) -> Self {
        // SAFETY: the addresses are those of the PC's serial ports, whether or not one is there; this is the
        // only value for them, and it stands in a lock.
        let uart = match unsafe { Uart16550::new_port(base) } {
            Ok(uart) => uart,
            Err(_) => panic!("the address of a serial port is far below the last one"),
        };
        Self { base, line, vector, present: AtomicBool::new(false), uart: Mutex::new(uart) }
    }
}

static PORTS: [Port; 2] = [Port::new(0x3f8, 4, vector::SERIAL_1), Port::new(0x2f8, 3, vector::SERIAL_2)];

/// Finds the ports and sets them to 115200 baud, 8 bits, no parity. First thing at boot.
pub(super) fn init() {
    for port in &PORTS {
        let config = Config {
            baud_rate: BaudRate::Baud115200,
            interrupts: IER::empty(),
            fifo_trigger_level: Some(FifoTriggerLevel::Eight),
            ..Config::DEFAULT
        };
        port.present.store(port.uart.lock().init(config).is_ok(), Ordering::Relaxed);
    }
}

/// Lets the ports interrupt when bytes arrive. After the I/O APIC is known.
pub(super) fn enable_interrupts() {
    for port in PORTS.iter().filter(|port| port.present.load(Ordering::Relaxed)) {
        let _off = interrupts::off();
        if !io_apic::route_isa(port.line, port.vector) {
            crate::log!("console: no interrupt for the serial port at {:#x}: input won't arrive", port.base);
            continue;
        }
        port.uart.lock().enable_interrupts(IER::DATA_READY);
    }
}

/// Whether serial port `port` is there.
pub fn has_port(port: u8) -> bool {
    PORTS.get(usize::from(port)).is_some_and(|port| port.present.load(Ordering::Relaxed))
}

/// Writes all of `bytes` to serial port `port`, as they are, waiting for the line. Nothing if it is not there.
pub fn write(port: u8, bytes: &[u8]) {
    let Some(port) = PORTS.get(usize::from(port)).filter(|port| port.present.load(Ordering::Relaxed)) else { return };
    // A piece at a time: interrupts stay off while the port is locked, because the receiver's interrupt wants it.
    for piece in bytes.chunks(64) {
        let _off = interrupts::off();
        port.uart.lock().send_bytes_exact(piece);
    }
}

/// Writes even if the port's lock is held by a CPU that will never give it back.
pub(super) fn write_in_panic(port: u8, bytes: &[u8]) {
    let Some(port) = PORTS.get(usize::from(port)).filter(|port| port.present.load(Ordering::Relaxed)) else { return };
    for _ in 0..1_000_000 {
        if let Some(mut uart) = port.uart.try_lock() {
            uart.send_bytes_exact(bytes);
            return;
        }
        core::hint::spin_loop();
    }
    // SAFETY: nobody uses the port any longer: all other CPUs were stopped before a panic writes, and this one
    // does not return to whom it interrupted.
    unsafe { port.uart.force_unlock() };
    port.uart.lock().send_bytes_exact(bytes);
}

/// Serves the interrupt of port `number`: hands over what has arrived.
pub(super) fn receive(number: u8) {
    let port = &PORTS[usize::from(number)];
    let mut bytes = [0; 64];
    loop {
        let count = port.uart.lock().receive_bytes(&mut bytes);
        if count == 0 {
            break;
        }
        if let Some(handlers) = HANDLERS.get() {
            handlers.console_input(number, &bytes[..count]);
        }
        if count < bytes.len() {
            break;
        }
    }
}
