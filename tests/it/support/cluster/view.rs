//! What one node says about the cluster.

use redis::cmd;

use crate::support::redis_server::RedisServer;

/// The answers of one node to `CLUSTER NODES`, `CLUSTER INFO` and `INFO replication`.
pub(super) struct View {
    nodes: Vec<Seen>,
    is_serving: bool,
    is_following: bool,
}

/// Another node, or the answering one.
struct Seen {
    id: String,
    flags: Vec<String>,
    master: Option<String>,
    slots: Vec<(u16, u16)>,
}

impl View {
    /// Asks a node; `None` if it does not answer.
    pub(super) fn of(server: &RedisServer) -> Option<Self> {
        let mut connection = server.try_client().ok()?;
        let mut ask =
            |name: &str, section: &str| cmd(name).arg(section).query::<String>(&mut connection).ok();
        let nodes = ask("CLUSTER", "NODES")?.lines().map(Seen::parse).collect();
        let is_serving = ask("CLUSTER", "INFO")?.contains("cluster_state:ok");
        let replication = ask("INFO", "replication")?;
        let is_following =
            replication.contains("role:master") || replication.contains("master_link_status:up");
        Some(Self { nodes, is_serving, is_following })
    }

    /// Whether the node says that the cluster is up.
    pub(super) fn is_serving(&self) -> bool {
        self.is_serving
    }

    /// Whether the node is a master, or a Redis replica that is connected to its master.
    pub(super) fn is_following(&self) -> bool {
        self.is_following
    }

    /// Whether the node knows another one by its id.
    pub(super) fn knows(&self, id: &str) -> bool {
        self.nodes.iter().any(|seen| seen.id == id && !seen.has("handshake"))
    }

    /// The id of the owner of a slot.
    pub(super) fn owner(&self, slot: u16) -> Option<&str> {
        let owns = |seen: &&Seen| seen.slots.iter().any(|(first, last)| (*first..=*last).contains(&slot));
        self.nodes.iter().find(owns).map(|seen| &*seen.id)
    }

    /// The slots of a node.
    pub(super) fn slots_of(&self, id: &str) -> Vec<u16> {
        let seen = self.nodes.iter().find(|seen| seen.id == id);
        seen.into_iter().flat_map(|seen| &seen.slots).flat_map(|(first, last)| *first..=*last).collect()
    }

    /// The id of the master that the answering node is a Redis replica of.
    pub(super) fn own_master(&self) -> Option<&String> {
        self.nodes.iter().find(|seen| seen.has("myself"))?.master.as_ref()
    }

    /// Whether the answering node is a master with slots.
    pub(super) fn owns_slots(&self) -> bool {
        self.nodes.iter().any(|seen| seen.has("myself") && !seen.slots.is_empty())
    }

    /// Whether this node owns slots.
    pub(super) fn is_owner(&self, id: &str) -> bool {
        self.nodes.iter().any(|seen| seen.id == id && !seen.slots.is_empty())
    }

    /// Role, master and slots of these nodes, to compare with the view of another node. `None` while the answering node
    /// does not know one of them, or takes it for failed.
    pub(super) fn layout<'a>(&self, ids: impl Iterator<Item = &'a str>) -> Option<Vec<String>> {
        let describe = |id| {
            let seen = self.nodes.iter().find(|seen| seen.id == id)?;
            let is_well = !["handshake", "fail", "fail?", "noaddr"].iter().any(|flag| seen.has(flag));
            is_well.then(|| format!("{id} {:?} {:?} {:?}", seen.has("master"), seen.master, seen.slots))
        };
        ids.map(describe).collect()
    }
}

impl Seen {
    /// Parses `id address flags master ping pong epoch link-state slots…`. Entries in brackets are slots on the move.
    fn parse(line: &str) -> Self {
        let fields: Vec<&str> = line.split(' ').collect();
        let slots = fields.iter().skip(8).filter(|field| !field.starts_with('['));
        let range = |field: &&str| {
            let (first, last) = field.split_once('-').unwrap_or((field, field));
            (first.parse().unwrap(), last.parse().unwrap())
        };
        Self {
            id: fields[0].to_owned(),
            flags: fields[2].split(',').map(str::to_owned).collect(),
            master: Some(fields[3].to_owned()).filter(|id| id != "-"),
            slots: slots.map(range).collect(),
        }
    }

    fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|own| own == flag)
    }
}
