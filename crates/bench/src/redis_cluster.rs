//! A Redis Cluster started by the load generator: masters without Redis replicas.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::redis::{OwnRedis, OwnServer, TIMEOUT, command};
use crate::{BenchError, RedisAddress};

/// The number of slots of a cluster.
const SLOTS: usize = 16_384;

/// The folder with the nodes' own files. Deleted when dropped.
pub(crate) struct NodeFolder(PathBuf);

impl OwnRedis {
    /// Starts this number of masters with equal shares of the slots, and waits until they serve them.
    pub(crate) fn start_cluster(masters: usize) -> Result<Self, BenchError> {
        let folder = NodeFolder::create()?;
        let start = |node: usize| {
            let file = folder.0.join(format!("nodes-{node}.conf"));
            OwnServer::start(&[
                "--cluster-enabled",
                "yes",
                "--cluster-config-file",
                &file.display().to_string(),
                "--cluster-announce-ip",
                "127.0.0.1",
            ])
        };
        let servers = (0..masters).map(start).collect::<Result<Vec<_>, _>>()?;
        for (node, server) in servers.iter().enumerate() {
            let first = |node: usize| SLOTS * node / masters;
            let (from, to) = (first(node).to_string(), (first(node + 1) - 1).to_string());
            // Equal epochs would take the nodes some rounds to resolve.
            tell(&server.address, &["CLUSTER", "SET-CONFIG-EPOCH", &(node + 1).to_string()])?;
            tell(&server.address, &["CLUSTER", "ADDSLOTSRANGE", &from, &to])?;
            for other in &servers[..node] {
                tell(&server.address, &["CLUSTER", "MEET", "127.0.0.1", &other.address.port.to_string()])?;
            }
        }
        let addresses: Vec<_> = servers.iter().map(|server| server.address.clone()).collect();
        addresses.iter().try_for_each(|address| wait_until_serving(address, masters))?;
        let seeds: Vec<_> =
            addresses.iter().map(|address| format!("{}:{}", address.host, address.port)).collect();
        let url = format!("redis+cluster://{}", seeds.join(","));
        Ok(Self { _servers: servers, folder: Some(folder), addresses, url })
    }
}

impl NodeFolder {
    fn create() -> Result<Self, BenchError> {
        let folder = std::env::temp_dir().join(format!("bench-cluster-{:08x}", rand::random::<u32>()));
        std::fs::create_dir(&folder)?;
        Ok(Self(folder))
    }
}

impl Drop for NodeFolder {
    fn drop(&mut self) {
        // The servers write into the folder until they end, so a file may be left.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The index of the master that owns the slot of a key.
pub(crate) fn owner(key: &str, masters: usize) -> usize {
    // The first and the last slot of each share are rounded down.
    ((slot(key) + 1) * masters - 1) / SLOTS
}

/// The slot of a key: CRC16 of the key, or of its hash tag.
fn slot(key: &str) -> usize {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
    let hashed = tag.filter(|tag| !tag.is_empty()).unwrap_or(key);
    let shift = |crc: u16| if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
    let add = |crc: u16, byte: u8| (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| shift(crc));
    usize::from(hashed.bytes().fold(0, add)) % SLOTS
}

/// Sends a command that Redis answers with OK.
fn tell(address: &RedisAddress, words: &[&str]) -> Result<(), BenchError> {
    let answer = first_line(address, words, |_| true)?;
    if answer.starts_with("+OK") {
        return Ok(());
    }
    Err(BenchError::Server(format!("redis-server refused {}: {answer}", words.join(" "))))
}

fn wait_until_serving(address: &RedisAddress, masters: usize) -> Result<(), BenchError> {
    let size = format!("cluster_known_nodes:{masters}");
    let started_at = Instant::now();
    loop {
        let mut is_whole = false;
        let state = first_line(address, &["CLUSTER", "INFO"], |line| {
            is_whole |= line == "cluster_state:ok";
            line == size
        })?;
        if is_whole && state == size {
            return Ok(());
        }
        if started_at.elapsed() > TIMEOUT {
            return Err(BenchError::Server("the Redis Cluster did not become whole".to_owned()));
        }
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

/// The first line of the answer that `is_wanted` accepts; the last one if it accepts none.
fn first_line(
    address: &RedisAddress,
    words: &[&str],
    mut is_wanted: impl FnMut(&str) -> bool,
) -> Result<String, BenchError> {
    let mut stream = address.connect()?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    // The connection ends after the answer, and with it the lines.
    stream.write_all(&[command(words), command(&["QUIT"])].concat())?;
    let mut last = String::new();
    for line in BufReader::new(stream).lines() {
        last = line?.trim_end().to_owned();
        if is_wanted(&last) {
            break;
        }
    }
    Ok(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_belongs_to_the_master_of_its_slot() {
        // From CLUSTER KEYSLOT.
        assert_eq!([slot("foo"), slot("{foo}:bar"), slot("gateway:all")], [12_182, 12_182, 10_337]);
        for masters in [1, 3, 7] {
            let first = |node: usize| SLOTS * node / masters;
            for key in ["foo", "bar", "gateway:user:7", "{x}y"] {
                let node = owner(key, masters);
                assert!((first(node)..first(node + 1)).contains(&slot(key)), "{key} of {masters}");
            }
        }
    }
}
