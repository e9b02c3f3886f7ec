//! Memory on the real machine: what only real page tables, TLBs and nodes can show. The rules themselves are tested
//! on the host.
//!
//! Programs are a few bytes of machine code; the faults of each are resolved by its own address space, as a task's are.

use crate::KernelTest;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::{CpuId, CpuSet, Errno, NodeId, NodeSet};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use machine::frame::{FRAME_SIZE, Frame};
use machine::user::{Exit, Fault, Registers, UserContext};
use machine::{cpu, ipi, paging, topology, user_memory};
use memory::{
    Access, AddressSpace, Advice, FaultError, Limits, MapRequest, Place, Placement, Protection, frames, heap,
};

/// The suite.
pub const TESTS: &[KernelTest] = &[
    KernelTest::new("memory::a_program_gets_its_pages_as_it_stores", a_program_gets_its_pages_as_it_stores),
    KernelTest::new("memory::stores_of_parent_and_child_stay_apart", stores_of_parent_and_child_stay_apart),
    KernelTest::new("memory::data_does_not_run_and_code_is_not_written", data_does_not_run_and_code_is_not_written),
    KernelTest::new("memory::a_revoked_permission_holds_at_once", a_revoked_permission_holds_at_once),
    KernelTest::new("memory::user_copies_end_where_nothing_is", user_copies_end_where_nothing_is),
    KernelTest::new("memory::words_change_at_once_or_not_at_all", words_change_at_once_or_not_at_all),
    KernelTest::new("memory::a_sealed_page_is_shared_but_never_written", a_sealed_page_is_shared_but_never_written),
    KernelTest::new("memory::every_frame_comes_back", every_frame_comes_back),
    KernelTest::new("memory::the_heap_gives_frames_back", the_heap_gives_frames_back),
    KernelTest::new("memory::a_program_cannot_take_the_last_frames", a_program_cannot_take_the_last_frames),
    KernelTest::on("memory::another_cpu_forgets_what_is_unmapped", 2, 1, another_cpu_forgets_what_is_unmapped),
    KernelTest::on(
        "memory::another_cpu_no_longer_stores_into_what_a_child_has",
        2,
        1,
        another_cpu_no_longer_stores_into_what_a_child_has,
    ),
    KernelTest::on("memory::all_cpus_allocate_at_once", 2, 1, all_cpus_allocate_at_once),
    KernelTest::on("memory::pages_come_from_the_nodes_that_are_allowed", 1, 2, pages_come_from_allowed_nodes),
];

const CODE: u64 = 0x40_0000;
const DATA: u64 = 0x50_0000;
const PAGE: u64 = FRAME_SIZE as u64;
const RW: Protection = Protection::READ.union(Protection::WRITE);

/// mov [rdi], rsi; add rdi, 4096; dec rdx; jnz to the start; syscall: stores rsi at the start of rdx pages.
const STORE: &[u8] = b"\x48\x89\x37\x48\x81\xc7\x00\x10\x00\x00\x48\xff\xca\x75\xf1\x0f\x05";

fn fixed(address: u64, pages: u64, protection: Protection) -> MapRequest {
    let length = pages * PAGE;
    MapRequest { address, protection, place: Place::Fixed, ..MapRequest::anonymous(length) }
}

/// An address space with a page of code.
fn space(code: &[u8]) -> Arc<AddressSpace> {
    let space = AddressSpace::new(8 << 20).expect("memory for an address space");
    space.map(fixed(CODE, 1, RW), &Limits::NONE).expect("the code is mapped");
    space.write(CODE, code).expect("the code is written");
    space.protect(CODE, PAGE, Protection::READ | Protection::EXECUTE).expect("the code is protected");
    space
}

/// Takes the CPU out of the address space at the end of a test.
struct Active;

impl Active {
    fn new(space: &AddressSpace) -> Self {
        space.activate();
        Self
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        paging::deactivate();
    }
}

