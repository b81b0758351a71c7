//! Exec, attach and port-forward as streams: `knarr-stream/1` over an upgraded HTTP/1.1 connection on a unix socket.
//!
//! The counterpart of the CRI streaming server. The CRI call answers `unix://SOCKET/exec/TOKEN` (or `/attach/`, `/portforward/`); the peer
//! connects to SOCKET, sends `GET /exec/TOKEN` with `Connection: Upgrade` and `Upgrade: knarr-stream/1`, and gets 101. Then both sides send
//! frames: channel (u8), length (u32, big endian), payload. Channels: 0 stdin, 1 stdout, 2 stderr, 3 the final `metav1.Status` as JSON, 4
//! terminal size as JSON `{"Width":80,"Height":24}`; an empty frame half-closes its channel. Invariants: a token is random, serves one session
//! (a port-forward's: one per connection, the port chosen by `?port=N`), and expires; the last frame on the wire is the status.

mod frames;
mod session;

pub(crate) use session::serve;

use crate::engine::{EngineError, Wanted};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long an unused token is good for; the kubelet connects at once. As containerd's.
const TOKEN_LIFETIME: Duration = Duration::from_secs(60);
/// How long a port-forward's token is good for, which serves several connections.
const FORWARD_LIFETIME: Duration = Duration::from_secs(4 * 3600);
/// Tokens waiting at once.
const MAX_TOKENS: usize = 1000;

/// What a token stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Session {
    /// A process in a container.
    Exec {
        /// Where.
        container: String,
        /// What.
        command: Vec<String>,
        /// Streams.
        wanted: Wanted,
    },
    /// A container's own streams.
    Attach {
        /// Which.
        container: String,
        /// Streams.
        wanted: Wanted,
    },
    /// Sockets into a pod.
    PortForward {
        /// Which.
        sandbox: String,
        /// Allowed ports; all if empty.
        ports: Vec<u16>,
    },
}

impl Session {
    fn path(&self) -> &'static str {
        match self {
            Self::Exec { .. } => "exec",
            Self::Attach { .. } => "attach",
            Self::PortForward { .. } => "portforward",
        }
    }
}

/// The tokens that are good.
pub(crate) struct Tokens {
    socket: PathBuf,
    tokens: Mutex<BTreeMap<String, (Instant, Session)>>,
}

impl Tokens {
    /// No tokens; streams are served on `socket`.
    pub fn new(socket: PathBuf) -> Self {
        Self { socket, tokens: Mutex::default() }
    }

    /// Where streams are served.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// A URL that is good for `session`.
    pub fn issue(&self, session: Session) -> Result<String, EngineError> {
        let token = crate::records::new_id()?;
        let url = format!("unix://{}/{}/{token}", self.socket.display(), session.path());
        let lifetime = if matches!(session, Session::PortForward { .. }) {
            FORWARD_LIFETIME
        } else {
            TOKEN_LIFETIME
        };
        let now = Instant::now();
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.retain(|_, (expires, _)| *expires > now);
        if tokens.len() >= MAX_TOKENS {
            return Err(EngineError::FailedPrecondition(
                "too many streaming sessions are waiting to be opened".into(),
            ));
        }
        tokens.insert(token, (now + lifetime, session));
        Ok(url)
    }

    /// The session of `/KIND/TOKEN`; it cannot be had again, but for port-forwards.
    pub fn redeem(&self, path: &str) -> Option<Session> {
        let (kind, token) = path.strip_prefix('/')?.split_once('/')?;
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let (expires, session) = tokens.get(token)?.clone();
        if expires <= Instant::now() || session.path() != kind {
            return None;
        }
        if !matches!(session, Session::PortForward { .. }) {
            tokens.remove(token);
        }
        Some(session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(url: &str) -> &str {
        url.strip_prefix("unix:///run/s.sock").expect("the socket's path")
    }

    #[test]
    fn tokens_exec_is_good_once_and_for_its_kind() {
        let tokens = Tokens::new("/run/s.sock".into());
        let wanted = Wanted { stdin: false, stdout: true, stderr: true, terminal: false };
        let session = Session::Attach { container: "c".into(), wanted };
        let url = tokens.issue(session.clone()).expect("a token");
        assert_eq!(tokens.redeem(&path(&url).replace("attach", "exec")), None);
        assert_eq!(tokens.redeem(path(&url)), Some(session));
        assert_eq!(tokens.redeem(path(&url)), None);
    }

    #[test]
    fn tokens_port_forward_is_good_for_more_connections() {
        let tokens = Tokens::new("/run/s.sock".into());
        let url = tokens
            .issue(Session::PortForward { sandbox: "s".into(), ports: vec![80] })
            .expect("a token");
        assert!(tokens.redeem(path(&url)).is_some());
        assert!(tokens.redeem(path(&url)).is_some());
    }
}
