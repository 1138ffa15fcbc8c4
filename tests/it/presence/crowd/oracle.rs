//! What must hold for the edges and counts of a crowd.

use std::collections::BTreeMap;

use redis::Connection;

use super::kind::Kind;
use super::observer::Observed;

/// One edge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edge {
    pub(super) name: String,
    pub(super) begins: bool,
    /// Unix milliseconds.
    pub(super) at: u64,
}

/// Reads the whole stream of edges.
pub(super) fn read_edges(kind: &Kind, backend: &mut Connection) -> Vec<Edge> {
    let entries: Vec<(String, BTreeMap<String, String>)> =
        redis::cmd("XRANGE").arg(kind.stream).arg("-").arg("+").query(backend).unwrap();
    let edge = |(_, mut fields): (String, BTreeMap<String, String>)| {
        assert_eq!(fields.len(), 3, "{fields:?}");
        let begins = fields["state"] == kind.begins;
        assert!(begins || fields["state"] == kind.ends, "{fields:?}");
        Edge { name: fields.remove(kind.field).unwrap(), begins, at: fields["at"].parse().unwrap() }
    };
    entries.into_iter().map(edge).collect()
}

/// How often each name has come since the data of Redis began.
pub(super) type Arrivals = BTreeMap<String, usize>;

/// The edges of each name begin with one that begins, alternate, and rise in time. Each edge that begins has a cause: the
/// name has come, or a replica has reported it again under a new lease. No lease was buried before it lapsed. Returns the names that are present.
pub(super) fn check_edges(edges: &[Edge], arrivals: &Arrivals, observed: &Observed) -> Vec<String> {
    assert_eq!(observed.negative_counts, Vec::<String>::new(), "counts below zero");
    assert_eq!(observed.early_burials, Vec::<String>::new(), "leases that had not lapsed");
    let mut last = BTreeMap::<&str, (&Edge, usize)>::new();
    for edge in edges {
        let (before, begun) = last.get(&*edge.name).map_or((None, 0), |(edge, begun)| (Some(*edge), *begun));
        let of_name = || edges.iter().filter(|other| other.name == edge.name).collect::<Vec<_>>();
        assert_eq!(edge.begins, before.is_none_or(|before| !before.begins), "{:?}", of_name());
        assert!(before.is_none_or(|before| before.at <= edge.at), "{:?}", of_name());
        last.insert(&edge.name, (edge, begun + usize::from(edge.begins)));
    }
    let renewals = observed.leases.iter().filter(|lease| !lease.ends_with("-1")).count();
    for (name, (_, begun)) in &last {
        let arrived = arrivals.get(*name).copied().unwrap_or_default();
        assert!(
            *begun <= arrived + renewals,
            "{name}: {begun} edges, {arrived} arrivals, {renewals} new leases"
        );
    }
    last.into_iter().filter(|(_, (edge, _))| edge.begins).map(|(name, _)| name.to_owned()).collect()
}

/// Each listener heard exactly the edges of the stream while it was connected. `is_complete`: the last listener has heard
/// the end of the stream.
pub(super) fn check_heard(edges: &[Edge], observed: &Observed, is_complete: bool) {
    for (index, heard) in observed.heard.iter().enumerate() {
        if index == 0 && observed.heard_from_start {
            let common = heard.len().min(edges.len());
            assert_eq!(heard[..common], edges[..common], "the first listener");
        }
        // Without the end of the stream, a listener may have heard edges that the stream did not have when it was read.
        let found = heard.is_empty() || edges.windows(heard.len()).any(|window| window == heard);
        assert!(found || !is_complete, "listener {index} heard {heard:?}, the stream has {edges:?}");
    }
}
