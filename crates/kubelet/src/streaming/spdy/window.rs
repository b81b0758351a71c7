//! How much may be sent to a peer that has announced a window.
//!
//! A peer that announces none is not limited: see the head of [`super`].

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

/// The window of the whole connection in SPDY/3.1.
const SESSION_WINDOW: i64 = 64 << 10;

#[derive(Default)]
struct State {
    announced: Option<i64>,
    session: i64,
    streams: BTreeMap<u32, i64>,
    closed: bool,
}

/// The send windows of a connection.
#[derive(Default)]
pub struct SendWindows {
    state: Mutex<State>,
    changed: Notify,
}

impl SendWindows {
    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The peer announces the window of streams; a change counts for open streams too.
    pub fn announce(&self, window: u32) {
        self.with(|state| {
            let window = i64::from(window);
            match state.announced.replace(window) {
                None => state.session = SESSION_WINDOW,
                Some(before) => {
                    state.streams.values_mut().for_each(|left| *left += window - before)
                }
            }
        });
        self.changed.notify_waiters();
    }

    /// The peer is ready for more.
    pub fn update(&self, stream: u32, delta: u32) {
        self.with(|state| match (stream, state.announced) {
            (0, _) => state.session += i64::from(delta),
            (_, Some(initial)) => {
                *state.streams.entry(stream).or_insert(initial) += i64::from(delta)
            }
            (_, None) => {}
        });
        self.changed.notify_waiters();
    }

    /// The stream is over.
    pub fn forget(&self, stream: u32) {
        self.with(|state| state.streams.remove(&stream));
    }

    /// The connection is over; nobody shall wait any more.
    pub fn close(&self) {
        self.with(|state| state.closed = true);
        self.changed.notify_waiters();
    }

    fn try_take(&self, stream: u32, wanted: usize) -> Option<usize> {
        self.with(|state| {
            let Some(initial) = state.announced.filter(|_| !state.closed) else {
                return Some(wanted);
            };
            let left = state.streams.entry(stream).or_insert(initial);
            let allowed = (*left).min(state.session).min(i64::try_from(wanted).unwrap_or(i64::MAX));
            let taken = usize::try_from(allowed).ok().filter(|taken| *taken > 0)?;
            *left -= allowed;
            state.session -= allowed;
            Some(taken)
        })
    }

    /// Waits until something may be sent on `stream`, and takes up to `wanted` bytes of it.
    pub async fn take(&self, stream: u32, wanted: usize) -> usize {
        loop {
            let changed = self.changed.notified();
            if let Some(taken) = self.try_take(stream, wanted) {
                return taken;
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn window_limits_only_those_who_announce_one() {
        let windows = SendWindows::default();
        assert_eq!(windows.try_take(1, 1 << 20), Some(1 << 20));
        windows.announce(10);
        assert_eq!(windows.try_take(1, 7), Some(7));
        assert_eq!(windows.try_take(1, 7), Some(3));
        assert_eq!(windows.try_take(1, 7), None);
        assert_eq!(windows.try_take(3, 7), Some(7));
        windows.update(1, 5);
        assert_eq!(windows.try_take(1, 7), Some(5));
        windows.announce(12);
        assert_eq!(windows.try_take(1, 7), Some(2));
        windows.close();
        assert_eq!(windows.try_take(1, 7), Some(7));
    }
}
