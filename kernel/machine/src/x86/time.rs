//! The clock: the time stamp counter, measured against a clock of known speed at boot.
//!
//! It is taken to run at one speed and to be the same on all CPUs, as on every processor of the last decade
//! and in QEMU; boot logs if the processor doesn't promise that.

use super::acpi::Firmware;
use super::{cpu, kernel_map, local_apic};
use crate::frame::Frame;
use core::sync::atomic::{AtomicU64, Ordering};
use spin::Once;
use vdso::clock::Clock;
use x86_64::instructions::port::Port;

/// The clock by which the kernel itself goes; nothing of it changes once it was measured.
static CLOCK: Clock = Clock::new();
/// The same for programs to read, and where the time of day is kept.
static SHARED: Once<&'static Clock> = Once::new();
/// Cycles of one second.
static CYCLES_PER_SECOND: AtomicU64 = AtomicU64::new(1_000_000_000);
/// Timer ticks of the local APIC in one nanosecond, in units of 2^-32.
static TICKS_PER_NANOSECOND: AtomicU64 = AtomicU64::new(0);

/// The time stamp counter.
#[inline]
pub fn cycles() -> u64 {
    // SAFETY: reading it has no effect, and the kernel never forbids it.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Nanoseconds since the kernel began; never goes back on one CPU.
#[inline]
pub fn now() -> u64 {
    CLOCK.monotonic(cycles())
}

/// Nanoseconds since 1970-01-01 00:00 UTC, as the machine's clock said at boot or [`set_epoch`] since.
pub fn realtime() -> u64 {
    SHARED.get().map_or(&CLOCK, |shared| *shared).realtime(cycles())
}

/// Nanoseconds from 1970-01-01 00:00 UTC to boot: what [`realtime`] is ahead of [`now`].
pub fn epoch() -> u64 {
    SHARED.get().map_or(&CLOCK, |shared| *shared).epoch()
}

/// Sets the time of day, for the kernel and for programs that read the clock themselves: it was `epoch` nanoseconds since
/// 1970-01-01 00:00 UTC at boot.
pub fn set_epoch(epoch: u64) {
    SHARED.get().map_or(&CLOCK, |shared| *shared).set_epoch(epoch);
}

/// Keeps the clock in this frame from here on, which programs may read (`vdso::clock`). Once, at boot.
pub fn share(page: Frame) {
    // SAFETY: the frame stays counted for ever (it is not given back below), so that its bytes, which begin at a page, are
    // readable and writable for ever. All that refers to them here are atomics; programs may only read them.
    let shared = unsafe { &*page.number().bytes().cast::<Clock>() };
    core::mem::forget(page);
    shared.copy_from(&CLOCK);
    SHARED.call_once(|| shared);
}

/// Cycles of the time stamp counter in one second.
#[inline]
pub fn cycles_per_second() -> u64 {
    CYCLES_PER_SECOND.load(Ordering::Relaxed)
}

/// Nanoseconds of one cycle, in units of 2^-32.
#[inline]
pub(crate) fn nanoseconds_per_cycle() -> u64 {
    CLOCK.factor()
}

/// The value of the counter at the moment `deadline` of [`now`].
pub(super) fn cycles_at(deadline: u64) -> u64 {
    let cycles = u128::from(deadline) * u128::from(cycles_per_second()) / 1_000_000_000;
    CLOCK.start().wrapping_add(cycles as u64)
}

/// The ticks of the local APIC's timer in `nanoseconds`: at least 1, at most what it can count.
pub(super) fn timer_ticks(nanoseconds: u64) -> u32 {
    let ticks = scale(nanoseconds, TICKS_PER_NANOSECOND.load(Ordering::Relaxed));
    ticks.clamp(1, u32::MAX.into()) as u32
}

#[inline]
fn scale(value: u64, factor: u64) -> u64 {
    ((u128::from(value) * u128::from(factor)) >> 32) as u64
}

/// Remembers when the kernel began. First thing at boot.
pub(super) fn start() {
    CLOCK.set_start(cycles());
}

/// A clock whose speed is known.
enum Reference {
    /// The HPET's main counter: its address and the femtoseconds of one tick.
    Hpet { counter: *const u32, period: u64 },
    /// The ACPI timer: its port, and how many bits count.
    PowerManagement { port: u16, bits: u32 },
    /// The second channel of the PC's old timer chip counts down.
    OldTimer,
}

impl Reference {
    const PM_HERTZ: u64 = 3_579_545;
    const OLD_HERTZ: u64 = 1_193_182;

    fn choose(firmware: &Firmware) -> Self {
        if let Some(hpet) = firmware.hpet
            && let Some(reference) = Self::hpet(hpet)
        {
            return reference;
        }
        if let Some((port, bits)) = firmware.power_management_timer {
            return Self::PowerManagement { port, bits };
        }
        const GATE: u16 = 0x61;
        // SAFETY: the PC's timer chip: channel 2 is the loudspeaker's, which is kept off; mode 0 counts down from
        // 65535 and goes on.
        unsafe {
            let gate: u8 = Port::new(GATE).read();
            Port::new(GATE).write(gate & !2 | 1);
            Port::new(0x43).write(0b1011_0000u8);
            Port::new(0x42).write(0xffu8);
            Port::new(0x42).write(0xffu8);
        }
        Self::OldTimer
    }

    fn hpet(address: u64) -> Option<Self> {
        let registers = kernel_map::map_device(address, 0x400).cast::<u32>();
        // SAFETY: the firmware's table says that an HPET's registers are there; they are mapped for ever. Only
        // the switch for the main counter is changed, and nobody else uses it.
        let period = unsafe {
            let configuration = registers.byte_add(0x10);
            configuration.write_volatile(configuration.read_volatile() | 1);
            u64::from(registers.byte_add(4).read_volatile())
        };
        let counter = registers.wrapping_byte_add(0xf0).cast_const();
        // The specification's upper limit; 0 would be no clock.
        (1..=100_000_000).contains(&period).then_some(Self::Hpet { counter, period })
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Hpet { .. } => "HPET",
            Self::PowerManagement { .. } => "ACPI timer",
            Self::OldTimer => "8254 timer",
        }
    }

    /// The counter; its lowest [`Reference::bits`] bits count up.
    fn read(&self) -> u64 {
        match *self {
            // SAFETY: mapped for ever by `hpet`; reading has no effect.
            Self::Hpet { counter, .. } => u64::from(unsafe { counter.read_volatile() }),
            // SAFETY: the firmware says that its timer is there; reading has no effect.
            Self::PowerManagement { port, .. } => u64::from(unsafe { Port::<u32>::new(port).read() }),
            // SAFETY: latches and reads channel 2, which is ours.
            Self::OldTimer => unsafe {
                Port::new(0x43).write(0b1000_0000u8);
                let low: u8 = Port::new(0x42).read();
                let high: u8 = Port::new(0x42).read();
                0xffff - u64::from(u16::from_le_bytes([low, high]))
            },
        }
    }

    fn bits(&self) -> u32 {
        match *self {
            Self::Hpet { .. } => 32,
            Self::PowerManagement { bits, .. } => bits,
            Self::OldTimer => 16,
        }
    }

    fn nanoseconds(&self, ticks: u64) -> u64 {
        match *self {
            Self::Hpet { period, .. } => (u128::from(ticks) * u128::from(period) / 1_000_000) as u64,
            Self::PowerManagement { .. } => ticks * 1_000_000_000 / Self::PM_HERTZ,
            Self::OldTimer => ticks * 1_000_000_000 / Self::OLD_HERTZ,
        }
    }

    /// The counter and the time stamp counter at the same moment: the closest of a few tries, because a host may
    /// take the CPU away in the middle.
    fn both(&self) -> (u64, u64) {
        let attempt = || {
            let before = cycles();
            let ticks = self.read();
            let after = cycles();
            (after.wrapping_sub(before), ticks, before.wrapping_add(after.wrapping_sub(before) / 2))
        };
        let (_, ticks, at) = (0..8).map(|_| attempt()).min_by_key(|&(took, ..)| took).unwrap_or((0, 0, 0));
        (ticks, at)
    }
}

