//! Serving a router on a socket, with the one limit that a router cannot keep itself: the time for a request's head.
//!
//! Must never: let a client that sends half a head and falls silent hold a connection for ever, or end a process while answers
//! are under way, within a bound.

use axum::Router;
use axum::extract::ConnectInfo;
use axum::serve::Listener;
use bulkhead_control::{Patient, Peer};
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long a client may take for the head of a request, counted from its connection or from the answer before: so it also ends
/// connections that nobody uses.
pub(super) const HEAD_TIME_MAX: Duration = Duration::from_secs(60);
/// How long a stop waits for answers under way.
const STOP_TIME_MAX: Duration = Duration::from_secs(30);

/// Serves until `stop`, then lets answers under way end.
pub(super) async fn serve(mut listener: Patient, router: Router, head_time_max: Duration, stop: CancellationToken) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(head_time_max);
    let connections = GracefulShutdown::new();
    loop {
        // Where the process has no more descriptors, it waits before it tries again.
        let (stream, address) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let router = TowerToHyperService::new(router.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(Peer(address)));
            router.call(request)
        });
        let connection = connections.watch(http.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                // A client that went away, or spoke no HTTP.
                tracing::debug!(%error, "a connection ended early");
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(STOP_TIME_MAX, connections.shutdown()).await.is_err() {
        tracing::warn!("ending while answers are under way");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    async fn server(head_time_max: Duration) -> (std::net::SocketAddr, CancellationToken, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let router = Router::new().route("/", axum::routing::get(|| async { "here" }));
        (address, stop.clone(), tokio::spawn(serve(Patient::new(listener, head_time_max), router, head_time_max, stop)))
    }

    #[tokio::test]
    async fn half_a_head_does_not_hold_a_connection() {
        let (address, _stop, _serving) = server(Duration::from_millis(50)).await;
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ").await.unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "it was answered before it had asked");
    }

    #[tokio::test]
    async fn a_stop_ends_connections_that_nobody_uses() {
        let (address, stop, serving) = server(Duration::from_secs(600)).await;
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let mut answer = [0; 12];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
        stop.cancel();
        serving.await.unwrap();
    }
}
