//! Programs that take all that they can get.

use std::{
    hint::black_box,
    process::{Child, Command, Stdio},
};

/// Touches page after page, until the kernel ends it.
pub fn memory() -> bool {
    const PIECE: usize = 1 << 20;
    let mut pieces: Vec<Vec<u8>> = Vec::new();
    loop {
        let mut piece = Vec::new();
        if piece.try_reserve_exact(PIECE).is_err() {
            println!("refused after {} MiB", pieces.len());
            return false;
        }
        piece.resize(PIECE, 1);
        pieces.push(black_box(piece));
    }
}

/// Touches so much memory, says so, and waits to be ended.
pub fn hold(mib: usize) -> bool {
    let memory = black_box(vec![1_u8; mib << 20]);
    println!("holds {} MiB", memory.len() >> 20);
    loop {
        std::thread::park();
    }
}

/// Reads a byte in each 2 MiB of so much empty memory: that takes page tables and nothing else. Says from which nodes
/// they came.
pub fn tables(count: usize) -> bool {
    const STEP: usize = 2 << 20;
    let before = [free(0), free(1)];
    // SAFETY: a new mapping, wherever there is room.
    let start = unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        libc::mmap(std::ptr::null_mut(), count * STEP, libc::PROT_READ, flags, -1, 0)
    };
    if start == libc::MAP_FAILED {
        return false;
    }
    for index in 0..count {
        // SAFETY: inside the mapping, which may be read.
        black_box(unsafe { start.cast::<u8>().add(index * STEP).read_volatile() });
    }
    let taken = |node: usize| before[node].saturating_sub(free(node)) >> 10;
    println!("{count} tables: {} MiB of node 0, {} MiB of node 1", taken(0), taken(1));
    true
}

/// The free memory of a node, KiB.
fn free(node: usize) -> u64 {
    let text = std::fs::read_to_string(format!("/sys/devices/system/node/node{node}/meminfo")).unwrap_or_default();
    let line = text.lines().find(|line| line.contains("MemFree"));
    line.and_then(|line| line.split_whitespace().nth(3)?.parse().ok()).unwrap_or(0)
}

/// Starts children that sleep; says how many there were, and ends them.
pub fn forks(count: usize) -> bool {
    let mut children: Vec<Child> = Vec::new();
    let mut refusal = None;
    while children.len() < count && refusal.is_none() {
        match Command::new("/bin/sleep").arg("1000").stdout(Stdio::null()).spawn() {
            Ok(child) => children.push(child),
            Err(error) => refusal = Some(error),
        }
    }
    match refusal {
        Some(error) => println!("{} children, then: {error}", children.len()),
        None => println!("{} children", children.len()),
    }
    for child in &mut children {
        let _ = child.kill();
        let _ = child.wait();
    }
    true
}
