//! Tells when something in a directory changes.
//!
//! One inotify instance serves the whole kubelet, because the kernel allows a user only 128 of them. Invariant: a change that
//! happens after [`DirectoryWatcher::watch`] has returned is never missed.

use std::collections::BTreeMap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rustix::fs::inotify;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

/// Room for a burst of events; more of them are read in turns.
const BUFFER_BYTES: usize = 16 << 10;

type Watches = BTreeMap<i32, watch::Sender<u64>>;

pub(super) struct Inner {
    fd: AsyncFd<OwnedFd>,
    pub(super) watches: Mutex<Watches>,
}

/// The instance.
#[derive(Clone)]
pub struct DirectoryWatcher(pub(super) Arc<Inner>);

/// One interest in a directory; ends when dropped.
pub struct DirectoryWatch {
    inner: Arc<Inner>,
    id: i32,
    changes: Option<watch::Receiver<u64>>,
}

impl DirectoryWatcher {
    /// Starts the instance and its task. Must be called inside a runtime.
    ///
    /// # Errors
    /// When the kernel gives no instance.
    pub fn start() -> io::Result<Self> {
        let fd = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
        #[expect(
            deprecated,
            reason = "an OwnedFd never gives up its descriptor, which is all the unsafe successor asks for"
        )]
        let fd = AsyncFd::new(fd)?;
        let inner = Arc::new(Inner { fd, watches: Mutex::default() });
        tokio::spawn(run(Arc::downgrade(&inner)));
        Ok(Self(inner))
    }

    /// Begins to watch `directory`.
    ///
    /// # Errors
    /// When it does not exist or the kernel's limit of watches is reached.
    pub fn watch(&self, directory: &Path) -> io::Result<DirectoryWatch> {
        use inotify::WatchFlags as Flags;
        let mut watches = self.0.watches.lock().unwrap_or_else(PoisonError::into_inner);
        let flags = Flags::MODIFY
            | Flags::CREATE
            | Flags::MOVED_FROM
            | Flags::MOVED_TO
            | Flags::DELETE
            | Flags::ONLYDIR;
        let id = inotify::add_watch(self.0.fd.get_ref().as_fd(), directory, flags)?;
        let changes = watches.entry(id).or_insert_with(|| watch::channel(0).0).subscribe();
        Ok(DirectoryWatch { inner: self.0.clone(), id, changes: Some(changes) })
    }
}

impl DirectoryWatch {
    /// Waits for the next change.
    pub async fn changed(&mut self) {
        let lost = match &mut self.changes {
            Some(changes) => changes.changed().await.is_err(),
            None => true,
        };
        if lost {
            // The directory is gone: nothing will change any more.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for DirectoryWatch {
    fn drop(&mut self) {
        self.changes = None;
        let mut watches = self.inner.watches.lock().unwrap_or_else(PoisonError::into_inner);
        if watches.get(&self.id).is_some_and(|sender| sender.receiver_count() == 0) {
            watches.remove(&self.id);
            // The kernel may have removed it already, together with the directory.
            let _ = inotify::remove_watch(self.inner.fd.get_ref().as_fd(), self.id);
        }
    }
}

async fn run(inner: Weak<Inner>) {
    while let Some(inner) = inner.upgrade() {
        // Holding the instance while waiting keeps it alive for the life of the process, which is what the kubelet wants.
        let Ok(mut ready) = inner.fd.readable().await else { return };
        let mut buffer = [MaybeUninit::uninit(); BUFFER_BYTES];
        let mut reader = inotify::Reader::new(inner.fd.get_ref(), &mut buffer);
        loop {
            match reader.next() {
                Ok(event) => notify(&inner, event.wd(), event.events()),
                Err(rustix::io::Errno::AGAIN) => break,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return,
            }
        }
        ready.clear_ready();
    }
}

fn notify(inner: &Inner, id: i32, events: inotify::ReadFlags) {
    let mut watches = inner.watches.lock().unwrap_or_else(PoisonError::into_inner);
    if events.contains(inotify::ReadFlags::QUEUE_OVERFLOW) {
        watches.values().for_each(|sender| sender.send_modify(|count| *count += 1));
    } else if events.contains(inotify::ReadFlags::IGNORED) {
        watches.remove(&id);
    } else if let Some(sender) = watches.get(&id) {
        sender.send_modify(|count| *count += 1);
    }
}
