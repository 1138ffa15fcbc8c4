//! The proxy's connections.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};

use super::pump::{Ended, pump};
use super::{Control, Direction};

/// Accepts connections until the future is dropped.
pub(super) async fn accept(listener: TcpListener, control: &Arc<Control>) {
    loop {
        let (client, _) = listener.accept().await.unwrap();
        control.accepted.fetch_add(1, Ordering::SeqCst);
        if control.refuses.load(Ordering::SeqCst) {
            reset(&client);
            continue;
        }
        let control = Arc::clone(control);
        tokio::spawn(async move {
            control.open.fetch_add(1, Ordering::SeqCst);
            carry(client, &control).await;
            control.open.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

async fn carry(mut client: TcpStream, control: &Control) {
    let mut resets = control.reset.subscribe();
    let target = *control.target.lock().unwrap();
    let Ok(mut server) = TcpStream::connect(target).await else { return reset(&client) };
    for side in [&client, &server] {
        let _ = side.set_nodelay(true);
    }
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let ended = tokio::select! {
        ended = async {
            tokio::try_join!(
                pump(from_client, to_server, control, Direction::ToServer),
                pump(from_server, to_client, control, Direction::ToClient),
            )
        } => ended.map(|_| ()),
        _ = resets.changed() => Err(Ended::Reset),
    };
    let Err(ended) = ended else { return };
    if ended != Ended::ByPeer {
        control.broken.fetch_add(1, Ordering::SeqCst);
    }
    if ended != Ended::Cut {
        reset(&client);
        reset(&server);
    }
}

/// Makes dropping the connection send a reset.
fn reset(side: &TcpStream) {
    let _ = SockRef::from(side).set_linger(Some(Duration::ZERO));
}
