//! The suite every engine must pass: the contract's promises, one test each, on the model and on the disk.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use store::{Event, EventKind, Events, Expect, Fjall, Memory, Page, Put, Store, StoreError};

/// How long a test waits for what must come.
const SOON: Duration = Duration::from_secs(20);

fn value(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

async fn create(store: &dyn Store, key: &str, text: &str) -> u64 {
    match store.put(key.into(), value(text), Expect::Absent, None).await {
        Ok(Put::Done(revision)) => revision,
        other => panic!("create {key}: {other:?}"),
    }
}

async fn update(store: &dyn Store, key: &str, text: &str, expected: u64) -> u64 {
    match store.put(key.into(), value(text), Expect::Revision(expected), None).await {
        Ok(Put::Done(revision)) => revision,
        other => panic!("update {key}: {other:?}"),
    }
}

async fn remove(store: &dyn Store, key: &str, expected: u64) -> u64 {
    match store.delete(key.into(), Expect::Revision(expected)).await {
        Ok(Put::Done(revision)) => revision,
        other => panic!("delete {key}: {other:?}"),
    }
}

async fn texts(store: &dyn Store, page: Page) -> Vec<(String, String)> {
    let listed = store.list("/", page).await.expect("the list");
    let text = |b: &Bytes| String::from_utf8_lossy(b).into_owned();
    listed.value.iter().map(|e| (e.key.to_string(), text(&e.value))).collect()
}

/// The next `n` events, and no more are taken than a batch that holds the last.
async fn next(events: &mut Events, n: usize) -> Vec<Event> {
    let mut seen = Vec::new();
    while seen.len() < n {
        let batch = tokio::time::timeout(SOON, events.next()).await.expect("an event in time");
        seen.extend(batch.expect("the stream goes on").expect("no error"));
    }
    seen
}

fn told(events: &[Event]) -> Vec<(u64, EventKind, String)> {
    events.iter().map(|e| (e.revision, e.kind, e.entry.key.to_string())).collect()
}

async fn put_compares_and_swaps(store: Arc<dyn Store>) {
    let first = create(&*store, "/a", "1").await;
    let lost = store.put("/a".into(), value("x"), Expect::Absent, None).await.expect("an answer");
    let Put::Lost(at) = lost else { panic!("created twice") };
    assert_eq!(at.value.expect("the winner").value, value("1"));
    let second = update(&*store, "/a", "2", first).await;
    assert!(second > first);
    let stale = store.put("/a".into(), value("x"), Expect::Revision(first), None).await;
    assert!(matches!(stale, Ok(Put::Lost(_))));
    let absent = store.put("/none".into(), value("x"), Expect::Revision(first), None).await;
    assert!(matches!(absent, Ok(Put::Lost(at)) if at.value.is_none()));
    let got = store.get("/a").await.expect("an answer");
    let entry = got.value.expect("the entry");
    assert_eq!((entry.create_revision, entry.mod_revision), (first, second));
    assert_eq!(got.revision, second);
}

async fn delete_compares_and_swaps(store: Arc<dyn Store>) {
    let first = create(&*store, "/a", "1").await;
    let second = update(&*store, "/a", "2", first).await;
    let stale = store.delete("/a".into(), Expect::Revision(first)).await;
    assert!(matches!(stale, Ok(Put::Lost(at)) if at.value.is_some()));
    let third = remove(&*store, "/a", second).await;
    assert!(third > second);
    assert_eq!(store.get("/a").await.expect("an answer").value, None);
    let again = create(&*store, "/a", "3").await;
    let entry = store.get("/a").await.expect("an answer").value.expect("the entry");
    assert_eq!(entry.create_revision, again);
}

async fn list_pages_at_one_revision(store: Arc<dyn Store>) {
    let mut last = 0;
    for n in 0..10 {
        last = create(&*store, &format!("/k{n}"), "old").await;
    }
    let page = Page { limit: Some(4), ..Page::default() };
    let first = store.list("/", page).await.expect("the first page");
    assert_eq!((first.revision, first.value.len()), (last, 4));
    update(&*store, "/k5", "new", last - 4).await;
    remove(&*store, "/k6", last - 3).await;
    create(&*store, "/k55", "new").await;
    let after = Some(first.value[3].key.clone());
    let rest = texts(&*store, Page { revision: Some(first.revision), limit: None, after }).await;
    let expected: Vec<_> = (4..10).map(|n| (format!("/k{n}"), "old".to_string())).collect();
    assert_eq!(rest, expected);
    assert_eq!(store.count("/k5").await.expect("a count").value, 2);
}

async fn list_follows_a_key_through_its_lives(store: Arc<dyn Store>) {
    let mut at = vec![];
    let r = create(&*store, "/a", "1").await;
    at.push((r, Some("1")));
    let r = update(&*store, "/a", "2", r).await;
    at.push((r, Some("2")));
    at.push((remove(&*store, "/a", r).await, None));
    at.push((create(&*store, "/a", "3").await, Some("3")));
    for (revision, expected) in at {
        let page = Page { revision: Some(revision), ..Page::default() };
        let expected: Vec<_> = expected.map(|v| ("/a".into(), v.into())).into_iter().collect();
        assert_eq!(texts(&*store, page).await, expected, "at {revision}");
    }
}

async fn watch_sees_every_change_once_in_order(store: Arc<dyn Store>) {
    let before = store.revision();
    let a = create(&*store, "/w/a", "1").await;
    create(&*store, "/other", "1").await;
    let mut live = store.watch("/w/", before).expect("a watch");
    let b = update(&*store, "/w/a", "2", a).await;
    let c = remove(&*store, "/w/a", b).await;
    let seen = next(&mut live, 3).await;
    let key = || "/w/a".to_string();
    let expected =
        vec![(a, EventKind::Put, key()), (b, EventKind::Put, key()), (c, EventKind::Delete, key())];
    assert_eq!(told(&seen), expected);
    assert_eq!(seen[0].previous, None);
    assert_eq!(seen[1].previous.as_ref().expect("what it replaced").value, value("1"));
    assert_eq!((seen[2].entry.mod_revision, &seen[2].entry.value), (b, &value("2")));
    let mut late = store.watch("/w/", b).expect("a watch");
    assert_eq!(told(&next(&mut late, 1).await), expected[2..]);
}

async fn watch_from_the_future_is_refused(store: Arc<dyn Store>) {
    let newest = store.revision();
    let error = store.watch("/", newest + 1).err();
    assert_eq!(error, Some(StoreError::Future { requested: newest + 1, newest }));
    let page = Page { revision: Some(newest + 1), ..Page::default() };
    assert!(matches!(store.list("/", page).await, Err(StoreError::Future { .. })));
    assert!(matches!(store.compact(newest + 1).await, Err(StoreError::Future { .. })));
}

async fn compaction_keeps_what_is_live(store: Arc<dyn Store>) {
    let start = store.revision();
    let kept = create(&*store, "/kept", "1").await;
    let a = create(&*store, "/a", "1").await;
    let b = update(&*store, "/a", "2", a).await;
    let c = create(&*store, "/gone", "1").await;
    let d = remove(&*store, "/gone", c).await;
    let e = update(&*store, "/a", "3", b).await;
    store.compact(d).await.expect("compaction");
    assert_eq!(store.oldest(), Ok(d));
    assert!(
        matches!(store.watch("/", start), Err(StoreError::Compacted { oldest, .. }) if oldest == d)
    );
    let old = Page { revision: Some(a), ..Page::default() };
    assert!(matches!(store.list("/", old).await, Err(StoreError::Compacted { .. })));
    let at = |r| Page { revision: Some(r), ..Page::default() };
    let pair = |k: &str, v: &str| (k.to_string(), v.to_string());
    assert_eq!(texts(&*store, at(d)).await, vec![pair("/a", "2"), pair("/kept", "1")]);
    assert_eq!(texts(&*store, at(e)).await, vec![pair("/a", "3"), pair("/kept", "1")]);
    let entry = store.get("/kept").await.expect("an answer").value.expect("the entry");
    assert_eq!(entry.mod_revision, kept);
    let mut events = store.watch("/", d).expect("a watch from the beginning of history");
    assert_eq!(next(&mut events, 1).await[0].previous.as_ref().expect("old").value, value("2"));
}

async fn ttl_keys_expire_with_an_event(store: Arc<dyn Store>) {
    let before = store.revision();
    let mut events = store.watch("/t/", before).expect("a watch");
    let ttl = Some(Duration::from_millis(50));
    let put = store.put("/t/short".into(), value("1"), Expect::Absent, ttl).await;
    let Ok(Put::Done(r)) = put else { panic!("{put:?}") };
    store.put("/t/kept".into(), value("1"), Expect::Absent, ttl).await.expect("a put");
    let kept = store.get("/t/kept").await.expect("an answer").value.expect("not expired yet");
    update(&*store, "/t/kept", "2", kept.mod_revision).await;
    let seen = next(&mut events, 4).await;
    assert_eq!((seen[3].kind, &*seen[3].entry.key), (EventKind::Delete, "/t/short"));
    assert_eq!(seen[3].entry.mod_revision, r);
    assert_eq!(store.get("/t/short").await.expect("an answer").value, None);
    assert!(store.get("/t/kept").await.expect("an answer").value.is_some());
}

async fn racing_writers_have_one_winner(store: Arc<dyn Store>) {
    const WRITERS: usize = 64;
    const WINS: usize = 10;
    let first = create(&*store, "/n", "0").await;
    let tasks = (0..WRITERS).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut wins = 0;
            while wins < WINS {
                let entry = store.get("/n").await.expect("an answer").value.expect("the entry");
                let n: usize = std::str::from_utf8(&entry.value).unwrap().parse().unwrap();
                let expect = Expect::Revision(entry.mod_revision);
                let put = store.put("/n".into(), value(&(n + 1).to_string()), expect, None).await;
                wins += usize::from(matches!(put.expect("an answer"), Put::Done(_)));
            }
        })
    });
    futures::future::try_join_all(tasks).await.expect("no writer panics");
    let entry = store.get("/n").await.expect("an answer").value.expect("the entry");
    assert_eq!(entry.value, value(&(WRITERS * WINS).to_string()));
    let mut events = store.watch("/n", first).expect("a watch");
    let seen = next(&mut events, WRITERS * WINS).await;
    let counted: Vec<_> = seen.iter().map(|e| e.entry.value.clone()).collect();
    let expected: Vec<_> = (1..=WRITERS * WINS).map(|n| value(&n.to_string())).collect();
    assert_eq!(counted, expected);
}