/// Runs the code in the active space until it makes a system call, or a fault can't be resolved.
fn run(space: &AddressSpace, rip: u64, value: u64, pages: u64) -> Result<u64, FaultError> {
    let registers = Registers { rip, rsi: value, rdi: DATA, rdx: pages, ..Registers::default() };
    let mut context = UserContext { registers, ..UserContext::default() };
    let mut faults = 0;
    loop {
        match context.run() {
            Exit::Interrupt => {}
            Exit::SystemCall => return Ok(faults),
            Exit::Fault(Fault { vector: 14, error_code, address }) => {
                let access = match error_code & 0x12 {
                    0 => Access::Read,
                    2 => Access::Write,
                    _ => Access::Execute,
                };
                space.fault(address, access, &Limits::NONE)?;
                faults += 1;
            }
            Exit::Fault(fault) => panic!("a page fault was expected, not {fault:?}"),
        }
    }
}

fn word(space: &AddressSpace, address: u64) -> u64 {
    let mut bytes = [0; 8];
    space.read(address, &mut bytes).expect("the page is there");
    u64::from_ne_bytes(bytes)
}

fn a_program_gets_its_pages_as_it_stores() {
    let space = space(STORE);
    space.map(fixed(DATA, 16, RW), &Limits::NONE).expect("the data is mapped");
    let _active = Active::new(&space);
    assert_eq!(run(&space, CODE, 77, 10), Ok(10), "one fault for each page");
    assert_eq!(run(&space, CODE, 78, 10), Ok(0));
    assert_eq!(word(&space, DATA + 9 * PAGE), 78);
    assert_eq!(word(&space, DATA + 10 * PAGE), 0);
    assert_eq!(space.resident().anonymous, 11, "the code's page and ten of data; a page that is only read takes none");
    assert_eq!(run(&space, CODE, 0, 17), Err(FaultError::NotMapped));
}

fn stores_of_parent_and_child_stay_apart() {
    let parent = space(STORE);
    parent.map(fixed(DATA, 4, RW), &Limits::NONE).expect("the data is mapped");
    let active = Active::new(&parent);
    assert_eq!(run(&parent, CODE, 1, 4), Ok(4));
    let child = parent.fork(None).expect("memory for a child");
    // The parent's own entries, in its TLB, must no longer let it store.
    assert_eq!(run(&parent, CODE, 2, 1), Ok(1));
    drop(active);
    let active = Active::new(&child);
    assert_eq!(run(&child, CODE, 3, 2), Ok(2));
    assert_eq!([0, 1, 2].map(|page| word(&child, DATA + page * PAGE)), [3, 3, 1]);
    assert_eq!([0, 1, 2].map(|page| word(&parent, DATA + page * PAGE)), [2, 1, 1]);
    drop(active);
    child.clear();
    // Alone again: nothing is copied, only allowed.
    let before = frames::total().free;
    let _active = Active::new(&parent);
    assert_eq!(run(&parent, CODE, 4, 4), Ok(3));
    assert_eq!(frames::total().free, before);
    // A child that stored nothing gives back the page table that both had: one fault is enough.
    parent.fork(None).expect("memory for a child").clear();
    assert_eq!(run(&parent, CODE, 5, 4), Ok(1));
}

fn data_does_not_run_and_code_is_not_written() {
    let space = space(STORE);
    space.map(fixed(DATA, 1, RW), &Limits::NONE).expect("the data is mapped");
    space.write(DATA, STORE).expect("the data is written");
    let _active = Active::new(&space);
    assert_eq!(run(&space, DATA, 0, 1), Err(FaultError::NoAccess));
    space.protect(DATA, PAGE, Protection::READ | Protection::EXECUTE).expect("the data is protected");
    assert_eq!(run(&space, DATA, 0, 1), Err(FaultError::NoAccess), "it runs now, and may not store into itself");
    assert_eq!(space.write(CODE, &[0]), Err(Errno::EFAULT));
}

