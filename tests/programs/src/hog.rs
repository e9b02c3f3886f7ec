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
