//! Readers and the producer at once, in every order that there is.

use std::task::Context;

use loom::future::block_on;
use loom::thread;

use super::*;

const AT: Delivered = Delivered::new(1, Some(2), Some(3));

/// Runs `reader` beside a completion of its cell, and checks afterwards that the cell can be used again.
fn race(fails: bool, reader: impl Fn(CellHandle<u32, ()>) + Copy + Send + Sync + 'static) {
    loom::model(move || {
        let (completions, mut free) = (Completions::<u32, ()>::new(Arc::new(())), FreeCells::default());
        let (cell, handle) = free.acquire(&completions);
        let reading = thread::spawn(move || reader(handle));
        let mut wakers = Vec::new();
        if fails {
            drop(completions.complete_failed(cell, 7, &mut wakers));
        } else {
            completions.complete_delivered(cell, TopicId(4), AT, &mut wakers);
        }
        wakers.into_iter().for_each(Waker::wake);
        reading.join().unwrap();
        let free: Vec<_> = (0..SEGMENT).map(|_| free.acquire(&completions)).collect();
        assert_eq!(completions.segments.count(), 1, "a cell was lost");
        assert!(free.iter().enumerate().all(|(at, (one, _))| free[..at].iter().all(|(other, _)| one != other)));
    });
}

fn read(mut handle: CellHandle<u32, ()>) -> Result<(TopicId, Delivered), u32> {
    block_on(std::future::poll_fn(|cx| handle.poll(cx))).map(|(topic, delivered, _)| (topic, delivered))
}

#[test]
fn loom_a_reader_that_waits_is_always_woken() {
    race(false, |handle| assert_eq!(read(handle), Ok((TopicId(4), AT))));
    race(true, |handle| assert_eq!(read(handle), Err(7)));
}

#[test]
fn loom_a_reader_may_go_at_any_time() {
    race(false, drop);
    race(true, drop);
    race(true, |mut handle| {
        let _ = handle.poll(&mut Context::from_waker(Waker::noop()));
    });
}

#[test]
fn loom_the_last_waker_counts() {
    race(false, |mut handle| {
        let early = handle.poll(&mut Context::from_waker(Waker::noop()));
        assert!(early.is_ready() || read(handle) == Ok((TopicId(4), AT)));
    });
}

#[test]
fn loom_who_goes_takes_no_waker_of_the_next() {
    loom::model(|| {
        let (completions, mut free) = (Completions::<u32, ()>::new(Arc::new(())), FreeCells::default());
        let mut cx = Context::from_waker(Waker::noop());
        let mut wakers = Vec::new();
        let (cell, mut handle) = free.acquire(&completions);
        assert!(handle.poll(&mut cx).is_pending());
        let going = thread::spawn(move || drop(handle));
        completions.complete_delivered(cell, TopicId(4), AT, &mut wakers);
        wakers.clear();
        let (cell, mut next) = free.acquire(&completions);
        assert!(next.poll(&mut cx).is_pending());
        completions.complete_delivered(cell, TopicId(4), AT, &mut wakers);
        assert_eq!(wakers.len(), 1);
        going.join().unwrap();
    });
}

#[test]
fn loom_readers_give_back_at_the_same_time_as_cells_are_taken() {
    loom::model(|| {
        let (completions, mut free) = (Completions::<u32, ()>::new(Arc::new(())), FreeCells::default());
        let mut wakers = Vec::new();
        let mut handles: Vec<_> = (0..SEGMENT)
            .map(|_| {
                let (cell, handle) = free.acquire(&completions);
                completions.complete_delivered(cell, TopicId(4), AT, &mut wakers);
                handle
            })
            .collect();
        let other = handles.pop();
        let giving = thread::spawn(move || drop(other));
        drop(handles);
        let (first, _one) = free.acquire(&completions);
        let (second, _two) = free.acquire(&completions);
        assert_ne!(first, second);
        giving.join().unwrap();
        let others = [free.acquire(&completions), free.acquire(&completions)];
        assert!(others.iter().all(|(cell, _)| *cell != first && *cell != second));
        assert!(completions.segments.count() <= 2, "a cell was lost");
    });
}