/// More changes than an engine keeps in memory, so that a late watcher is served from history.
async fn watch_catches_up_from_history(store: Arc<dyn Store>) {
    let start = store.revision();
    let mut puts = futures::stream::iter(0..6000)
        .map(|n| {
            let store = store.clone();
            async move { create(&*store, &format!("/h/{n:05}"), "1").await }
        })
        .buffered(256);
    let mut revisions = Vec::new();
    while let Some(revision) = puts.next().await {
        revisions.push(revision);
    }
    revisions.sort_unstable();
    let mut events = store.watch("/h/", start).expect("a watch");
    let seen: Vec<_> = next(&mut events, 6000).await.iter().map(|e| e.revision).collect();
    assert_eq!(seen, revisions);
}

async fn a_read_is_never_older_than_an_answer(store: Arc<dyn Store>) {
    let tasks = (0..32).map(|n| {
        let store = store.clone();
        tokio::spawn(async move {
            let key = format!("/r/{n}");
            let mut revision = create(&*store, &key, "0").await;
            for round in 0..20 {
                revision = update(&*store, &key, &round.to_string(), revision).await;
                assert!(store.revision() >= revision);
                let got = store.get(&key).await.expect("an answer");
                assert!(got.revision >= revision);
                assert_eq!(got.value.expect("the entry").mod_revision, revision);
                let listed = store.list(&key, Page::default()).await.expect("the list");
                assert!(listed.value.iter().all(|e| e.mod_revision <= listed.revision));
            }
        })
    });
    futures::future::try_join_all(tasks).await.expect("every read was fresh");
}

macro_rules! suite {
    ($($name:ident),* $(,)?) => {
        mod memory {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(Arc::new(Memory::new())).await;
            })*
        }
        mod fjall {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let dir = tempfile::tempdir().expect("a directory");
                super::$name(Arc::new(Fjall::open(dir.path()).expect("a store"))).await;
            })*
        }
    };
}

suite!(
    put_compares_and_swaps,
    delete_compares_and_swaps,
    list_pages_at_one_revision,
    list_follows_a_key_through_its_lives,
    watch_sees_every_change_once_in_order,
    watch_from_the_future_is_refused,
    compaction_keeps_what_is_live,
    ttl_keys_expire_with_an_event,
    racing_writers_have_one_winner,
    watch_catches_up_from_history,
    a_read_is_never_older_than_an_answer,
);
