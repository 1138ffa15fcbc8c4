//! Resolves host names outside of the runtime.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::thread;

use tokio::sync::oneshot;

/// The addresses of a host.
pub(super) async fn resolve(host: String, port: u16) -> io::Result<Vec<SocketAddr>> {
    run_on_thread(move || (host.as_str(), port).to_socket_addrs().map(Vec::from_iter)).await
}

/// Runs blocking work on a thread that nobody joins. The runtime would wait for its own blocking threads when it is
/// dropped, and thus exceed the timeout of the command.
async fn run_on_thread<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let (sender, receiver) = oneshot::channel();
    // The receiver is gone if the command has timed out.
    let run = move || drop(sender.send(work()));
    thread::Builder::new().name("resolver".to_owned()).spawn(run)?;
    receiver.await.unwrap_or_else(|_| Err(io::Error::other("the resolver failed")))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use actix_rt::time::timeout;

    use super::*;

    #[test]
    fn a_slow_lookup_does_not_outlast_the_timeout() {
        let (_blocked, blocks) = mpsc::channel::<()>();
        // The lookup ends only after the runtime.
        let lookup = run_on_thread(move || blocks.recv().map_err(io::Error::other));
        let ended =
            actix_rt::System::new().block_on(async { timeout(Duration::from_millis(50), lookup).await });
        assert!(ended.is_err(), "it timed out");
    }
}
