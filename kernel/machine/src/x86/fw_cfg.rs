//! QEMU's firmware configuration device: named files from the command line of the host.
//!
//! A file is read by DMA where the device can (all of it at once), else byte by byte through its port. Both are
//! used under one lock, because the device has one selection.

use super::physical::{self, PAGE_SIZE};
use core::ptr;
use spin::{Mutex, Once};
use x86_64::instructions::port::Port;

const SELECTOR: u16 = 0x510;
const DATA: u16 = 0x511;
const DMA_HIGH: u16 = 0x514;
const DMA_LOW: u16 = 0x518;

const SIGNATURE: u16 = 0;
const FEATURES: u16 = 1;
const DIRECTORY: u16 = 0x19;

/// The device; its presence was checked.
pub(super) struct Device {
    /// A frame for DMA commands, if the device does DMA.
    command: Option<u64>,
}

/// A file that the device has.
#[derive(Clone, Copy, Debug)]
pub(super) struct File {
    selector: u16,
    pub size: u32,
}

/// What the device reads from memory to know what to do, in big-endian.
#[repr(C)]
struct Command {
    control: u32,
    length: u32,
    address: u64,
}

static DEVICE: Once<Option<Mutex<Device>>> = Once::new();

/// The device, if this is QEMU.
pub(super) fn device() -> Option<&'static Mutex<Device>> {
    let found = DEVICE.call_once(|| {
        let mut device = Device { command: None };
        device.select(SIGNATURE);
        let mut bytes = [0; 4];
        device.next_bytes(&mut bytes);
        if bytes != *b"QEMU" {
            return None;
        }
        device.select(FEATURES);
        device.next_bytes(&mut bytes);
        if u32::from_le_bytes(bytes) & 2 != 0 {
            device.command = Some(physical::early_frame());
        }
        Some(Mutex::new(device))
    });
    found.as_ref()
}

impl Device {
    fn select(&mut self, selector: u16) {
        // SAFETY: the port belongs to this device on every PC that has it and to none on others; the selection
        // has no effect but on what `DATA` gives next.
        unsafe { Port::new(SELECTOR).write(selector) };
    }

    /// The next bytes of the selected file.
    pub(super) fn next_bytes(&mut self, out: &mut [u8]) {
        let mut port = Port::<u8>::new(DATA);
        for byte in out {
            // SAFETY: reading gives the next byte of the selection and does nothing else.
            *byte = unsafe { port.read() };
        }
    }

    /// Starts reading `file` with [`Device::next_bytes`].
    pub(super) fn open(&mut self, file: File) {
        self.select(file.selector);
    }

    /// The file of that name.
    pub(super) fn find(&mut self, name: &str) -> Option<File> {
        self.select(DIRECTORY);
        let mut count = [0; 4];
        self.next_bytes(&mut count);
        for _ in 0..u32::from_be_bytes(count) {
            let mut entry = [0; 64]; // size, selector, reserved, name of 56 bytes
            self.next_bytes(&mut entry);
            let (size, rest) = entry.split_at(4);
            let length = rest[4..].iter().position(|&byte| byte == 0).unwrap_or(56);
            if &rest[4..4 + length] == name.as_bytes() {
                let size = u32::from_be_bytes([size[0], size[1], size[2], size[3]]);
                return Some(File { selector: u16::from_be_bytes([rest[0], rest[1]]), size });
            }
        }
        None
    }

    /// Reads a whole file into frames of its own, for ever.
    pub(super) fn load(&mut self, file: File) -> &'static [u8] {
        let bytes = file.size as usize;
        if bytes == 0 {
            return &[];
        }
        let place = physical::early_frames(u64::from(file.size).div_ceil(PAGE_SIZE));
        let start = physical::to_virtual(place);
        if !self.load_by_dma(file, place) {
            self.open(file);
            // SAFETY: `bytes` writable zeroed bytes that only this function knows, given for ever.
            self.next_bytes(unsafe { core::slice::from_raw_parts_mut(start, bytes) });
        }
        // SAFETY: the frames are initialised, belong to nobody else and are never written again.
        unsafe { core::slice::from_raw_parts(start, bytes) }
    }

    fn load_by_dma(&mut self, file: File, place: u64) -> bool {
        const ERROR: u32 = 1;
        const READ: u32 = 2;
        const SELECT: u32 = 8;
        let Some(frame) = self.command else { return false };
        let command = physical::to_virtual(frame).cast::<Command>();
        let control = u32::from(file.selector) << 16 | SELECT | READ;
        // SAFETY: the frame is this device's own. The device writes `length` bytes at `place`, which the caller
        // allocated for this, and the result into `control`; it works while the second port is written.
        unsafe {
            command.write_volatile(Command {
                control: control.to_be(),
                length: file.size.to_be(),
                address: place.to_be(),
            });
            Port::new(DMA_HIGH).write(((frame >> 32) as u32).to_be());
            Port::new(DMA_LOW).write((frame as u32).to_be());
            loop {
                match u32::from_be(ptr::addr_of!((*command).control).read_volatile()) {
                    0 => return true,
                    control if control & ERROR != 0 => return false,
                    _ => core::hint::spin_loop(),
                }
            }
        }
    }
}
