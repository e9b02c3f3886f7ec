//! Whose a frame is, step by step.

use super::*;
use crate::host::fresh_frames;

fn block(order: u8) -> Block {
    let mut blocks = fresh_frames(2 << order, NodeId::new(1));
    let at = blocks.iter().position(|block| block.order() >= order).unwrap();
    let mut block = blocks.swap_remove(at);
    while block.order() > order {
        block = block.split().0;
    }
    block
}

#[test]
fn halves_join_to_the_block_that_they_were() {
    let whole = block(3);
    let (first, frames) = (whole.first(), whole.frames());
    let (low, high) = whole.split();
    assert_eq!((low.first(), high.first().raw()), (first, first.raw() + frames / 2));
    let joined = Block::merge(low, high);
    assert_eq!((joined.first(), joined.order(), joined.node()), (first, 3, NodeId::new(1)));
}

#[test]
fn a_word_of_a_frame_is_four_of_its_bytes() {
    let frame = block(0).into_frame();
    frame.zero(0, FRAME_SIZE);
    frame.store_word(FRAME_SIZE - 4, 0x0403_0201);
    let mut bytes = [0; 8];
    frame.read(FRAME_SIZE - 8, &mut bytes);
    assert_eq!(bytes, [0, 0, 0, 0, 1, 2, 3, 4]);
    frame.write(8, &[5, 6, 7, 8]);
    assert_eq!((frame.load_word(8), frame.load_word(12)), (0x0807_0605, 0));
}

#[test]
#[should_panic = "no word begins at 2"]
fn a_word_is_aligned() {
    block(0).into_frame().load_word(2);
}

#[test]
#[should_panic = "are not the halves of a block"]
fn strangers_do_not_join() {
    let (low, high) = block(2).split();
    Block::merge(high, low);
}

#[test]
fn a_frame_is_a_block_again_when_only_one_refers_to_it() {
    let frame = block(0).into_frame();
    let other = frame.clone();
    assert_eq!(frame.reference_count(), 2);
    let frame = frame.into_block().unwrap_err();
    drop(other);
    assert_eq!(frame.into_block().unwrap().order(), 0);
}

#[test]
fn bytes_are_where_they_were_put() {
    let mut one = block(0);
    one.zero();
    one.bytes()[4095] = 7;
    let (one, two) = (one.into_frame(), block(0).into_frame());
    two.copy_from(&one);
    two.write(4090, &[1, 2, 3]);
    two.zero(4091, 1);
    let mut bytes = [9; 8];
    two.read(4088, &mut bytes);
    assert_eq!(bytes, [0, 0, 1, 0, 3, 0, 0, 7]);
}

#[test]
#[should_panic = "don't lie in a frame"]
fn bytes_beyond_a_frame_are_refused() {
    block(0).into_frame().read(4090, &mut [0; 7]);
}

#[test]
fn a_list_gives_the_neighbour_that_it_has_and_no_other() {
    let mut list = BlockList::new(1);
    let mut other = BlockList::new(1);
    let (low, high) = block(2).split();
    let stranger = block(1);
    other.push(high);
    list.push(stranger);
    assert!(list.take_buddy(&low).is_none(), "it is in another list");
    let high = other.take_buddy(&low).unwrap();
    assert_eq!(Block::merge(low, high).order(), 2);
    assert_eq!((list.len(), other.len()), (1, 0));
    assert_eq!(list.pop().map(|block| block.order()), Some(1));
    assert!(list.pop().is_none());
}

#[test]
fn static_bytes_are_shared_sealed_and_never_freed() {
    let bytes = Box::leak(Box::new(block(0))).bytes();
    bytes.fill(5);
    let page: &'static [u8; FRAME_SIZE] = (&*bytes).try_into().unwrap();
    let frame = Frame::of_static(page).unwrap();
    drop(Frame::of_static(page));
    assert_eq!((frame.reference_count(), frame.is_sealed()), (2, true));
    assert!(frame.into_block().is_err());
    static ELSEWHERE: [u8; FRAME_SIZE] = [0; FRAME_SIZE];
    assert!(Frame::of_static(&ELSEWHERE).is_none());
}

#[test]
fn a_note_stays_with_its_frame_and_is_told_when_that_is_freed() {
    struct Told(std::sync::Mutex<Vec<(u32, NodeId)>>);
    impl FrameNotes for Told {
        fn freed(&self, note: u32, node: NodeId) {
            self.0.lock().unwrap().push((note, node));
        }
    }
    static TOLD: Told = Told(std::sync::Mutex::new(Vec::new()));
    FRAME_NOTES.install(&TOLD);
    let frame = block(0).into_frame();
    assert_eq!(frame.note(), 0);
    assert!(frame.exchange_note(0, 5) && !frame.exchange_note(0, 6));
    let other = frame.clone();
    assert_eq!(other.note(), 5);
    drop(frame);
    assert!(TOLD.0.lock().unwrap().is_empty());
    assert_eq!(other.into_block().unwrap().into_frame().note(), 0);
    let frame = block(0).into_frame();
    assert!(frame.exchange_note(0, 7));
    drop(frame);
    assert_eq!(*TOLD.0.lock().unwrap(), [(5, NodeId::new(1)), (7, NodeId::new(1))]);
}