fn a_revoked_permission_holds_at_once() {
    let space = space(STORE);
    space.map(fixed(DATA, 2, RW), &Limits::NONE).expect("the data is mapped");
    let _active = Active::new(&space);
    assert_eq!(run(&space, CODE, 1, 2), Ok(2));
    space.protect(DATA, 2 * PAGE, Protection::READ).expect("the data is protected");
    assert_eq!(run(&space, CODE, 2, 1), Err(FaultError::NoAccess));
    space.protect(DATA, 2 * PAGE, Protection::empty()).expect("the data is hidden");
    assert_eq!(user_memory::load_u32(DATA), Err(Errno::EFAULT), "nor may the kernel for the program");
    space.protect(DATA, 2 * PAGE, RW).expect("the data is back");
    assert_eq!(run(&space, CODE, 3, 1), Ok(1));
    assert_eq!([0, 1].map(|page| word(&space, DATA + page * PAGE)), [3, 1]);
    space.advise(DATA, PAGE, Advice::DontNeed).expect("the page is dropped");
    assert_eq!(run(&space, CODE, 4, 2), Ok(2), "one page is missing, one was protected and is allowed again");
}

fn user_copies_end_where_nothing_is() {
    let space = space(STORE);
    space.map(MapRequest { populate: true, ..fixed(DATA, 2, RW) }, &Limits::NONE).expect("the data is mapped");
    let _active = Active::new(&space);
    let bytes: Vec<u8> = (0..2 * FRAME_SIZE).map(|at| at as u8).collect();
    user_memory::write(DATA, &bytes).expect("the pages are there");
    let mut back = alloc::vec![0; 2 * FRAME_SIZE];
    for (offset, length) in [(0, 1), (3, 4093), (4095, 2), (1, 8190), (8191, 1), (16, 16)] {
        user_memory::read(DATA + offset as u64, &mut back[..length]).expect("the pages are there");
        assert_eq!(back[..length], bytes[offset..offset + length]);
    }
    for (address, readable) in [(DATA + 2 * PAGE - 13, 13), (DATA + 2 * PAGE, 0), (DATA - 8, 0)] {
        assert_eq!(user_memory::read_partial(address, &mut back), readable);
        assert_eq!(user_memory::write_partial(address, &bytes), readable);
    }
    let kernel = (&raw const *back).cast::<u8>().addr() as u64;
    for address in [0, paging::USER_END, 1 << 47, kernel, u64::MAX - 7] {
        assert_eq!(user_memory::read(address, &mut [0; 16]), Err(Errno::EFAULT), "{address:#x}");
        assert_eq!(user_memory::write(address, &[0; 16]), Err(Errno::EFAULT), "{address:#x}");
        assert_eq!(user_memory::zero(address, 16), Err(Errno::EFAULT), "{address:#x}");
        assert_eq!(user_memory::load_u32(address & !3), Err(Errno::EFAULT), "{address:#x}");
    }
    user_memory::write(DATA, &bytes).expect("the pages are there");
    user_memory::zero(DATA + 5, 4096).expect("the pages are there");
    user_memory::read(DATA, &mut back).expect("the pages are there");
    assert!(back[5..4101].iter().all(|&byte| byte == 0) && back[..5] == bytes[..5] && back[4101..] == bytes[4101..]);
}

fn words_change_at_once_or_not_at_all() {
    let space = space(STORE);
    space.map(MapRequest { populate: true, ..fixed(DATA, 1, RW) }, &Limits::NONE).expect("the data is mapped");
    let _active = Active::new(&space);
    let address = DATA + 8;
    assert_eq!(user_memory::compare_exchange_u32(address, 0, 5), Ok(0));
    assert_eq!(user_memory::compare_exchange_u32(address, 0, 6), Ok(5));
    assert_eq!(user_memory::fetch_update_u32(address, |word| word * 3), Ok(5));
    assert_eq!(user_memory::load_u32(address), Ok(15));
    assert_eq!(user_memory::load_u32(address + 1), Err(Errno::EINVAL));
    space.protect(DATA, PAGE, Protection::READ).expect("the data is protected");
    assert_eq!(user_memory::compare_exchange_u32(address, 15, 1), Err(Errno::EFAULT));
    assert_eq!(user_memory::load_u32(address), Ok(15));
}

