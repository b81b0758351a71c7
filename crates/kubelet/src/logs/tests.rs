//! Logs read from real files.

use super::*;

fn lines(range: std::ops::Range<u32>) -> String {
    range
        .map(|n| {
            format!(
                "2026-01-01T00:00:{n:02}.5Z {} F line {n}\n",
                if n % 2 == 0 { "stdout" } else { "stderr" }
            )
        })
        .collect()
}

struct Fixture {
    directory: tempfile::TempDir,
    watcher: DirectoryWatcher,
    containers: broadcast::Sender<String>,
}

impl Fixture {
    fn new(text: &str) -> Self {
        let directory = tempfile::tempdir().expect("directory");
        std::fs::write(directory.path().join("0.log"), text).expect("written");
        Self {
            directory,
            watcher: DirectoryWatcher::start().expect("inotify"),
            containers: broadcast::channel(8).0,
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("0.log")
    }

    async fn read(&self, options: LogOptions) -> String {
        let (sender, mut receiver) = mpsc::channel(64);
        let liveness = Liveness {
            cri: Cri::new(Path::new("/nonexistent")),
            container_id: "c".into(),
            changed: self.containers.subscribe(),
        };
        stream(self.path(), options, liveness, &self.watcher, sender).await.expect("read");
        let mut text = Vec::new();
        while let Some(bytes) = receiver.recv().await {
            text.extend_from_slice(&bytes);
        }
        String::from_utf8(text).expect("text")
    }
}

#[tokio::test]
async fn log_05_tail_since_and_limit() {
    let fixture = Fixture::new(&lines(0..5));
    let default = LogOptions::default;
    assert_eq!(fixture.read(default()).await, "line 0\nline 1\nline 2\nline 3\nline 4\n");
    assert_eq!(
        fixture.read(LogOptions { tail_lines: Some(2), ..default() }).await,
        "line 3\nline 4\n"
    );
    assert_eq!(fixture.read(LogOptions { tail_lines: Some(0), ..default() }).await, "");
    assert_eq!(
        fixture.read(LogOptions { tail_lines: Some(99), ..default() }).await.lines().count(),
        5
    );
    let since = "2026-01-01T00:00:03Z".parse().expect("time");
    assert_eq!(
        fixture.read(LogOptions { since: Some(since), ..default() }).await,
        "line 3\nline 4\n"
    );
    assert_eq!(
        fixture.read(LogOptions { limit_bytes: Some(10), ..default() }).await,
        "line 0\nlin"
    );
    assert_eq!(
        fixture.read(LogOptions { stream: Some(Stream::Stderr), ..default() }).await,
        "line 1\nline 3\n"
    );
}

#[tokio::test]
async fn log_04_timestamps_have_nine_digits() {
    let partial = "2026-01-01T00:00:00.5Z stdout P ab\n2026-01-01T00:00:01Z stdout F c\n2026-01-01T00:00:02Z stdout F d\n";
    let made =
        Fixture::new(partial).read(LogOptions { timestamps: true, ..LogOptions::default() }).await;
    assert_eq!(made, "2026-01-01T00:00:00.500000000Z abc\n2026-01-01T00:00:02.000000000Z d\n");
}

#[tokio::test]
async fn log_05_tail_of_a_long_file() {
    let text: String =
        (0..20_000).map(|n| format!("2026-01-01T00:00:00Z stdout F {n}\n")).collect();
    let made = Fixture::new(&text)
        .read(LogOptions { tail_lines: Some(9_000), ..LogOptions::default() })
        .await;
    assert_eq!(made.lines().next(), Some("11000"));
    assert_eq!(made.lines().count(), 9_000);
}

#[tokio::test]
async fn watcher_sees_changes_and_forgets_directories() {
    let fixture = Fixture::new("");
    let mut watch = fixture.watcher.watch(fixture.directory.path()).expect("watch");
    std::fs::write(fixture.path(), "x").expect("written");
    watch.changed().await;
    drop(watch);
    assert!(fixture.watcher.0.watches.lock().expect("lock").is_empty());
}