/// Measures the time stamp counter and the local APIC's timer against the best clock there is, and asks the
/// machine's calendar. The boot CPU's local APIC is on, interrupts are off.
pub(super) fn calibrate(firmware: &Firmware) {
    const MEASURE: u64 = 10_000_000; // nanoseconds
    let reference = Reference::choose(firmware);
    let apic = &cpu::here().local_apic;
    let one_shot = !cpu::features().tsc_deadline;
    let mask = (1u64 << reference.bits()) - 1;
    if one_shot {
        apic.start_timer(u32::MAX);
    }
    let (from_ticks, from) = reference.both();
    let from_timer = apic.timer_count();
    let passed = |ticks: u64| reference.nanoseconds(ticks.wrapping_sub(from_ticks) & mask);
    while passed(reference.read()) < MEASURE {
        core::hint::spin_loop();
    }
    let (to_ticks, to) = reference.both();
    let to_timer = apic.timer_count();
    let nanoseconds = passed(to_ticks).max(1);
    let hertz = (u128::from(to.wrapping_sub(from)) * 1_000_000_000 / u128::from(nanoseconds)) as u64;
    let hertz = hertz.max(1_000_000);
    CYCLES_PER_SECOND.store(hertz, Ordering::Relaxed);
    CLOCK.set_factor(((1_000_000_000u128 << 32) / u128::from(hertz)) as u64);
    if one_shot {
        let ticks = u64::from(from_timer.wrapping_sub(to_timer));
        apic.start_timer(0);
        TICKS_PER_NANOSECOND.store((ticks << 32) / nanoseconds, Ordering::Relaxed);
    }
    let boot = now();
    CLOCK.set_epoch((super::calendar::seconds(firmware.century_register) * 1_000_000_000).saturating_sub(boot));
    crate::log!(
        "time: TSC at {}.{:03} MHz by {}, timer: {}{}",
        hertz / 1_000_000,
        hertz / 1_000 % 1_000,
        reference.name(),
        if one_shot { "local APIC one-shot" } else { "TSC deadline" },
        if local_apic::is_x2apic() { ", x2APIC" } else { ", xAPIC" },
    );
    if !cpu::features().invariant_tsc {
        crate::log!("time: the processor does not promise a TSC of constant speed");
    }
}

/// Waits at least that long, without giving the CPU away. After [`calibrate`].
pub(super) fn spin(nanoseconds: u64) {
    let end = now() + nanoseconds;
    while now() < end {
        core::hint::spin_loop();
    }
}
