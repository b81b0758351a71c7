//! The controller driver: watches, queues, runs the pure `reconcile`, carries out its plan. Counterpart:
//! controller-runtime, and the hand-written loops and expectations of kube-controller-manager.
//!
//! Invariants:
//! * `reconcile` has no client, no clock and no randomness: everything it may know is in what `observe` gathered.
//! * One key runs in one worker at a time.
//! * After a run that wrote, the key is held until the caches have seen every one of the writes. That replaces
//!   Kubernetes' expectations: a plan made from the caches never repeats what an earlier plan of that key did.
//! * A failed run is repeated with exponential back-off; a run whose object is gone is forgotten.

mod execute;
mod plan;
mod watches;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::{Client, Error};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use execute::{ActionError, Executor, Written};
pub use plan::{
    Action, Create, Delete, Failure, IfAbsent, IfExists, Manifest, OnFailure, Patch, PatchBody,
    Plan, Propagation, Report,
};
pub use watches::{Caches, Watches};

use crate::error::ApiErrorExt;
use crate::events::EventRecorder;
use crate::informer::Informers;
use crate::work_queue::{QueueKey, WorkQueue};

/// A controller: which objects it looks at, and one pure function from what it sees to what is to be done.
pub trait Controller: Send + Sync + Sized + 'static {
    /// Name in logs, as in Kubernetes' `--controllers` flag.
    const NAME: &'static str;
    /// The component that its events name.
    const EVENT_SOURCE: &'static str = Self::NAME;
    /// How many keys are worked on at once.
    const WORKERS: usize = 5;
    /// What identifies one piece of work; mostly [`crate::ObjectKey`].
    type Key: QueueKey;
    /// Everything `reconcile` may know about one key.
    type Observed: Send + Sync;

    /// Which kinds it reads, and which keys a change of one of their objects concerns.
    fn watches(&self) -> Watches<Self::Key>;

    /// Reads what concerns `key` from the caches; `None` when there is nothing to do for it any more.
    fn observe(&self, caches: &Caches, key: &Self::Key) -> Option<Self::Observed>;

    /// Adds what only the API server can tell (live reads before a step that cannot be undone). Most controllers have
    /// no need of it.
    ///
    /// # Errors
    /// The failed read; the key is repeated with back-off.
    fn complete(
        &self,
        observed: Self::Observed,
        _client: &Client,
    ) -> impl Future<Output = Result<Self::Observed, Error>> + Send {
        std::future::ready(Ok(observed))
    }

    /// Decides what is to be done. Pure.
    fn reconcile(&self, observed: &Self::Observed, now: Timestamp) -> Plan;

    /// Starts sources of keys beyond the typed caches, and returns once they are complete enough to begin.
    fn start(self: &Arc<Self>, _runtime: &Runtime<Self::Key>) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
}

/// What the driver and a controller's own sources share.
pub struct Runtime<Key: QueueKey> {
    /// The controller's own identity, with which it writes and reads live.
    pub client: Client,
    /// The informers of the process.
    pub informers: Informers,
    /// The controller's queue.
    pub queue: Arc<WorkQueue<Key>>,
    /// Where events go.
    pub recorder: EventRecorder,
    /// Ends everything.
    pub shutdown: CancellationToken,
}

impl<Key: QueueKey> std::fmt::Debug for Runtime<Key> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime").field("queue", &self.queue).finish_non_exhaustive()
    }
}

/// Runs a controller until `shutdown`: it reads from `informers`, writes with `client`, and reports events with it.
pub async fn run<C: Controller>(
    controller: C,
    client: Client,
    informers: Informers,
    shutdown: CancellationToken,
) {
    let controller = Arc::new(controller);
    let recorder = EventRecorder::new(client.clone(), C::EVENT_SOURCE, None);
    let queue = Arc::new(WorkQueue::default());
    let runtime = Runtime { client, informers, queue, recorder, shutdown: shutdown.clone() };
    let _cancelled = shutdown.run_until_cancelled(run_workers(controller, &runtime)).await;
    runtime.queue.close();
}

async fn run_workers<C: Controller>(controller: Arc<C>, runtime: &Runtime<C::Key>) {
    let caches = controller.watches().start(&runtime.informers, &runtime.queue);
    caches.synced().await;
    controller.start(runtime).await;
    tracing::info!(controller = C::NAME, "controller started");
    let mut workers = JoinSet::new();
    for _ in 0..C::WORKERS {
        workers.spawn(Worker::new(controller.clone(), caches.clone(), runtime).run());
    }
    while let Some(ended) = workers.join_next().await {
        if let Err(error) = ended {
            tracing::error!(controller = C::NAME, %error, "worker died, starting another");
            workers.spawn(Worker::new(controller.clone(), caches.clone(), runtime).run());
        }
    }
}

struct Worker<C: Controller> {
    controller: Arc<C>,
    caches: Caches,
    queue: Arc<WorkQueue<C::Key>>,
    executor: Executor,
}

/// Ends the work on a key even when the worker panics, so that the key is not lost with it.
struct InProgress<Key: QueueKey> {
    queue: Arc<WorkQueue<Key>>,
    key: Key,
}

impl<Key: QueueKey> Drop for InProgress<Key> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.queue.add_rate_limited(self.key.clone());
        }
        self.queue.done(&self.key);
    }
}

impl<C: Controller> Worker<C> {
    fn new(controller: Arc<C>, caches: Caches, runtime: &Runtime<C::Key>) -> Self {
        let executor = Executor::new(runtime.client.clone(), runtime.recorder.clone());
        Self { controller, caches, queue: runtime.queue.clone(), executor }
    }

    async fn run(self) {
        while let Some(key) = self.queue.next().await {
            let in_progress = InProgress { queue: self.queue.clone(), key };
            let written = self.process(&in_progress.key).await;
            if !self.caches.have_seen(&written) {
                // Waiting is not working: the worker goes on, the key stays in progress until the caches are there.
                let caches = self.caches.clone();
                tokio::spawn(async move {
                    caches.see(&written).await;
                    drop(in_progress);
                });
            }
        }
    }

    /// One run of a key; what it wrote.
    async fn process(&self, key: &C::Key) -> Vec<Written> {
        let Some(observed) = self.controller.observe(&self.caches, key) else {
            self.queue.forget(key);
            return Vec::new();
        };
        let observed = match self.controller.complete(observed, self.executor.client()).await {
            Ok(observed) => observed,
            Err(error) => {
                self.retry(key, &error.message());
                return Vec::new();
            }
        };
        let plan = self.controller.reconcile(&observed, Timestamp::now());
        let requeue_after = plan.requeue_after;
        let mut written = Vec::new();
        match self.executor.execute(plan, &mut written).await {
            Ok(()) => self.finish(key, requeue_after),
            Err(error) => self.retry(key, &error.to_string()),
        }
        written
    }

    fn finish(&self, key: &C::Key, requeue_after: Option<Duration>) {
        self.queue.forget(key);
        if let Some(delay) = requeue_after {
            self.queue.add_after(key.clone(), delay);
        }
    }

    fn retry(&self, key: &C::Key, error: &str) {
        tracing::debug!(
            controller = C::NAME,
            ?key,
            error,
            failures = self.queue.failures(key),
            "will be repeated"
        );
        self.queue.add_rate_limited(key.clone());
    }
}
