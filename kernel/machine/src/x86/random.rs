//! Random bytes.

use super::{cpu, time};
use core::sync::atomic::{AtomicU64, Ordering};

static STATE: AtomicU64 = AtomicU64::new(0);

/// Fills `out` with random bytes: from the processor's generator where it has one, mixed with a sequence of
/// our own that starts from the time of boot. Without that generator the bytes are not fit for secrets.
pub fn fill(out: &mut [u8]) {
    for piece in out.chunks_mut(8) {
        let word = hardware().unwrap_or(0) ^ sequence();
        piece.copy_from_slice(&word.to_le_bytes()[..piece.len()]);
    }
}

/// The next of a sequence in which every number comes once (a counter, then a mix of its bits), moved by the
/// time stamp counter.
fn sequence() -> u64 {
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut word = STATE.fetch_add(STEP, Ordering::Relaxed) ^ time::cycles().rotate_left(32) ^ time::realtime();
    word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ word >> 31
}

fn hardware() -> Option<u64> {
    if !cpu::features().rdrand {
        return None;
    }
    let random = x86_64::instructions::random::RdRand::new()?;
    (0..10).find_map(|_| random.get_u64())
}
