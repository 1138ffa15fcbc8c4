//! Publishes each request over the link of its channel.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout_at};

use super::super::super::types::{PublishOutcome, PublishRequest};
use super::super::super::{PublishError, Retry};
use super::super::links::RedisLinks;
use super::super::publishing::{GiveBack, LinkOutcome, publish};
use super::super::resend::RETRY_DELAY;
use super::super::routes::Routes;

/// Publishes all requests, those of one channel in their order, and returns an outcome for each.
///
/// A request is sent again over another link if its slot has moved: the server that answered so has not run it.
pub(in super::super) async fn publish_all(
    links: &RedisLinks,
    requests: &[PublishRequest<'_>],
    retry: Retry,
) -> Vec<PublishOutcome> {
    let deadline = Instant::now() + links.process.options.response_timeout;
    let mut outcomes: Vec<Result<PublishOutcome, PublishError>> =
        requests.iter().map(|_| Err(PublishError::Unavailable)).collect();
    let mut changes = links.routes.subscribe();
    loop {
        let routes = Arc::clone(&changes.borrow_and_update());
        let to_send: Vec<_> = (0..requests.len()).filter(|index| outcomes[*index].is_err()).collect();
        let (sent, is_moved) = send(links, &routes, requests, &to_send, retry, deadline).await;
        for (index, outcome) in sent {
            // An attempt that may have published the message stays the outcome.
            if outcome.is_ok() || !matches!(outcomes[index], Err(PublishError::Interrupted)) {
                outcomes[index] = outcome;
            }
        }
        let is_done = outcomes.iter().all(Result::is_ok);
        // A request that was not run may be sent again, also without `Retry::Allowed`.
        let is_last = retry == Retry::Never && !is_moved;
        if is_done || is_last || *links.process.stopped.borrow() {
            break;
        }
        // A slot that is being moved has the same link for a while, and answers soon.
        let waited = timeout_at(deadline, async {
            tokio::select! {
                // The sender is in `links`, so the channel stays open.
                _ = changes.changed() => {}
                () = sleep(RETRY_DELAY.mul_f64(rand::random_range(0.5..1.5))) => {}
            }
        });
        if waited.await.is_err() {
            break;
        }
    }
    outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(Err)).collect()
}

/// Sends the requests with these indexes, each over the link of its channel. Returns for each index its outcome, or the
/// error of its latest attempt if it is to be sent again; and whether slots have moved.
async fn send(
    links: &RedisLinks,
    routes: &Arc<Routes>,
    requests: &[PublishRequest<'_>],
    to_send: &[usize],
    retry: Retry,
    deadline: Instant,
) -> (Vec<(usize, Result<PublishOutcome, PublishError>)>, bool) {
    let mut by_link = BTreeMap::new();
    for &index in to_send {
        let link = routes.of_channel(&links.process, requests[index].channel.as_str());
        by_link.entry(link.id()).or_insert_with(|| (link, Vec::new())).1.push(index);
    }
    let sending = by_link.into_values().map(|(link, indexes)| async move {
        let of_link: Vec<_> = indexes.iter().map(|index| requests[*index]).collect();
        let mut changes = links.routes.subscribe();
        let rerouted = async move {
            // The sender is in `links`, so the channel stays open.
            let _ = changes.wait_for(|other| !Arc::ptr_eq(other, routes)).await;
        };
        let give_back = GiveBack { if_moved: true, rerouted: Box::pin(rerouted) };
        let LinkOutcome { outcomes, is_moved } = publish(link, &of_link, retry, deadline, give_back).await;
        (indexes.into_iter().zip(outcomes).collect::<Vec<_>>(), is_moved)
    });
    let sent = join_all(sending).await;
    let is_moved = sent.iter().any(|(_, is_moved)| *is_moved);
    (sent.into_iter().flat_map(|(outcomes, _)| outcomes).collect(), is_moved)
}