fn a_sealed_page_is_shared_but_never_written() {
    #[repr(align(4096))]
    struct Page([u8; FRAME_SIZE]);
    let page: &'static Page = Box::leak(Box::new(Page([9; FRAME_SIZE])));
    let frame = Frame::of_static(&page.0).expect("the heap lies in the direct map");
    let again = Frame::of_static(&page.0).expect("the heap lies in the direct map");
    assert_eq!((frame.number(), frame.reference_count(), frame.is_sealed()), (again.number(), 3, true));
    let mut byte = [0];
    frame.read(4095, &mut byte);
    assert_eq!(byte, [9]);
    static IMAGE: Page = Page([1; FRAME_SIZE]);
    assert!(Frame::of_static(&IMAGE.0).is_none(), "the kernel's image is no memory that frames count");
}

fn every_frame_comes_back() {
    let round = || {
        let parent = space(STORE);
        parent.map(fixed(DATA, 600, RW), &Limits::NONE).expect("the data is mapped");
        let _active = Active::new(&parent);
        run(&parent, CODE, 1, 600).expect("there is memory");
        for _ in 0..3 {
            let child = parent.fork(None).expect("memory for a child");
            child.write(DATA, &[1; 9000]).expect("there is memory");
        }
        parent.unmap(DATA + 10 * PAGE, 100 * PAGE).expect("a part is unmapped");
        parent.remap(DATA + 200 * PAGE, 50 * PAGE, 80 * PAGE, 1, 0, &Limits::NONE).expect("a part is moved");
        parent.clear();
    };
    // The first round also fills what is kept ready.
    round();
    heap::trim();
    let before = frames::total().free;
    (0..5).for_each(|_| round());
    heap::trim();
    assert_eq!(frames::total().free, before);
}

fn the_heap_gives_frames_back() {
    let fill = || {
        let sizes = [1, 16, 40, 100, 500, 1000, 2000, 3000, 4096, 5000, 70_000, 300_000];
        let blocks: Vec<Vec<u8>> = (0..600).map(|at| alloc::vec![at as u8; sizes[at % sizes.len()]]).collect();
        assert!(blocks.iter().enumerate().all(|(at, block)| block.iter().all(|&byte| byte == at as u8)));
    };
    fill();
    heap::trim();
    // Not the bytes in use: others use the heap too.
    let held = || (frames::total().free, heap::statistics().frames);
    let before = held();
    fill();
    heap::trim();
    assert_eq!(held(), before);
    assert_eq!(heap::try_vec::<u8>(1 << 40), Err(Errno::ENOMEM));
    assert_eq!(heap::try_zeroed(usize::MAX), Err(Errno::ENOMEM));
}

fn a_program_cannot_take_the_last_frames() {
    let space = space(STORE);
    // Most of memory is out of the way, so that filling the rest is quick.
    let large = || (frames::total().free > 16384).then(|| frames::allocate_block(10, &Placement::ANY).ok()).flatten();
    let blocks: Vec<_> = core::iter::from_fn(large).collect();
    let before = frames::total();
    let _active = Active::new(&space);
    space.map(fixed(DATA, before.total, RW), &Limits::NONE).expect("memory is promised, not given");
    assert_eq!(run(&space, CODE, 1, before.total), Err(FaultError::OutOfMemory));
    let left = frames::total().free;
    assert!(left > 0 && left < before.free / 2, "{left} frames of {} are left", before.free);
    let kernel: Vec<u8> = alloc::vec![1; 64 << 10];
    assert!(kernel.iter().all(|&byte| byte == 1));
    space.clear();
    drop(kernel);
    let back = frames::total().free;
    assert!(back >= before.free - 8, "{back} frames of {} are free again", before.free);
    drop(blocks);
}

/// The CPUs that are online besides this one.
fn others() -> CpuSet {
    cpu::online().without(&CpuSet::only(cpu::current()))
}

