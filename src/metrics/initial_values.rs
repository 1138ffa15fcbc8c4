//! Creates every labelled counter with the value 0.

use std::hash::Hash;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use protocol::close::CloseCode;
use protocol::event::GapReason;
use protocol::publication::PayloadError;

use super::admin_request::ADMIN_REQUESTS;
use super::{
    AdminRequest, Code, ControlResult, Counters, DropReason, HistoryReadKind, IdentifyResult, KeyLoadResult,
    KeyRefusal, LinkLoss, RecordResult, RecoveryResult, SendResult, SignalDelivery, SignalResult,
    TokenCallResult, TokenLookupResult,
};

const UPGRADES_REFUSED: &[&str] = &[
    "too_many_connections",
    "too_many_from_address",
    "too_many_connects",
    "too_many_connects_from_address",
    "too_many_unidentified",
    "too_many_unidentified_from_address",
    "too_many_handshakes",
    "draining",
    "bad_request",
    "unauthorized",
    "bad_handshake",
    "method_not_allowed",
    "upgrade_required",
    "not_found",
    "unknown_protocol_version",
    "origin_not_allowed",
];

impl Counters {
    /// Creates every labelled counter with the value 0.
    pub(super) fn create_labels(&self) {
        create(&self.upgrades_refused, UPGRADES_REFUSED.iter().copied());
        create(&self.admin_refused, KeyRefusal::ALL.iter().copied());
        create(&self.gaps, GapReason::ALL);
        create(&self.redis_link_losses, LinkLoss::ALL.iter().copied());
        create(&self.recoveries, RecoveryResult::ALL.iter().copied());
        create(&self.history_reads, HistoryReadKind::ALL.iter().copied());
        create(&self.control_commands, ControlResult::ALL.iter().copied());
        create(&self.sends, SendResult::ALL.iter().copied());
        create(&self.rejected, RecordResult::ALL.iter().copied());
        create(&self.publications_dropped, PayloadError::ALL.map(DropReason::Payload));
        let dropped = [
            DropReason::UnknownChannel,
            DropReason::Duplicate,
            DropReason::SocketClosing,
            DropReason::HubInboxFull,
            DropReason::Repairing,
            DropReason::Panicked,
        ];
        create(&self.publications_dropped, dropped);
        create(&self.auth_key_loads, KeyLoadResult::ALL.iter().copied());
        create(&self.signals, SignalResult::ALL.iter().copied());
        create(&self.signal_deliveries, SignalDelivery::ALL.iter().copied());
        create(&self.identifies, IdentifyResult::ALL.iter().copied());
        create(&self.token_lookups, TokenLookupResult::ALL.iter().copied());
        create(&self.token_calls, TokenCallResult::ALL.iter().copied());
        for code in CloseCode::ALL {
            drop(self.websocket_closes.get_or_create(&Code { code: code.code() }));
        }
        for (route, statuses) in ADMIN_REQUESTS {
            for &status in statuses {
                drop(self.admin_requests.get_or_create(&AdminRequest { route, status }));
            }
        }
        drop(self.admin_requests.get_or_create(&AdminRequest::new(None, 404)));
    }
}

fn create<S, L>(family: &Family<S, Counter>, values: impl IntoIterator<Item = L>)
where
    S: From<L> + Clone + Eq + Hash,
{
    values.into_iter().for_each(|value| drop(family.get_or_create(&S::from(value))));
}
