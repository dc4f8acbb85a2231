//! OpenMetrics over HTTP, for Prometheus and its kin.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::registry::Registry;

/// What a scraper expects of the text that `prometheus-client` writes.
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Serves a registry at `/metrics` of this address until the future is dropped. The address is
/// bound when this returns.
///
/// # Errors
/// An address that is not loopback: counts tell when users are active, so they stay on the
/// machine. Else what the system says, for example that the port is taken.
pub fn serve(
    address: SocketAddr,
    registry: Arc<Registry>,
) -> io::Result<impl Future<Output = ()> + Send + 'static> {
    if !address.ip().is_loopback() {
        let message = format!("metrics are served on loopback addresses only, not on {address}");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    let listener = crate::listen::tcp(address)?;
    let render = move || std::future::ready(render(&registry));
    let router = axum::Router::new().route("/metrics", axum::routing::get(render));
    // Serving ends only with the future: errors of single connections are not its end.
    Ok(async move { drop(axum::serve(listener, router).await) })
}

fn render(registry: &Registry) -> Response {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, registry) {
        Ok(()) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::metrics::counter::Counter;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[tokio::test]
    async fn a_scraper_gets_the_counters() {
        let mut registry = Registry::default();
        let counter: Counter = Counter::default();
        registry.register("messages", "Messages judged", counter.clone());
        counter.inc();
        let free = crate::listen::tcp("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let server = tokio::spawn(serve(address, Arc::new(registry)).unwrap());

        let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        client.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.contains("messages_total 1\n"), "{answer}");
        server.abort();
    }

    #[test]
    fn public_addresses_are_refused() {
        let refused = serve("0.0.0.0:0".parse().unwrap(), Arc::default())
            .err()
            .unwrap();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
    }
}
