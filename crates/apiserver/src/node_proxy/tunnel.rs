//! Two upgraded connections joined, byte for byte.
//!
//! Counterpart in Kubernetes: the two copying goroutines of `UpgradeAwareHandler.tryUpgrade`. What is spoken inside
//! (SPDY/3.1, WebSocket) is between the client and the kubelet.

use http::HeaderMap;
use http::header::{CONNECTION, UPGRADE};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional_with_sizes;
use tokio_util::sync::CancellationToken;

/// Bytes per direction: a TLS record is 16 KiB, two keep both sides busy.
const BUFFER_BYTES: usize = 32 * 1024;

/// Whether the request asks to leave HTTP.
pub(super) fn is_upgrade(headers: &HeaderMap) -> bool {
    let connection = headers.get_all(CONNECTION).iter().filter_map(|v| v.to_str().ok());
    let asked = connection
        .flat_map(|v| v.split(','))
        .any(|token| token.trim().eq_ignore_ascii_case("upgrade"));
    asked && headers.contains_key(UPGRADE)
}

/// Waits for both upgrades, then carries bytes until both directions have ended, one breaks, or the server stops.
pub(super) async fn run(client: OnUpgrade, kubelet: OnUpgrade, shutdown: CancellationToken) {
    let joined = async {
        let (client, kubelet) = tokio::try_join!(client, kubelet).map_err(std::io::Error::other)?;
        let (mut client, mut kubelet) = (TokioIo::new(client), TokioIo::new(kubelet));
        copy_bidirectional_with_sizes(&mut client, &mut kubelet, BUFFER_BYTES, BUFFER_BYTES).await
    };
    match shutdown.run_until_cancelled(joined).await {
        Some(Ok((sent, received))) => tracing::debug!(sent, received, "stream ended"),
        Some(Err(error)) => tracing::debug!(%error, "stream broke"),
        None => tracing::debug!("stream ended by shutdown"),
    }
}