fn another_cpu_forgets_what_is_unmapped() {
    let space = space(STORE);
    let request = || MapRequest { populate: true, ..fixed(DATA, 40, RW) };
    space.map(request(), &Limits::NONE).expect("the data is mapped");
    space.write(DATA, &7u32.to_ne_bytes()).expect("the page is there");
    let other = CpuSet::only(others().lowest().expect("there are two CPUs"));
    let there = |address: u64| {
        let found = AtomicU64::new(0);
        ipi::call(&other, &|| {
            space.activate();
            let loaded = user_memory::load_u32(address).map_or(u64::MAX, u64::from);
            found.store(loaded, Relaxed);
        });
        found.load(Relaxed)
    };
    assert_eq!((there(DATA), there(DATA + 39 * PAGE)), (7, 0));
    space.unmap(DATA, PAGE).expect("one page is unmapped");
    assert_eq!((there(DATA), there(DATA + 39 * PAGE)), (u64::MAX, 0));
    space.unmap(DATA, 40 * PAGE).expect("many pages are unmapped");
    assert_eq!(there(DATA + 39 * PAGE), u64::MAX);
    space.map(request(), &Limits::NONE).expect("the data is mapped anew");
    assert_eq!(there(DATA), 0);
    space.clear();
    ipi::call(&other, &|| assert_eq!(user_memory::load_u32(DATA), Err(Errno::EFAULT)));
}

fn another_cpu_no_longer_stores_into_what_a_child_has() {
    let parent = space(STORE);
    let request = MapRequest { populate: true, ..fixed(DATA, 2, RW) };
    parent.map(request, &Limits::NONE).expect("the data is mapped");
    let other = CpuSet::only(others().lowest().expect("there are two CPUs"));
    let store_there = |value: u32| {
        let stored = AtomicU64::new(0);
        ipi::call(&other, &|| {
            parent.activate();
            stored.store(u64::from(user_memory::fetch_update_u32(DATA, |_| value).is_ok()), Relaxed);
        });
        stored.load(Relaxed) == 1
    };
    assert!(store_there(1));
    let child = parent.fork(None).expect("memory for a child");
    // Its TLB knew that it may; faults can't be resolved in an interrupt, so it may not.
    assert!(!store_there(2), "the other CPU remembers that it may store");
    assert_eq!((word(&parent, DATA), word(&child, DATA)), (1, 1));
    parent.write(DATA, &3u32.to_ne_bytes()).expect("the parent gets a page of its own");
    assert!(store_there(4));
    assert_eq!((word(&parent, DATA), word(&child, DATA)), (4, 1));
    ipi::call(&other, &paging::deactivate);
}

fn all_cpus_allocate_at_once() {
    heap::trim();
    let before = frames::total().free;
    ipi::call(&cpu::online(), &|| {
        let mut kept = Vec::new();
        for round in 0..200usize {
            let frame = frames::allocate_zeroed(&Placement::ANY).expect("there is memory");
            frame.write(round, &[1]);
            kept.push((frame, alloc::vec![round as u8; 1 + 37 * round % 3000]));
            if round % 3 == 0 {
                kept.swap_remove(round / 3 % kept.len());
            }
        }
    });
    heap::trim();
    assert_eq!(frames::total().free, before);
}

fn pages_come_from_allowed_nodes() {
    let topology = topology::get();
    let nodes: Vec<NodeId> = topology.nodes_with_memory().iter().collect();
    for &node in &nodes {
        let only = Placement::on(NodeSet::only(node));
        assert_eq!(frames::allocate_zeroed(&only).expect("the node has memory").node(), node);
        let before = frames::statistics(node);
        let block = frames::allocate_block(3, &only).expect("the node has memory");
        assert_eq!(block.node(), node);
        assert_eq!(frames::statistics(node).free, before.free - 8);
    }
    ipi::call(&cpu::online(), &|| {
        let here = topology.node_of(cpu::current());
        if topology.nodes_with_memory().contains(here) {
            let frame = frames::allocate(&Placement::ANY).expect("the node has memory");
            assert_eq!(frame.node(), here, "the node of the CPU that asks");
        }
    });
    assert_eq!(frames::statistics(NodeId::new(base::MAX_NODES as u32 - 1)).total, 0);
    assert!(cpu::online().contains(CpuId::new(0)));
}
