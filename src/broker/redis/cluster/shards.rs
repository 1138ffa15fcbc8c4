//! Parses the answer of a node to `CLUSTER SHARDS`.

use redis::Value;

use super::map::{NodeAddress, SlotMap};
use super::slot::Slot;

/// No host name is longer.
const MAX_HOST_BYTES: usize = 255;

/// Why an answer gives no map. The text does not repeat the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum ShardsError {
    /// Not the form that Redis and Valkey document.
    #[error("the answer to CLUSTER SHARDS is not valid")]
    Malformed,
    /// Every master has only a port of the other kind.
    #[error("no master has a port {}", if *is_tls { "with TLS" } else { "without TLS" })]
    NoPort {
        /// The kind that `broker.url` needs.
        is_tls: bool,
    },
}

/// How a node was asked. Decides about the addresses of all nodes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) host: &'a str,
    pub(super) is_tls: bool,
}

/// A node in the answer.
struct ShardNode<'a> {
    id: &'a str,
    address: Option<NodeAddress>,
    is_owner: bool,
}

/// The map of one node. A master that failed owns nothing. A master that is loading its data owns its slots: the link
/// waits for it.
pub(super) fn parse(answer: &Value, asked: Asked<'_>) -> Result<SlotMap, ShardsError> {
    let (mut map, mut is_unreachable) = (SlotMap::default(), false);
    for shard in list(answer)? {
        let (mut slots, mut nodes) = (Vec::new(), Vec::new());
        for (name, value) in fields(shard)? {
            match name {
                "slots" => slots = parse_slots(value)?,
                "nodes" => {
                    let parsed = list(value)?.iter().map(|node| parse_node(node, asked));
                    nodes = parsed.collect::<Result<_, _>>()?;
                }
                _ => {}
            }
        }
        let Some(ShardNode { id, address, .. }) = nodes.into_iter().find(|node| node.is_owner) else {
            continue;
        };
        match address {
            Some(address) => map.assign(id, address, slots.into_iter()),
            None => is_unreachable = true,
        }
    }
    if is_unreachable && map.masters().next().is_none() {
        return Err(ShardsError::NoPort { is_tls: asked.is_tls });
    }
    Ok(map)
}

/// The first and the last slot of each range, one after the other.
fn parse_slots(value: &Value) -> Result<Vec<Slot>, ShardsError> {
    let mut slots = Vec::new();
    let (ranges, rest) = list(value)?.as_chunks::<2>();
    for [first, last] in ranges {
        let (first, last) = (number(first)?, number(last)?);
        if first > last || !rest.is_empty() {
            return Err(ShardsError::Malformed);
        }
        for number in first..=last {
            slots.push(Slot::new(number).ok_or(ShardsError::Malformed)?);
        }
    }
    if rest.is_empty() { Ok(slots) } else { Err(ShardsError::Malformed) }
}

fn parse_node<'a>(node: &'a Value, asked: Asked<'_>) -> Result<ShardNode<'a>, ShardsError> {
    let [mut id, mut role, mut health, mut endpoint, mut ip, mut hostname] = [""; 6];
    let (mut port, mut tls_port) = (None, None);
    for (name, value) in fields(node)? {
        match name {
            "id" => id = text(value)?,
            "role" => role = text(value)?,
            "health" => health = text(value)?,
            "endpoint" => endpoint = text(value)?,
            "ip" => ip = text(value)?,
            "hostname" => hostname = text(value)?,
            "port" => port = Some(number(value)?),
            "tls-port" => tls_port = Some(number(value)?),
            _ => {}
        }
    }
    if id.is_empty() {
        return Err(ShardsError::Malformed);
    }
    let host = match (hostname, endpoint) {
        // Certificates have names.
        (name, _) if asked.is_tls && !name.is_empty() => name,
        // Names are preferred, and this node has none.
        (_, "?") if !ip.is_empty() => ip,
        // The cluster does not know how clients reach it, or the node does not know its own address yet.
        (_, "" | "?") => asked.host,
        (_, endpoint) => endpoint,
    };
    if host.len() > MAX_HOST_BYTES || !host.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(ShardsError::Malformed);
    }
    let port = if asked.is_tls { tls_port } else { port }.filter(|port| *port > 0);
    let address = port.map(|port| NodeAddress { host: host.to_owned(), port });
    // Redis says `fail`, its documentation `failed`.
    Ok(ShardNode { id, address, is_owner: role == "master" && !health.starts_with("fail") })
}

/// The names and values of a map, which RESP2 writes as a list.
fn fields(value: &Value) -> Result<Vec<(&str, &Value)>, ShardsError> {
    match value {
        Value::Map(pairs) => pairs.iter().map(|(name, value)| Ok((text(name)?, value))).collect(),
        _ => {
            let (pairs, rest) = list(value)?.as_chunks::<2>();
            if !rest.is_empty() {
                return Err(ShardsError::Malformed);
            }
            pairs.iter().map(|[name, value]| Ok((text(name)?, value))).collect()
        }
    }
}

fn list(value: &Value) -> Result<&[Value], ShardsError> {
    match value {
        Value::Array(values) => Ok(values),
        _ => Err(ShardsError::Malformed),
    }
}

/// No value is the same as an empty one.
fn text(value: &Value) -> Result<&str, ShardsError> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).map_err(|_| ShardsError::Malformed),
        Value::SimpleString(text) => Ok(text),
        Value::Nil => Ok(""),
        _ => Err(ShardsError::Malformed),
    }
}

fn number(value: &Value) -> Result<u16, ShardsError> {
    match value {
        Value::Int(number) => u16::try_from(*number).map_err(|_| ShardsError::Malformed),
        _ => text(value)?.parse().map_err(|_| ShardsError::Malformed),
    }
}

#[cfg(test)]
mod tests;
